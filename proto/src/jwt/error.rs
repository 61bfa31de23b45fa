//! Why a token counts for nothing.

use std::fmt;

/// Why a token counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// It is longer than [`super::TOKEN_MAX`].
    TooLong,
    /// It is not made of three parts: nothing of the kind, or an encrypted token.
    Parts,
    /// A part is no base64url without padding, or not in its one form.
    Base64,
    /// The payload is no UTF-8.
    Utf8,
    /// The payload is no JSON object.
    Json,
    /// The payload has more objects and arrays inside each other than [`super::DEPTH_MAX`].
    TooDeep,
    /// A name on the path to the claim is there twice.
    Twice,
    /// The claim is longer than [`super::VALUE_MAX`].
    ValueTooLong,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is too long",
            Self::Parts => "the token is not made of three parts",
            Self::Base64 => "a part of the token is not in base64url",
            Self::Utf8 => "the payload of the token is no UTF-8",
            Self::Json => "the payload of the token is no JSON object",
            Self::TooDeep => "the payload of the token is nested too deep",
            Self::Twice => "the claim is there twice",
            Self::ValueTooLong => "the claim is too long",
        })
    }
}

impl std::error::Error for TokenError {}
