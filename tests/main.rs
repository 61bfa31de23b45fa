//! Black-box tests: each starts the real binary, on both engines, and talks to it over loopback.

mod http;
mod support;
