//! Listeners that require a PROXY header.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use ringway_proto::proxy_protocol::Extras;
use ringway_runtime::histogram::read_dir;
use serde_json::Value;

use super::{ask, binary, connect, curl, told};
use crate::support::{Client, Config, Engine, Gateway, PATIENCE, on_both_engines};

on_both_engines!(
    the_client_is_the_one_that_the_header_tells_of,
    a_sender_that_speaks_for_itself_is_the_client,
    a_header_in_pieces_is_read_whole_and_what_follows_is_the_connection,
    only_those_who_are_trusted_may_send_a_header,
    what_begins_with_anything_else_is_refused,
    where_none_is_required_a_header_is_no_request,
    a_header_has_its_time,
    curl_sends_one,
    a_unix_peer_may_send_one,
    logs_tell_both_ends,
    the_client_stays_the_same_from_core_to_core,
);

const REQUIRED: &str = "trusted_proxies = \"127.0.0.1\"\nproxy_protocol = \"required\"";

fn get(client: &mut Client) -> String {
    client.get("/a").text().to_owned()
}

/// Connections by how their header went.
fn outcome(metrics: &std::path::Path, outcome: &str) -> u64 {
    let files = read_dir(metrics).expect("metrics").into_iter().map(|file| file.expect("a whole file"));
    files.filter_map(|file| file.counter("ringway_proxy_headers_total", &[("outcome", outcome)])).sum()
}

fn the_client_is_the_one_that_the_header_tells_of(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).start();
    let none = Extras::default();
    for (header, wanted) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n".to_vec(), "192.0.2.7 http"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 80\r\n".to_vec(), "2001:db8::7 http"),
        (binary("192.0.2.7:40000", &none), "192.0.2.7 http"),
        (binary("[2001:db8::7]:40000", &Extras { checksum: true, ..none }), "2001:db8::7 http"),
        (binary("192.0.2.7:40000", &Extras { tls: Some("TLSv1.3"), ..none }), "192.0.2.7 https"),
    ] {
        let mut client = gateway.connect();
        client.send(&header);
        // It holds for the whole connection.
        assert_eq!((get(&mut client), get(&mut client)), (wanted.to_owned(), wanted.to_owned()));
        // The client is not trusted because its proxy is.
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: gopher\r\n\r\n");
        assert_eq!(client.response().text(), wanted);
    }
}

fn a_sender_that_speaks_for_itself_is_the_client(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let metrics = format!("metrics_dir = \"{}\"", dir.path().display());
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).cores(&metrics).start();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec();
    for header in [local, b"PROXY UNKNOWN\r\n".to_vec(), b"PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 1\r\n".to_vec()] {
        let mut client = gateway.connect();
        client.send(&header);
        assert_eq!(get(&mut client), "127.0.0.1 http");
    }
    // A balancer that looks whether anybody listens is nobody's error.
    drop(TcpStream::connect(gateway.address).unwrap());
    let mut client = gateway.connect();
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
    get(&mut client);
    drop(client);
    let ended = gateway.stop();
    assert_eq!((outcome(dir.path(), "local"), outcome(dir.path(), "accepted")), (3, 1));
    assert!(!ended.errors.contains("refuses"), "{}", ended.errors);
}

fn a_header_in_pieces_is_read_whole_and_what_follows_is_the_connection(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).start();
    let header = binary("192.0.2.7:40000", &Extras { unique_id: Some(&[7; 100]), checksum: true, ..Extras::default() });
    let request = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n";
    let all = [&header[..], request, request].concat();
    for cut in [1, 12, 15, 16, 27, header.len() - 1, header.len(), header.len() + 1, all.len() - 1, all.len()] {
        let mut client = gateway.connect();
        client.stream().set_nodelay(true).unwrap();
        client.send(&all[..cut]);
        // Whatever came of it, the gateway has not answered what it has not got.
        if cut <= header.len() {
            client.expect_nothing_yet();
        }
        client.send(&all[cut..]);
        assert_eq!((client.response().text(), client.response().text()), ("192.0.2.7 http", "192.0.2.7 http"), "{cut}");
    }
}

fn only_those_who_are_trusted_may_send_a_header(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let config = Config::new(engine)
        .origin(&origin)
        .cores(&format!("metrics_dir = \"{}\"", dir.path().display()))
        .listener("trusted_proxies = \"10.0.0.0/8\"\nproxy_protocol = \"required\"");
    let gateway = config.start();
    for bytes in [&b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b""] {
        // The reset may be there before the connection is known to be.
        if let Some(mut client) = Client::try_connect(gateway.address) {
            client.try_send(bytes);
            let (answer, _) = client.rest_or_reset();
            assert!(answer.is_empty(), "{}", answer.escape_ascii());
        }
        let said = gateway.child.says("refuses a connection of 127.0.0.1:");
        assert!(said.contains("listener `web`") && said.contains(": proxy_untrusted"), "{said}");
    }
    gateway.stop();
    assert_eq!(outcome(dir.path(), "untrusted"), 2);
}

fn refused(gateway: &Gateway, bytes: &[u8], code: &str) {
    let mut client = gateway.connect();
    client.try_send(bytes);
    let (answer, _) = client.rest_or_reset();
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
    gateway.child.says(&format!(": {code}"));
}

fn what_begins_with_anything_else_is_refused(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).limits("proxy_header = \"300B\"").start();
    let mut damaged = binary("192.0.2.7:1", &Extras { checksum: true, ..Extras::default() });
    damaged[16] ^= 1;
    let long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x2c".to_vec();
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "proxy_signature"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "proxy_signature"),
        (b"\x16\x03\x01\x00\xa5\x01".to_vec(), "proxy_signature"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n".to_vec(), "proxy_fields"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n".to_vec(), "proxy_line"),
        (damaged, "proxy_checksum"),
        (long, "proxy_too_long"),
    ] {
        refused(&gateway, &bytes, code);
    }
    let mut client = gateway.connect();
    client.send(b"PROXY TCP4 192.").finish();
    client.rest_or_reset();
    gateway.child.says(": proxy_incomplete");
    origin.expect_no_connection();
}

fn where_none_is_required_a_header_is_no_request(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener("trusted_proxies = \"127.0.0.1\"").start();
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(), binary("192.0.2.7:1", &Extras::default())] {
        let mut client = gateway.connect();
        client.try_send(&[&header[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(client.response().status(), 400);
    }
    origin.expect_no_connection();
}

fn a_header_has_its_time(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).timeouts("head = \"50ms\"").start();
    for bytes in [&b"PROXY TCP4 192."[..], b"\r\n\r\n\0", b""] {
        refused(&gateway, bytes, "proxy_timeout");
    }
    // The request after it has no more time: both are what the connection begins with.
    let mut client = gateway.connect();
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nGET / HT");
    assert_eq!(client.response().status(), 408);
}

fn curl_sends_one(engine: Engine) {
    let origin = told();
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).start();
    let url = format!("http://{}/a", gateway.address);
    assert_eq!(curl(&["--haproxy-protocol", &url]), "127.0.0.1 http");
    let refused = std::process::Command::new("curl").args(["-sS", "--max-time", "20", &url]).output().unwrap();
    assert!(!refused.status.success());
}

fn a_unix_peer_may_send_one(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("a.sock").display().to_string();
    let local = |trusted: &str| {
        format!(
            "[listener.l]\naddress = \"unix:{socket}\"\ntrusted_proxies = {trusted}\nproxy_protocol = \"required\"\n"
        )
    };
    let config = Config::new(engine).origin(&origin);
    let gateway = config.clone().more(&local("\"unix\"")).start();
    let header = binary("192.0.2.7:1", &Extras::default());
    assert_eq!(ask(connect(&socket).unwrap(), &header), "192.0.2.7 http");
    assert_eq!(ask(connect(&socket).unwrap(), b"PROXY UNKNOWN\r\n"), "unknown http");
    gateway.run(&config.more(&local("\"127.0.0.1\"")));
    // Who is no network is in none.
    let _refused = connect(&socket).unwrap();
    let said = gateway.child.says(": proxy_untrusted");
    assert!(said.contains(&format!("unix:pid={},uid=", std::process::id())), "{said}");
}

fn logs_tell_both_ends(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let (log, socket) = (dir.path().join("log"), dir.path().join("a.sock").display().to_string());
    let more = format!(
        "[access_log]\nto = \"{}\"\n[listener.l]\naddress = \"unix:{socket}\"\ntrusted_proxies = \"unix\"\n",
        log.display()
    );
    let gateway = Config::new(engine).origin(&origin).listener(REQUIRED).more(&more).start();
    let mut client = gateway.connect();
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n");
    get(&mut client);
    drop(client);
    ask(connect(&socket).unwrap(), b"");
    let mut forwarded = connect(&socket).unwrap();
    forwarded
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.8\r\nConnection: close\r\n\r\n")
        .unwrap();
    forwarded.read_to_end(&mut Vec::new()).unwrap();
    gateway.stop();
    let lines = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<(&str, &Value)> =
        lines.iter().map(|line| (line["client"].as_str().unwrap(), &line["peer"])).collect();
    let own = format!("unix:pid={},uid=", std::process::id());
    assert_eq!(ends[0], ("192.0.2.7", &Value::from("127.0.0.1")));
    assert!(ends[1].0.starts_with(&own) && ends[1].1.is_null(), "{ends:?}");
    assert_eq!(ends[2], ("192.0.2.8", &Value::Null), "what a trusted Unix peer says is believed");
}

/// Connections that are handed over when they come, and others that move between two requests.
fn the_client_stays_the_same_from_core_to_core(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let gateway = Config::new(engine)
        .data(2)
        .cores(&format!("placement = \"least-loaded\"\nmetrics_dir = \"{}\"", dir.path().display()))
        .origin(&origin)
        .listener(REQUIRED)
        .start();
    let open = || -> Vec<i64> {
        let files = read_dir(dir.path()).expect("metrics").into_iter().map(|file| file.expect("a whole file"));
        let mut open: Vec<(u32, i64)> = files
            .filter_map(|file| Some((file.cores.first()?.core, file.gauge("ringway_connections_open", &[])?)))
            .collect();
        open.sort_unstable();
        open.into_iter().map(|(_, open)| open).collect()
    };
    let counted = |name: &str| -> u64 {
        let files = read_dir(dir.path()).expect("metrics").into_iter().map(|file| file.expect("a whole file"));
        files.filter_map(|file| file.counter(name, &[("direction", "in")])).sum()
    };
    let mut before = open();
    let mut clients: Vec<(Client, String, bool)> = (0..80)
        .map(|at| {
            let mut client = gateway.connect();
            client.send(format!("PROXY TCP4 192.0.2.{at} 192.0.2.1 1 2\r\n"));
            let wanted = format!("192.0.2.{at} http");
            assert_eq!(get(&mut client), wanted);
            let after = open();
            let is_first = after.first() > before.first();
            before = after;
            (client, wanted, is_first)
        })
        .collect();
    assert!(counted("ringway_connections_handed_over_total") > 0);
    // The clients of one core leave; the other has too many now.
    clients.retain(|(.., is_first)| *is_first);
    let start = Instant::now();
    while counted("ringway_connections_moved_total") == 0 {
        assert!(start.elapsed() < PATIENCE, "none moved: {:?}", open());
        for (client, wanted, _) in &mut clients {
            assert_eq!(get(client), *wanted);
        }
    }
    for (client, wanted, _) in &mut clients {
        assert_eq!(get(client), *wanted, "a connection that moved is still from the same client");
    }
}
