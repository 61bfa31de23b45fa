//! What must hold of HPACK and HTTP/2 for any bytes, tried on the fuzz corpora and on connections that are damaged at
//! random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_http2.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

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
    let change = change(b"\x00\x01\x03\x04\x05\x08\x09\x20\x7f\x80\x82\xff:aA\r\n");
    let seeds = corpus(target);
    let more = (prop::sample::select(seeds.clone()), any::<prop::sample::Index>());
    (prop::sample::select(seeds), prop::collection::vec(change, 0..4), prop::option::of(more)).prop_map(
        |(mut bytes, changes, more)| {
            if let Some((other, from)) = more {
                bytes.extend_from_slice(&other[from.index(other.len())..]);
            }
            damage(&mut bytes, changes);
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
