//! gRPC over HTTP ([PROTOCOL-HTTP2]) and gRPC-Web ([PROTOCOL-WEB]), for what stands between two sides and for an endpoint.
//!
//! [`Reader`] follows the messages that one side sends and keeps none of their bytes, so that a proxy can pass them on as
//! they came. [`Messages`] stands on it and gathers whole messages, for an endpoint. [`web`] makes gRPC of gRPC-Web and
//! the other way round. [`Code`], [`message`] and [`timeout`] are the values of the fields `grpc-status`, `grpc-message`
//! and `grpc-timeout`; [`health`] is the two messages of `grpc.health.v1`.
//!
//! ```
//! use ringway_proto::grpc::{Prefix, Reader};
//!
//! let mut reader = Reader::new(1024);
//! // A message of five bytes, and the first byte of the next one.
//! let step = reader.next(b"\0\0\0\0\x05hello\0").unwrap();
//! assert_eq!((step.taken, step.is_end), (10, true));
//! assert_eq!(Prefix::DATA.to_bytes(5), *b"\0\0\0\0\x05");
//! ```
//!
//! [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
//! [PROTOCOL-WEB]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md

mod base64;
mod content_type;
mod error;
mod frame;
pub mod health;
pub mod message;
mod messages;
mod said;
mod status;
pub mod timeout;
pub mod web;

pub use base64::{Decoder, Encoder};
pub use content_type::{Wire, content_type};
pub use error::FrameError;
pub use frame::{PREFIX, Prefix, Reader, Step};
pub use messages::{Incoming, Messages};
pub use said::{Pushback, Said};
pub use status::Code;

#[cfg(test)]
mod tests;
