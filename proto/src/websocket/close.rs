//! How a connection is closed (RFC 6455 sections 5.5.1 and 7.4).

use super::FrameError;

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// An end goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The protocol is broken.
    pub const PROTOCOL: Self = Self(1002);
    /// The data is not what its kind says.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// What nothing fitter is there for.
    pub const POLICY: Self = Self(1008);
    /// A message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// The server met what it did not expect.
    pub const INTERNAL: Self = Self(1011);

    /// A code that may be in a close frame: 1000 to 1003 and 1007 to 1014 have a meaning, 3000 to 4999 are for libraries
    /// and applications. 1004 to 1006 and 1015 are never sent (RFC 6455 section 7.4).
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What a close frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    /// Why; nothing where it does not say.
    pub code: Option<CloseCode>,
    /// The same for people.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads the payload of a close frame, the mask off.
    pub fn decode(payload: &'a [u8]) -> Result<Self, FrameError> {
        match payload.split_first_chunk() {
            Some((code, reason)) => {
                let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(FrameError::BadCloseCode)?;
                let reason = str::from_utf8(reason).map_err(|_| FrameError::InvalidUtf8)?;
                Ok(Self { code: Some(code), reason })
            }
            None if payload.is_empty() => Ok(Self { code: None, reason: "" }),
            None => Err(FrameError::CloseTooShort),
        }
    }
}
