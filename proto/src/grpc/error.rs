//! What breaks the protocol, each with a stable code.

use std::fmt;

/// Why the messages of one side cannot be read further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A flag that has no meaning here (`grpc_unknown_flag`).
    UnknownFlag,
    /// More than the limit (`grpc_message_too_large`).
    MessageTooLarge,
    /// Something after the trailers (`grpc_after_trailers`).
    AfterTrailers,
    /// The end comes inside a message (`grpc_truncated`).
    Truncated,
    /// What should be base64 is not (`grpc_bad_base64`).
    BadBase64,
}

impl FrameError {
    /// Every value, each once.
    pub const ALL: &'static [Self] =
        &[Self::UnknownFlag, Self::MessageTooLarge, Self::AfterTrailers, Self::Truncated, Self::BadBase64];

    /// The stable code, in `snake_case`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownFlag => "grpc_unknown_flag",
            Self::MessageTooLarge => "grpc_message_too_large",
            Self::AfterTrailers => "grpc_after_trailers",
            Self::Truncated => "grpc_truncated",
            Self::BadBase64 => "grpc_bad_base64",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownFlag => "a message of gRPC has an unknown flag",
            Self::MessageTooLarge => "a message of gRPC is too large",
            Self::AfterTrailers => "something follows the trailers of gRPC-Web",
            Self::Truncated => "a message of gRPC is cut off",
            Self::BadBase64 => "the text of gRPC-Web is not base64",
        })
    }
}

impl std::error::Error for FrameError {}
