#![no_main]

#[path = "../invariants_tls.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::tls_records(data));
