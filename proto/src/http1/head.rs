//! What decoding a head gives.

use super::{Known, Span};

/// Bounds on what is accepted of one message. Reaching a bound is allowed, passing it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes in a start line or a field line, without its CRLF. Default 8 KiB.
    pub line: usize,
    /// Bytes in a head, with all its line ends; also what a buffer must be able to hold. Default 32 KiB, at most 4 GiB.
    pub head: usize,
    /// Field lines in a head, and again in a trailer section. Default 100.
    pub fields: usize,
    /// Bytes in a chunk line, without its CRLF. Default 256.
    pub chunk_line: usize,
    /// Bytes by which the chunk extensions of one body may outweigh its data. Default 8 KiB.
    pub extensions: usize,
    /// Bytes in a trailer section, with all its line ends; also what a buffer must be able to hold. Default 8 KiB.
    pub trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: 8192, head: 32_768, fields: 100, chunk_line: 256, extensions: 8192, trailers: 8192 }
    }
}

/// Whether a head was decoded or more bytes are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The head is whole and filled in.
    Complete,
    /// Call again with the same bytes and more.
    Partial,
}

/// The protocol versions spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// A request method (RFC 9110 section 9, RFC 5789). Methods are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// CONNECT.
    Connect,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// The method a token names.
    #[inline]
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether the client asks for no change (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// How the end of a message body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// This many bytes. Whether that is too many is the caller's to say (413).
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// All until the connection ends. Responses only.
    UntilClose,
}

/// The four forms of a request target (RFC 9112 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, of CONNECT and nothing else.
    Authority,
    /// `*`, of OPTIONS and nothing else.
    Asterisk,
}

/// A request target in parts. All bytes are visible ASCII and none is `#`; whether the path is unambiguous is for
/// whoever normalizes it to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// Which form it has.
    pub form: TargetForm,
    /// All of it, as sent.
    pub whole: Span,
    /// The authority of absolute and authority form, else empty.
    pub authority: Span,
    /// The path of origin and absolute form, from its slash to the `?` or the end. Empty for the other forms, and
    /// for an absolute form without a path, which means `/` (see [`Target::path_of`]).
    pub path: Span,
    /// What follows the first `?`, which may be empty; `None` without a `?`.
    pub query: Option<Span>,
}

impl Target {
    /// The path to route by: an absolute form without one means `/` (RFC 9110 section 4.2.3). OPTIONS is the
    /// exception, where it means `*` (RFC 9112 section 3.2.4): look at [`Target::path`] before sending that on.
    pub fn path_of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        if self.form == TargetForm::Absolute && self.path.is_empty() { b"/" } else { self.path.of(input) }
    }
}

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as sent: a token, its case kept.
    pub name: Span,
    /// The value without the whitespace around it. HTAB and bytes from 0x20, without 0x7f.
    pub value: Span,
    /// Which field it is, if the codec knows it.
    pub known: Known,
    /// Whether it is meant for this connection only and must not be forwarded (RFC 9110 section 7.6.1): a field
    /// whose nature that is ([`Known::is_connection_specific`]), or an unknown field that Connection names.
    ///
    /// Known end-to-end fields (Host, Content-Length, Authorization, Cookie, Forwarded, X-Forwarded-\*, Via,
    /// Cache-Control and so on) stay even when Connection names them: else a client could have a gateway delete
    /// what the gateway or a proxy before it asserts, which section 7.6.1 forbids to ask for.
    pub hop_by_hop: bool,
}

/// A decoded request head. Reused from request to request: decoding clears it first.
/// Meaningful only after [`Progress::Complete`].
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's bytes.
    pub method_span: Span,
    /// The target.
    pub target: Target,
    /// The effective authority, `host[:port]`, checked by [`values::authority`](super::values::authority): that of
    /// the target where it has one (RFC 9112 section 3.2.2), else Host. Empty only for HTTP/1.0 without Host.
    pub host: Span,
    /// The version.
    pub version: Version,
    /// The field lines in order.
    pub fields: Vec<Field>,
    /// How the body's end is found; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether another request may follow on the connection (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body (RFC 9110 section 10.1.1). False for HTTP/1.0 and
    /// where no body is announced.
    pub expect_continue: bool,
    /// Whether the client asks to switch protocols: Upgrade is present, Connection says `upgrade`, and the version
    /// is 1.1 (RFC 9110 section 7.8).
    pub upgrade: bool,
    /// Whether Early-Data is there, whatever it holds (RFC 8470 section 5.1).
    pub early_data: bool,
    /// Bytes of input the head takes, from the input's first byte to the end of its empty line.
    pub len: usize,
}

/// A decoded response head. Reused from response to response: decoding clears it first.
/// Meaningful only after [`Progress::Complete`].
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status, 100 to 599.
    pub status: u16,
    /// The reason phrase, often empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// The field lines in order.
    pub fields: Vec<Field>,
    /// How the body's end is found, given the method of the request.
    pub framing: Framing,
    /// Content-Length as sent, also where no body follows it (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether another response may follow on the connection (RFC 9112 section 9.3). False for
    /// [`Framing::UntilClose`].
    pub keep_alive: bool,
    /// Whether the status is 101: what follows is no longer HTTP/1.
    pub upgrade: bool,
    /// Bytes of input the head takes.
    pub len: usize,
}

impl ResponseHead {
    /// Whether another head follows this one for the same request: 1xx, but for 101 (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}
