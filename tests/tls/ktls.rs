//! Kernel TLS for what is sent. Where the kernel has it, it seals; where it has not, all goes as without, and that is said.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::{AlertDescription, ClientConfig, RootCertStore, StreamOwned, SupportedCipherSuite};
use socket2::SockRef;
use tempfile::TempDir;

use super::upstreams::server_config;
use super::{Authority, Client, Connection, answer, get, total, with};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    bodies_of_any_size_pass_with_every_suite,
    curl_reads_them_over_either_version_and_protocol,
    a_client_that_reads_slowly_gets_all_and_the_end,
    a_client_that_wants_other_keys,
    a_client_that_sends_rubbish_is_told_why,
    clients_that_go_away_disturb_nobody,
    small_answers_are_not_worth_it,
    requests_to_an_upstream_are_sealed_too,
    a_config_that_wants_what_the_kernel_has_not_is_told_of,
);

/// Whether this kernel has it.
fn kernel_has_tls() -> bool {
    Path::new("/proc/net/tls_stat").exists()
}

/// A gateway that has the kernel seal, where it can, before an origin whose answer to `/N` has N bytes.
struct World {
    authority: Authority,
    config: Config,
    metrics: TempDir,
    _origin: Origin,
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

impl World {
    fn new(engine: Engine) -> Self {
        let authority = Authority::new("authority");
        let (origin, _) = Origin::serve(|request, connection| {
            let count = request.head.line.split(['/', ' ']).find_map(|word| word.parse().ok()).unwrap_or(0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n");
            // Who asked may be gone.
            connection.try_send(&[head.as_bytes(), &bytes(count)].concat())
        });
        let metrics = tempfile::tempdir().unwrap();
        let config = with(engine, &authority.issue("server", &["localhost"]))
            .listener("tls.ktls = true")
            .origin(&origin)
            .cores(&format!("metrics_dir = \"{}\"", metrics.path().display()));
        Self { authority, config, metrics, _origin: origin }
    }

    /// How many connections were given to the kernel and how many were not, once the gateway has ended.
    fn counted(&self, side: &str) -> [u64; 2] {
        counted(self.metrics.path(), side)
    }
}

fn counted(metrics: &Path, side: &str) -> [u64; 2] {
    ["taken", "refused"]
        .map(|outcome| total(metrics, "ringway_tls_kernel_total", &[("side", side), ("outcome", outcome)]))
}

/// What is counted where so many connections were worth it.
fn wanted(count: u64) -> [u64; 2] {
    if kernel_has_tls() { [count, 0] } else { [0, count] }
}

/// A client that has one suite alone.
fn client_with(authority: &Authority, suite: SupportedCipherSuite) -> Client {
    let provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..default_provider() });
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[suite.version()]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Client { config }
}

/// Every suite that a key of ECDSA can be used with.
fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    ALL_CIPHER_SUITES.iter().copied().filter(|suite| !format!("{:?}", suite.suite()).contains("_RSA_"))
}

fn bodies_of_any_size_pass_with_every_suite(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    let mut connections = 0;
    for suite in suites() {
        let client = client_with(&world.authority, suite);
        let mut stream = client.connect(gateway.address, "localhost").unwrap();
        connections += 1;
        for size in [100, 3_000_001, 1, 16_384, 16_385, 2_048, 1_234_567, 70_000, 0, 40_000] {
            let (_, body) = get(&mut stream, &format!("/{size}")).unwrap();
            assert!(body == bytes(size), "{size} bytes with {:?}", suite.suite());
        }
    }
    assert_eq!(connections, 6);
    gateway.stop();
    assert_eq!(world.counted("client"), wanted(connections));
}

fn curl_reads_them_over_either_version_and_protocol(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    let url = |size: usize| format!("https://localhost:{}/{size}", gateway.address.port());
    for tls in ["1.2", "1.3"] {
        for protocol in ["--http1.1", "--http2"] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--max-time", "60", protocol, "--tls-max", tls, "--cacert"]);
            curl.arg(&world.authority.file).arg("--resolve");
            curl.arg(format!("localhost:{}:{}", gateway.address.port(), gateway.address.ip()));
            // One connection, both answers.
            curl.args([url(2_000_003), url(500_009)]);
            let out = curl.stdin(Stdio::null()).output().expect("curl is there");
            let wanted = [bytes(2_000_003), bytes(500_009)].concat();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success() && out.stdout == wanted, "{protocol} over {tls}: {said}");
        }
    }
    gateway.stop();
    assert_eq!(world.counted("client"), wanted(4));
}

/// Asks for an answer that is the last.
fn ask_for_the_last(stream: &mut impl Write, size: usize) {
    write!(stream, "GET /{size} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
}

/// Connects with a small receive buffer.
fn narrow(client: &Client, address: SocketAddr) -> Connection {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(client.config.clone()), name).unwrap();
    StreamOwned::new(connection, socket.into())
}

fn a_client_that_reads_slowly_gets_all_and_the_end(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    for suite in suites() {
        let client = client_with(&world.authority, suite);
        let mut stream = narrow(&client, gateway.address);
        // Now the kernel has the keys, and little to send.
        let (_, body) = get(&mut stream, "/20000").unwrap();
        assert!(body == bytes(20_000));
        ask_for_the_last(&mut stream, 1_000_001);
        let (_, body) = answer(&mut stream).unwrap();
        assert!(body == bytes(1_000_001), "{:?}", suite.suite());
        // An end without close_notify is an error.
        assert_eq!(stream.read_to_end(&mut Vec::new()).expect("close_notify"), 0);
    }
    gateway.stop();
    assert_eq!(world.counted("client"), wanted(6));
}

fn a_client_that_wants_other_keys(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    let client = Client::of(&world.authority, &[&rustls::version::TLS13]);
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    assert!(get(&mut stream, "/100000").unwrap().1 == bytes(100_000));
    stream.conn.refresh_traffic_keys().unwrap();
    write!(stream, "GET /100000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    if kernel_has_tls() {
        // The kernel keeps the keys it has. So nothing follows, and that is said.
        assert_eq!(stream.read_to_end(&mut Vec::new()).expect("close_notify"), 0);
    } else {
        assert!(answer(&mut stream).unwrap().1 == bytes(100_000));
    }
    // Before the kernel seals, keys change as ever.
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    stream.conn.refresh_traffic_keys().unwrap();
    for size in [100, 300_000, 100] {
        assert!(get(&mut stream, &format!("/{size}")).unwrap().1 == bytes(size));
    }
}

fn a_client_that_sends_rubbish_is_told_why(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    for suite in suites() {
        let mut stream = client_with(&world.authority, suite).connect(gateway.address, "localhost").unwrap();
        assert!(get(&mut stream, "/100000").unwrap().1 == bytes(100_000));
        stream.sock.write_all(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()).unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        let told = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        assert_eq!(told, Some(&rustls::Error::AlertReceived(AlertDescription::BadRecordMac)), "{error}");
    }
}

fn clients_that_go_away_disturb_nobody(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    let client = Client::trusting(&world.authority);
    for _ in 0..5 {
        let mut stream = client.connect(gateway.address, "localhost").unwrap();
        write!(stream, "GET /5000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.read_exact(&mut vec![0; 100_000]).unwrap();
        SockRef::from(&stream.sock).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    assert!(get(&mut stream, "/100000").unwrap().1 == bytes(100_000));
}

fn small_answers_are_not_worth_it(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    let mut stream = Client::trusting(&world.authority).connect(gateway.address, "localhost").unwrap();
    for _ in 0..10 {
        assert!(get(&mut stream, "/8000").unwrap().1 == bytes(8_000));
    }
    gateway.stop();
    assert_eq!(world.counted("client"), [0, 0]);
}

/// Accepts one connection after the other, and answers each request with the body that came.
fn echo(authority: &Authority) -> SocketAddr {
    let config = Arc::new(server_config(&authority.issue("origin", &["127.0.0.1"])));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            // A request begins as an answer does.
            while let Ok((_, body)) = answer(&mut stream) {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                    break;
                }
            }
        }
    });
    address
}

fn requests_to_an_upstream_are_sealed_too(engine: Engine) {
    let authority = Authority::new("authority");
    let metrics = tempfile::tempdir().unwrap();
    let gateway = Config::new(engine)
        .endpoint(echo(&authority))
        .upstream(&format!("tls = {{ ca = \"{}\", ktls = true }}", authority.file.display()))
        .cores(&format!("metrics_dir = \"{}\"", metrics.path().display()))
        .start();
    let mut client = gateway.connect();
    for size in [3_000_001, 10, 100_000] {
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
        client.send(bytes(size));
        assert!(client.response().body == bytes(size), "{size}");
    }
    gateway.stop();
    assert_eq!(counted(metrics.path(), "upstream"), wanted(1));
    assert_eq!(counted(metrics.path(), "client"), [0, 0]);
}

fn a_config_that_wants_what_the_kernel_has_not_is_told_of(engine: Engine) {
    let world = World::new(engine);
    let gateway = world.config.start();
    const WARNING: &str = "listener.web.tls.ktls: this kernel has no TLS, so the gateway seals records itself";
    gateway.run(&world.config.clone().listener("tls.hsts = \"1d\""));
    let said = gateway.stop().errors;
    // Once for each time that the config is read.
    assert_eq!(said.matches(WARNING).count(), if kernel_has_tls() { 0 } else { 2 }, "{said}");
}
