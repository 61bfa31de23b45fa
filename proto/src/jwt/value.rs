//! Room for the text of a claim.

use super::TokenError;

/// Bytes of a claim at most: the `sub` of an identity provider has up to 255 (OIDC Core section 2).
pub const VALUE_MAX: usize = 256;

/// Room for the text of a claim, to be used again.
#[derive(Clone, Debug)]
pub struct Value {
    bytes: [u8; VALUE_MAX],
    /// How long the text is, also where there was no room for all of it.
    len: usize,
}

impl Default for Value {
    fn default() -> Self {
        Self { bytes: [0; VALUE_MAX], len: 0 }
    }
}

impl Value {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }

    pub(super) fn text(&self) -> Result<&[u8], TokenError> {
        self.bytes.get(..self.len).ok_or(TokenError::ValueTooLong)
    }
}
