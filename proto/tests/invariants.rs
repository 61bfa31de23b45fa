//! What must hold for any bytes, tried on the fuzz corpora and on messages that are damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

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
    let change = change(b"\r\n\r\n :;,\t\0\x7f\xff01aA/?#*[]");
    (prop::sample::select(corpus(target)), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        damage(&mut bytes, changes);
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
