//! Names, kinds of keys, sessions that go on, and bodies of any size.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, StreamOwned};

use super::{Authority, Client, HELLO, answer, get, s_client, with};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    each_name_gets_its_certificate,
    a_client_gets_a_key_of_a_kind_it_takes,
    sessions_go_on_whichever_core_a_client_comes_to,
    without_tickets_no_session_goes_on,
    a_session_of_one_listener_is_worth_nothing_at_another,
    bodies_pass_both_ways_whatever_their_size,
    requests_may_come_in_any_pieces,
    an_end_without_close_notify_ends_the_connection,
    the_upstream_hears_that_the_client_came_over_https,
    a_proxy_header_stands_before_the_handshake,
    browsers_are_sent_to_https_and_told_to_stay_there,
    what_the_authority_says_is_stapled,
    sessions_go_on_while_keys_change_and_end_with_them,
    keys_of_sessions_are_logged_only_where_that_is_said,
);

fn each_name_gets_its_certificate(engine: Engine) {
    let authority = Authority::new("authority");
    let first = authority.issue("first", &["one.test"]);
    let wild = authority.issue("wild", &["*.two.test"]);
    let exact = authority.issue("exact", &["b.two.test"]);
    let entry = |issued: &super::Issued| {
        format!("{{ certificate = \"{}\", key = \"{}\" }}", issued.certificate.display(), issued.key.display())
    };
    let list = format!("tls.certificates = [{}, {}, {}]", entry(&first), entry(&wild), entry(&exact));
    let gateway = Config::new(engine).listener(&list).more(HELLO).start();
    let subject = |name: &str| {
        let (said, _) = s_client(gateway.address, &["-servername", name, "-brief"]);
        said.lines().find_map(|line| Some(line.split_once("CN = ")?.1.to_owned())).unwrap_or(said)
    };
    assert_eq!(subject("one.test"), "first");
    assert_eq!(subject("a.two.test"), "wild");
    assert_eq!(subject("B.two.test"), "exact");
    // A wildcard stands for one label; whoever asks for what is not there gets the first.
    assert_eq!([subject("a.b.two.test"), subject("two.test"), subject("nowhere.test")], ["first"; 3]);
    let (said, _) = s_client(gateway.address, &["-noservername", "-brief"]);
    assert!(said.contains("CN = first"), "{said}");
}

fn a_client_gets_a_key_of_a_kind_it_takes(engine: Engine) {
    let authority = Authority::new("authority");
    let ecdsa = authority.issue("ecdsa", &["localhost"]);
    let rsa = authority.issue_as("rsa", &["localhost"], &rcgen::PKCS_RSA_SHA256, |_| {});
    let entry = |issued: &super::Issued| {
        format!("{{ certificate = \"{}\", key = \"{}\" }}", issued.certificate.display(), issued.key.display())
    };
    let list = format!("tls.certificates = [{}, {}]", entry(&rsa), entry(&ecdsa));
    let gateway = Config::new(engine).listener(&list).more(HELLO).start();
    for (words, wanted) in [
        (&[][..], "CN = ecdsa"),
        (&["-sigalgs", "rsa_pss_rsae_sha256"], "CN = rsa"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "CN = rsa"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "CN = ecdsa"),
    ] {
        let (said, _) = s_client(gateway.address, &[&["-servername", "localhost", "-brief"], words].concat());
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
}

fn sessions_go_on_whichever_core_a_client_comes_to(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).data(2).more(HELLO);
    let gateway = config.start();
    for versions in [[&TLS12], [&TLS13]] {
        let client = Client::of(&authority, &versions);
        let mut resumed = 0;
        for turn in 0..100 {
            let mut stream = client.connect(gateway.address, "localhost").unwrap();
            // The answer comes behind the tickets.
            assert_eq!(get(&mut stream, "/").unwrap().1, b"hello");
            let kind = stream.conn.handshake_kind().unwrap();
            resumed += usize::from(turn > 0 && kind == HandshakeKind::Resumed);
        }
        assert_eq!(resumed, 99, "of {versions:?}");
    }
}

fn without_tickets_no_session_goes_on(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).listener("tls.tickets = false").more(HELLO);
    let gateway = config.start();
    for versions in [[&TLS12], [&TLS13]] {
        let client = Client::of(&authority, &versions);
        for _ in 0..3 {
            let mut stream = client.connect(gateway.address, "localhost").unwrap();
            get(&mut stream, "/").unwrap();
            assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

fn a_session_of_one_listener_is_worth_nothing_at_another(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost"]);
    let (certificate, key) = (issued.certificate.display(), issued.key.display());
    let other = format!(
        "[listener.other]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
    );
    let gateway = with(engine, &issued).more(&other).more(HELLO).start();
    let client = Client::trusting(&authority);
    let kinds: Vec<_> = [0, 0, 1, 1, 0]
        .into_iter()
        .map(|at| {
            let mut stream = client.connect(gateway.addresses[at], "localhost").unwrap();
            get(&mut stream, "/").unwrap();
            stream.conn.handshake_kind().unwrap()
        })
        .collect();
    use HandshakeKind::{Full, Resumed};
    assert_eq!(kinds[..3], [Full, Resumed, Full]);
    assert_eq!(kinds[3], Resumed);
}

fn bodies_pass_both_ways_whatever_their_size(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(|request, connection| {
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len()));
        connection.send(&request.body);
        true
    });
    let gateway = with(engine, &authority.issue("server", &["localhost"])).origin(&origin).start();
    for versions in [[&TLS12], [&TLS13]] {
        let client = Client::of(&authority, &versions);
        let mut stream = client.connect(gateway.address, "localhost").unwrap();
        for size in [0, 1, 100, 16_383, 16_384, 16_385, 70_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
            let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            assert!(answer(&mut stream).unwrap().1 == body, "{size} bytes over {versions:?}");
        }
    }
}

fn requests_may_come_in_any_pieces(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    let client = Client::trusting(&authority);
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    stream.sock.set_nodelay(true).unwrap();
    // Records of every size, each sent byte by byte, and several at once.
    for chunk in [1, 7, 1000] {
        let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3);
        let mut wire = Vec::new();
        for part in requests.as_bytes().chunks(chunk) {
            stream.conn.writer().write_all(part).unwrap();
            stream.conn.write_tls(&mut wire).unwrap();
        }
        for part in wire.chunks(if chunk == 1000 { 1 } else { 100 }) {
            stream.sock.write_all(part).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(answer(&mut stream).unwrap().1, b"hello");
        }
    }
}

fn an_end_without_close_notify_ends_the_connection(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    let client = Client::trusting(&authority);
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    get(&mut stream, "/").unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.sock.read_to_end(&mut rest);
    // One that says that it ends hears the same.
    let mut stream = client.connect(gateway.address, "localhost").unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"hello"), "{}", all.escape_ascii());
}

fn the_upstream_hears_that_the_client_came_over_https(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(|request, connection| {
        let said = [request.head.all("x-forwarded-proto"), request.head.all("forwarded"), request.head.all("x-scheme")];
        let text = said.concat().join(" ");
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
        true
    });
    let config = with(engine, &authority.issue("server", &["localhost"])).listener("forwarded = \"both\"");
    let policy = "policies = [{ type = \"headers\", request.set.x-scheme = \"{scheme}\" }]";
    let gateway = config.origin(&origin).route(policy).start();
    let mut stream = Client::trusting(&authority).connect(gateway.address, "localhost").unwrap();
    let (_, body) = get(&mut stream, "/").unwrap();
    let said = String::from_utf8(body).unwrap();
    assert!(said.starts_with("https ") && said.contains(";proto=https;") && said.ends_with(" https"), "{said}");
}

fn a_proxy_header_stands_before_the_handshake(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(|request, connection| {
        let text = [request.head.all("x-forwarded-for"), request.head.all("x-forwarded-proto")].concat().join(" ");
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
        true
    });
    let lines = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let config = with(engine, &authority.issue("server", &["localhost", "127.0.0.1"])).listener(lines);
    let gateway = config.origin(&origin).start();
    let client = Client::trusting(&authority);
    // Both come at once, or the hello after the header.
    for together in [true, false] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::new(client.config.clone()), name).unwrap();
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        let mut bytes = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n".to_vec();
        if !together {
            stream.write_all(&bytes).unwrap();
            bytes.clear();
        }
        connection.write_tls(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let (_, body) = get(&mut stream, "/").unwrap();
        assert_eq!(body, b"192.0.2.7 https");
    }
    // The gateway itself writes them in that order, too.
    let tls = format!("tls = {{ ca = \"{}\" }}\nproxy_protocol = \"v2\"", authority.file.display());
    let before = Config::new(engine).endpoint(gateway.address).upstream(&tls).start();
    let mut client = before.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "127.0.0.1, 127.0.0.1 http");
    }
}

fn browsers_are_sent_to_https_and_told_to_stay_there(engine: Engine) {
    let authority = Authority::new("authority");
    let plain =
        "[listener.plain]\naddress = \"127.0.0.1:0\"\npolicies = [{ type = \"redirect\", scheme = \"https\" }]\n";
    let config = with(engine, &authority.issue("server", &["localhost"])).listener("tls.hsts = \"365d\"");
    let gateway = config.more(plain).more(HELLO).start();
    let answer = crate::support::Client::connect(gateway.addresses[1]).get("/a?b=c");
    assert_eq!((answer.status(), answer.head.all("location")), (308, vec!["https://test/a?b=c"]));
    assert!(answer.head.all("strict-transport-security").is_empty());
    let mut stream = Client::trusting(&authority).connect(gateway.address, "localhost").unwrap();
    let (head, _) = get(&mut stream, "/").unwrap();
    assert!(head.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{head}");
}

fn what_the_authority_says_is_stapled(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).more(HELLO);
    let (said, _) = s_client(config.clone().start().address, &["-status"]);
    assert!(said.contains("no response sent"), "{said}");
    let file = authority.path().join("answer.der");
    std::fs::write(&file, "what it says is not for the gateway to judge").unwrap();
    let gateway = config.listener(&format!("tls.ocsp = \"{}\"", file.display())).start();
    let (said, _) = s_client(gateway.address, &["-status"]);
    assert!(said.contains("response parse error"), "{said}");
}

fn sessions_go_on_while_keys_change_and_end_with_them(engine: Engine) {
    let authority = Authority::new("authority");
    let config =
        with(engine, &authority.issue("server", &["localhost"])).more("[log]\nlevel = \"debug\"\n").more(HELLO);
    let gateway = config.clone().more("[control]\nticket_rotation = \"1h\"\n").start();
    let client = Client::of(&authority, &[&TLS12]);
    let kind = || {
        let mut stream = client.connect(gateway.address, "localhost").unwrap();
        get(&mut stream, "/").unwrap();
        stream.conn.handshake_kind().unwrap()
    };
    assert_eq!((kind(), kind()), (HandshakeKind::Full, HandshakeKind::Resumed));
    // From now on they change all the time, and a ticket is good for a few of them.
    gateway.reload(&config.more("[control]\nticket_rotation = \"50ms\"\n"));
    gateway.child.says("plan 1 -> 2");
    for _ in 0..6 {
        gateway.child.says("new keys for session tickets");
    }
    assert_eq!(kind(), HandshakeKind::Full);
}

fn keys_of_sessions_are_logged_only_where_that_is_said(engine: Engine) {
    let authority = Authority::new("authority");
    let log = authority.path().join("keys");
    let launcher = vec!["env".to_owned(), format!("SSLKEYLOGFILE={}", log.display())];
    let config = with(engine, &authority.issue("server", &["localhost"])).under(launcher).more(HELLO);
    let client = Client::trusting(&authority);
    let gateway = config.clone().start();
    get(&mut client.connect(gateway.address, "localhost").unwrap(), "/").unwrap();
    assert!(!log.exists());
    let gateway = config.listener("tls.key_log = true").start();
    get(&mut client.connect(gateway.address, "localhost").unwrap(), "/").unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("CLIENT_TRAFFIC_SECRET_0 "));
}
