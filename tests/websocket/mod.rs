//! WebSocket through the gateway: with frames that the test writes itself, and with a real client and a real server.

mod closing;
mod compression;
mod families;
mod frames;
mod handshake;
mod http2;
mod limits;
mod peers;
mod pings;
mod plans;
mod records;

use ringway_proto::websocket::deflate::{Compressor, Expander};

use crate::support::{Client, Config, Engine, Gateway, Origin, OriginConn};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
pub(crate) const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

pub(crate) fn request(more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

pub(crate) fn switch(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{more}\r\n"
    )
}

/// The two ends of an open connection.
struct Open {
    client: Client,
    upstream: OriginConn,
}

/// Opens a connection, with `more` in both heads.
fn open_with(gateway: &Gateway, origin: &Origin, more: &str) -> Open {
    let mut client = gateway.connect();
    client.send(request(more));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send(switch(more));
    assert_eq!(client.head().status(), 101);
    Open { client, upstream }
}

fn open(gateway: &Gateway, origin: &Origin) -> Open {
    open_with(gateway, origin, "")
}

/// A gateway whose one route has these keys of `websocket`, and its origin.
fn gateway(engine: Engine, keys: &str) -> (Gateway, Origin) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route(&format!("websocket = {{ {keys} }}")).start();
    (gateway, origin)
}

/// A frame: its first byte, and its payload, masked if a client sends it.
fn frame(first: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(mask | len as u8),
        len @ 126..=0xffff => {
            out.push(mask | 0x7e);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(mask | 0x7f);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if is_masked {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        out.extend(key);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        out.extend(payload);
    }
    out
}

/// A frame of the client.
fn c(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, payload.as_ref(), true)
}

/// A frame of the server.
fn s(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first, payload.as_ref(), false)
}

/// The payload of a close frame.
fn code(code: u16) -> Vec<u8> {
    code.to_be_bytes().to_vec()
}

/// Reads one frame: its first byte, whether it is masked, and its payload.
fn read(mut take: impl FnMut(usize) -> Vec<u8>) -> (u8, bool, Vec<u8>) {
    let head = take(2);
    let len = match head[1] & 0x7f {
        126 => usize::from(u16::from_be_bytes(take(2).try_into().unwrap())),
        127 => usize::try_from(u64::from_be_bytes(take(8).try_into().unwrap())).unwrap(),
        len => usize::from(len),
    };
    let is_masked = head[1] & 0x80 != 0;
    let key = if is_masked { take(4) } else { vec![0; 4] };
    let payload = take(len).iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    (head[0], is_masked, payload)
}

impl Open {
    /// What the client gets next.
    fn client_reads(&mut self) -> (u8, Vec<u8>) {
        let (first, is_masked, payload) = read(|count| self.client.take(count));
        assert!(!is_masked, "the gateway masks what it sends to a client");
        (first, payload)
    }

    /// What the endpoint gets next.
    fn upstream_reads(&mut self) -> (u8, Vec<u8>) {
        let (first, is_masked, payload) = read(|count| self.upstream.take(count));
        assert!(is_masked, "the gateway does not mask what it sends to an endpoint");
        (first, payload)
    }

    /// The client sends this and the endpoint gets the same bytes.
    fn up(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.client.send(bytes);
        assert!(self.upstream.take(bytes.len()) == bytes, "the endpoint gets something else");
    }

    /// The endpoint sends this and the client gets the same bytes.
    fn down(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.upstream.send(bytes);
        assert!(self.client.take(bytes.len()) == bytes, "the client gets something else");
    }

    /// Both sides are told these codes and nothing else, and then the connection ends.
    fn expect_closed(mut self, client: u16, upstream: u16) {
        assert_eq!(self.upstream_reads(), (FIN | CLOSE, code(upstream)));
        assert_eq!(self.client_reads(), (FIN | CLOSE, code(client)));
        self.upstream.send(s(FIN | CLOSE, code(upstream)));
        self.upstream.finish();
        let _ = self.client.try_send(&c(FIN | CLOSE, code(client)));
        assert!(self.client.rest_or_reset().0.is_empty());
        assert!(self.upstream.rest().is_empty());
    }
}

/// A message as a side sends it that forgets after each.
fn pack(plain: &[u8]) -> Vec<u8> {
    let (mut compressor, mut out) = (Compressor::new(6, 15, true).unwrap(), Vec::new());
    compressor.compress(plain, &mut out).unwrap();
    compressor.end(&mut out).unwrap();
    out
}

/// What such a message was.
fn unpack(packed: &[u8]) -> Vec<u8> {
    let (mut expander, mut out) = (Expander::new(15, true), Vec::new());
    expander.expand(packed, &mut out, u64::MAX).unwrap();
    expander.end(&mut out, u64::MAX).unwrap();
    out
}
