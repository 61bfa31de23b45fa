//! HTTP/1.0 and HTTP/1.1 (RFC 9112), both directions.
//!
//! - [`decode_request`] and [`decode_response`] turn the bytes at the start of a buffer into a head made of
//!   ranges ([`Span`]) of that buffer; nothing is copied and nothing is allocated once the field list has grown.
//! - [`Body`] walks a message body by its [`Framing`] and says which bytes are data.
//! - [`encode`] appends start lines, fields and chunk framing to a buffer.
//! - [`values`] reads the small grammars inside field values.
//!
//! The codec refuses and never repairs: whatever two parsers could read in two ways is an error with a stable
//! code. The same bytes give the same answer in whatever pieces they arrive; pieces may only delay a refusal until
//! its line has ended.
//!
//! Heads are read in one pass, a machine word at a time: names by class, values by control byte, so that a bare CR or
//! LF, a NUL or a fold cannot slip by. `benches/http1.rs` sets the cost beside httparse's, which finds the same
//! slices but takes a bare LF for a line end and says nothing of framing; tests and fuzz targets use it as the second
//! opinion: whatever is accepted here, it accepts and reads the same.

mod body;
pub mod encode;
mod error;
mod framing;
mod head;
mod known;
mod line;
mod request;
mod response;
mod scan;
mod span;
pub mod values;

pub use body::{Body, Event, EventKind, Trailers};
pub use error::{BodyError, FieldError, FramingError, RequestError, ResponseError};
pub use head::{Field, Framing, Limits, Method, Progress, RequestHead, ResponseHead, Target, TargetForm, Version};
pub use known::Known;
pub use request::decode_request;
pub(crate) use request::{METHOD_MAX, path_target};
pub use response::decode_response;
pub use scan::HeadScan;
pub use span::Span;

#[cfg(test)]
mod tests;
