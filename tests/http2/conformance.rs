//! The running gateway against every row of the codec's tables, as a server and as a client, in clear and over TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ringway_proto::hpack::Encoder;
use ringway_proto::http2::ErrorCode;
use rustls::{ServerConnection, StreamOwned};

use self::rows::wire::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Sent, frames, ping_frame, settings,
    settings_ack, window,
};
use self::rows::{Do, Expect, Row, Start};
use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};
use crate::tls::{self, Authority};

#[path = "../../proto/src/http2/tests/rows/mod.rs"]
mod rows;

on_both_engines!(
    every_row_holds_against_a_listener,
    every_row_holds_against_a_listener_over_tls,
    every_row_holds_of_an_upstream,
    every_row_holds_of_an_upstream_over_tls,
);

/// Everything is at its path.
const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/{rest...}\"\nservice = \"hello\"\n";

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// The other side of the gateway, of which a row says what it sends.
struct Peer {
    wire: Box<dyn Wire>,
    seen: Vec<Sent>,
}

impl Peer {
    fn new(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), seen: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        // Where the gateway takes no more, what it has said is what counts.
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// So many bytes. Fewer where the connection ends.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            match self.wire.read(&mut bytes[at..]) {
                Ok(0) => break,
                Ok(read) => at += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing more came; so far {:?}", self.seen);
                }
                Err(_) => break,
            }
        }
        bytes.truncate(at);
        bytes
    }

    /// Reads the next frame. False where the connection has ended.
    fn hears(&mut self) -> bool {
        let mut bytes = self.take(9);
        if bytes.len() < 9 {
            return false;
        }
        let len = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        bytes.extend(self.take(len));
        if bytes.len() < 9 + len {
            return false;
        }
        self.seen.extend(frames(&bytes));
        true
    }

    /// Reads until a frame has come for which this holds.
    fn waits(&mut self, holds: impl Fn(&Sent) -> bool) {
        while !self.seen.iter().any(&holds) {
            assert!(self.hears(), "the connection has ended: {:?}", self.seen);
        }
    }

    /// Reads until both have said and acknowledged their settings.
    fn settle(&mut self) {
        self.send(&settings(&[]));
        self.waits(|frame| frame.kind == SETTINGS && frame.flags & ACK == 0);
        self.send(&settings_ack());
        self.waits(|frame| frame.kind == SETTINGS && frame.flags & ACK != 0);
        self.seen.clear();
    }

    fn ends(id: u32) -> impl Fn(&Sent) -> bool {
        move |frame| matches!(frame.kind, DATA | HEADERS) && frame.stream == id && frame.flags & END_STREAM != 0
    }

    fn resets(&self) -> Vec<(u32, ErrorCode)> {
        let resets = self.seen.iter().filter(|frame| frame.kind == RST_STREAM);
        resets.map(|frame| (frame.stream, ErrorCode::from_u32(frame.number(0)))).collect()
    }

    fn data(&self, id: u32) -> usize {
        let data = self.seen.iter().filter(|frame| frame.kind == DATA && frame.stream == id);
        data.map(|frame| frame.payload.len()).sum()
    }

    /// Does what the row says. `reset` makes the gateway reset a stream.
    fn does(&mut self, row: &Row, mut reset: impl FnMut(&mut Self, u32)) {
        for step in &row.steps {
            match step {
                Do::Send(bytes) => self.send(bytes),
                Do::Answered(id) => self.waits(Self::ends(*id)),
                // Nobody takes anything of this gateway's.
                Do::Hold => {}
                Do::Reset(id) => {
                    reset(self, *id);
                    self.waits(|frame| frame.kind == RST_STREAM && frame.stream == *id);
                    self.seen.clear();
                }
            }
        }
    }

    /// Looks at what came of it.
    fn must_see(&mut self, expect: Expect) {
        match expect {
            Expect::Connection(code) => {
                while self.hears() {}
                let goaway = self.seen.iter().rfind(|frame| frame.kind == GOAWAY);
                let found = goaway.map(|frame| ErrorCode::from_u32(frame.number(4)));
                assert_eq!(found, Some(code), "{:?}", self.seen);
                return;
            }
            Expect::Stream(id, code) => self.waits(|frame| {
                frame.kind == RST_STREAM && frame.stream == id && ErrorCode::from_u32(frame.number(0)) == code
            }),
            Expect::Answer(id) => self.waits(Self::ends(id)),
            Expect::Data(id, len) => {
                while self.data(id) < len {
                    assert!(self.hears(), "the connection has ended: {:?}", self.seen);
                }
            }
            Expect::Fine => {}
        }
        // The connection lives.
        self.send(&ping_frame(*b"alive?!?"));
        self.waits(|frame| frame.kind == PING && frame.flags & ACK != 0 && frame.payload == b"alive?!?");
        if let Expect::Data(id, len) = expect {
            assert_eq!(self.data(id), len, "{:?}", self.seen);
        }
        let mut resets = self.resets();
        // Of a request that had its answer before its end.
        resets.retain(|&(_, code)| code != ErrorCode::NoError);
        if !matches!(expect, Expect::Stream(..)) {
            assert_eq!(resets, [], "{:?}", self.seen);
        }
        assert!(!self.seen.iter().any(|frame| frame.kind == GOAWAY && frame.number(4) != 0), "{:?}", self.seen);
    }
}

/// Runs all of these, so that one failure does not hide the others.
fn each(rows: &[Row], run: impl Fn(&Row)) {
    let failed: Vec<String> = rows
        .iter()
        .filter(|row| catch_unwind(AssertUnwindSafe(|| run(row))).is_err())
        .map(|row| format!("{} ({}, RFC {}, h2spec {:?})", row.name, row.says, row.section, row.h2spec))
        .collect();
    assert!(failed.is_empty(), "of {} rows these failed, for what is said above: {failed:#?}", rows.len());
}

fn server_rows() -> Vec<Row> {
    rows::all().into_iter().filter(|row| !row.is_of_client()).collect()
}

/// What listeners are made of, and how one connects to them.
struct Listeners {
    config: Config,
    tls: Option<tls::Client>,
}

impl Listeners {
    fn connect(&self, gateway: &Gateway) -> Peer {
        match &self.tls {
            Some(client) => {
                let stream = client.connect(gateway.address, "localhost").expect("a handshake");
                assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
                stream.sock.set_nodelay(true).unwrap();
                Peer::new(stream)
            }
            None => Peer::new(plain(TcpStream::connect(gateway.address).unwrap())),
        }
    }
}

fn plain(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn against_a_listener(listeners: &Listeners) {
    let answering = listeners.config.clone().more(HELLO).start();
    // One that answers nothing and takes nothing: every request waits in line behind this one.
    let origin = Origin::listen();
    let silent = listeners.config.clone().listener("http2.websocket = false").origin(&origin);
    let silent = silent.upstream("pool = { max_connections = 1, wait = \"10m\" }");
    let silent = silent.upstream("timeout = { first_byte = \"10m\", idle = \"10m\", total = \"10m\" }").start();
    let mut first = listeners.connect(&silent);
    first.send(PREFACE);
    first.settle();
    first.send(&rows::wire::headers(1, true, &rows::wire::get(&[])));
    let _held = origin.accept();
    each(&server_rows(), |row| {
        let mut peer = listeners.connect(if row.start == Start::Answering { &answering } else { &silent });
        if row.start != Start::Fresh {
            peer.send(PREFACE);
            peer.settle();
        }
        // Without TLS what is no preface is a request of HTTP/1.1.
        if listeners.tls.is_none() && matches!(row.name, "preface_wrong" | "preface_http1") {
            let mut client = Client::connect(answering.address);
            row.steps.iter().for_each(|step| {
                if let Do::Send(bytes) = step {
                    client.send(bytes);
                }
            });
            assert!(client.take(9) == b"HTTP/1.1 ");
            return;
        }
        peer.does(row, |peer, id| peer.send(&window(id, 0)));
        peer.must_see(row.expect);
    });
}

fn every_row_holds_against_a_listener(engine: Engine) {
    against_a_listener(&Listeners { config: Config::new(engine), tls: None });
}

fn every_row_holds_against_a_listener_over_tls(engine: Engine) {
    let authority = Authority::new("authority");
    let mut client = tls::Client::trusting(&authority);
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let config = tls::with(engine, &authority.issue("server", &["localhost"]));
    against_a_listener(&Listeners { config, tls: Some(client) });
}

/// The gateway asks the peer of each row, who is an upstream of its own.
fn of_an_upstream(config: Config, upstream: &str, secure: impl Fn(TcpStream) -> Peer) {
    let rows: Vec<Row> = rows::all().into_iter().filter(Row::is_of_client).collect();
    let listeners: Vec<TcpListener> = rows.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let tables = rows.iter().zip(&listeners).map(|(row, listener)| {
        let (name, address) = (row.name.replace('_', "-"), listener.local_addr().unwrap());
        format!(
            "[upstream.{name}]\nendpoints = [\"{address}\"]\nprotocol = \"h2\"\nretry.attempts = 1\n{upstream}\n\
             [[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{name}\"\n"
        )
    });
    let gateway = config.more(&tables.collect::<Vec<_>>().concat()).start();
    each(&rows, |row| {
        let at = rows.iter().position(|other| other.name == row.name).unwrap();
        let path = row.name.replace('_', "-");
        let asks = |rest: &str| {
            let mut client = gateway.connect();
            let method = if rest.is_empty() { "GET" } else { "POST" };
            client.send(format!("{method} /{path} HTTP/1.1\r\nHost: a\r\n{rest}\r\n"));
            client
        };
        let mut get = Some(asks(""));
        let mut peer = secure(plain(listeners[at].accept().unwrap().0));
        assert_eq!(peer.take(PREFACE.len()), PREFACE);
        peer.waits(|frame| frame.kind == HEADERS && frame.stream == 1);
        let _post = asks("Transfer-Encoding: chunked\r\n");
        peer.waits(|frame| frame.kind == HEADERS && frame.stream == 3);
        if row.start == Start::Client {
            peer.settle();
        }
        peer.does(row, |_, id| {
            assert_eq!(id, 1);
            drop(get.take());
        });
        // Whoever has the whole answer gives up the rest of the request, and what was under way then is let pass.
        let gives_up = row.name == "client_data_after_end";
        peer.must_see(if gives_up { Expect::Stream(3, ErrorCode::Cancel) } else { row.expect });
    });
}

fn every_row_holds_of_an_upstream(engine: Engine) {
    of_an_upstream(Config::new(engine), "", Peer::new);
}

fn every_row_holds_of_an_upstream_over_tls(engine: Engine) {
    let authority = Authority::new("authority");
    let mut server = tls::upstreams::server_config(&authority.issue("server", &["127.0.0.1"]));
    server.alpn_protocols = vec![b"h2".to_vec()];
    let server = Arc::new(server);
    let upstream = format!("tls = {{ ca = \"{}\" }}", authority.file.display());
    of_an_upstream(Config::new(engine), &upstream, |stream| {
        Peer::new(StreamOwned::new(ServerConnection::new(server.clone()).unwrap(), stream))
    });
}
