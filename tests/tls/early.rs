//! Early data (0-RTT): who is served before the handshake is done, who waits, who is refused, and that nobody is served twice.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, HandshakeKind, StreamOwned};
use tempfile::TempDir;

use super::{Authority, Client, Connection, Issued, answer, get, total, with};
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, block, frame, request};
use crate::support::{Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    an_allowed_request_is_answered_before_the_handshake_is_done,
    what_may_not_be_early_waits_for_the_handshake,
    streams_of_http2_are_early_each_as_its_route_allows,
    a_client_that_never_ends_its_handshake_is_refused_with_425,
    a_recorded_flight_is_served_once_on_whichever_core,
    sessions_outlive_a_reload_that_leaves_tls_alone_and_no_other,
    openssl_sends_early_data,
    requests_that_were_early_before_are_refused_or_passed_on,
    older_clients_go_on_with_their_sessions,
);

/// A second route, which does not allow early data.
const HELD: &str = "[[route]]\nname = \"held\"\npath = \"/held/{rest...}\"\nupstream = \"origin\"\n";

/// What an origin was asked, in order: the request line, and its `Early-Data`.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

fn origin() -> (Origin, Asked) {
    let asked = Asked::default();
    let told = asked.clone();
    let (origin, _) = Origin::serve(move |request, connection| {
        let line = request.head.line.trim_end_matches(" HTTP/1.1").to_owned();
        told.lock().unwrap().push((line, request.head.all("early-data").join(",")));
        if request.head.line.contains("/too-early") {
            connection.send("HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n");
        } else {
            connection.answer("hello");
        }
        true
    });
    (origin, asked)
}

fn asked(asked: &Asked) -> Vec<(String, String)> {
    asked.lock().unwrap().clone()
}

fn config(engine: Engine, issued: &Issued, origin: &Origin) -> Config {
    with(engine, issued).listener("tls.early_data.sessions = 1000").origin(origin).route("early_data = true").more(HELD)
}

/// Starts it with metrics of its own, which outlive it.
fn counted(config: &Config) -> (Gateway, TempDir) {
    let metrics = tempfile::tempdir().unwrap();
    let config = config.clone().cores(&format!("metrics_dir = \"{}\"", metrics.path().display()));
    (config.start(), metrics)
}

fn client(authority: &Authority) -> Client {
    let mut client = Client::of(authority, &[&TLS13]);
    client.config.enable_early_data = true;
    client
}

/// Has the client shake hands in full, so that it has a ticket.
fn meet(client: &Client, gateway: &Gateway) {
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    get(&mut stream, "/meet").unwrap();
}

/// A connection that has sent its first flight with early data, and nothing since.
struct Early {
    conn: ClientConnection,
    sock: TcpStream,
    flight: Vec<u8>,
}

impl Early {
    fn send(client: &Client, address: SocketAddr, data: &[u8]) -> Self {
        let mut early = Self::begin(client, address, data);
        early.sock.write_all(&early.flight).unwrap();
        early
    }

    fn begin(client: &Client, address: SocketAddr, data: &[u8]) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut conn = ClientConnection::new(Arc::new(client.config.clone()), name).unwrap();
        conn.early_data().expect("a ticket that allows it").write_all(data).unwrap();
        let mut flight = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut flight).unwrap();
        }
        let sock = TcpStream::connect(address).unwrap();
        sock.set_read_timeout(Some(PATIENCE)).unwrap();
        sock.set_nodelay(true).unwrap();
        Self { conn, sock, flight }
    }

    /// Hears what the server says of the handshake, and says nothing.
    fn hear(&mut self) {
        while self.conn.is_handshaking() {
            assert!(self.conn.read_tls(&mut self.sock).unwrap() > 0, "the server says something");
            self.conn.process_new_packets().unwrap();
        }
    }

    /// Sends what ends the handshake.
    fn finish(self) -> Connection {
        let mut stream = StreamOwned::new(self.conn, self.sock);
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).unwrap();
        }
        stream
    }
}

/// Reads without a word to the server.
impl Read for Early {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.conn.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.conn.read_tls(&mut self.sock)? == 0 {
                return Ok(0);
            }
            self.conn.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

fn of(line: &str, early: &str) -> (String, String) {
    (line.to_owned(), early.to_owned())
}

fn an_allowed_request_is_answered_before_the_handshake_is_done(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let config = config(engine, &authority.issue("server", &["localhost"]), &origin);
    let (gateway, metrics) = counted(&config);
    let client = client(&authority);
    meet(&client, &gateway);
    // Two in a row, the second of which is not whole before the handshake is done.
    let data = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /b HTTP/1.1\r\nHost: loc";
    let mut early = Early::send(&client, gateway.address, data);
    let (head, body) = answer(&mut early).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && body == b"hello", "{head}");
    assert!(early.conn.is_early_data_accepted());
    let mut stream = early.finish();
    stream.write_all(b"alhost\r\n\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // The next finds a connection like any other.
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    write!(stream, "POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    assert_eq!(answer(&mut stream).unwrap().1, b"hello");
    assert_eq!(asked(&log), [of("GET /meet", ""), of("GET /a", "1"), of("HEAD /b", ""), of("POST /c", "")]);
    assert_eq!(total(metrics.path(), "ringway_tls_early_data_total", &[("outcome", "taken")]), 1);
    assert_eq!(total(metrics.path(), "ringway_early_requests_total", &[("outcome", "served")]), 1);
}

fn what_may_not_be_early_waits_for_the_handshake(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let config = config(engine, &authority.issue("server", &["localhost"]), &origin);
    let (gateway, metrics) = counted(&config);
    let client = client(&authority);
    meet(&client, &gateway);
    let requests = [
        "GET /held/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
        "GET /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
        "DELETE /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for request in requests {
        let line = request.split_once(" HTTP").unwrap().0;
        log.lock().unwrap().clear();
        let mut early = Early::send(&client, gateway.address, request.as_bytes());
        early.hear();
        assert!(early.conn.is_early_data_accepted(), "{line}");
        // Whatever was to be served before this one would have been.
        let mut other = Client::of(&authority, &[&TLS13]).connect(gateway.address, "localhost").unwrap();
        get(&mut other, "/other").unwrap();
        assert_eq!(asked(&log), [of("GET /other", "")], "{line} waits");
        let mut stream = early.finish();
        assert_eq!(answer(&mut stream).unwrap().1, b"hello");
        assert_eq!(asked(&log)[1..], [of(line, "")]);
        // A ticket for the next.
        get(&mut stream, "/more").unwrap();
    }
    let delayed = total(metrics.path(), "ringway_early_requests_total", &[("outcome", "delayed")]);
    assert_eq!(delayed, requests.len() as u64);
}

/// The first flight of a client of HTTP/2 that asks for these.
fn streams(asks: &[(u32, &str, &str)]) -> Vec<u8> {
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    for (stream, method, path) in asks {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, *stream, &block(&request(method, path, &[]))));
    }
    bytes
}

/// The stream of the next HEADERS, which say that all is well.
fn next_well(from: &mut impl Read) -> u32 {
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut payload).expect("a payload");
        if head[3] == HEADERS {
            // The static table has this one.
            assert_eq!(payload[0], 0x88, "status 200");
            return u32::from_be_bytes(head[5..].try_into().unwrap());
        }
    }
}

fn streams_of_http2_are_early_each_as_its_route_allows(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let gateway = config(engine, &authority.issue("server", &["localhost"]), &origin).start();
    let mut client = client(&authority);
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    stream.write_all(&streams(&[(1, "GET", "/meet")])).unwrap();
    assert_eq!(next_well(&mut stream), 1);
    let asks = [(1, "GET", "/held/a"), (3, "DELETE", "/b"), (5, "GET", "/c")];
    let mut early = Early::send(&client, gateway.address, &streams(&asks));
    assert_eq!(next_well(&mut early), 5);
    assert_eq!(asked(&log)[1..], [of("GET /c", "1")]);
    let mut stream = early.finish();
    let mut rest = [next_well(&mut stream), next_well(&mut stream)];
    rest.sort_unstable();
    assert_eq!(rest, [1, 3]);
    let mut rest = asked(&log).split_off(2);
    rest.sort_unstable();
    assert_eq!(rest, [of("DELETE /b", ""), of("GET /held/a", "")]);
}

fn a_client_that_never_ends_its_handshake_is_refused_with_425(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let config = config(engine, &authority.issue("server", &["localhost"]), &origin);
    let gateway = config.listener("tls.handshake_timeout = \"500ms\"").start();
    let client = client(&authority);
    meet(&client, &gateway);
    let mut early = Early::send(&client, gateway.address, b"GET /held/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer(&mut early).unwrap();
    assert!(head.starts_with("HTTP/1.1 425 Too Early\r\n"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("\"code\":\"too_early\""));
    assert_eq!(early.read(&mut [0]).unwrap(), 0, "and the connection ends");
    assert_eq!(asked(&log), [of("GET /meet", "")]);
}

fn a_recorded_flight_is_served_once_on_whichever_core(engine: Engine) {
    const ROUNDS: usize = 12;
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let config = config(engine, &authority.issue("server", &["localhost"]), &origin).data(2);
    let (gateway, metrics) = counted(&config);
    let client = client(&authority);
    meet(&client, &gateway);
    for round in 0..ROUNDS {
        let data = format!("GET /once/{round} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let early = Early::begin(&client, gateway.address, data.as_bytes());
        let replays: Vec<TcpStream> = (0..7).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
        // At once, the real one among them.
        thread::scope(|scope| {
            for mut replay in replays.iter().chain([&early.sock]) {
                let flight = &early.flight;
                scope.spawn(move || replay.write_all(flight).unwrap());
            }
        });
        // Each is answered: one with the answer, the others with a handshake that only the real client could end.
        for mut replay in &replays {
            replay.set_read_timeout(Some(PATIENCE)).unwrap();
            replay.read_exact(&mut [0; 64]).unwrap();
        }
        let wanted = Instant::now() + PATIENCE;
        while !asked(&log).iter().any(|(line, _)| *line == format!("GET /once/{round}")) && Instant::now() < wanted {
            thread::yield_now();
        }
        // Later it is worth nothing either.
        let mut late = TcpStream::connect(gateway.address).unwrap();
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        late.write_all(&early.flight).unwrap();
        late.read_exact(&mut [0; 64]).unwrap();
        drop((early, replays, late));
        meet(&client, &gateway);
    }
    assert!(gateway.stop().exit.success());
    let log = asked(&log);
    for round in 0..ROUNDS {
        let wanted = of(&format!("GET /once/{round}"), "1");
        assert_eq!(log.iter().filter(|one| **one == wanted).count(), 1, "round {round}");
    }
    assert_eq!(log.iter().filter(|(line, _)| line.contains("/once/")).count(), ROUNDS);
    let of_data = |outcome| total(metrics.path(), "ringway_tls_early_data_total", &[("outcome", outcome)]);
    // Eight at once and one late, of which one was served.
    assert_eq!([of_data("taken"), of_data("refused")], [1, 8].map(|each| each * ROUNDS as u64));
}

fn sessions_outlive_a_reload_that_leaves_tls_alone_and_no_other(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = origin();
    let issued = authority.issue("server", &["localhost"]);
    let base = config(engine, &issued, &origin);
    let gateway = base.start();
    let client = client(&authority);
    let shakes_hands = || {
        let mut early = Early::send(&client, gateway.address, b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        early.hear();
        let is_taken = early.conn.is_early_data_accepted();
        let mut stream = early.finish();
        if is_taken {
            assert_eq!(answer(&mut stream).unwrap().1, b"hello");
        }
        // Who was passed over sends it again.
        assert_eq!(get(&mut stream, "/again").unwrap().1, b"hello");
        (is_taken, stream.conn.handshake_kind().unwrap())
    };
    meet(&client, &gateway);
    gateway.run(&base.clone().timeouts("keep_alive = \"50s\""));
    assert_eq!(shakes_hands(), (true, HandshakeKind::Resumed));
    // Another size is another promise.
    gateway.run(&base.clone().listener("tls.early_data.size = \"4KiB\""));
    assert_eq!(shakes_hands(), (false, HandshakeKind::Full));
    assert_eq!(shakes_hands(), (true, HandshakeKind::Resumed));
    // Turned off.
    gateway.run(&with(engine, &issued).origin(&origin));
    assert_eq!(shakes_hands(), (false, HandshakeKind::Full));
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    get(&mut stream, "/").unwrap();
}

fn openssl_sends_early_data(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, log) = origin();
    let gateway = config(engine, &authority.issue("server", &["localhost"]), &origin).start();
    let dir = tempfile::tempdir().unwrap();
    let (session, data) = (dir.path().join("session"), dir.path().join("data"));
    let s_client = |words: &[&str], says: &str| {
        let mut command = Command::new("openssl");
        let address = gateway.address.to_string();
        command.args(["s_client", "-connect", &address, "-servername", "localhost", "-tls1_3", "-ign_eof"]).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(says.as_bytes()).unwrap();
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
    };
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let said = s_client(&["-sess_out", session.to_str().unwrap()], &request("/first"));
    assert!(said.contains("hello"), "{said}");
    std::fs::write(&data, request("/early")).unwrap();
    let words = ["-sess_in", session.to_str().unwrap(), "-early_data", data.to_str().unwrap()];
    let said = s_client(&words, "");
    assert!(said.contains("Early data was accepted") && said.contains("hello"), "{said}");
    // The session has been used, and what is sent early is passed over.
    let said = s_client(&words, &request("/late"));
    assert!(said.contains("Early data was rejected") && said.contains("hello"), "{said}");
    let lines: Vec<String> = asked(&log).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, ["GET /first", "GET /early", "GET /late"]);
}

fn requests_that_were_early_before_are_refused_or_passed_on(engine: Engine) {
    let (origin, log) = origin();
    let config = Config::new(engine).listener("trusted_proxies = [\"127.0.0.1/32\"]").origin(&origin);
    let gateway = config.route("early_data = true").more(HELD).start();
    let mut client = gateway.connect();
    let mut ask = |line: &str, fields: &str| {
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        client.response()
    };
    let refused = ask("GET /held/a", "Early-Data: 1\r\n");
    assert_eq!((refused.status(), &*refused.code()), (425, "too_early"));
    // Only what is safe may come twice.
    assert_eq!(ask("DELETE /a", "Early-Data: 1\r\n").status(), 425);
    // Whatever it says, and how often: it counts as once (RFC 8470 section 5.1), also where it is named as one for the connection.
    for fields in
        ["Early-Data: 1\r\n", "Early-Data: 1\r\nearly-data: no\r\n", "Connection: early-data\r\nEarly-Data: 1\r\n"]
    {
        assert_eq!(ask("GET /a", fields).status(), 200);
        assert_eq!(log.lock().unwrap().pop(), Some(of("GET /a", "1")), "{fields}");
    }
    // The upstream's own word goes to whoever can ask again.
    assert_eq!(ask("GET /too-early", "Early-Data: 1\r\n").status(), 425);
    assert_eq!(ask("GET /held/a", "").status(), 200);
    assert_eq!(asked(&log), [of("GET /too-early", "1"), of("GET /held/a", "")]);
}

fn older_clients_go_on_with_their_sessions(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = origin();
    let gateway = config(engine, &authority.issue("server", &["localhost"]), &origin).data(2).start();
    for versions in [[&rustls::version::TLS12], [&TLS13]] {
        let client = Client::of(&authority, &versions);
        for turn in 0..20 {
            let mut stream = client.connect(gateway.address, "localhost").unwrap();
            get(&mut stream, "/").unwrap();
            let wanted = if turn == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(stream.conn.handshake_kind(), Some(wanted), "{versions:?}");
        }
    }
}
