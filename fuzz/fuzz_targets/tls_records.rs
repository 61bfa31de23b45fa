#![no_main]

use std::mem::ManuallyDrop;

#[path = "../invariants_tls.rs"]
mod invariants;

thread_local! {
    // Never dropped: what a core gives away for ever would be a leak that is reported once nobody knows of it.
    static WORLD: ManuallyDrop<invariants::World> = ManuallyDrop::new(invariants::World::new());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| WORLD.with(|world| invariants::tls_records(world, data)));
