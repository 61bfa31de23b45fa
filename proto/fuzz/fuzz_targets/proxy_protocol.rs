#![no_main]

#[path = "../invariants_proxy_protocol.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::proxy_protocol(data));
