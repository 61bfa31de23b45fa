//! Why a stream or a connection ends. Every fault has a stable `snake_case` code, the same in the log and the metric,
//! and the error code that the peer is told.

use std::fmt;

use crate::hpack::HpackError;
use crate::http1::{FieldError, FramingError, RequestError, ResponseError};

/// An error code as frames carry it (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// All is well.
    NoError,
    /// The protocol was broken in a way that no other code tells.
    ProtocolError,
    /// The sender itself failed.
    InternalError,
    /// More was sent than the window allowed, or the window grew too large.
    FlowControlError,
    /// Settings were not acknowledged in time.
    SettingsTimeout,
    /// A frame came for a stream that is closed for it.
    StreamClosed,
    /// A frame has a length that it cannot have.
    FrameSizeError,
    /// The stream was not processed at all: it may be sent again.
    RefusedStream,
    /// The stream is no longer needed.
    Cancel,
    /// The tables of HPACK differ.
    CompressionError,
    /// The connection that CONNECT made broke.
    ConnectError,
    /// The peer costs more than it is worth.
    EnhanceYourCalm,
    /// TLS is too weak.
    InadequateSecurity,
    /// HTTP/1.1 should be used.
    Http11Required,
    /// A code of nobody's; it is treated as [`ErrorCode::InternalError`] would be.
    Other(u32),
}

impl ErrorCode {
    const KNOWN: [Self; 14] = [
        Self::NoError,
        Self::ProtocolError,
        Self::InternalError,
        Self::FlowControlError,
        Self::SettingsTimeout,
        Self::StreamClosed,
        Self::FrameSizeError,
        Self::RefusedStream,
        Self::Cancel,
        Self::CompressionError,
        Self::ConnectError,
        Self::EnhanceYourCalm,
        Self::InadequateSecurity,
        Self::Http11Required,
    ];

    /// The code a number stands for.
    pub fn from_u32(number: u32) -> Self {
        Self::KNOWN.get(number as usize).copied().unwrap_or(Self::Other(number))
    }

    /// The number of the code.
    pub fn to_u32(self) -> u32 {
        match self {
            Self::Other(number) => number,
            known => Self::KNOWN.iter().position(|&other| other == known).unwrap_or_default() as u32,
        }
    }
}

/// Declares one enum of faults: the variant, its stable code, what else it says, and its text.
macro_rules! faults {
    (
        $(#[$meta:meta])*
        $name:ident, $(#[$get_doc:meta])* $get:ident: $type:ty {
            $( $(#[$doc:meta])* $variant:ident = $code:literal, $value:expr, $text:literal; )*
        }
        wraps { $( $(#[$wrap_doc:meta])* $wrap:ident($inner:ident) = $inner_value:expr, $all:expr; )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $( $(#[$doc])* #[doc = concat!("(`", $code, "`)")] $variant, )*
            $( $(#[$wrap_doc])* $wrap($inner), )*
        }

        impl $name {
            /// The stable reason code, in `snake_case`.
            pub fn code(self) -> &'static str {
                match self {
                    $( Self::$variant => $code, )*
                    $( Self::$wrap(inner) => inner.code(), )*
                }
            }

            $(#[$get_doc])*
            pub fn $get(self) -> $type {
                match self {
                    $( Self::$variant => $value, )*
                    $( Self::$wrap(inner) => ($inner_value)(inner), )*
                }
            }

            /// Every value, each once: to size a table of counters, or to document the codes.
            pub fn all() -> impl Iterator<Item = Self> {
                let own: &'static [Self] = &[$( Self::$variant, )*];
                own.iter().copied() $( .chain($all.map(Self::$wrap)) )*
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$variant => f.write_str($text), )*
                    $( Self::$wrap(inner) => inner.fmt(f), )*
                }
            }
        }

        impl std::error::Error for $name {}

        $( impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self::$wrap(inner)
            }
        } )*
    };
}

faults! {
    /// A head or a trailer section is malformed (RFC 9113 section 8.1.1) or more than is accepted.
    HeadError,
    /// The status a request of that kind is answered with, where it is answered at all
    /// ([`HeadError::is_answerable`]).
    status: u16 {
        /// A pseudo-header field that does not exist, or not in this direction (section 8.3).
        PseudoUnknown = "h2_unknown_pseudo_header", 400, "a pseudo-header field is unknown";
        /// A pseudo-header field twice (section 8.3).
        PseudoDuplicate = "h2_duplicate_pseudo_header", 400, "a pseudo-header field occurs twice";
        /// A pseudo-header field after a field (section 8.3).
        PseudoLate = "h2_late_pseudo_header", 400, "a pseudo-header field follows a field";
        /// A pseudo-header field in trailers (section 8.1).
        PseudoInTrailers = "h2_pseudo_header_in_trailers", 400, "a pseudo-header field stands in trailers";
        /// A pseudo-header field that must be there is not (section 8.3.1, RFC 8441 section 4).
        PseudoMissing = "h2_missing_pseudo_header", 400, "a pseudo-header field is missing";
        /// A pseudo-header field that must not be there with this method (section 8.5, RFC 8441 section 4).
        PseudoForbidden = "h2_forbidden_pseudo_header", 400, "a pseudo-header field does not go with the method";
        /// An upper-case letter in a field name (section 8.2.1).
        Uppercase = "h2_uppercase_field_name", 400, "a field name has an upper-case letter";
        /// Whitespace around a field value (section 8.2.1).
        SpaceAroundValue = "h2_space_around_value", 400, "whitespace stands around a field value";
        /// A field that speaks of an HTTP/1.1 connection (section 8.2.2).
        ConnectionSpecific = "h2_connection_specific_field", 400, "a field speaks of an HTTP/1.1 connection";
        /// TE other than `trailers` (section 8.2.2).
        BadTe = "h2_bad_te", 400, "TE is something other than trailers";
        /// A scheme other than http and https.
        BadScheme = "h2_bad_scheme", 400, "the scheme is neither http nor https";
        /// A `:protocol` that is no token (RFC 8441 section 4).
        BadProtocol = "h2_bad_protocol", 400, "the protocol is not a token";
        /// Content-Length in an extended CONNECT, whose data is no content (RFC 9110 section 9.3.6).
        ConnectLength = "h2_connect_length", 400, "CONNECT has no content and so no Content-Length";
        /// An interim response that ends the stream (section 8.1).
        InterimEnd = "h2_interim_response_ends", 502, "an interim response ends the stream";
        /// 101, which HTTP/2 does not have (section 8.6).
        SwitchingProtocols = "h2_switching_protocols", 502, "101 does not exist in HTTP/2";
        /// A second head that does not end the stream (section 8.1).
        TrailersWithoutEnd = "h2_trailers_without_end", 400, "trailers do not end the stream";
        /// CONNECT, which the gateway does not offer.
        Connect = "connect_not_supported", 501, "CONNECT is not supported";
        /// More fields than [`Limits::fields`](super::Limits::fields).
        TooManyFields = "too_many_fields", 431, "there are too many fields";
        /// Fields that come to more than [`Limits::list`](super::Limits::list).
        TooLarge = "head_too_large", 431, "the head is too large";
        /// A target longer than [`Limits::line`](super::Limits::line).
        TargetTooLong = "request_line_too_long", 414, "the request target is too long";
        /// A field longer than [`Limits::line`](super::Limits::line).
        LineTooLong = "field_line_too_long", 431, "a field is too long";
    }
    wraps {
        /// A field is malformed.
        Field(FieldError) = FieldError::status, FieldError::all();
        /// Content-Length is malformed.
        Framing(FramingError) = FramingError::status, FramingError::all();
        /// What a request line or Host would say is malformed.
        Request(RequestError) = RequestError::status, RequestError::all();
        /// What a status line would say is malformed.
        Response(ResponseError) = ResponseError::status, ResponseError::all();
    }
}

impl HeadError {
    /// Whether the request is well-formed, so that it gets an answer instead of a reset.
    pub fn is_answerable(self) -> bool {
        matches!(self, Self::Request(RequestError::ExpectationFailed)) || matches!(self.status(), 431 | 414 | 501)
    }
}

faults! {
    /// What ends a stream or a connection before its time.
    Fault,
    /// The error code that the peer is told.
    error_code: ErrorCode {
        /// The connection does not start as it must (section 3.4).
        BadPreface = "h2_bad_preface", ErrorCode::ProtocolError, "the connection preface is wrong";
        /// The first frame is not SETTINGS (section 3.4).
        SettingsMissing = "h2_settings_missing", ErrorCode::ProtocolError, "the first frame is not SETTINGS";
        /// A frame longer than we allow (section 4.2).
        FrameTooLarge = "h2_frame_too_large", ErrorCode::FrameSizeError, "a frame is longer than allowed";
        /// A frame of a length that its type cannot have (section 6).
        FrameSize = "h2_frame_size", ErrorCode::FrameSizeError, "a frame has a length that its type cannot have";
        /// A frame of a stream on stream 0 (section 6).
        StreamZero = "h2_stream_zero", ErrorCode::ProtocolError, "a frame of a stream came on stream 0";
        /// A frame of the connection on another stream than 0 (section 6).
        StreamNotZero = "h2_stream_not_zero", ErrorCode::ProtocolError, "a frame of the connection came on a stream";
        /// Padding longer than the frame (sections 6.1 and 6.2).
        Padding = "h2_padding", ErrorCode::ProtocolError, "padding is longer than its frame";
        /// A frame for a stream that nobody opened (section 5.1).
        IdleStream = "h2_idle_stream", ErrorCode::ProtocolError, "a frame came for a stream that was never opened";
        /// A frame for a stream that is closed for it (section 5.1).
        StreamClosed = "h2_stream_closed", ErrorCode::StreamClosed, "a frame came for a stream that is closed";
        /// A stream is opened with an identifier of the other side, or not in order (section 5.1.1).
        StreamId = "h2_stream_id", ErrorCode::ProtocolError, "a stream has an identifier that it cannot have";
        /// Another frame inside a header block (section 6.10).
        BlockInterrupted = "h2_block_interrupted", ErrorCode::ProtocolError, "a frame came inside a header block";
        /// CONTINUATION without a header block (section 6.10).
        StrayContinuation = "h2_stray_continuation", ErrorCode::ProtocolError, "CONTINUATION came outside a header block";
        /// A header block longer than [`Limits::block`](super::Limits::block).
        BlockTooLarge = "h2_block_too_large", ErrorCode::EnhanceYourCalm, "a header block is too long";
        /// A header block of more frames than [`Limits::continuations`](super::Limits::continuations).
        BlockTooManyFrames = "h2_block_too_many_frames", ErrorCode::EnhanceYourCalm, "a header block has too many frames";
        /// A header block that does not end in time.
        BlockTimeout = "h2_block_timeout", ErrorCode::EnhanceYourCalm, "a header block does not end in time";
        /// PUSH_PROMISE, which nobody may send us (section 8.4).
        PushPromise = "h2_push_promise", ErrorCode::ProtocolError, "a server push came, though we refuse them";
        /// A setting with a value that it cannot have (section 6.5.2).
        BadSetting = "h2_bad_setting", ErrorCode::ProtocolError, "a setting has a value that it cannot have";
        /// An initial window above the maximum (section 6.5.2).
        BadInitialWindow = "h2_bad_initial_window", ErrorCode::FlowControlError, "the initial window is above the maximum";
        /// A WINDOW_UPDATE of nothing (section 6.9).
        WindowZero = "h2_window_zero", ErrorCode::ProtocolError, "a window is updated by nothing";
        /// A window above the maximum (section 6.9.1).
        WindowOverflow = "h2_window_overflow", ErrorCode::FlowControlError, "a window grows above the maximum";
        /// More data than the window allows (section 6.9).
        WindowExceeded = "h2_window_exceeded", ErrorCode::FlowControlError, "more data came than the window allows";
        /// A stream that depends on itself (RFC 7540 section 5.3.1).
        SelfDependency = "h2_self_dependency", ErrorCode::ProtocolError, "a stream depends on itself";
        /// A PRIORITY_UPDATE of no stream, or from a server (RFC 9218 section 7.1).
        PriorityUpdate = "h2_bad_priority_update", ErrorCode::ProtocolError, "PRIORITY_UPDATE is malformed or came from a server";
        /// A GOAWAY that takes back the one before (section 6.8).
        GoAwayGrows = "h2_goaway_grows", ErrorCode::ProtocolError, "GOAWAY names a later stream than the one before";
        /// More streams at once than we allow (section 5.1.2).
        TooManyStreams = "h2_too_many_streams", ErrorCode::RefusedStream, "more streams are open than allowed";
        /// More or less data than Content-Length says (section 8.1.1).
        LengthMismatch = "h2_length_mismatch", ErrorCode::ProtocolError, "the data is not what Content-Length says";
        /// Data in a response that has no body (section 8.1.1).
        BodyForbidden = "h2_body_forbidden", ErrorCode::ProtocolError, "data came in a response that has none";
        /// Data before the head of the response (section 8.1).
        DataBeforeHead = "h2_data_before_head", ErrorCode::ProtocolError, "data came before the head";
        /// The budget of the connection is spent ([`Budget`](super::Budget)).
        Calm = "h2_misbehaviour", ErrorCode::EnhanceYourCalm, "the peer costs more than it is worth";
        /// More acknowledgements wait to be sent than [`Config::control`](super::Config::control).
        ControlQueue = "h2_control_queue_full", ErrorCode::EnhanceYourCalm, "the peer does not read what it makes us send";
        /// Our settings were not acknowledged in time (section 6.5.3).
        SettingsTimeout = "h2_settings_timeout", ErrorCode::SettingsTimeout, "settings were not acknowledged in time";
        /// A PING was not answered in time.
        PingTimeout = "h2_ping_timeout", ErrorCode::NoError, "a ping was not answered in time";
        /// The peer does not open its window for what it asked for.
        Stalled = "h2_stalled", ErrorCode::EnhanceYourCalm, "the peer does not take the data it asked for";
    }
    wraps {
        /// A header block cannot be decoded.
        Hpack(HpackError) = hpack_code, HpackError::ALL.into_iter();
        /// A head is malformed.
        Head(HeadError) = head_code, HeadError::all();
    }
}

fn hpack_code(error: HpackError) -> ErrorCode {
    if error == HpackError::Bomb { ErrorCode::EnhanceYourCalm } else { ErrorCode::CompressionError }
}

fn head_code(error: HeadError) -> ErrorCode {
    if error.is_answerable() { ErrorCode::RefusedStream } else { ErrorCode::ProtocolError }
}

/// Who ended something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We did.
    Local,
    /// The peer did.
    Remote,
}

/// How a stream ended before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// Who ended it.
    pub side: Side,
    /// What the frame says, or would say.
    pub code: ErrorCode,
    /// What the peer did wrong, where it did.
    pub fault: Option<Fault>,
    /// Whether the peer promised that it did nothing for the request, so that any request may be sent again: it said
    /// REFUSED_STREAM, or GOAWAY with an earlier stream (section 8.7).
    pub is_retry_safe: bool,
}

/// The connection is over: GOAWAY waits in the output, and every stream has ended with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionError {
    /// What the peer did wrong.
    pub fault: Fault,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for ConnectionError {}

/// Why something cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The stream has ended, or this part of it was sent.
    Ended,
    /// The fields come to more than the peer accepts (section 6.5.2).
    TooLarge,
    /// No stream can be opened now: too many are, or the peer is going away, or identifiers are used up.
    NoStream,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the stream has ended",
            Self::TooLarge => "the head is larger than the peer accepts",
            Self::NoStream => "no stream can be opened",
        })
    }
}

impl std::error::Error for SendError {}

/// What a frame did wrong, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Violation {
    /// The connection ends.
    Connection(Fault),
    /// The stream ends.
    Stream(u32, Fault),
}

impl From<Fault> for Violation {
    fn from(fault: Fault) -> Self {
        Self::Connection(fault)
    }
}
