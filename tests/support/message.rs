//! Reading of HTTP/1.1 messages that owes nothing to the gateway's own codec.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A head as received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The request line or status line.
    pub(crate) line: String,
    /// Names as received, with trimmed values.
    pub(crate) fields: Vec<(String, String)>,
    /// All of it, the empty line included.
    pub(crate) raw: Vec<u8>,
}

impl Head {
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let text = String::from_utf8(raw.to_vec()).expect("a head is ASCII here");
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field line: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        Self { line, fields: lines.map(field).collect(), raw: raw.to_vec() }
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self.line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status line: {:?}", self.line))
    }

    /// Every value of the field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }

    /// The value of a field that may be there once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {all:?}", all.len());
        all.first().copied()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// How a body came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transfer {
    #[default]
    None,
    Length,
    Chunked,
    UntilClose,
}

/// A whole message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) transfer: Transfer,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// A member of a body in JSON that is a string.
    pub(crate) fn member(&self, name: &str) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
    }

    /// The stable code of a problem the gateway reported, after a look at its shape (RFC 9457).
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.head.get("content-type"), Some("application/problem+json"), "{:?}", self.head);
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("problem details are JSON");
        assert_eq!(problem["status"], self.status());
        problem["code"].as_str().expect("a problem has a code").to_owned()
    }
}

/// A socket with what was read from it and not yet asked for.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a deadline");
        stream.set_write_timeout(Some(super::PATIENCE)).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, unread: Vec::new() }
    }

    /// Reads some more. False at the end.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.unread.extend_from_slice(&piece[..count]);
                    return Ok(count > 0);
                }
                // A read with a deadline is not restarted after a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn need(&mut self, what: &str) -> io::Result<()> {
        let context = |why: &str, unread: &[u8]| format!("{why} before {what}; so far: {}", unread.escape_ascii());
        match self.fill() {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::new(ErrorKind::UnexpectedEof, context("the end", &self.unread))),
            Err(error) => Err(io::Error::new(error.kind(), context(&error.to_string(), &self.unread))),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.need("the bytes asked for")?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.take(at + 2)?).expect("a line is ASCII here");
                return Ok(line.trim_end_matches("\r\n").to_owned());
            }
            self.need("a line")?;
        }
    }

    pub(crate) fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let raw = self.take(at + 4)?;
                return Ok(Head::parse(&raw));
            }
            self.need("a head")?;
        }
    }

    /// The rest of what the peer sends, and how that ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return (std::mem::take(&mut self.unread), Ok(())),
                Err(error) => return (std::mem::take(&mut self.unread), Err(error)),
            }
        }
    }

    /// The data of the next chunk; nothing is the last, whose trailer section is still to come.
    fn chunk_or_last(&mut self) -> io::Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).expect("a chunk size");
        let data = self.take(size)?;
        if size > 0 {
            assert_eq!(self.take(2)?, b"\r\n", "a chunk ends with CRLF");
        }
        Ok(data)
    }

    /// The data of the next chunk; nothing is the last, which has no trailers.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let data = self.chunk_or_last()?;
        if data.is_empty() {
            assert_eq!(self.line()?, "", "the end of the body");
        }
        Ok(data)
    }

    /// The body that `head` announces; `until_close` is how it goes where it announces none.
    pub(crate) fn body(&mut self, head: Head, until_close: bool) -> io::Result<Message> {
        let chunked = head.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let length = head.get("content-length").map(|length| length.parse::<usize>().expect("a length"));
        assert!(!(chunked && length.is_some()), "both a length and chunked: {:?}", head.fields);
        let mut message = Message { head, ..Message::default() };
        if chunked {
            message.transfer = Transfer::Chunked;
            loop {
                let chunk = self.chunk_or_last()?;
                if chunk.is_empty() {
                    break;
                }
                message.body.extend(chunk);
            }
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(": ").expect("a trailer");
                message.trailers.push((name.to_owned(), value.to_owned()));
            }
        } else if let Some(length) = length {
            message.transfer = Transfer::Length;
            message.body = self.take(length)?;
        } else if until_close {
            message.transfer = Transfer::UntilClose;
            let (body, end) = self.rest();
            end?;
            message.body = body;
        }
        Ok(message)
    }
}

/// Writes until nothing goes for a while, or the connection ends, and says how much went.
pub(crate) fn write_until_stuck(mut to: &TcpStream, most: usize) -> usize {
    let piece = vec![0x5a; 64 * 1024];
    to.set_write_timeout(Some(Duration::from_millis(400))).expect("a deadline");
    let mut sent = 0;
    while sent < most {
        match to.write(&piece[..piece.len().min(most - sent)]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    to.set_write_timeout(Some(super::PATIENCE)).expect("a deadline");
    sent
}

/// What came, or a failed test that says what was waited for.
pub(crate) fn came<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
