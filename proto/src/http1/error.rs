//! Why a message is refused. Every refusal has a stable `snake_case` code, the same in the log, the metric and the
//! answer's body, and, for what a client sent, the status it is answered with.

use std::fmt;

/// Declares one enum of refusals with its codes, statuses and texts, and optionally variants that wrap another's.
macro_rules! refusals {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $text:literal; )*
        }
        $( wraps { $( $(#[$wrap_doc:meta])* $wrap:ident($inner:ident) = $inner_status:expr; )* } )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $( $(#[$doc])* #[doc = concat!("(`", $code, "`)")] $variant, )*
            $( $( $(#[$wrap_doc])* $wrap($inner), )* )?
        }

        impl $name {
            /// The stable reason code, in `snake_case`.
            pub fn code(self) -> &'static str {
                match self {
                    $( Self::$variant => $code, )*
                    $( $( Self::$wrap(inner) => inner.code(), )* )?
                }
            }

            /// The status the client is answered with: for [`ResponseError`] always 502, for a body the client sent the one
            /// here, for a body the upstream sent none, since the answer has begun.
            pub fn status(self) -> u16 {
                match self {
                    $( Self::$variant => $status, )*
                    $( $( Self::$wrap(inner) => ($inner_status)(inner), )* )?
                }
            }

            /// Every value, each once: to size a table of counters, or to document the codes.
            pub fn all() -> impl Iterator<Item = Self> {
                let own: &'static [Self] = &[$( Self::$variant, )*];
                own.iter().copied() $( $( .chain($inner::all().map(Self::$wrap)) )* )?
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$variant => f.write_str($text), )*
                    $( $( Self::$wrap(inner) => inner.fmt(f), )* )?
                }
            }
        }

        impl std::error::Error for $name {}

        $( $( impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self::$wrap(inner)
            }
        } )* )?
    };
}

refusals! {
    /// A line of a head or of a trailer section breaks the grammar of fields (RFC 9112 section 5) or a limit.
    FieldError {
        /// CR that no LF follows (RFC 9112 section 2.2).
        BareCr = "bare_cr", 400, "a carriage return stands alone";
        /// LF that no CR precedes; lines end with CRLF only.
        BareLf = "bare_lf", 400, "a line ends with a bare line feed";
        /// NUL anywhere in a field line (RFC 9110 section 5.5).
        Nul = "nul_byte", 400, "a field line contains a NUL byte";
        /// A control byte other than HTAB in a field value (RFC 9110 section 5.5).
        ControlByte = "control_byte", 400, "a field value contains a control byte";
        /// A field line without a name.
        EmptyName = "empty_field_name", 400, "a field line has no name";
        /// A field name that is not a token (RFC 9110 section 5.1).
        BadName = "bad_field_name", 400, "a field name is not a token";
        /// Whitespace between a field name and its colon (RFC 9112 section 5.1).
        SpaceBeforeColon = "space_before_colon", 400, "whitespace stands between a field name and its colon";
        /// A field line without a colon.
        MissingColon = "missing_colon", 400, "a field line has no colon";
        /// A line that starts with whitespace and so continues the one before it (RFC 9112 section 5.2).
        ObsFold = "obs_fold", 400, "a field is folded over several lines";
        /// Whitespace before the first field (RFC 9112 section 2.2).
        SpaceBeforeFirstField = "space_before_first_field", 400, "the line after the start line begins with whitespace";
        /// A field line longer than [`Limits::line`](super::Limits::line).
        LineTooLong = "field_line_too_long", 431, "a field line is too long";
        /// More field lines than [`Limits::fields`](super::Limits::fields).
        TooMany = "too_many_fields", 431, "there are too many fields";
    }
}

refusals! {
    /// A head says something of its body or its connection that is contradictory or not understood
    /// (RFC 9112 sections 6 and 9).
    FramingError {
        /// Content-Length and Transfer-Encoding in one head (RFC 9112 section 6.1).
        LengthWithEncoding = "content_length_with_transfer_encoding", 400, "Content-Length and Transfer-Encoding are both present";
        /// More than one Content-Length, as lines or as a list, equal or not (RFC 9110 section 8.6 lets a
        /// recipient refuse equal ones, too; no honest client sends them).
        DuplicateLength = "duplicate_content_length", 400, "Content-Length occurs more than once";
        /// A Content-Length that is not digits only.
        BadLength = "bad_content_length", 400, "Content-Length is not a decimal number";
        /// A Content-Length of more than 19 digits.
        LengthOverflow = "content_length_overflow", 400, "Content-Length is too large to count";
        /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 section 6.1).
        EncodingInHttp10 = "transfer_encoding_in_http10", 400, "HTTP/1.0 has no Transfer-Encoding";
        /// A Transfer-Encoding that is empty, has parameters or is not a list of tokens.
        BadEncoding = "bad_transfer_encoding", 400, "Transfer-Encoding is malformed";
        /// `chunked` twice (RFC 9112 section 6.1).
        DuplicateChunked = "duplicate_chunked", 400, "chunked is applied more than once";
        /// The last coding is not `chunked`, so that the length is unknown (RFC 9112 section 6.3, rule 4).
        NotChunked = "transfer_encoding_not_chunked", 400, "the last transfer coding is not chunked";
        /// A coding under `chunked` that the gateway does not speak (RFC 9112 section 6.1).
        UnknownCoding = "transfer_coding_unsupported", 501, "a transfer coding other than chunked is not supported";
        /// A Connection value that is not a list of tokens (RFC 9110 section 7.6.1).
        BadConnection = "bad_connection", 400, "Connection is not a list of tokens";
        /// More names in Connection than are worth looking up.
        TooManyOptions = "too_many_connection_options", 400, "Connection names too many fields";
    }
}

refusals! {
    /// Why a request head is refused. After any of these the connection cannot be read further and is closed.
    RequestError {
        /// The request line is not `method SP target SP version`.
        BadRequestLine = "bad_request_line", 400, "the request line is not a method, a target and a version, one space apart";
        /// More than one empty line before the request line (RFC 9112 section 2.2 asks to ignore at least one).
        BlankLine = "blank_line_before_request", 400, "more than one empty line precedes the request line";
        /// Whitespace before the method.
        LeadingSpace = "space_before_method", 400, "whitespace precedes the method";
        /// A method that is not a token.
        BadMethod = "bad_method", 400, "the method is not a token";
        /// A method longer than any there is (RFC 9112 section 3).
        MethodTooLong = "method_too_long", 501, "the method is too long";
        /// A target that fits none of the four forms, or not its method (RFC 9112 section 3.2).
        BadTarget = "bad_target", 400, "the request target is malformed";
        /// A target with a fragment, which is never sent (RFC 9110 section 7.1).
        TargetFragment = "target_fragment", 400, "the request target has a fragment";
        /// An absolute-form target whose scheme is neither http nor https.
        TargetScheme = "target_scheme", 400, "the request target's scheme is neither http nor https";
        /// A version that is not `HTTP/` digit `.` digit.
        BadVersion = "bad_version", 400, "the protocol version is malformed";
        /// A well-formed version other than 1.0 and 1.1.
        VersionUnsupported = "version_unsupported", 505, "only HTTP/1.0 and HTTP/1.1 are spoken here";
        /// A request line longer than [`Limits::line`](super::Limits::line).
        LineTooLong = "request_line_too_long", 414, "the request line is too long";
        /// A head longer than [`Limits::head`](super::Limits::head).
        HeadTooLarge = "head_too_large", 431, "the head is too large";
        /// HTTP/1.1 without Host (RFC 9112 section 3.2).
        HostMissing = "host_missing", 400, "Host is missing";
        /// Host twice (RFC 9112 section 3.2).
        DuplicateHost = "duplicate_host", 400, "Host occurs more than once";
        /// A Host that is not `name[:port]`, `address[:port]` or `[address][:port]`.
        BadHost = "bad_host", 400, "Host is malformed";
        /// Host differs from the authority in the target: which of them counts depends on who reads it
        /// (RFC 9112 section 3.2 obliges a client to send the same).
        HostMismatch = "host_mismatch", 400, "Host differs from the authority in the request target";
        /// An Expect other than `100-continue` (RFC 9110 section 10.1.1).
        ExpectationFailed = "expectation_failed", 417, "Expect asks for something other than 100-continue";
    }
    wraps {
        /// A field line is malformed.
        Field(FieldError) = FieldError::status;
        /// The body's length or the connection's options are contradictory.
        Framing(FramingError) = FramingError::status;
    }
}

refusals! {
    /// Why a response head is refused. The connection it came on is closed, and the client is answered 502.
    ResponseError {
        /// The first line is not a status line (RFC 9112 section 4).
        BadStatusLine = "bad_status_line", 502, "the status line is malformed";
        /// A status that is not three digits from 100 to 599 (RFC 9110 section 15).
        BadStatus = "bad_status", 502, "the status code is not from 100 to 599";
        /// A version that is not `HTTP/` digit `.` digit.
        BadVersion = "bad_response_version", 502, "the protocol version is malformed";
        /// A well-formed version other than 1.0 and 1.1.
        VersionUnsupported = "response_version_unsupported", 502, "the answer is neither HTTP/1.0 nor HTTP/1.1";
        /// A control byte in the reason phrase.
        BadReason = "bad_reason_phrase", 502, "the reason phrase contains a control byte";
        /// A status line longer than [`Limits::line`](super::Limits::line).
        LineTooLong = "status_line_too_long", 502, "the status line is too long";
        /// A head longer than [`Limits::head`](super::Limits::head).
        HeadTooLarge = "response_head_too_large", 502, "the head is too large";
        /// Transfer-Encoding, or a Content-Length above zero, in a 1xx or 204 answer (RFC 9112 section 6.1,
        /// RFC 9110 section 8.6): its sender may believe that a body follows.
        BodyForbidden = "body_forbidden", 502, "an answer that cannot have a body announces one";
        /// 101 without Upgrade and `Connection: upgrade` (RFC 9110 section 15.2.2).
        BadSwitch = "bad_switching_protocols", 502, "101 does not name the protocol it switches to";
    }
    wraps {
        /// A field line is malformed.
        Field(FieldError) = |_| 502;
        /// The body's length or the connection's options are contradictory.
        Framing(FramingError) = |_| 502;
    }
}

refusals! {
    /// Why a message body is refused. The connection cannot be read further and is closed.
    BodyError {
        /// A chunk line that does not start with a hexadecimal number (RFC 9112 section 7.1).
        BadChunkSize = "bad_chunk_size", 400, "a chunk size is not a hexadecimal number";
        /// A chunk size of more than 16 digits.
        ChunkSizeOverflow = "chunk_size_overflow", 400, "a chunk size is too large to count";
        /// A chunk line longer than [`Limits::chunk_line`](super::Limits::chunk_line).
        ChunkLineTooLong = "chunk_line_too_long", 400, "a chunk line is too long";
        /// A control byte in a chunk extension.
        BadChunkExtension = "bad_chunk_extension", 400, "a chunk extension is malformed";
        /// Chunk extensions outweigh the data by more than [`Limits::extensions`](super::Limits::extensions).
        ChunkExtensionsTooLarge = "chunk_extensions_too_large", 400, "the chunk extensions outweigh the data";
        /// CR without LF in chunk framing.
        BareCr = "bare_cr_in_chunk", 400, "a carriage return stands alone in chunk framing";
        /// LF without CR in chunk framing.
        BareLf = "bare_lf_in_chunk", 400, "a chunk line ends with a bare line feed";
        /// Something other than CRLF after a chunk's data.
        ChunkDataEnd = "bad_chunk_end", 400, "a chunk's data is not followed by CRLF";
        /// A trailer section longer than [`Limits::trailers`](super::Limits::trailers).
        TrailersTooLarge = "trailers_too_large", 431, "the trailer section is too large";
        /// The connection ended inside the body.
        Truncated = "body_truncated", 400, "the connection ended inside the body";
    }
    wraps {
        /// A trailer line is malformed.
        Trailer(FieldError) = FieldError::status;
    }
}
