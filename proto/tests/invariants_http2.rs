//! What must hold of HPACK and HTTP/2 for any bytes, tried on the fuzz corpora and on connections that are damaged at
//! random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_http2.rs"]
mod invariants;

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

/// The seeds of one fuzz target, which are checked in.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the corpus of {target} is incomplete");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    for seed in corpus("hpack") {
        invariants::hpack(&seed);
    }
    for seed in corpus("http2_server") {
        invariants::http2_server(&seed);
    }
    for seed in corpus("http2_client") {
        invariants::http2_client(&seed);
    }
}

/// A seed with some bytes replaced, inserted and removed, and pieces of others at its end.
fn damaged(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b"\x00\x01\x03\x04\x05\x08\x09\x20\x7f\x80\x82\xff:aA\r\n".to_vec()),
        any::<u8>()
    ];
    let change = (any::<prop::sample::Index>(), 0..4_u8, byte);
    let seeds = corpus(target);
    let more = (prop::sample::select(seeds.clone()), any::<prop::sample::Index>());
    (prop::sample::select(seeds), prop::collection::vec(change, 0..4), prop::option::of(more)).prop_map(
        |(mut bytes, changes, more)| {
            if let Some((other, from)) = more {
                bytes.extend_from_slice(&other[from.index(other.len())..]);
            }
            for (at, kind, byte) in changes {
                let at = at.index(bytes.len() + 1);
                match kind {
                    0 => bytes.insert(at, byte),
                    1 if at < bytes.len() => bytes[at] = byte,
                    2 if at < bytes.len() => drop(bytes.remove(at)),
                    3 => bytes.truncate(at.max(1)),
                    _ => {}
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_blocks(bytes in damaged("hpack")) {
        invariants::hpack(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_damaged_clients(bytes in damaged("http2_server")) {
        invariants::http2_server(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_damaged_servers(bytes in damaged("http2_client")) {
        invariants::http2_client(&bytes);
    }
}
