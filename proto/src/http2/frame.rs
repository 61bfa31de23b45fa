//! Frames as bytes (RFC 9113 section 4 and 6).

use super::error::{Fault, Violation};

/// Bytes of a frame's header.
pub(super) const HEADER: usize = 9;

/// What a client sends first (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;
pub(super) const PRIORITY_UPDATE: u8 = 0x10;

/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x4;
/// Of DATA and HEADERS.
pub(super) const PADDED: u8 = 0x8;
/// Of HEADERS.
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// The highest stream identifier, and the largest window (section 6.9.1).
pub(super) const MAX: u32 = (1 << 31) - 1;

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Header {
    /// Reads a header; the reserved bit is ignored (section 4.1).
    #[inline]
    pub(super) fn read(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Self { len: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream: u32::from_be_bytes(stream) & MAX }
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Checks what the header alone can break: the stream and the length that each type must have. Stream errors come
    /// only from frames that have a stream.
    pub(super) fn check(&self) -> Result<(), Violation> {
        match self.kind {
            DATA | HEADERS | PRIORITY | RST_STREAM | CONTINUATION if self.stream == 0 => Err(Fault::StreamZero.into()),
            SETTINGS | PING | GOAWAY | PRIORITY_UPDATE if self.stream != 0 => Err(Fault::StreamNotZero.into()),
            PUSH_PROMISE => Err(Fault::PushPromise.into()),
            PRIORITY if self.len != 5 => Err(Violation::Stream(self.stream, Fault::FrameSize)),
            RST_STREAM | WINDOW_UPDATE if self.len != 4 => Err(Fault::FrameSize.into()),
            PING if self.len != 8 => Err(Fault::FrameSize.into()),
            GOAWAY if self.len < 8 => Err(Fault::FrameSize.into()),
            PRIORITY_UPDATE if self.len < 4 => Err(Fault::FrameSize.into()),
            SETTINGS if self.has(ACK) && self.len != 0 => Err(Fault::FrameSize.into()),
            SETTINGS if !self.len.is_multiple_of(6) => Err(Fault::FrameSize.into()),
            _ => Ok(()),
        }
    }
}

/// A big-endian number at the start of a payload; 0 where there are too few bytes, which [`Header::check`] precludes.
#[inline]
pub(super) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The header of a frame.
#[inline]
pub(super) fn header_bytes(len: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEADER] {
    let [_, len @ ..] = (len as u32).to_be_bytes();
    let mut bytes = [len[0], len[1], len[2], kind, flags, 0, 0, 0, 0];
    if let Some(place) = bytes.last_chunk_mut::<4>() {
        *place = stream.to_be_bytes();
    }
    bytes
}

/// Appends the header of a frame.
#[inline]
pub(super) fn header(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&header_bytes(len, kind, flags, stream));
}

/// Appends a frame whose payload is one number.
pub(super) fn with_number(out: &mut Vec<u8>, kind: u8, stream: u32, number: u32) {
    header(out, 4, kind, 0, stream);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a PING.
pub(super) fn ping(out: &mut Vec<u8>, flags: u8, data: [u8; 8]) {
    header(out, 8, PING, flags, 0);
    out.extend_from_slice(&data);
}

/// Appends a GOAWAY; its text is for whoever looks into it.
pub(super) fn goaway(out: &mut Vec<u8>, last: u32, code: u32, text: &str) {
    header(out, 8 + text.len(), GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Takes the padding off the payload of a frame (section 6.1).
pub(super) fn unpadded(header: Header, payload: &[u8]) -> Result<&[u8], Fault> {
    if !header.has(PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Fault::FrameSize)?;
    rest.len().checked_sub(usize::from(padding)).and_then(|len| rest.get(..len)).ok_or(Fault::Padding)
}

/// What the start of a connection's input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preface {
    /// The connection preface of HTTP/2.
    Http2,
    /// Something else, such as HTTP/1.1.
    Other,
    /// It may become either.
    Partial,
}

/// Looks whether a connection starts as HTTP/2 does (section 3.4). No HTTP/1.1 request starts so.
pub fn preface(input: &[u8]) -> Preface {
    let len = input.len().min(PREFACE.len());
    if input.get(..len) != PREFACE.get(..len) {
        Preface::Other
    } else if len == PREFACE.len() {
        Preface::Http2
    } else {
        Preface::Partial
    }
}
