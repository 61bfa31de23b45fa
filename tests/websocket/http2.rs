//! WebSocket over HTTP/2 (RFC 8441), in front of a real server that speaks HTTP/1.1, with every frame looked at.

use super::peers::server;
use super::{BINARY, CLOSE, FIN, PING, PONG, TEXT, c, code, read, s};
use crate::support::frames::{DATA, END_STREAM, HEADERS, Http2, RST_STREAM, WINDOW_UPDATE, request};
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_real_server_answers_the_key_of_the_gateway,
    the_server_closes_with_its_code,
    frames_that_break_the_rules_close_both_sides,
    a_handshake_that_is_none_is_refused,
    an_answer_to_another_key_is_refused,
);

fn connect<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    connect_to("/chat", more)
}

fn connect_to<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = request("CONNECT", path, &[]);
    fields.insert(1, (":protocol", "websocket"));
    fields.extend(more);
    fields
}

pub(super) const VERSION: (&str, &str) = ("sec-websocket-version", "13");
/// The server wants it.
const CHAT: (&str, &str) = ("sec-websocket-protocol", "chat");

/// A stream that WebSocket is spoken on.
pub(super) struct Socket<'a> {
    http2: &'a mut Http2,
    stream: u32,
    came: Vec<u8>,
    has_ended: bool,
    /// What the window of the stream has room for.
    room: usize,
}

impl<'a> Socket<'a> {
    /// Opens it, and gives the fields of the answer.
    fn open(http2: &'a mut Http2, stream: u32, more: &[(&str, &str)]) -> (Self, Vec<(String, String)>) {
        Self::open_at(http2, stream, "/chat", more)
    }

    /// Opens it at this path.
    pub(super) fn open_at(
        http2: &'a mut Http2,
        stream: u32,
        path: &str,
        more: &[(&str, &str)],
    ) -> (Self, Vec<(String, String)>) {
        http2.head(stream, &connect_to(path, more), false);
        let head = http2.next_of(HEADERS);
        assert_eq!((head.stream, &*head.fields[0].1), (stream, "200"), "{:?}", head.fields);
        (Self { http2, stream, came: Vec::new(), has_ended: false, room: 65_535 }, head.fields)
    }

    /// Sends a frame as the window of the stream lets it. That of the connection is larger than what one stream sends here.
    pub(super) fn send(&mut self, frame: impl AsRef<[u8]>) -> &mut Self {
        for piece in frame.as_ref().chunks(16_000) {
            while self.room < piece.len() {
                self.take();
            }
            self.http2.data(self.stream, piece, false);
            self.room -= piece.len();
        }
        self
    }

    /// The next DATA frame.
    fn more(&mut self) {
        assert!(!self.has_ended, "the stream has ended");
        while self.take() != DATA {}
    }

    /// The next frame: of which kind it was.
    fn take(&mut self) -> u8 {
        let frame = self.http2.next_answered();
        match frame.kind {
            DATA => {
                assert_eq!(frame.stream, self.stream);
                let len = (frame.payload.len() as u32).to_be_bytes();
                self.has_ended = frame.flags & END_STREAM != 0;
                if !frame.payload.is_empty() {
                    self.http2.frame(WINDOW_UPDATE, 0, 0, &len);
                }
                if !self.has_ended && !frame.payload.is_empty() {
                    self.http2.frame(WINDOW_UPDATE, 0, self.stream, &len);
                }
                self.came.extend(frame.payload);
            }
            WINDOW_UPDATE if frame.stream == self.stream => self.room += frame.number(0) as usize,
            RST_STREAM => panic!("the stream was reset with {}", frame.number(0)),
            _ => {}
        }
        frame.kind
    }

    /// The next frame of WebSocket.
    pub(super) fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, is_masked, payload) = read(|count| {
            while self.came.len() < count {
                self.more();
            }
            self.came.drain(..count).collect()
        });
        assert!(!is_masked);
        (first, payload)
    }

    /// The stream ends without an error, and nothing comes before.
    fn ends(mut self) {
        while !self.has_ended {
            self.more();
        }
        assert!(self.came.is_empty(), "{:?}", self.came);
    }
}

fn a_real_server_answers_the_key_of_the_gateway(engine: Engine) {
    let (_server, address) = server();
    let gateway = Config::new(engine).endpoint(address).start();
    let mut client = Http2::connect(gateway.address);
    for stream in [1, 3] {
        let asked = [VERSION, CHAT, ("sec-websocket-extensions", "permessage-deflate")];
        let (mut socket, fields) = Socket::open(&mut client, stream, &asked);
        let get = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &*field.1);
        assert_eq!(get("sec-websocket-protocol"), Some("chat"));
        assert!(get("sec-websocket-extensions").is_some_and(|chosen| chosen.starts_with("permessage-deflate")));
        assert_eq!((get("sec-websocket-accept"), get("upgrade"), get("connection")), (None, None, None));
        // The server compresses what it sends: only what it does not is read here.
        socket.send(c(FIN | PING, "are you there?"));
        assert_eq!(socket.frame(), (FIN | PONG, b"are you there?".to_vec()));
        socket.send(c(FIN | CLOSE, code(4000)));
        assert_eq!(socket.frame(), (FIN | CLOSE, code(4000)));
        socket.ends();
    }
    let (mut socket, _) = Socket::open(&mut client, 5, &[VERSION, CHAT]);
    for len in [0, 1, 125, 126, 20_000] {
        let message: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        socket.send(c(FIN | BINARY, &message));
        assert_eq!(socket.frame(), (FIN | BINARY, message));
    }
    socket.send(c(TEXT, "one ")).send(c(FIN | PING, "")).send(c(FIN, "two"));
    assert_eq!(socket.frame(), (FIN | PONG, vec![]));
    assert_eq!(socket.frame(), (FIN | TEXT, b"one two".to_vec()));
    socket.send(c(FIN | CLOSE, code(1000)));
    assert_eq!(socket.frame(), (FIN | CLOSE, code(1000)));
    socket.ends();
}

fn the_server_closes_with_its_code(engine: Engine) {
    let (_server, address) = server();
    let gateway = Config::new(engine).endpoint(address).start();
    let mut client = Http2::connect(gateway.address);
    let (mut socket, _) = Socket::open(&mut client, 1, &[VERSION, CHAT]);
    socket.send(c(FIN | TEXT, "close 4321"));
    let reason = [&code(4321)[..], b"as told"].concat();
    assert_eq!(socket.frame(), (FIN | CLOSE, reason.clone()));
    socket.send(c(FIN | CLOSE, reason));
    socket.ends();
}

fn frames_that_break_the_rules_close_both_sides(engine: Engine) {
    let (_server, address) = server();
    let gateway = Config::new(engine).endpoint(address).start();
    let mut client = Http2::connect(gateway.address);
    let (mut socket, _) = Socket::open(&mut client, 1, &[VERSION, CHAT]);
    // A client must mask.
    socket.send(s(FIN | TEXT, "hello"));
    assert_eq!(socket.frame(), (FIN | CLOSE, code(1002)));
    socket.send(c(FIN | CLOSE, code(1002)));
    socket.ends();
    // The connection goes on.
    let (mut socket, _) = Socket::open(&mut client, 3, &[VERSION, CHAT]);
    socket.send(c(FIN | TEXT, "hello"));
    assert_eq!(socket.frame(), (FIN | TEXT, b"hello".to_vec()));
}

fn a_handshake_that_is_none_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    for (stream, more, status, reason) in [
        (1, &[][..], 426, "websocket_version"),
        (3, &[("sec-websocket-version", "8")], 426, "websocket_version"),
        (5, &[VERSION, ("sec-websocket-key", "short")], 400, "websocket_key"),
        (7, &[VERSION, ("sec-websocket-protocol", "(")], 400, "websocket_protocol"),
    ] {
        client.head(stream, &connect(more), false);
        let answer = client.answer(stream);
        assert_eq!(answer.status(), status, "{more:?}");
        assert!(answer.text().contains(&format!("\"{reason}\"")), "{}", answer.text());
        // An extended CONNECT is not over when the answer is.
        client.try_frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    origin.expect_no_connection();
}

fn an_answer_to_another_key_is_refused(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).start();
    let mut client = Http2::connect(gateway.address);
    client.head(1, &connect(&[VERSION]), false);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send(super::switch(""));
    let answer = client.answer(1);
    // What the gateway says of it comes along.
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("\"upstream_protocol_error\""), "{}", answer.text());
}
