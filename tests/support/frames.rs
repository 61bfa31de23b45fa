//! A raw client of HTTP/2: sends the frames that it is told to, and reads frames. Only header blocks are read by the
//! gateway's own decoder.

use std::net::SocketAddr;

use ringway_proto::hpack::{Block, Decoder};

use super::{Client, Origin};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
    /// What the payload of HEADERS says.
    pub(crate) fields: Vec<(String, String)>,
}

impl Frame {
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

/// What came of a stream until its end.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Every section of fields, the head of the response and trailers, interim ones included.
    pub(crate) heads: Vec<Vec<(String, String)>>,
    pub(crate) body: Vec<u8>,
    /// The code of the reset that ended it.
    pub(crate) reset: Option<u32>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.get(":status").and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    /// A field of the first head.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let fields = self.heads.first()?;
        fields.iter().find(|(is, _)| is == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// Bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals that are not indexed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        let len = text.len();
        if len < 127 {
            bytes.push(len as u8);
        } else {
            bytes.push(127);
            let mut rest = len - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
        bytes.extend(text.as_bytes());
    };
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// The fields of a request, with more behind them.
pub(crate) fn request<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")];
    fields.extend(more);
    fields
}

/// One connection of HTTP/2.
pub(crate) struct Http2 {
    pub(crate) wire: Client,
    decoder: Box<Decoder>,
}

impl Http2 {
    /// Connects, with these settings of the client's own.
    pub(crate) fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::over(Client::connect(address), settings)
    }

    /// A connection that the gateway made, as its server.
    pub(crate) fn accept(origin: &Origin, settings: &[(u16, u32)]) -> Self {
        let mut wire = Client::of(origin.accept().into_stream());
        assert_eq!(wire.take(PREFACE.len()), PREFACE);
        Self::begin(wire, settings)
    }

    pub(crate) fn over(mut wire: Client, settings: &[(u16, u32)]) -> Self {
        wire.send(PREFACE);
        Self::begin(wire, settings)
    }

    fn begin(wire: Client, settings: &[(u16, u32)]) -> Self {
        let mut connection = Self { wire, decoder: Box::new(Decoder::new(4096)) };
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        connection.frame(SETTINGS, 0, 0, &settings);
        connection
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        self.wire.send(frame(kind, flags, stream, payload));
        self
    }

    /// The same where the gateway may be gone.
    pub(crate) fn try_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.wire.try_send(&frame(kind, flags, stream, payload))
    }

    /// Sends a request without a body.
    pub(crate) fn ask(&mut self, stream: u32, path: &str) -> &mut Self {
        self.head(stream, &request("GET", path, &[]), true)
    }

    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> &mut Self {
        let end = if end { END_STREAM } else { 0 };
        self.frame(HEADERS, END_HEADERS | end, stream, &block(fields))
    }

    pub(crate) fn data(&mut self, stream: u32, data: &[u8], end: bool) -> &mut Self {
        self.frame(DATA, if end { END_STREAM } else { 0 }, stream, data)
    }

    /// The next frame.
    /// Sends all of a body and the end of its stream, as far as the windows let it at a time: that of a stream that has sent
    /// nothing yet, and the `total` that is left of the connection's.
    pub(crate) fn body(&mut self, stream: u32, body: &[u8], mut total: usize) {
        let (mut sent, mut window) = (0, 65_535);
        while sent < body.len() {
            let piece = 16_000.min(window).min(total).min(body.len() - sent);
            if piece == 0 {
                let update = self.next_of(WINDOW_UPDATE);
                let more = update.number(0) as usize;
                if update.stream == 0 {
                    total += more;
                } else {
                    window += more;
                }
                continue;
            }
            self.data(stream, &body[sent..sent + piece], sent + piece == body.len());
            (sent, window, total) = (sent + piece, window - piece, total - piece);
        }
    }

    pub(crate) fn next(&mut self) -> Frame {
        let head = self.wire.take(9);
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let (kind, payload) = (head[3], self.wire.take(len));
        let fields = if kind == HEADERS { self.fields(&payload) } else { Vec::new() };
        Frame { kind, flags: head[4], stream, payload, fields }
    }

    /// The next frame of this kind; what comes before is answered as it must be, or dropped.
    pub(crate) fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let next = self.next_answered();
            if next.kind == kind {
                return next;
            }
        }
    }

    /// The next frame, which is answered as it must be.
    pub(crate) fn next_answered(&mut self) -> Frame {
        let next = self.next();
        self.answer_control(&next);
        next
    }

    fn answer_control(&mut self, frame: &Frame) {
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let payload = if frame.kind == PING { &frame.payload[..] } else { b"" };
            self.frame(frame.kind, ACK, 0, payload);
        }
    }

    fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let (mut fields, mut text) = (Vec::new(), Vec::new());
        let mut reader = Block::new(block, 1 << 20);
        while let Some(field) = self.decoder.next(&mut reader, &mut text).expect("a header block") {
            let of = |span: ringway_proto::http1::Span| String::from_utf8(span.of(&text).to_vec()).unwrap();
            fields.push((of(field.name), of(field.value)));
        }
        fields
    }

    /// Reads until a stream has ended. Data that comes is made room for; frames of other streams are an error.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut answers = self.answers(&[stream]);
        answers.pop().unwrap()
    }

    /// Reads until all of these streams have ended.
    pub(crate) fn answers(&mut self, streams: &[u32]) -> Vec<Answer> {
        let mut answers: Vec<Answer> = streams.iter().map(|_| Answer::default()).collect();
        let mut open: Vec<u32> = streams.to_vec();
        while !open.is_empty() {
            let next = self.next();
            self.answer_control(&next);
            let Some(at) = streams.iter().position(|&stream| stream == next.stream) else {
                let is_late = next.kind == WINDOW_UPDATE || (next.kind == RST_STREAM && next.number(0) == 0);
                assert!(next.stream == 0 || is_late, "{next:?}");
                continue;
            };
            match next.kind {
                HEADERS => answers[at].heads.push(next.fields.clone()),
                DATA => {
                    answers[at].body.extend(&next.payload);
                    let more = (next.payload.len() as u32).to_be_bytes();
                    if !next.payload.is_empty() {
                        self.frame(WINDOW_UPDATE, 0, 0, &more);
                        if !next.ends() {
                            self.frame(WINDOW_UPDATE, 0, next.stream, &more);
                        }
                    }
                }
                RST_STREAM => answers[at].reset = Some(next.number(0)),
                _ => {}
            }
            if next.kind == RST_STREAM || (matches!(next.kind, HEADERS | DATA) && next.ends()) {
                open.retain(|&stream| stream != next.stream);
            }
        }
        answers
    }

    /// Asks and reads the answer.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> Answer {
        self.ask(stream, path).answer(stream)
    }

    /// Reads until the connection ends, which must be in order.
    pub(crate) fn goes_away(&mut self) {
        let mut bytes = Vec::new();
        while self.wire.take_some(&mut bytes) {
            while bytes.len() >= 9 {
                let len = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
                if bytes.len() < 9 + len {
                    break;
                }
                let rest = bytes.split_off(9 + len);
                let frame = std::mem::replace(&mut bytes, rest);
                if frame[3] == PING && frame[4] == 0 {
                    self.try_frame(PING, ACK, 0, &frame[9..]);
                } else if frame[3] == GOAWAY {
                    assert_eq!(frame[13..17], [0; 4], "GOAWAY with an error");
                }
            }
        }
        assert!(bytes.is_empty());
    }

    /// Reads until GOAWAY with an error and the end of the connection, and says which error.
    pub(crate) fn ends_with(&mut self) -> u32 {
        let (bytes, _) = self.wire.rest_or_reset();
        let mut rest = &bytes[..];
        let mut code = None;
        while rest.len() >= 9 {
            let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            if rest[3] == GOAWAY && rest.len() >= 17 {
                code = Some(u32::from_be_bytes(rest[13..17].try_into().unwrap()));
            }
            rest = rest.get(9 + len..).unwrap_or_default();
        }
        code.expect("GOAWAY before the end")
    }
}
