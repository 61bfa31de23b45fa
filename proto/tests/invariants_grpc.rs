//! What must hold of gRPC for any bytes, tried on the fuzz corpus and on frames that are damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_grpc.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    for seed in corpus("grpc") {
        invariants::grpc(&seed);
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = change(b"\x00\x01\x02\x03\x05\x08\x80\x81\xff=AQgw/+%0123456789HMSmun-:\r\n");
    (prop::sample::select(corpus("grpc")), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        damage(&mut bytes, changes);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_input(bytes in damaged()) {
        invariants::grpc(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        invariants::grpc(&bytes);
    }
}
