//! Follows the frames of one side and keeps none of their payload.

use super::frame::{CONTROL_MAX, FrameHead, HEAD_MAX, Opcode};
use super::mask::mask;
use super::{Close, CloseCode, FrameError, Limits, Side, Utf8};

/// What a message is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A message that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is of.
    pub kind: Kind,
    /// Its payload as it was sent.
    pub bytes: u64,
    /// Its frames.
    pub frames: u32,
    /// The payload is compressed.
    pub is_compressed: bool,
}

/// What the bytes that were taken are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The beginning of a frame that waits for its rest in [`Reader::held`]: nothing of it may be passed on yet.
    Held,
    /// A part of a data frame.
    Data {
        /// So many of the last bytes taken are payload.
        payload: usize,
        /// The frame ends here.
        is_end: bool,
        /// What ends here, too.
        message: Option<Message>,
    },
    /// A whole ping; [`Reader::control`] has its payload.
    Ping,
    /// A whole pong; [`Reader::control`] has its payload.
    Pong,
    /// The close frame, the last one of its side; [`Reader::control`] has its payload. What follows is no frame any more
    /// and is taken without a word (RFC 6455 section 1.4).
    Close(Option<CloseCode>),
    /// Bytes after the close frame.
    AfterClose,
}

/// What a payload is masked with, and which byte of it comes next.
pub type Key = ([u8; 4], u64);

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// So many bytes of the input belong to it. Never 0 unless the input is empty.
    pub taken: usize,
    /// They went to [`Reader::held`], which has all of what the event is about.
    pub is_held: bool,
    /// What it is.
    pub event: Event,
}

/// The frame whose payload is under way.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: FrameHead,
    left: u64,
}

/// The message that is under way.
#[derive(Clone, Copy, Debug)]
struct Current {
    message: Message,
    utf8: Utf8,
}

/// Reads what one side sends.
///
/// Data frames are followed piece by piece, as they come. Control frames and heads that come in pieces are held until
/// they are whole, so that whoever passes bytes on passes on only what was looked at, and is at the end of a frame
/// whenever no data frame is under way.
#[derive(Debug)]
pub struct Reader {
    from: Side,
    limits: Limits,
    deflate: bool,
    is_closed: bool,
    frame: Option<Frame>,
    message: Option<Current>,
    held: [u8; HEAD_MAX + CONTROL_MAX],
    held_len: u8,
    control: [u8; CONTROL_MAX],
    control_len: u8,
    /// What was held is dealt with.
    is_held_over: bool,
}

impl Reader {
    /// Reads what `from` sends; `deflate` where permessage-deflate was agreed on.
    pub fn new(from: Side, limits: Limits, deflate: bool) -> Self {
        Self {
            from,
            limits,
            deflate,
            is_closed: false,
            frame: None,
            message: None,
            held: [0; HEAD_MAX + CONTROL_MAX],
            held_len: 0,
            control: [0; CONTROL_MAX],
            control_len: 0,
            is_held_over: false,
        }
    }

    /// The payload of the control frame that was read last, the mask off.
    pub fn control(&self) -> &[u8] {
        self.control.get(..usize::from(self.control_len)).unwrap_or_default()
    }

    /// What came of a frame in pieces, as it came: after a step with `is_held`, all that its event is about.
    pub fn held(&self) -> &[u8] {
        self.held.get(..usize::from(self.held_len)).unwrap_or_default()
    }

    /// Whether all frames of which bytes were passed on have ended: a control frame may stand here.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none()
    }

    /// Whether a message has begun that has not ended.
    pub fn is_in_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether the close frame has come.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The message that is under way, as far as it has come.
    pub fn message(&self) -> Option<Message> {
        self.message.as_ref().map(|current| current.message)
    }

    /// What the data frame under way is masked with, and which byte of its payload comes next.
    pub fn key(&self) -> Option<Key> {
        let frame = self.frame?;
        frame.head.mask.map(|key| (key, frame.head.len - frame.left))
    }

    /// The `payload` bytes of a data frame that a step took last, and what they are masked with; `key` is what
    /// [`Reader::key`] said before the step.
    pub fn payload_of(key: Option<Key>, taken: &[u8], payload: usize) -> (&[u8], Option<Key>) {
        let (head, payload) = taken.split_at_checked(taken.len() - payload.min(taken.len())).unwrap_or((taken, &[]));
        // A frame that began in this step has its key at the end of its head.
        let is_masked = head.get(1).is_some_and(|second| second & 0x80 != 0);
        (payload, key.or_else(|| head.last_chunk().filter(|_| is_masked).map(|key| (*key, 0))))
    }

    /// Reads the next step of `input`, which begins where the last step ended. An error is final.
    #[inline]
    pub fn next(&mut self, input: &[u8]) -> Result<Step, FrameError> {
        if self.is_held_over {
            (self.held_len, self.is_held_over) = (0, false);
        }
        if self.is_closed {
            return Ok(Step { taken: input.len(), is_held: false, event: Event::AfterClose });
        }
        if let Some(frame) = self.frame {
            let event = self.payload(frame, input, 0)?;
            return Ok(Step { taken: event.1, is_held: false, event: event.0 });
        }
        if self.held_len > 0 {
            return self.go_on(input);
        }
        let Some((head, len)) = FrameHead::decode(input)? else {
            self.check_begun(input)?;
            return Ok(self.hold(input));
        };
        self.check(&head)?;
        if !head.opcode.is_control() {
            let (event, taken) = self.begin(head, input, len)?;
            return Ok(Step { taken, is_held: false, event });
        }
        // A control frame has 125 bytes at most.
        let end = len + head.len as usize;
        match input.get(len..end) {
            Some(payload) => Ok(Step { taken: end, is_held: false, event: self.end_control(head, payload)? }),
            None => Ok(self.hold(input)),
        }
    }

    /// Keeps the beginning of a frame.
    fn hold(&mut self, input: &[u8]) -> Step {
        let room = self.held.get_mut(usize::from(self.held_len)..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(input) {
            *place = *byte;
        }
        self.held_len += input.len().min(room.len()) as u8;
        Step { taken: input.len(), is_held: true, event: Event::Held }
    }

    /// Goes on with a frame whose beginning is held.
    #[cold]
    fn go_on(&mut self, input: &[u8]) -> Result<Step, FrameError> {
        let before = usize::from(self.held_len);
        let more = input.get(..input.len().min(self.held.len() - before)).unwrap_or_default();
        let mut all = self.held;
        if let Some(room) = all.get_mut(before..before + more.len()) {
            room.copy_from_slice(more);
        }
        let all = all.get(..before + more.len()).unwrap_or_default();
        let Some((head, len)) = FrameHead::decode(all)? else {
            self.check_begun(all)?;
            return Ok(self.hold(more));
        };
        self.check(&head)?;
        let end = if head.opcode.is_control() { len + head.len as usize } else { len };
        if end > all.len() {
            return Ok(self.hold(more));
        }
        let taken = end.saturating_sub(before);
        self.hold(more.get(..taken).unwrap_or_default());
        self.is_held_over = true;
        let event = if head.opcode.is_control() {
            self.end_control(head, all.get(len..end).unwrap_or_default())?
        } else {
            self.begin(head, &[], 0)?.0
        };
        Ok(Step { taken, is_held: true, event })
    }

    /// Checks what is there of a head that is not whole.
    fn check_begun(&self, begun: &[u8]) -> Result<(), FrameError> {
        let &[first, second, ..] = begun else { return Ok(()) };
        // The length is not known: none is within every limit.
        let padded = [first, second & 0x80, 0, 0, 0, 0];
        match FrameHead::decode(&padded)? {
            Some((head, _)) => self.check(&head),
            None => Ok(()),
        }
    }

    /// Checks a head against what came before it and against the limits.
    #[inline]
    fn check(&self, head: &FrameHead) -> Result<(), FrameError> {
        if head.reserved != 0 {
            // RFC 7692 section 6: RSV1 is for the first frame of a message.
            let is_first = matches!(head.opcode, Opcode::Text | Opcode::Binary);
            if head.reserved != FrameHead::COMPRESSED || !self.deflate || !is_first {
                return Err(FrameError::ReservedBits);
            }
        }
        match (self.from, head.mask) {
            (Side::Client, None) => return Err(FrameError::NotMasked),
            (Side::Server, Some(_)) => return Err(FrameError::Masked),
            _ => {}
        }
        let (bytes, frames) = match (head.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(FrameError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(FrameError::ExpectedContinuation),
            (Opcode::Continuation, Some(Current { message, .. })) => (message.bytes, message.frames),
            (Opcode::Text | Opcode::Binary, None) => (0, 0),
            _ => return Ok(()),
        };
        if head.len > self.limits.frame {
            return Err(FrameError::FrameTooLarge);
        }
        if bytes.saturating_add(head.len) > self.limits.message {
            return Err(FrameError::MessageTooLarge);
        }
        if frames >= self.limits.fragments {
            return Err(FrameError::TooManyFragments);
        }
        Ok(())
    }

    /// A data frame begins; `start` bytes of `input` are its head.
    #[inline]
    fn begin(&mut self, head: FrameHead, input: &[u8], start: usize) -> Result<(Event, usize), FrameError> {
        let current = self.message.get_or_insert_with(|| Current {
            message: Message {
                kind: if head.opcode == Opcode::Text { Kind::Text } else { Kind::Binary },
                bytes: 0,
                frames: 0,
                is_compressed: head.reserved & FrameHead::COMPRESSED != 0,
            },
            utf8: Utf8::default(),
        });
        current.message.bytes = current.message.bytes.saturating_add(head.len);
        current.message.frames = current.message.frames.saturating_add(1);
        self.payload(Frame { head, left: head.len }, input, start)
    }

    /// Takes payload of a data frame from byte `start` of `input` on.
    #[inline]
    fn payload(&mut self, frame: Frame, input: &[u8], start: usize) -> Result<(Event, usize), FrameError> {
        let there = input.get(start..).unwrap_or_default();
        // What fits a slice fits a usize.
        let count = frame.left.min(there.len() as u64) as usize;
        let payload = there.get(..count).unwrap_or_default();
        let left = frame.left - count as u64;
        let is_end = left == 0;
        let mut ended = None;
        if let Some(Current { message, utf8 }) = &mut self.message {
            let ends_message = is_end && frame.head.fin;
            if message.kind == Kind::Text && !message.is_compressed {
                let is_text = match frame.head.mask {
                    Some(key) => utf8.feed_masked(payload, key, frame.head.len - frame.left),
                    None => utf8.feed(payload),
                };
                if !is_text || (ends_message && !utf8.is_whole()) {
                    return Err(FrameError::InvalidUtf8);
                }
            }
            if ends_message {
                ended = Some(*message);
            }
        }
        if ended.is_some() {
            self.message = None;
        }
        self.frame = (!is_end).then_some(Frame { left, ..frame });
        Ok((Event::Data { payload: count, is_end, message: ended }, start + count))
    }

    /// A control frame is whole.
    fn end_control(&mut self, head: FrameHead, payload: &[u8]) -> Result<Event, FrameError> {
        let Some(plain) = self.control.get_mut(..payload.len()) else { return Err(FrameError::ControlTooLong) };
        plain.copy_from_slice(payload);
        if let Some(key) = head.mask {
            mask(plain, key, 0);
        }
        self.control_len = payload.len() as u8;
        Ok(match head.opcode {
            Opcode::Ping => Event::Ping,
            Opcode::Pong => Event::Pong,
            _ => {
                let close = Close::decode(plain)?;
                let code = close.code;
                self.is_closed = true;
                Event::Close(code)
            }
        })
    }
}
