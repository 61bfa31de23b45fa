//! HPACK: header compression for HTTP/2 (RFC 7541), both directions.
//!
//! - [`Decoder`] reads the fields of a block, one a call, and appends each to the caller's buffer as the line
//!   `name: value CRLF`, with ranges ([`Field`]): what HTTP/1.1 writes, so that a head that came over HTTP/2 can be
//!   kept, edited and sent on like any other.
//! - [`Encoder`] appends fields to a block.
//!
//! Both keep their dynamic table as one ring of bytes that grows to its maximum at most. Once it has grown, nothing
//! is allocated. The decoder bounds what it makes of a block: [`Block::new`] takes the most that the fields may come
//! to, counted as tables count them, so that a short block cannot stand for a long head (CVE-2016-6581).
//!
//! ```
//! use ringway_proto::hpack::{Block, Decoder, Encoder};
//!
//! let (mut encoder, mut block) = (Encoder::new(4096), Vec::new());
//! encoder.begin(&mut block);
//! encoder.field(b":method", b"GET", &mut block);
//! encoder.field(b"Accept", b"text/html", &mut block);
//!
//! let (mut decoder, mut text) = (Decoder::new(4096), Vec::new());
//! let mut reader = Block::new(&block, 16_384);
//! while let Some(field) = decoder.next(&mut reader, &mut text)? {
//!     assert!(!field.name.is_empty());
//! }
//! assert_eq!(text, b":method: GET\r\naccept: text/html\r\n");
//! # Ok::<(), ringway_proto::hpack::HpackError>(())
//! ```

mod decoder;
mod encoder;
mod error;
mod huffman;
mod integer;
mod static_table;
mod table;

pub use decoder::{Block, Decoder, Field};
pub use encoder::Encoder;
pub use error::HpackError;

/// What a field costs in a table and in a list, besides its bytes (RFC 7541 section 4.1, RFC 9113 section 6.5.2).
pub const FIELD_COST: usize = 32;

/// The size of a dynamic table unless settings say otherwise (RFC 9113 section 6.5.2).
pub const DEFAULT_TABLE_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
