//! Sans-IO codecs. A codec sees bytes and, where it must, the time; it returns events and bytes.
//! It never touches a socket or a clock, so each can be tested, fuzzed and simulated by itself.
#![forbid(unsafe_code)]

mod base64;
pub mod grpc;
pub mod hpack;
pub mod http1;
pub mod http2;
pub mod jwt;
pub mod proxy_protocol;
pub mod websocket;
