//! Every family of cases of RFC 6455 and RFC 7692, with a real server (Python's websockets) behind the gateway: in clear,
//! over TLS and over HTTP/2. Which section a case is of stands beside it.

use std::io::{Read, Write};

use super::http2::{Socket, VERSION};
use super::peers::server;
use super::{BINARY, CLOSE, FIN, PING, PONG, TEXT, c, code, pack, read, request, s, unpack};
use crate::support::frames::Http2;
use crate::support::{Client, Config, Engine, Gateway, on_both_engines};
use crate::tls;

on_both_engines!(in_clear, over_tls, over_http2,);

const MARK: u8 = 0x40;
const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Whether compression is offered, and who speaks it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Deflate {
    No,
    Server,
    Gateway,
}

/// What a client sends, and what it gets.
struct Case {
    section: &'static str,
    what: String,
    deflate: Deflate,
    sends: Vec<u8>,
    gets: Vec<(u8, Vec<u8>)>,
}

fn closes(code: u16) -> (u8, Vec<u8>) {
    (FIN | CLOSE, code.to_be_bytes().to_vec())
}

#[derive(Default)]
struct Table(Vec<Case>);

impl Table {
    fn add(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        sends: impl AsRef<[u8]>,
        gets: impl Into<Vec<(u8, Vec<u8>)>>,
    ) {
        let (sends, gets) = (sends.as_ref().to_vec(), gets.into());
        self.0.push(Case { section, what: what.into(), deflate: Deflate::No, sends, gets });
    }

    fn with(&mut self, deflate: Deflate) {
        self.0.last_mut().unwrap().deflate = deflate;
    }
}

fn cases() -> Vec<Case> {
    let mut all = Table::default();
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        all.add("5.2", format!("{len} bytes"), c(FIN | BINARY, &bytes), [(FIN | BINARY, bytes)]);
        let text = "*".repeat(len);
        all.add("5.6", format!("a text of {len} bytes"), c(FIN | TEXT, &text), [(FIN | TEXT, text.into_bytes())]);
    }
    let negative = [FIN | BINARY, 0xff, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    all.add("5.2", "a negative length", negative, [closes(1002)]);
    all.add("5.2", "a length that is too long", [FIN | BINARY, 0xfe, 0, 1, 0, 0, 0, 0, 9], [closes(1002)]);
    for reserved in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        all.add("5.2", format!("reserved bits {reserved:x}"), c(FIN | reserved | TEXT, "x"), [closes(1002)]);
        all.add("5.2", format!("a ping with {reserved:x}"), c(FIN | reserved | PING, "x"), [closes(1002)]);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        all.add("5.2", format!("opcode {opcode}"), c(FIN | opcode, ""), [closes(1002)]);
        all.add("5.2", format!("opcode {opcode} with a payload"), c(FIN | opcode, "xyz"), [closes(1002)]);
    }
    all.add("5.3", "no mask", s(FIN | TEXT, "x"), [closes(1002)]);
    let (one, two) = ((FIN | TEXT, b"onetwo".to_vec()), (FIN | BINARY, vec![1, 2]));
    all.add("5.4", "two fragments", [c(TEXT, "one"), c(FIN, "two")].concat(), [one.clone()]);
    all.add("5.4", "empty fragments", [c(BINARY, ""), c(0, [1, 2]), c(0, ""), c(FIN, "")].concat(), [two]);
    all.add("5.4", "nothing in fragments", [c(TEXT, ""), c(FIN, "")].concat(), [(FIN | TEXT, Vec::new())]);
    let pinged = [c(TEXT, "one"), c(FIN | PING, "p"), c(FIN, "two")].concat();
    all.add("5.4", "a ping between fragments", pinged, [(FIN | PONG, b"p".to_vec()), one]);
    all.add("5.4", "a continuation of nothing", c(FIN, "x"), [closes(1002)]);
    all.add("5.4", "a continuation of nothing that goes on", c(0, "x"), [closes(1002)]);
    all.add("5.4", "a text inside a text", [c(TEXT, "a"), c(FIN | TEXT, "b")].concat(), [closes(1002)]);
    all.add("5.4", "bytes inside a text", [c(TEXT, "a"), c(BINARY, "b")].concat(), [closes(1002)]);
    for payload in [&b""[..], b"Hello", &[0, 255, 254, 253], &[0xfe; 125]] {
        all.add("5.5.2", "a ping", c(FIN | PING, payload), [(FIN | PONG, payload.to_vec())]);
    }
    let many: Vec<u8> = (0..10_u8).flat_map(|at| c(FIN | PING, [at])).collect();
    all.add("5.5.2", "ten pings", many, (0..10_u8).map(|at| (FIN | PONG, vec![at])).collect::<Vec<_>>());
    let after = (FIN | PONG, b"after".to_vec());
    all.add("5.5.3", "a pong unasked", [c(FIN | PONG, "x"), c(FIN | PING, "after")].concat(), [after]);
    all.add("5.5", "a ping of 126 bytes", c(FIN | PING, [1; 126]), [closes(1002)]);
    all.add("5.5", "a close of 126 bytes", c(FIN | CLOSE, [b'a'; 126]), [closes(1002)]);
    all.add("5.5", "a ping in fragments", [c(PING, "a"), c(FIN, "b")].concat(), [closes(1002)]);
    all.add("5.5", "a pong in fragments", [c(PONG, "a"), c(FIN, "b")].concat(), [closes(1002)]);
    all.add("5.5.1", "a close without a code", c(FIN | CLOSE, ""), [(FIN | CLOSE, Vec::new())]);
    all.add("5.5.1", "half a code", c(FIN | CLOSE, [3]), [closes(1002)]);
    let reason = [&code(1000)[..], b"\xff"].concat();
    all.add("5.5.1", "a reason that is no text", c(FIN | CLOSE, reason), [closes(1007)]);
    for number in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        all.add("7.4", format!("close {number}"), c(FIN | CLOSE, code(number)), [closes(number)]);
    }
    for number in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        all.add("7.4", format!("close {number}"), c(FIN | CLOSE, code(number)), [closes(1002)]);
    }
    let (bye, late) = (c(FIN | CLOSE, code(1000)), c(FIN | TEXT, "late"));
    all.add("7.1", "a text after the close", [bye.clone(), late].concat(), [closes(1000)]);
    all.add("7.1", "two closes", [bye.clone(), c(FIN | CLOSE, code(1001))].concat(), [closes(1000)]);
    all.add("7.1", "a ping after the close", [bye, c(FIN | PING, "")].concat(), [closes(1000)]);
    let text = "κόσμε 𐍈 \u{0} \u{7ff} \u{800} \u{d7ff} \u{e000} \u{ffff} \u{10000} \u{10ffff}".as_bytes();
    let echo = [(FIN | TEXT, text.to_vec())];
    all.add("8.1", "a text", c(FIN | TEXT, text), echo.clone());
    for at in 1..text.len() {
        all.add(
            "8.1",
            format!("a text cut at {at}"),
            [c(TEXT, &text[..at]), c(FIN, &text[at..])].concat(),
            echo.clone(),
        );
    }
    for wrong in [
        &b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
        b"\xc3",
        b"\xe1\x80",
        b"\xf0\x9f\x98",
        b"\xe1\x80a",
    ] {
        all.add("8.1", format!("{wrong:x?}"), c(FIN | TEXT, wrong), [closes(1007)]);
        let bytes = [c(FIN | BINARY, wrong)].concat();
        all.add("8.1", format!("bytes {wrong:x?}"), bytes, [(FIN | BINARY, wrong.to_vec())]);
    }
    let broken = [c(TEXT, b"ok \xf4"), c(0, b"\x90")].concat();
    all.add("8.1", "a text that breaks in its second fragment", broken, [closes(1007)]);
    all.add("10.4", "a message that is too large", c(FIN | BINARY, vec![0; 100_001]), [closes(1009)]);
    let parts = [c(BINARY, vec![0; 60_000]), c(FIN, vec![0; 60_000])].concat();
    all.add("10.4", "fragments that are too large", parts, [closes(1009)]);
    for deflate in [Deflate::Server, Deflate::Gateway] {
        for text in ["", "Hello", &"word by word ".repeat(100), &"é€𐍈".repeat(5_000)] {
            let packed = if text.is_empty() { vec![0] } else { pack(text.as_bytes()) };
            let what = format!("{} compressed bytes", packed.len());
            all.add("RFC 7692 7.2", what, c(FIN | MARK | TEXT, &packed), [(FIN | TEXT, text.into())]);
            all.with(deflate);
            let middle = packed.len() / 2;
            let parts = [c(MARK | TEXT, &packed[..middle]), c(FIN | PING, ""), c(FIN, &packed[middle..])].concat();
            let gets = [(FIN | PONG, Vec::new()), (FIN | TEXT, text.into())];
            all.add("RFC 7692 6.1", "compressed fragments", parts, gets);
            all.with(deflate);
        }
        all.add("RFC 7692 6", "not compressed", c(FIN | TEXT, "plain"), [(FIN | TEXT, b"plain".to_vec())]);
        all.with(deflate);
        let marked = [c(MARK | TEXT, pack(b"x")), c(FIN | MARK, "")].concat();
        all.add("RFC 7692 6.1", "a marked continuation", marked, [closes(1002)]);
        all.with(deflate);
        all.add("RFC 7692 6", "a marked ping", c(FIN | MARK | PING, ""), [closes(1002)]);
        all.with(deflate);
    }
    for (what, payload, code) in
        [("no DEFLATE", vec![0xff], 1007), ("no text", pack(b"\xff"), 1007), ("a bomb", pack(&vec![0; 100_001]), 1009)]
    {
        all.add("RFC 7692 7.2.2", what, c(FIN | MARK | TEXT, payload), [closes(code)]);
        all.with(Deflate::Gateway);
    }
    all.0
}

/// What carries frames to the gateway and back.
trait Wire {
    fn send(&mut self, bytes: &[u8]);
    fn frame(&mut self) -> (u8, Vec<u8>);
}

impl Wire for Client {
    fn send(&mut self, bytes: &[u8]) {
        Client::send(self, bytes);
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, is_masked, payload) = read(|count| self.take(count));
        assert!(!is_masked);
        (first, payload)
    }
}

impl Wire for tls::Connection {
    fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).unwrap();
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, is_masked, payload) = read(|count| {
            let mut bytes = vec![0; count];
            self.read_exact(&mut bytes).unwrap();
            bytes
        });
        assert!(!is_masked);
        (first, payload)
    }
}

impl Wire for Socket<'_> {
    fn send(&mut self, bytes: &[u8]) {
        Socket::send(self, bytes);
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        Socket::frame(self)
    }
}

impl Case {
    fn path(&self) -> &'static str {
        if self.deflate == Deflate::Gateway { "/terminate" } else { "/chat" }
    }

    fn run(&self, wire: &mut dyn Wire) {
        eprintln!("{} {} {:?}", self.section, self.what, self.deflate);
        wire.send(&self.sends);
        for (first, payload) in &self.gets {
            let (mut head, mut got) = wire.frame();
            // The gateway may cut anew what it recodes.
            let (of, mut is_over) = (head & !FIN, head & FIN != 0);
            while !is_over && self.deflate == Deflate::Gateway {
                let (next, more) = wire.frame();
                assert_eq!(next & !FIN, 0);
                got.extend(more);
                is_over = next & FIN != 0;
                head = of | next & FIN;
            }
            if head & MARK != 0 {
                assert_ne!(self.deflate, Deflate::No);
                (head, got) = (head & !MARK, unpack(&got));
            }
            assert!((head, &got) == (*first, payload), "{head:x} {:x?}", &got[..got.len().min(40)]);
        }
    }
}

fn config(config: Config, address: std::net::SocketAddr) -> Config {
    let terminate = "[[route]]\nname = \"terminate\"\npath = \"/terminate\"\nupstream = \"origin\"\n\
                     websocket = { max_message = \"100000B\", compression = \"terminate\" }\n";
    config.endpoint(address).route("websocket = { max_message = \"100000B\" }").more(terminate)
}

/// The opening handshake over HTTP/1.1.
fn handshake(case: &Case) -> String {
    let offer = format!("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: {OFFER}\r\n");
    let offer = if case.deflate == Deflate::No { "Sec-WebSocket-Protocol: chat\r\n" } else { &offer };
    request(offer).replace("/chat", case.path())
}

fn in_clear(engine: Engine) {
    let (_server, address) = server();
    let gateway = config(Config::new(engine), address).start();
    for case in cases() {
        let mut client = gateway.connect();
        client.send(handshake(&case));
        let head = client.head();
        assert_eq!((head.status(), head.has("sec-websocket-extensions")), (101, case.deflate != Deflate::No));
        case.run(&mut client);
    }
}

fn over_tls(engine: Engine) {
    let (_server, address) = server();
    let authority = tls::Authority::new("authority");
    let issued = authority.issue("localhost", &["localhost"]);
    let gateway: Gateway = config(tls::with(engine, &issued), address).start();
    let client = tls::Client::trusting(&authority);
    for case in cases() {
        let mut wire = client.connect(gateway.address, "localhost").unwrap();
        wire.send(handshake(&case).as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            wire.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        case.run(&mut wire);
    }
}

fn over_http2(engine: Engine) {
    let (_server, address) = server();
    let gateway = config(Config::new(engine), address).start();
    for case in cases() {
        let mut http2 = Http2::connect(gateway.address);
        let offers = [VERSION, ("sec-websocket-protocol", "chat"), ("sec-websocket-extensions", OFFER)];
        let offers = if case.deflate == Deflate::No { &offers[..2] } else { &offers[..] };
        let mut socket = Socket::open_at(&mut http2, 1, case.path(), offers).0;
        case.run(&mut socket);
    }
}
