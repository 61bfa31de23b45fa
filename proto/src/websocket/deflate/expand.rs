//! Expands the messages of one side (RFC 7692 section 7.2.2).

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{LEAST_BITS, STEP, TAIL};
use crate::websocket::FrameError;

/// Expands the messages of one side. It has memory only while a message is under way, and from its first message on where
/// the side remembers what it sent before.
pub struct Expander {
    bits: u8,
    forgets: bool,
    state: Option<Inflate>,
}

impl Expander {
    /// For a side whose window has so many bits (8 to 15), and that forgets after each message or does not.
    pub fn new(bits: u8, forgets: bool) -> Self {
        Self { bits: bits.clamp(LEAST_BITS, 15), forgets, state: None }
    }

    /// Appends what `input` expands to, at most `most` bytes. More is an error, as is what is not DEFLATE; both are final.
    pub fn expand(&mut self, mut input: &[u8], out: &mut Vec<u8>, most: u64) -> Result<(), FrameError> {
        let most = out.len().saturating_add(usize::try_from(most).unwrap_or(usize::MAX));
        // Full: there may be more, though all of the input is read.
        let mut is_full = false;
        while !input.is_empty() || is_full {
            let state = self.state.get_or_insert_with(|| Inflate::new(false, self.bits));
            let start = out.len();
            // One byte more than there may be shows that there is more.
            let room = STEP.min(most.saturating_sub(start).saturating_add(1));
            out.resize(start + room, 0);
            let (read, written) = (state.total_in(), state.total_out());
            let status = state.decompress(input, out.get_mut(start..).unwrap_or_default(), InflateFlush::SyncFlush);
            let (read, written) = ((state.total_in() - read) as usize, (state.total_out() - written) as usize);
            out.truncate(start + written);
            let status = status.map_err(|_| FrameError::InvalidDeflate)?;
            if out.len() > most {
                return Err(FrameError::MessageTooLarge);
            }
            input = input.get(read..).unwrap_or_default();
            is_full = written == room;
            if status == Status::StreamEnd {
                // A last block (RFC 7692 section 7.2.3.4). What follows stands for itself.
                (self.state, is_full) = (None, false);
            } else if read == 0 && written == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The message has ended: appends the rest of it, at most `most` bytes.
    pub fn end(&mut self, out: &mut Vec<u8>, most: u64) -> Result<(), FrameError> {
        if self.state.is_some() {
            self.expand(&TAIL, out, most)?;
        }
        if self.forgets {
            self.state = None;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Expander {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expander").field("bits", &self.bits).field("forgets", &self.forgets).finish_non_exhaustive()
    }
}
