#![no_main]

#[path = "../invariants_tls.rs"]
mod invariants;

thread_local! {
    static WORLD: invariants::World = invariants::World::new();
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| WORLD.with(|world| invariants::tls_records(world, data)));
