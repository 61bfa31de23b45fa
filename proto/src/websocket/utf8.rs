//! UTF-8 that comes in pieces (RFC 3629): each byte is refused as soon as nothing valid can begin so.

use super::mask::{mask, turned, wide};

/// What is known of a text so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    /// A character that has begun.
    begun: [u8; 4],
    len: u8,
}

/// Bytes that are unmasked at once.
const PIECE: usize = 512;

impl Utf8 {
    /// Whether the text with these bytes behind it is, or can still become, UTF-8.
    #[must_use]
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&first, rest)) = bytes.split_first() else { return true };
            let Some(place) = self.begun.get_mut(usize::from(self.len)) else { return false };
            *place = first;
            self.len += 1;
            bytes = rest;
            match str::from_utf8(self.begun.get(..usize::from(self.len)).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = str::from_utf8(bytes) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        let begun = bytes.get(error.valid_up_to()..).unwrap_or_default();
        let Some(room) = self.begun.get_mut(..begun.len()) else { return false };
        room.copy_from_slice(begun);
        self.len = begun.len() as u8;
        true
    }

    /// The same for bytes that are masked; the first of them is byte `offset` of its payload. They stay as they are.
    #[must_use]
    pub fn feed_masked(&mut self, bytes: &[u8], key: [u8; 4], offset: u64) -> bool {
        let key = turned(key, offset);
        if self.is_whole() && is_ascii(bytes, key) {
            return true;
        }
        let mut room = [0; PIECE];
        // Every piece but the last is a multiple of four, so that each begins with the same key.
        bytes.chunks(PIECE).all(|piece| {
            let Some(plain) = room.get_mut(..piece.len()) else { return false };
            plain.copy_from_slice(piece);
            mask(plain, key, 0);
            self.feed(plain)
        })
    }

    /// Whether no character has begun that does not end.
    pub fn is_whole(self) -> bool {
        self.len == 0
    }
}

/// Whether all bytes are ASCII once the mask is off.
fn is_ascii(bytes: &[u8], key: [u8; 4]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let wide = wide(key);
    let (words, rest) = bytes.as_chunks::<8>();
    let high = words.iter().fold(0, |high, word| high | (u64::from_ne_bytes(*word) ^ wide));
    let rest = rest.iter().zip(key.iter().cycle()).fold(0, |high, (byte, key)| high | (byte ^ key));
    high & HIGH == 0 && rest < 0x80
}
