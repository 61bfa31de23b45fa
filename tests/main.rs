//! Black-box tests: each starts the real binary on both engines and talks to it over loopback, or runs a whole gateway in
//! a simulated world.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod admin;
mod aggregate;
mod alloc;
mod attack;
mod balance;
mod discovery;
mod grpc;
mod health;
mod http;
mod http2;
mod logs;
mod observe;
mod packaging;
mod placement;
mod policy;
mod reload;
mod retry;
mod simulated;
mod sockets;
mod support;
mod systems;
mod tls;
mod upgrade;
mod websocket;
