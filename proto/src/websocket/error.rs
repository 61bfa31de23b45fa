//! What breaks the protocol, each with a stable code.

use std::fmt;

use super::CloseCode;

macro_rules! errors {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$doc:meta])* $variant:ident = $code:literal, $text:literal; )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $( $(#[$doc])* #[doc = concat!("(`", $code, "`)")] $variant, )*
        }

        impl $name {
            /// Every value, each once, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The stable code, in `snake_case`.
            pub const fn code(self) -> &'static str {
                match self { $( Self::$variant => $code, )* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $( Self::$variant => $text, )* })
            }
        }

        impl std::error::Error for $name {}
    };
}

errors! {
    /// Why the frames of one side cannot be read further. The connection fails with [`FrameError::close_code`]
    /// (RFC 6455 section 7.1.7).
    FrameError {
        /// A reserved bit that no extension gives a meaning, or on a frame that cannot have it (RFC 6455 section 5.2,
        /// RFC 7692 section 6).
        ReservedBits = "reserved_bits", "a reserved bit is set";
        /// An opcode without a meaning (RFC 6455 section 5.2).
        UnknownOpcode = "unknown_opcode", "the opcode is unknown";
        /// A client's frame that is not masked (RFC 6455 section 5.1).
        NotMasked = "not_masked", "a frame of the client is not masked";
        /// A server's frame that is masked (RFC 6455 section 5.1).
        Masked = "masked", "a frame of the server is masked";
        /// A length that would fit a shorter form (RFC 6455 section 5.2).
        LengthNotMinimal = "length_not_minimal", "a length is not in its shortest form";
        /// A length of 2^63 or more (RFC 6455 section 5.2).
        LengthTooLong = "length_too_long", "a length has its highest bit set";
        /// A control frame that is not the last of its message (RFC 6455 section 5.5).
        ControlFragmented = "control_fragmented", "a control frame is fragmented";
        /// A control frame of more than 125 bytes (RFC 6455 section 5.5).
        ControlTooLong = "control_too_long", "a control frame has more than 125 bytes";
        /// A continuation without a message (RFC 6455 section 5.4).
        UnexpectedContinuation = "unexpected_continuation", "a continuation frame continues no message";
        /// A new message before the end of the one before (RFC 6455 section 5.4).
        ExpectedContinuation = "expected_continuation", "a message begins inside another one";
        /// A text that is not UTF-8 (RFC 6455 section 8.1).
        InvalidUtf8 = "invalid_utf8", "a text is not UTF-8";
        /// A compressed message that is no DEFLATE (RFC 7692 section 7.2.2).
        InvalidDeflate = "invalid_deflate", "a compressed message cannot be expanded";
        /// A close frame with half a code (RFC 6455 section 5.5.1).
        CloseTooShort = "close_too_short", "a close frame has one byte";
        /// A code that may not be sent (RFC 6455 section 7.4).
        BadCloseCode = "bad_close_code", "a close frame has a code that may not be sent";
        /// More than [`Limits::frame`](super::Limits::frame).
        FrameTooLarge = "frame_too_large", "a frame is too large";
        /// More than [`Limits::message`](super::Limits::message).
        MessageTooLarge = "message_too_large", "a message is too large";
        /// More than [`Limits::fragments`](super::Limits::fragments).
        TooManyFragments = "too_many_fragments", "a message has too many frames";
        /// More than [`RecoderSettings::ratio`](super::deflate::RecoderSettings::ratio).
        ExpandsTooMuch = "expands_too_much", "a compressed message expands to too many times its bytes";
    }
}

impl FrameError {
    /// What the connection is closed with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLarge | Self::MessageTooLarge | Self::ExpandsTooMuch => CloseCode::TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }
}

errors! {
    /// Why a request is no opening handshake (RFC 6455 section 4.2.1).
    HandshakeError {
        /// Another method than GET, or a body.
        Method = "websocket_method", "a WebSocket handshake is a GET without a body";
        /// `Sec-WebSocket-Version` is not 13.
        Version = "websocket_version", "Sec-WebSocket-Version is not 13";
        /// `Sec-WebSocket-Key` is missing, there more than once, or not 16 bytes in base64.
        Key = "websocket_key", "there is not one Sec-WebSocket-Key of 16 bytes in base64";
        /// `Sec-WebSocket-Protocol` is no list of different tokens.
        Protocol = "websocket_protocol", "Sec-WebSocket-Protocol is not a list of different tokens";
        /// `Sec-WebSocket-Extensions` is malformed.
        Extensions = "websocket_extensions", "Sec-WebSocket-Extensions is malformed";
    }
}

errors! {
    /// Why an answer with 101 does not open a connection (RFC 6455 section 4.1).
    AnswerError {
        /// `Upgrade` has something else that was not asked for.
        Upgrade = "websocket_upgrade_not_offered", "Upgrade was not asked for so";
        /// `Sec-WebSocket-Accept` does not follow from the key.
        Accept = "websocket_accept_wrong", "Sec-WebSocket-Accept does not follow from the key";
        /// `Sec-WebSocket-Protocol` chooses what was not offered.
        Protocol = "websocket_protocol_not_offered", "Sec-WebSocket-Protocol was not offered";
        /// `Sec-WebSocket-Extensions` has what was not offered, or not so.
        Extensions = "websocket_extensions_not_offered", "Sec-WebSocket-Extensions was not offered";
    }
}
