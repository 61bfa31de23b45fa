//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), decoded a piece at a time.

use super::TokenError;
use crate::base64::{NONE, values};
use crate::websocket::Utf8;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES: [u8; 256] = values(DIGITS);

/// Bytes that are decoded at once, and the digits that they are made of.
const PIECE: usize = 192;
const PIECE_DIGITS: usize = PIECE / 3 * 4;

fn value(digit: u8) -> u8 {
    VALUES.get(usize::from(digit)).copied().unwrap_or(NONE)
}

/// Whether a text is made of digits alone.
pub(super) fn is_digits(text: &[u8]) -> bool {
    // A value of 64 is no digit, and no other one has its bit.
    text.iter().fold(0, |all, &digit| all | value(digit)) < NONE
}

/// The bytes of a text, which must be UTF-8.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    /// Digits of the pieces that follow.
    left: &'a [u8],
    piece: [u8; PIECE],
    at: usize,
    len: usize,
    utf8: Utf8,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { left: text, piece: [0; PIECE], at: 0, len: 0, utf8: Utf8::default() }
    }

    /// The next byte; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<u8>, TokenError> {
        if self.at == self.len {
            if self.left.is_empty() {
                return if self.utf8.is_whole() { Ok(None) } else { Err(TokenError::Utf8) };
            }
            self.fill()?;
        }
        let byte = self.piece.get(self.at).copied();
        self.at += 1;
        Ok(byte)
    }

    /// Decodes a piece. There is something left, and it makes at least one byte.
    fn fill(&mut self) -> Result<(), TokenError> {
        let (digits, left) = self.left.split_at(self.left.len().min(PIECE_DIGITS));
        self.left = left;
        let (groups, rest) = digits.as_chunks::<4>();
        let (places, _) = self.piece.as_chunks_mut::<3>();
        let mut wrong = 0;
        for (group, place) in groups.iter().zip(places) {
            let [a, b, c, d] = group.map(value);
            wrong |= a | b | c | d;
            *place = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        }
        let mut len = groups.len() * 3;
        // Bits that belong to no byte are none.
        let (last, count, spare) = match *rest {
            [] => ([0, 0], 0, 0),
            [a, b] => {
                let [a, b] = [a, b].map(value);
                wrong |= a | b;
                ([a << 2 | b >> 4, 0], 1, b & 15)
            }
            [a, b, c] => {
                let [a, b, c] = [a, b, c].map(value);
                wrong |= a | b | c;
                ([a << 2 | b >> 4, b << 4 | c >> 2], 2, c & 3)
            }
            _ => return Err(TokenError::Base64),
        };
        if wrong >= NONE || spare != 0 {
            return Err(TokenError::Base64);
        }
        for byte in last.into_iter().take(count) {
            if let Some(place) = self.piece.get_mut(len) {
                *place = byte;
            }
            len += 1;
        }
        (self.at, self.len) = (0, len);
        let is_utf8 = self.piece.get(..len).is_some_and(|piece| self.utf8.feed(piece));
        if is_utf8 { Ok(()) } else { Err(TokenError::Utf8) }
    }
}
