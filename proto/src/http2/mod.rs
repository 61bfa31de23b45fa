//! HTTP/2 (RFC 9113), both sides of a connection.
//!
//! A [`Server`] or a [`Client`] is the state of one connection. Bytes and the time go in, [`Event`]s and bytes come out;
//! the caller owns sockets, clocks, buffers and what it keeps for each stream.
//!
//! - **Heads** are written into the caller's storage as the text that HTTP/1.1 would have, with the types of
//!   [`http1`](crate::http1): [`RequestHead`](crate::http1::RequestHead) and
//!   [`ResponseHead`](crate::http1::ResponseHead), whose ranges lie in that text. `:authority` becomes Host, pieces of
//!   a cookie become one. So one view of a request serves both protocols, and a head is sent on to HTTP/1.1 as it
//!   stands. [`Framing::Chunked`](crate::http1::Framing::Chunked) means a body of unknown length. Everything is checked
//!   before (section 8): nothing that HTTP/1.1 could read in two ways gets through.
//! - **Streams** are named by [`Stream`]: its [`slot`](Stream::slot) is small and used again, so the caller keeps what it has
//!   for a stream in a table.
//! - **Data** is handed over as ranges of the input, in pieces of frames, as it comes. The caller says with
//!   [`consumed`](Connection::consumed) when it is out of the way, and windows follow, larger where the peer is faster.
//!   To send, [`turn`](Connection::turn) says whose turn it is by priority (RFC 9218), and [`data`](Connection::data)
//!   writes the head of a frame for bytes that the caller appends itself, or sends from where they are.
//! - **Control frames** wait in a bounded queue: [`output`](Connection::output).
//! - **Time** comes as `now`, counted from anywhere: [`deadline`](Connection::deadline) and [`on_time`](Connection::on_time).
//! - **Errors**: what ends one stream is [`Event::Reset`], with who ended it, the code, and whether the request may be sent
//!   again. What ends the connection is [`ConnectionError`]; GOAWAY is then in the output, and the caller drops its
//!   streams. Both tell the [`Fault`] by a stable code.
//! - **Misbehaviour** is paid from one [`Budget`] for each connection, whatever its kind: resets, pings, settings, empty
//!   frames and the like.
//!
//! Not here, on purpose: server push (refused both ways), the priorities of RFC 7540 (read and ignored), upgrade from
//! HTTP/1.1 by `h2c` (RFC 9113 drops it), CONNECT but for RFC 8441.
//!
//! The buffer that input is read from must be able to hold a frame: 9 bytes and [`Config::frame`]. DATA needs no more than
//! its header.
//!
//! A server:
//!
//! ```
//! use std::time::Duration;
//! use ringway_proto::http1::RequestHead;
//! use ringway_proto::http2::{Config, ConnectionError, Event, Server};
//!
//! fn serve(server: &mut Server, mut input: &[u8], now: Duration, out: &mut Vec<u8>) -> Result<(), ConnectionError> {
//!     let (mut head, mut text) = (RequestHead::default(), Vec::new());
//!     loop {
//!         let step = server.receive(input, now, &mut head, &mut text)?;
//!         let (dealt_with, rest) = input.split_at(step.consumed);
//!         input = rest;
//!         match step.event {
//!             None => break, // wait for more input
//!             Some(Event::Request { stream, .. }) => {
//!                 let body = head.target.path.of(&text);
//!                 let fields = [(&b"content-type"[..], &b"text/plain"[..])];
//!                 if server.respond(stream, 200, fields.into_iter(), false, now, out).is_ok()
//!                     && let Some(len) = server.data(stream, body.len(), true, now, out)
//!                 {
//!                     out.extend_from_slice(&body[..len]);
//!                 }
//!             }
//!             Some(Event::Data { stream, data, .. }) => {
//!                 let _bytes = data.of(dealt_with);
//!                 server.consumed(stream, data.len(), now);
//!             }
//!             Some(_) => {}
//!         }
//!     }
//!     server.output(out);
//!     Ok(())
//! }
//!
//! let (mut server, mut out) = (Server::new(&Config::default(), Duration::ZERO), Vec::new());
//! let input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
//!               \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
//! serve(&mut server, input, Duration::ZERO, &mut out)?;
//! assert!(out.ends_with(b"/"));
//! # Ok::<(), ConnectionError>(())
//! ```
//!
//! A client:
//!
//! ```
//! use std::time::Duration;
//! use ringway_proto::http2::{Client, Config, RequestLine};
//!
//! let (mut client, mut out) = (Client::new(&Config::default(), Duration::ZERO), Vec::new());
//! let line =
//!     RequestLine { method: b"GET", scheme: b"http", authority: b"example.com", path: b"/", protocol: None };
//! let stream = client.request(&line, std::iter::empty(), true, Duration::ZERO, &mut out)?;
//! assert_eq!(stream.id(), 1);
//! assert!(out.starts_with(b"PRI * HTTP/2.0"));
//! // Then `receive` gives `Event::Response` and `Event::Data`, as for a server.
//! # Ok::<(), ringway_proto::http2::SendError>(())
//! ```

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
#[allow(
    clippy::large_types_passed_by_value,
    clippy::large_stack_arrays,
    reason = "configurations and frames of full size are made where they are used"
)]
mod tests;
