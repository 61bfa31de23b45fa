//! Gathers whole messages, for an endpoint.

use super::mask::mask;
use super::{Event, FrameError, Kind, Limits, Reader, Side};

/// What an endpoint has to deal with.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A whole message, the mask off. A compressed one is still compressed, and its text not looked at.
    Message {
        /// What it is of.
        kind: Kind,
        /// All of it.
        payload: &'a [u8],
        /// It is compressed (RFC 7692).
        is_compressed: bool,
    },
    /// It wants a pong with this payload.
    Ping(&'a [u8]),
    /// It answers a ping.
    Pong(&'a [u8]),
    /// The last that comes; with its payload, for [`Close::decode`](super::Close::decode).
    Close(&'a [u8]),
}

/// Reads what one side sends into messages. It keeps at most one, of at most [`Limits::message`] bytes, and grows with
/// what has come of it, not with what its head says.
#[derive(Debug)]
pub struct Messages {
    reader: Reader,
    gathered: Vec<u8>,
    is_over: bool,
}

impl Messages {
    /// Memory kept from one message to the next, in bytes.
    const KEEP: usize = 64 << 10;

    /// Reads what `from` sends; `deflate` where permessage-deflate was agreed on.
    pub fn new(from: Side, limits: Limits, deflate: bool) -> Self {
        Self { reader: Reader::new(from, limits, deflate), gathered: Vec::new(), is_over: false }
    }

    /// Reads on in `input`, which begins where the last call ended: how many bytes were taken, and what came whole with
    /// them. Where nothing did, all of the input was taken.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming<'_>>), FrameError> {
        if self.is_over {
            self.gathered.clear();
            self.gathered.shrink_to(Self::KEEP);
            self.is_over = false;
        }
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let key = self.reader.key();
            let step = self.reader.next(rest)?;
            let taken = rest.get(..step.taken).unwrap_or_default();
            at += step.taken;
            match step.event {
                Event::Held | Event::AfterClose => {}
                Event::Data { payload, message, .. } => {
                    let (payload, key) = Reader::payload_of(key, taken, payload);
                    let start = self.gathered.len();
                    self.gathered.extend_from_slice(payload);
                    if let (Some((key, offset)), Some(new)) = (key, self.gathered.get_mut(start..)) {
                        mask(new, key, offset);
                    }
                    if let Some(message) = message {
                        self.is_over = true;
                        let (kind, is_compressed) = (message.kind, message.is_compressed);
                        return Ok((at, Some(Incoming::Message { kind, payload: &self.gathered, is_compressed })));
                    }
                }
                Event::Ping => return Ok((at, Some(Incoming::Ping(self.reader.control())))),
                Event::Pong => return Ok((at, Some(Incoming::Pong(self.reader.control())))),
                Event::Close(_) => return Ok((at, Some(Incoming::Close(self.reader.control())))),
            }
        }
        Ok((at, None))
    }
}
