//! What must hold of messages that are recoded, tried on the fuzz corpus and on frames that are damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_websocket_deflate.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    for seed in corpus("websocket_deflate") {
        invariants::websocket_deflate(&seed);
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = change(b"\x00\x01\x02\x08\x09\x0a\x80\x81\x82\x88\x89\x8a\xc1\x7e\x7f\xfe\xff\x05\xc3\xa9;=,\"");
    (prop::sample::select(corpus("websocket_deflate")), prop::collection::vec(change, 0..6)).prop_map(
        |(mut bytes, changes)| {
            damage(&mut bytes, changes);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_frames(bytes in damaged()) {
        invariants::websocket_deflate(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        invariants::websocket_deflate(&bytes);
    }
}
