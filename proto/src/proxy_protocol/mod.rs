//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): the header by which a proxy in front tells
//! who a connection is from, before the first byte of the connection itself.
//!
//! - [`decode`] reads the header at the start of a buffer; nothing is copied and nothing is allocated.
//! - [`encode_v1`] and [`encode_v2`] append one to a buffer.
//!
//! The codec refuses and never repairs. What it refuses has a stable code ([`HeaderError`]). The same bytes give the
//! same answer in whatever pieces they arrive: a piece is refused as soon as no further bytes could make a header of it,
//! and a line of version 1 once it has ended.
//!
//! ```
//! use ringway_proto::proxy_protocol::{Limits, Progress, Said, Version, decode};
//!
//! let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\nGET / HTTP/1.1\r\n";
//! let Progress::Complete(header) = decode(bytes, &Limits::default()).unwrap() else { panic!() };
//! assert_eq!((header.version, header.len), (Version::V1, 45));
//! let Said::Inet { source, .. } = header.said else { panic!() };
//! assert_eq!(source.to_string(), "192.0.2.7:40000");
//! ```

mod crc32c;
mod encode;
mod error;
mod text;
mod tlv;
mod v2;

use std::net::SocketAddr;

pub use encode::{Extras, encode_v1, encode_v2};
pub use error::HeaderError;
pub use tlv::{Ssl, Tlvs};

/// Bytes of a header of version 1 at most, with its line end (section 2.1).
pub const V1_MAX: usize = 107;
/// Bytes of a `UNIQUE_ID` at most (section 2.2.5).
pub const UNIQUE_ID_MAX: usize = 128;
/// Bytes of an `AUTHORITY` at most: a host name has no more.
pub const AUTHORITY_MAX: usize = 255;
/// Bytes of a Unix socket's name, unused ones included (section 2.2).
pub const UNIX_NAME: usize = 108;

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the part of version 2 that is always there.
const FIXED: usize = 16;

/// Which form a header has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Bounds on what is accepted. Reaching a bound is allowed, passing it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a header; also what a buffer must be able to hold. Default 4 KiB. A line of version 1 has at most
    /// [`V1_MAX`] whatever this says.
    pub header: usize,
    /// Extensions (TLVs) of a header, those inside another included. Default 32.
    pub tlvs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: 4096, tlvs: 32 }
    }
}

/// Whether a header was decoded or more bytes are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress<'a> {
    /// The header is whole.
    Complete(Header<'a>),
    /// Call again with the same bytes and more.
    Partial,
}

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Its bytes. What follows is the connection's.
    pub len: usize,
    /// Its form.
    pub version: Version,
    /// Who the connection is from.
    pub said: Said<'a>,
    /// What else is said of it.
    pub tlvs: Tlvs<'a>,
}

/// Who a connection is from and where it was going.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'a> {
    /// The sender speaks for itself, as in its health checks (`LOCAL`), or cannot tell (`UNKNOWN`, `UNSPEC`). Whatever
    /// else the header has was not read: it means nothing.
    Nothing {
        /// Whether the command is `LOCAL`.
        is_local: bool,
    },
    /// A TCP connection. Both ends are of the same family.
    Inet {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// A connection of a Unix socket. Unused bytes at the end of a name are left out; names of the abstract namespace
    /// begin with NUL.
    Unix {
        /// The client's name. Most have none.
        source: &'a [u8],
        /// The name of what it connected to.
        destination: &'a [u8],
    },
}

/// Decodes the header at the start of `bytes`. A connection where one is required and something else comes is refused:
/// to guess whether there is one would let a client say that it is somebody else.
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Progress<'a>, HeaderError> {
    match bytes.first() {
        None => Ok(Progress::Partial),
        Some(b'P') => text::decode(bytes, limits),
        Some(_) => v2::decode(bytes, limits),
    }
}

/// Whether `bytes` may be the beginning of something that begins with `wanted`.
fn may_begin(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.iter().zip(wanted).all(|(byte, wanted)| byte == wanted)
}

#[cfg(test)]
mod tests;
