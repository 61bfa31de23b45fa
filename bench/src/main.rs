//! The bench command: a load generator, an origin to point a gateway at, and what compares Ringway with its peers.
#![forbid(unsafe_code)]

mod attacks;
mod balance;
mod builds;
mod cli;
mod clock;
mod companion;
mod compare;
mod endpoints;
mod failures;
mod gateway;
mod http;
mod http2;
mod load;
mod mesh;
mod micro;
mod multiplex;
mod net;
mod origin;
#[cfg(feature = "peers")]
mod peers;
mod reloads;
mod train;
mod url;
mod websocket;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
