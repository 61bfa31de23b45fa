//! Just enough HTTP/1.1 to find where messages end. The load generator and the origin share a core with nothing to
//! spare, so this reads only the fields that decide framing (RFC 9112 section 6) and trusts the rest.

use memchr::{memchr, memmem};

/// The bytes are no HTTP/1 message this parser can frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Heads longer than this are [`Malformed`].
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// How the end of a body shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks up to the zero chunk and its trailers.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// What the head of a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// Bytes of the head, with its empty line.
    pub(crate) len: usize,
    /// The status code.
    pub(crate) status: u16,
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// The server will close the connection after it.
    pub(crate) close: bool,
}

/// What the head of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    /// Bytes of the head, with its empty line.
    pub(crate) len: usize,
    /// The method, as sent.
    pub(crate) method: &'a [u8],
    /// The request target, as sent.
    pub(crate) target: &'a [u8],
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// The client wants the connection closed after the response.
    pub(crate) close: bool,
    /// The client waits for 100 (Continue).
    pub(crate) expects_continue: bool,
}

#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

fn head_end(input: &[u8]) -> Result<Option<usize>, Malformed> {
    match memmem::find(input, b"\r\n\r\n") {
        Some(at) if at + 4 <= HEAD_MAX => Ok(Some(at + 4)),
        None if input.len() < HEAD_MAX => Ok(None),
        _ => Err(Malformed),
    }
}

/// Splits a complete head into its first line and what its fields say of framing.
fn scan(head: &[u8]) -> Result<(&[u8], Fields), Malformed> {
    let mut fields = Fields::default();
    let end = memchr(b'\r', head).ok_or(Malformed)?;
    let (first, mut rest) = head.split_at(end);
    while let Some(line) = rest.strip_prefix(b"\r\n") {
        let end = memchr(b'\r', line).unwrap_or(line.len());
        let (line, after) = line.split_at(end);
        rest = after;
        // The length of the name alone turns nearly every other field away.
        match memchr(b':', line) {
            Some(14) if starts_with(line, b"content-length") => {
                let value = std::str::from_utf8(trim(line, 15)).map_err(|_| Malformed)?;
                fields.length = Some(value.parse().map_err(|_| Malformed)?);
            }
            Some(17) if starts_with(line, b"transfer-encoding") => {
                fields.chunked = trim(line, 18).eq_ignore_ascii_case(b"chunked");
            }
            Some(10) if starts_with(line, b"connection") => {
                let value = trim(line, 11);
                fields.close |= value.eq_ignore_ascii_case(b"close");
                fields.keep_alive |= value.eq_ignore_ascii_case(b"keep-alive");
            }
            Some(6) if starts_with(line, b"expect") => {
                fields.expects_continue = trim(line, 7).eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
    }
    Ok((first, fields))
}

fn starts_with(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

fn trim(line: &[u8], from: usize) -> &[u8] {
    line.get(from..).unwrap_or_default().trim_ascii()
}

/// Reads the head of a response, once it is all there.
///
/// # Errors
/// [`Malformed`] when it is no response or too long.
pub(crate) fn response_head(input: &[u8], to_head_request: bool) -> Result<Option<ResponseHead>, Malformed> {
    let Some(len) = head_end(input)? else { return Ok(None) };
    let (line, fields) = scan(input.get(..len).ok_or(Malformed)?)?;
    let &[b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', a, b, c, ref tail @ ..] = line else {
        return Err(Malformed);
    };
    if tail.first().is_some_and(|&byte| byte != b' ') || ![a, b, c].iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    let framing = if to_head_request || status < 200 || status == 204 || status == 304 {
        Framing::None
    } else if fields.chunked {
        Framing::Chunked
    } else {
        fields.length.map_or(Framing::UntilClose, Framing::Length)
    };
    let close = fields.close || framing == Framing::UntilClose || (minor == b'0' && !fields.keep_alive);
    Ok(Some(ResponseHead { len, status, framing, close }))
}

/// Reads the head of a request, once it is all there.
///
/// # Errors
/// [`Malformed`] when it is no request or too long.
pub(crate) fn request_head(input: &[u8]) -> Result<Option<RequestHead<'_>>, Malformed> {
    let Some(len) = head_end(input)? else { return Ok(None) };
    let (line, fields) = scan(input.get(..len).ok_or(Malformed)?)?;
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let (method, target) = (words.next().ok_or(Malformed)?, words.next().ok_or(Malformed)?);
    let version = words.next().filter(|version| version.starts_with(b"HTTP/1.")).ok_or(Malformed)?;
    let framing = if fields.chunked {
        Framing::Chunked
    } else {
        match fields.length {
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        }
    };
    let close = fields.close || (version.ends_with(b"0") && !fields.keep_alive);
    Ok(Some(RequestHead { len, method, target, framing, close, expects_continue: fields.expects_continue }))
}

/// Walks over a body without keeping it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    state: BodyState,
    /// Bytes of content passed so far, without chunk framing.
    pub(crate) content: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    Done,
    Exactly(u64),
    UntilClose,
    /// In the hexadecimal size of a chunk, with the digits seen.
    Size {
        size: u64,
        digits: u8,
    },
    /// In what follows the size, up to the end of its line.
    SizeLine(u64),
    Chunk(u64),
    /// After the bytes of a chunk, up to the end of the line.
    ChunkEnd,
    /// In the trailers, with the bytes of this line seen.
    Trailer {
        line: u32,
    },
}

impl Body {
    /// A body of this framing, at its start.
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Exactly(length),
            Framing::Chunked => BodyState::Size { size: 0, digits: 0 },
            Framing::UntilClose => BodyState::UntilClose,
        };
        Self { state, content: 0 }
    }

    /// The body has been passed entirely.
    pub(crate) fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// Passes over `input` and returns how much of it belonged to the body.
    ///
    /// # Errors
    /// [`Malformed`] when a chunk's framing is wrong.
    pub(crate) fn skip(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < input.len() {
            let here = input.get(at..).unwrap_or_default();
            let (taken, next) = match self.state {
                BodyState::Done => break,
                BodyState::UntilClose => {
                    self.content += here.len() as u64;
                    (here.len(), BodyState::UntilClose)
                }
                BodyState::Exactly(left) => {
                    let taken = left.min(here.len() as u64);
                    self.content += taken;
                    (taken as usize, if taken == left { BodyState::Done } else { BodyState::Exactly(left - taken) })
                }
                BodyState::Chunk(left) => {
                    let taken = left.min(here.len() as u64);
                    self.content += taken;
                    (taken as usize, if taken == left { BodyState::ChunkEnd } else { BodyState::Chunk(left - taken) })
                }
                BodyState::Size { size, digits } => {
                    let byte = here.first().copied().unwrap_or_default();
                    match char::from(byte).to_digit(16) {
                        Some(_) if digits >= 15 => return Err(Malformed),
                        Some(digit) => (1, BodyState::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }),
                        None if digits > 0 => (0, BodyState::SizeLine(size)),
                        None => return Err(Malformed),
                    }
                }
                BodyState::SizeLine(size) => match memchr(b'\n', here) {
                    None => (here.len(), BodyState::SizeLine(size)),
                    Some(end) if size == 0 => (end + 1, BodyState::Trailer { line: 0 }),
                    Some(end) => (end + 1, BodyState::Chunk(size)),
                },
                BodyState::ChunkEnd => match here.first() {
                    Some(b'\r') => (1, BodyState::ChunkEnd),
                    Some(b'\n') => (1, BodyState::Size { size: 0, digits: 0 }),
                    _ => return Err(Malformed),
                },
                BodyState::Trailer { line } => match here.first() {
                    Some(b'\r') => (1, BodyState::Trailer { line }),
                    Some(b'\n') if line == 0 => (1, BodyState::Done),
                    Some(b'\n') => (1, BodyState::Trailer { line: 0 }),
                    _ => (1, BodyState::Trailer { line: line.saturating_add(1) }),
                },
            };
            at += taken;
            self.state = next;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_response_head_tells_status_framing_and_close() {
        let input = b"HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-length:  12 \r\nConnection: close\r\n\r\nbody";
        let head = response_head(input, false).unwrap().unwrap();
        assert_eq!(head, ResponseHead { len: input.len() - 4, status: 200, framing: Framing::Length(12), close: true });
    }

    #[test]
    fn answers_to_head_and_empty_statuses_have_no_body() {
        let head = |text: &[u8], to_head| response_head(text, to_head).unwrap().unwrap().framing;
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), Framing::None);
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n", false), Framing::None);
        assert_eq!(head(b"HTTP/1.1 304\r\n\r\n", false), Framing::None);
        assert_eq!(head(b"HTTP/1.1 200 OK\r\n\r\n", false), Framing::UntilClose);
    }

    #[test]
    fn an_unfinished_head_asks_for_more_and_nonsense_is_refused() {
        assert_eq!(response_head(b"HTTP/1.1 200 OK\r\n", false), Ok(None));
        assert_eq!(response_head(b"SSH-2.0 hello\r\n\r\n", false), Err(Malformed));
        assert_eq!(response_head(b"HTTP/1.1 2x0 OK\r\n\r\n", false), Err(Malformed));
        assert_eq!(response_head(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false), Err(Malformed));
        assert_eq!(response_head(&vec![b'a'; HEAD_MAX], false), Err(Malformed));
        assert_eq!(request_head(b"GET /\r\n\r\n"), Err(Malformed));
    }

    #[test]
    fn a_request_head_tells_target_and_body() {
        let input = b"POST /bytes/9 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
        let head = request_head(input).unwrap().unwrap();
        assert_eq!((head.method, head.target), (&b"POST"[..], &b"/bytes/9"[..]));
        assert_eq!((head.framing, head.close, head.expects_continue), (Framing::Chunked, false, true));
        assert!(request_head(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().close);
    }

    proptest! {
        #[test]
        fn a_chunked_body_split_anywhere_counts_the_same(
            chunks in prop::collection::vec(1usize..300, 0..6),
            extension in prop::bool::ANY,
            trailer in prop::bool::ANY,
            pieces in prop::collection::vec(1usize..40, 1..400),
        ) {
            let mut wire = Vec::new();
            for &size in &chunks {
                let extension = if extension { ";a=b" } else { "" };
                wire.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
                wire.extend(std::iter::repeat_n(b'z', size));
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n");
            if trailer {
                wire.extend_from_slice(b"Checksum: 1\r\n");
            }
            wire.extend_from_slice(b"\r\n");
            let end = wire.len();
            wire.extend_from_slice(b"HTTP/1.1 next");

            let mut body = Body::new(Framing::Chunked);
            let (mut from, mut passed) = (0, 0);
            for piece in pieces.into_iter().chain([wire.len()]) {
                let to = (from + piece).min(wire.len());
                passed += body.skip(&wire[from..to]).unwrap();
                from = to;
            }
            prop_assert!(body.is_done());
            prop_assert_eq!(passed, end);
            prop_assert_eq!(body.content, chunks.iter().sum::<usize>() as u64);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = response_head(&bytes, false);
            let _ = request_head(&bytes);
            let _ = Body::new(Framing::Chunked).skip(&bytes);
        }
    }
}
