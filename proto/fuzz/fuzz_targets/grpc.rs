#![no_main]

#[path = "../invariants_grpc.rs"]
#[allow(dead_code, reason = "each target checks its own part")]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::grpc(data));
