//! Base64 (RFC 4648 section 4) in pieces: each may end anywhere, and padding may come after any group, as senders pad
//! each message by itself.

use super::FrameError;
use crate::base64::{NONE, values};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES: [u8; 256] = values(DIGITS);

fn digit(value: u32) -> u8 {
    DIGITS.get((value & 63) as usize).copied().unwrap_or(b'A')
}

/// Reads.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    bits: u32,
    /// Digits of the group that has begun.
    digits: u8,
    /// Padding of it.
    padding: u8,
}

impl Decoder {
    /// Appends what the next piece says.
    ///
    /// # Errors
    ///
    /// It is no base64, or not in its one form. Nothing more can be read.
    pub fn decode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.reserve(text.len() / 4 * 3 + 3);
        for &byte in text {
            let value = VALUES.get(usize::from(byte)).copied().unwrap_or(NONE);
            if value < NONE && self.padding == 0 {
                self.bits = self.bits << 6 | u32::from(value);
                self.digits += 1;
                if self.digits == 4 {
                    let [_, a, b, c] = self.bits.to_be_bytes();
                    out.extend_from_slice(&[a, b, c]);
                    *self = Self::default();
                }
            } else if byte == b'=' && self.digits >= 2 {
                self.pad(out)?;
            } else {
                return Err(FrameError::BadBase64);
            }
        }
        Ok(())
    }

    fn pad(&mut self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.padding += 1;
        if self.digits + self.padding < 4 {
            return Ok(());
        }
        // Bits that belong to no byte are none.
        let spare = if self.digits == 2 { 4 } else { 2 };
        if self.bits & ((1 << spare) - 1) != 0 {
            return Err(FrameError::BadBase64);
        }
        let [_, _, a, b] = (self.bits >> spare).to_be_bytes();
        if self.digits == 3 {
            out.push(a);
        }
        out.push(b);
        *self = Self::default();
        Ok(())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// A group is not whole.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.digits == 0 { Ok(()) } else { Err(FrameError::BadBase64) }
    }
}

/// Writes.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    /// Bytes that are no whole group yet.
    carried: [u8; 2],
    count: u8,
}

impl Encoder {
    /// Appends the next piece, but for up to two bytes that wait for more.
    pub fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len() / 3 * 4 + 4);
        let mut left = bytes;
        while self.count > 0 {
            let Some((&byte, rest)) = left.split_first() else { return };
            left = rest;
            match (self.count, self.carried) {
                (1, [a, _]) => (self.carried, self.count) = ([a, byte], 2),
                (_, [a, b]) => {
                    group([a, b, byte], out);
                    self.count = 0;
                }
            }
        }
        let mut groups = left.chunks_exact(3);
        for bytes in &mut groups {
            if let &[a, b, c] = bytes {
                group([a, b, c], out);
            }
        }
        match *groups.remainder() {
            [a, b] => (self.carried, self.count) = ([a, b], 2),
            [a] => (self.carried, self.count) = ([a, 0], 1),
            _ => {}
        }
    }

    /// Appends what waits, with its padding.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let [a, b] = self.carried;
        match self.count {
            1 => out.extend_from_slice(&[digit(u32::from(a) >> 2), digit(u32::from(a) << 4), b'=', b'=']),
            2 => {
                let bits = u32::from(a) << 8 | u32::from(b);
                out.extend_from_slice(&[digit(bits >> 10), digit(bits >> 4), digit(bits << 2), b'=']);
            }
            _ => {}
        }
        self.count = 0;
    }
}

fn group([a, b, c]: [u8; 3], out: &mut Vec<u8>) {
    let bits = u32::from_be_bytes([0, a, b, c]);
    out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
}
