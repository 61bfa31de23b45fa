//! Compresses messages for one side (RFC 7692 section 7.2.1).

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::{LEAST_BITS, STEP, TAIL};
use crate::websocket::FrameError;

/// Compresses messages for one side. It has memory only while a message is under way, and from its first message on where
/// it remembers what it sent before.
pub struct Compressor {
    level: u8,
    bits: u8,
    forgets: bool,
    state: Option<Deflate>,
}

impl Compressor {
    /// With a level of 1 to 9 and a window of so many bits; it forgets after each message or does not. Nothing where a side
    /// wants a window of 8 bits, which DEFLATE libraries do not have: it is sent messages as they are, which is always right
    /// (RFC 7692 section 6).
    pub fn new(level: u8, bits: u8, forgets: bool) -> Option<Self> {
        (bits >= LEAST_BITS).then(|| Self { level: level.clamp(1, 9), bits: bits.min(15), forgets, state: None })
    }

    /// Compresses more of a message. What comes out is appended as the library lets go of it.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.run(plain, out, DeflateFlush::NoFlush)
    }

    /// The message, which has at least one byte, has ended: appends the rest of it.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.run(&[], out, DeflateFlush::SyncFlush)?;
        let len = out.strip_suffix(&TAIL).ok_or(FrameError::InvalidDeflate)?.len();
        out.truncate(len);
        if self.forgets {
            self.state = None;
        }
        Ok(())
    }

    fn run(&mut self, mut plain: &[u8], out: &mut Vec<u8>, flush: DeflateFlush) -> Result<(), FrameError> {
        let config = DeflateConfig {
            level: i32::from(self.level),
            window_bits: -i32::from(self.bits),
            ..DeflateConfig::default()
        };
        let state = self.state.get_or_insert_with(|| Deflate::new_with_config(config));
        loop {
            let start = out.len();
            out.resize(start + STEP, 0);
            let (read, written) = (state.total_in(), state.total_out());
            let status = state.compress(plain, out.get_mut(start..).unwrap_or_default(), flush);
            let (read, written) = ((state.total_in() - read) as usize, (state.total_out() - written) as usize);
            out.truncate(start + written);
            status.map_err(|_| FrameError::InvalidDeflate)?;
            plain = plain.get(read..).unwrap_or_default();
            // With room left everything is out that comes out now.
            if written < STEP && (plain.is_empty() || read == 0) {
                return Ok(());
            }
        }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Compressor");
        shown.field("level", &self.level).field("bits", &self.bits).field("forgets", &self.forgets);
        shown.finish_non_exhaustive()
    }
}
