//! What must hold for any bytes, tried on the fuzz corpora and on messages that are damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants.rs"]
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
    for seed in corpus("request_head") {
        invariants::request_head(&seed);
    }
    for seed in corpus("response_head") {
        invariants::response_head(&seed);
    }
    for seed in corpus("chunked_body") {
        invariants::chunked_body(&seed);
    }
}

/// A seed with some bytes replaced, inserted and removed.
fn damaged(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(b"\r\n\r\n :;,\t\0\x7f\xff01aA/?#*[]".to_vec()), any::<u8>()];
    let change = (any::<prop::sample::Index>(), 0..4_u8, byte);
    (prop::sample::select(corpus(target)), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
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
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_requests(bytes in damaged("request_head")) {
        invariants::request_head(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_damaged_responses(bytes in damaged("response_head")) {
        invariants::response_head(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_damaged_bodies(bytes in damaged("chunked_body")) {
        invariants::chunked_body(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        invariants::request_head(&bytes);
        invariants::response_head(&bytes);
        invariants::chunked_body(&bytes);
    }
}
