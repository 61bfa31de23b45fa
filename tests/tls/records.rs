//! What must hold of records, tried on the fuzz corpus and on bytes at random.

use std::fs;

use proptest::prelude::*;

#[path = "../../fuzz/invariants_tls.rs"]
mod invariants;

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/tls_records");
    let world = invariants::World::new();
    let mut tried = 0;
    for entry in fs::read_dir(dir).unwrap() {
        invariants::tls_records(&world, &fs::read(entry.unwrap().path()).unwrap());
        tried += 1;
    }
    assert!(tried >= 8, "{tried}");
}

thread_local! {
    static WORLD: invariants::World = invariants::World::new();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_invariants_hold_for_bytes_at_random(
        how in any::<u8>(),
        size in any::<u8>(),
        before in any::<u8>(),
        header in prop_oneof![Just(vec![]), Just(vec![22, 3, 1]), Just(vec![23, 3, 3]), Just(vec![21, 3, 3, 0, 2])],
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        WORLD.with(|world| invariants::tls_records(world, &[vec![how, size, before], header, noise].concat()));
    }
}
