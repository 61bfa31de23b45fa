//! What must hold of PROXY headers for any bytes, tried on the fuzz corpus and on headers that are damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_proxy_protocol.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    for seed in corpus("proxy_protocol") {
        invariants::proxy_protocol(&seed);
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = change(b"\x00\x01\x02\x03\x05\x11\x20\x21\x31\xff \r\n04P:");
    (prop::sample::select(corpus("proxy_protocol")), prop::collection::vec(change, 1..5)).prop_map(
        |(mut bytes, changes)| {
            damage(&mut bytes, changes);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_headers(bytes in damaged()) {
        invariants::proxy_protocol(&bytes);
    }
}
