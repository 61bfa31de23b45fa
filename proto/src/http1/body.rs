//! Walking a message body (RFC 9112 sections 6 and 7).

use super::line::{FieldLine, field_line};
use super::scan::{Cut, HeadScan};
use super::{BodyError, FieldError, Framing, Known, Limits, Span};

/// What a call of [`Body::decode`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Bytes of the input that are dealt with, chunk framing and data alike; the next call starts after them.
    pub consumed: usize,
    /// What was found.
    pub kind: EventKind,
}

/// The parts of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// Body bytes, never none, inside the consumed part.
    Data(Span),
    /// The whole trailer section, inside the consumed part. The body is done.
    Trailers(Trailers),
    /// All the input says so far is dealt with; call again with what follows the consumed part, and more.
    NeedMore,
    /// The body is done. The bytes after the consumed part belong to the next message.
    End,
}

/// A checked trailer section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailers {
    /// The field lines with their line ends, without the empty line.
    pub section: Span,
}

impl Trailers {
    /// The names and trimmed values of the trailers in `input`, the one that was decoded. Fields that frame, route,
    /// authenticate, or change how a message is handled have no business after the body and are left out
    /// (RFC 9110 section 6.5.1).
    pub fn iter(self, input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.section.of(input);
        std::iter::from_fn(move || {
            loop {
                let Ok(FieldLine::Field { name_end, value_start, value_end, len }) = field_line(rest) else {
                    return None;
                };
                let (line, tail) = rest.split_at_checked(len)?;
                rest = tail;
                let name = line.get(..name_end)?;
                if may_trail(name) {
                    return Some((name, line.get(value_start..value_end)?));
                }
            }
        })
    }
}

/// Whether a field may come after the body. What a proxy acts on may not, nor may conditions and controls.
fn may_trail(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 5] = [b"pragma", b"expires", b"retry-after", b"warning", b"content-location"];
    let starts = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    Known::of(name) == Known::Other
        && !starts(b"if-")
        && !starts(b"proxy-")
        && !starts(b"x-forwarded-")
        && !FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// The decoder of one message body.
///
/// Chunk lines are consumed as they come, so a buffer need not hold one. Only a trailer section must fit into the
/// buffer as a whole ([`Limits::trailers`]): until it is there, nothing of it is consumed.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// The size of the chunk whose line is being read, and its digits.
    size: u64,
    digits: u8,
    /// Bytes of that line so far.
    line: usize,
    /// Bytes of data announced, and of extensions seen, in the whole body.
    data: u64,
    extensions: u64,
    /// Where in the trailer section, and how many trailers.
    scan: HeadScan,
    trailers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Done,
    Failed(BodyError),
    Length(u64),
    UntilClose,
    /// In the digits of a chunk size.
    Size,
    /// In whitespace after the size, which must lead to an extension.
    Space,
    Extension,
    /// After the CR of a chunk line.
    SizeLf,
    /// This much of a chunk's data is to come.
    Data(u64),
    /// After a chunk's data, before its CR; then before its LF.
    DataCr,
    DataLf,
    Trailers,
}

impl Body {
    /// A decoder for a body framed like this.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, size: 0, digits: 0, line: 0, data: 0, extensions: 0, scan: HeadScan::default(), trailers: 0 }
    }

    /// Whether the whole body was decoded.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Says that the connection ended: an error, unless the body may end so or has ended.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(self.fail(BodyError::Truncated)),
        }
    }

    /// Decodes the next piece of the body from the start of `input`. After an error every call gives it again.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Event, BodyError> {
        let input = input.get(..u32::MAX as usize).unwrap_or(input);
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Event { consumed: at, kind: EventKind::End }),
                State::Failed(error) => return Err(error),
                State::Length(left) => {
                    return Ok(self.data(
                        input,
                        at,
                        left,
                        |left| if left == 0 { State::Done } else { State::Length(left) },
                    ));
                }
                State::Data(left) => {
                    return Ok(self.data(
                        input,
                        at,
                        left,
                        |left| if left == 0 { State::DataCr } else { State::Data(left) },
                    ));
                }
                State::UntilClose => return Ok(self.data(input, at, u64::MAX, |_| State::UntilClose)),
                State::Trailers => return self.trailers(input, at, limits).map_err(|error| self.fail(error)),
                _ => {
                    let Some(&byte) = input.get(at) else {
                        return Ok(Event { consumed: at, kind: EventKind::NeedMore });
                    };
                    self.state = self.framing_byte(byte, limits).map_err(|error| self.fail(error))?;
                    at += 1;
                }
            }
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.state = State::Failed(error);
        error
    }

    /// Takes up to `left` bytes of data from `at` on.
    fn data(&mut self, input: &[u8], at: usize, left: u64, then: impl Fn(u64) -> State) -> Event {
        let here = input.len().saturating_sub(at);
        if here == 0 {
            return Event { consumed: at, kind: EventKind::NeedMore };
        }
        let take = usize::try_from(left).map_or(here, |left| left.min(here));
        self.state = then(left - take as u64);
        Event { consumed: at + take, kind: EventKind::Data(Span::new(at, at + take)) }
    }

    /// The state after one byte of chunk framing (RFC 9112 section 7.1).
    #[inline]
    fn framing_byte(&mut self, byte: u8, limits: &Limits) -> Result<State, BodyError> {
        match self.state {
            State::SizeLf if byte == b'\n' => {
                let size = self.size;
                (self.size, self.digits, self.line) = (0, 0, 0);
                self.data = self.data.saturating_add(size);
                return Ok(if size == 0 { State::Trailers } else { State::Data(size) });
            }
            State::DataLf if byte == b'\n' => return Ok(State::Size),
            State::SizeLf | State::DataLf => return Err(BodyError::BareCr),
            State::DataCr => {
                return match byte {
                    b'\r' => Ok(State::DataLf),
                    b'\n' => Err(BodyError::BareLf),
                    _ => Err(BodyError::ChunkDataEnd),
                };
            }
            _ => {}
        }
        // What is left is inside a chunk line.
        if byte == b'\n' {
            return Err(BodyError::BareLf);
        }
        let next = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == 16 {
                    return Err(BodyError::ChunkSizeOverflow);
                }
                let digit = if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(BodyError::BadChunkSize),
            (State::Size | State::Extension, b'\r') => return Ok(State::SizeLf),
            // Whitespace is bad but allowed before the semicolon, and nowhere else (RFC 9112 section 7.1.1).
            (State::Size | State::Space, b' ' | b'\t') => State::Space,
            (State::Size | State::Space, b';') => State::Extension,
            (State::Size | State::Space, _) => return Err(BodyError::BadChunkSize),
            (_, _) if byte.is_ascii_control() && byte != b'\t' => return Err(BodyError::BadChunkExtension),
            (_, _) => State::Extension,
        };
        self.line += 1;
        if self.line > limits.chunk_line {
            return Err(BodyError::ChunkLineTooLong);
        }
        if next != State::Size {
            self.extensions += 1;
            if self.extensions > self.data.saturating_add(limits.extensions as u64) {
                return Err(BodyError::ChunkExtensionsTooLarge);
            }
        }
        Ok(next)
    }

    /// Reads the trailer section, which starts at `at` (RFC 9112 section 7.1.2).
    fn trailers(&mut self, input: &[u8], at: usize, limits: &Limits) -> Result<Event, BodyError> {
        let section = input.get(at..).unwrap_or_default();
        let need_more = Event { consumed: at, kind: EventKind::NeedMore };
        loop {
            let Some(window) = self.scan.window(section, limits.line, limits.trailers) else {
                return Ok(need_more);
            };
            let line = field_line(window.bytes).map_err(|error| match error {
                FieldError::ObsFold if self.trailers == 0 => FieldError::SpaceBeforeFirstField,
                error => error,
            })?;
            match line {
                FieldLine::Field { len, .. } => {
                    self.trailers += 1;
                    if self.trailers > limits.fields {
                        return Err(FieldError::TooMany.into());
                    }
                    self.scan.advance(len);
                }
                FieldLine::End => {
                    self.state = State::Done;
                    let end = at + self.scan.at;
                    let kind = if end == at {
                        EventKind::End
                    } else {
                        EventKind::Trailers(Trailers { section: Span::new(at, end) })
                    };
                    return Ok(Event { consumed: end + 2, kind });
                }
                FieldLine::Partial => {
                    return match window.cut {
                        Cut::Line => Err(FieldError::LineTooLong.into()),
                        Cut::Section => Err(BodyError::TrailersTooLarge),
                        Cut::Input => {
                            self.scan.partial(section.len());
                            Ok(need_more)
                        }
                    };
                }
            }
        }
    }
}
