#![no_main]

#[path = "../invariants_websocket_deflate.rs"]
#[allow(dead_code, reason = "each target checks its own part")]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariants::websocket_deflate(data));
