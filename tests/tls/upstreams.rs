//! Upstreams that speak TLS: other gateways, and origins that end as they should not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Authority, HELLO, Issued, total, with};
use crate::support::{Config, Engine, on_both_engines};

on_both_engines!(
    an_upstream_is_verified_and_asked_by_its_name,
    an_upstream_that_is_not_who_it_should_be_is_refused,
    nothing_is_verified_where_that_is_said,
    a_client_certificate_is_shown_to_it,
    sessions_with_it_go_on,
    an_answer_that_ends_without_close_notify_is_cut,
    health_checks_speak_tls_too,
    http2_is_agreed_on_with_it,
);

/// The config of a gateway in front of one that speaks TLS.
fn before(engine: Engine, upstream: SocketAddr, tls: &str) -> Config {
    Config::new(engine).endpoint(upstream).upstream(&format!("tls = {{ {tls} }}"))
}

fn an_upstream_is_verified_and_asked_by_its_name(engine: Engine) {
    let authority = Authority::new("authority");
    let behind = with(engine, &authority.issue("server", &["localhost", "127.0.0.1"])).more(HELLO).start();
    let ca = authority.file.display();
    // By its address, and by the name that the config gives it.
    for tls in [format!("ca = \"{ca}\""), format!("ca = \"{ca}\", server_name = \"localhost\", min_version = \"1.3\"")]
    {
        let gateway = before(engine, behind.address, &tls).start();
        let mut client = gateway.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "hello");
        }
    }
}

fn http2_is_agreed_on_with_it(engine: Engine) {
    let authority = Authority::new("authority");
    let ca = authority.file.display();
    let issued = authority.issue("server", &["127.0.0.1"]);
    let speaks = |alpn: &str| with(engine, &issued).listener(&format!("tls.alpn = [\"{alpn}\"]")).more(HELLO).start();
    let (http2, http1) = (speaks("h2"), speaks("http/1.1"));
    let asks = |upstream| before(engine, upstream, &format!("ca = \"{ca}\"")).upstream("retry.attempts = 1");
    for (upstream, protocol, status) in [
        (http2.address, "h2", 200),
        (http1.address, "http/1.1", 200),
        // Who has not agreed to it is not sent it, nor the other way round.
        (http1.address, "h2", 502),
        (http2.address, "http/1.1", 502),
    ] {
        let gateway = asks(upstream).upstream(&format!("protocol = \"{protocol}\"")).start();
        let mut client = gateway.connect();
        for _ in 0..3 {
            let answer = client.get("/");
            assert_eq!(answer.status(), status, "{protocol}");
            assert!(status == 200 || answer.code() == "upstream_tls_failed", "{}", answer.code());
        }
    }
}

fn an_upstream_that_is_not_who_it_should_be_is_refused(engine: Engine) {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let behind = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    let (ca, strange) = (authority.file.display(), other.file.display());
    let dir = tempfile::tempdir().unwrap();
    for (tls, reason) in [
        (format!("ca = \"{strange}\", server_name = \"localhost\""), "unknown_authority"),
        (format!("ca = \"{ca}\", server_name = \"elsewhere.test\""), "name"),
        (format!("ca = \"{ca}\""), "name"),
    ] {
        let metrics = dir.path().join(reason);
        std::fs::create_dir_all(&metrics).unwrap();
        let config = before(engine, behind.address, &tls).upstream("retry.attempts = 1");
        let gateway = config.cores(&format!("metrics_dir = \"{}\"", metrics.display())).start();
        let answer = gateway.connect().get("/");
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_tls_failed"));
        gateway.stop();
        let labels = [("side", "upstream"), ("reason", reason)];
        assert!(total(&metrics, "ringway_tls_handshake_failures_total", &labels) >= 1, "{reason}");
    }
    // One that speaks no TLS.
    let plain = Config::new(engine).more(HELLO).start();
    let gateway = before(engine, plain.address, &format!("ca = \"{ca}\"")).upstream("retry.attempts = 1").start();
    assert_eq!(gateway.connect().get("/").code(), "upstream_tls_failed");
}

fn nothing_is_verified_where_that_is_said(engine: Engine) {
    let authority = Authority::new("authority");
    let behind = with(engine, &authority.issue("server", &["elsewhere.test"])).more(HELLO).start();
    let gateway = before(engine, behind.address, "verify = false").start();
    assert_eq!(gateway.connect().get("/").text(), "hello");
}

fn a_client_certificate_is_shown_to_it(engine: Engine) {
    let authority = Authority::new("authority");
    let ca = authority.file.display();
    let asks = format!("tls.client_auth = \"required\"\ntls.client_ca = \"{ca}\"");
    let behind = with(engine, &authority.issue("server", &["127.0.0.1"])).listener(&asks).more(HELLO).start();
    let own = authority.issue("gateway", &["gateway.test"]);
    let shown = format!("certificate = \"{}\", key = \"{}\"", own.certificate.display(), own.key.display());
    let gateway = before(engine, behind.address, &format!("ca = \"{ca}\", {shown}")).start();
    assert_eq!(gateway.connect().get("/").text(), "hello");
    let gateway = before(engine, behind.address, &format!("ca = \"{ca}\"")).start();
    assert!(gateway.connect().get("/").status() == 502);
}

fn sessions_with_it_go_on(engine: Engine) {
    let authority = Authority::new("authority");
    let behind = with(engine, &authority.issue("server", &["127.0.0.1"])).data(2).more(HELLO).start();
    let dir = tempfile::tempdir().unwrap();
    let config = before(engine, behind.address, &format!("ca = \"{}\"", authority.file.display()));
    let gateway =
        config.upstream("pool.max_idle = 0").cores(&format!("metrics_dir = \"{}\"", dir.path().display())).start();
    for _ in 0..10 {
        assert_eq!(gateway.connect().get("/").text(), "hello");
    }
    gateway.stop();
    let labels = [("side", "upstream"), ("version", "1.3"), ("resumed", "true")];
    assert_eq!(total(dir.path(), "ringway_tls_handshakes_total", &labels), 9);
}

/// A server with this certificate.
pub(crate) fn server_config(issued: &Issued) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

/// Accepts TLS connections and answers each with these bytes, and then ends them without a word.
fn abrupt(issued: &Issued, answer: &'static [u8]) -> SocketAddr {
    let config = Arc::new(server_config(issued));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(answer).and_then(|()| stream.flush());
            }
        }
    });
    address
}

fn an_answer_that_ends_without_close_notify_is_cut(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["127.0.0.1"]);
    let tls = format!("ca = \"{}\"", authority.file.display());
    // Without a length only the end says that all has come.
    let origin = abrupt(&issued, b"HTTP/1.1 200 OK\r\n\r\nhalf");
    let gateway = before(engine, origin, &tls).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    let (rest, was_reset) = client.rest_or_reset();
    assert!(was_reset || !rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
    // With a length it does not matter.
    let origin = abrupt(&issued, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole");
    let gateway = before(engine, origin, &tls).start();
    assert_eq!(gateway.connect().get("/").text(), "whole");
}

fn health_checks_speak_tls_too(engine: Engine) {
    let authority = Authority::new("authority");
    let behind = with(engine, &authority.issue("server", &["127.0.0.1"])).more(HELLO).start();
    let health = "health = { path = \"/\", interval = \"20ms\", healthy_after = 1, start = \"unhealthy\" }";
    let config = before(engine, behind.address, &format!("ca = \"{}\"", authority.file.display())).upstream(health);
    let gateway = config.upstream("failover.panic = \"off\"").start();
    // It is asked as long as it is not known to be well.
    let mut client = gateway.connect();
    while client.get("/").status() != 200 {}
}
