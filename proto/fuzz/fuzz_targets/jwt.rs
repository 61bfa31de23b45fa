#![no_main]

#[path = "../invariants_jwt.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::jwt(data));
