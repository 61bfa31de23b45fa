//! HTTP/2 (RFC 9113), both sides of a connection.

mod block;
mod budget;
mod client;
mod config;
mod connection;
mod error;
mod frame;
mod priority;
mod schedule;
mod server;
mod settings;
mod streams;
mod window;

pub use client::Client;
pub use config::{Budget, Config, Costs, Limits};
pub use connection::{Connection, Event, RequestLine, Step};
pub use error::{ConnectionError, ErrorCode, Fault, HeadError, Reset, SendError, Side};
pub use frame::{Preface, preface};
pub use priority::Priority;
pub use server::Server;
pub use streams::Stream;

#[cfg(test)]
mod tests;
