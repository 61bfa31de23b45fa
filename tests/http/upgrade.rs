//! Upgrade and the tunnel behind it, and the ways there that are barred.

use crate::support::{Client, Config, Engine, Gateway, Origin, OriginConn, on_both_engines};

on_both_engines!(
    after_101_bytes_flow_both_ways,
    bytes_right_behind_101_reach_the_client,
    bytes_right_behind_the_request_reach_the_origin_after_101_only,
    each_side_may_end_before_the_other,
    a_broken_side_breaks_the_other,
    a_large_tunnel_flows_with_backpressure,
    an_end_on_one_side_holds_up_nothing_on_the_other,
    a_refused_upgrade_stays_http,
    h2c_is_not_passed_on,
    a_tunnel_that_idles_is_ended,
    connect_is_refused,
);

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: raw\r\n\
                       X-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";

fn tunnel(gateway: &Gateway, origin: &Origin) -> (Client, OriginConn) {
    let mut client = gateway.connect();
    client.send(UPGRADE);
    let mut upstream = origin.accept();
    let request = upstream.head();
    assert_eq!(request.get("upgrade"), Some("raw"));
    assert!(request.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{request:?}");
    assert_eq!(request.get("x-key"), Some("x"));
    upstream.send(SWITCH);
    let switched = client.head();
    assert_eq!((switched.status(), switched.get("upgrade")), (101, Some("raw")));
    assert!(switched.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{switched:?}");
    assert!(!switched.has("content-length") && !switched.has("transfer-encoding"));
    (client, upstream)
}

fn after_101_bytes_flow_both_ways(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let (mut client, mut upstream) = tunnel(&gateway, &origin);
    for round in 0..20u8 {
        client.send([round; 7]);
        assert_eq!(upstream.take(7), [round; 7]);
        upstream.send([!round; 9]);
        assert_eq!(client.take(9), [!round; 9]);
    }
}

fn bytes_right_behind_101_reach_the_client(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(UPGRADE);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send(format!("{SWITCH}first frame"));
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.take(11), b"first frame");
}

fn bytes_right_behind_the_request_reach_the_origin_after_101_only(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(format!("{UPGRADE}early"));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_eq!(client.head().status(), 103);
    assert!(upstream.nothing_waits(), "raw bytes came before the switch");
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    assert_eq!(upstream.take(5), b"early");
}

fn each_side_may_end_before_the_other(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let (mut client, mut upstream) = tunnel(&gateway, &origin);
    client.send("last words").finish();
    assert_eq!(upstream.rest(), b"last words");
    upstream.send("still talking");
    assert_eq!(client.take(13), b"still talking");
    upstream.finish();
    client.expect_end();
}

fn a_broken_side_breaks_the_other(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let (client, mut upstream) = tunnel(&gateway, &origin);
    client.reset();
    upstream.expect_end();
    let (mut client, upstream) = tunnel(&gateway, &origin);
    upstream.reset();
    assert!(client.rest_or_reset().0.is_empty());
}

fn a_large_tunnel_flows_with_backpressure(engine: Engine) {
    const PIECES: usize = 256;
    let (gateway, origin) = Gateway::before(engine);
    let (mut client, mut upstream) = tunnel(&gateway, &origin);
    let piece = vec![7; 64 * 1024];
    let mut sender = client.stream().try_clone().unwrap();
    let sending = piece.clone();
    let writer = std::thread::spawn(move || {
        for _ in 0..PIECES {
            std::io::Write::write_all(&mut sender, &sending).unwrap();
        }
    });
    for _ in 0..PIECES {
        assert!(upstream.take(piece.len()) == piece);
    }
    writer.join().unwrap();
    client.finish();
    upstream.expect_end();
    let resident = gateway.child.resident();
    assert!(resident < 64 << 20, "{resident} bytes for a tunnel");
}

fn an_end_on_one_side_holds_up_nothing_on_the_other(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let (mut client, upstream) = tunnel(&gateway, &origin);
    // An origin that echoes takes only as fast as its echo is taken.
    let mut echo = upstream.stream().try_clone().unwrap();
    let echoing = std::thread::spawn(move || {
        let mut piece = vec![0; 256 * 1024];
        loop {
            let count = std::io::Read::read(&mut echo, &mut piece).unwrap();
            if count == 0 {
                return echo.shutdown(std::net::Shutdown::Write).unwrap();
            }
            std::io::Write::write_all(&mut echo, &piece[..count]).unwrap();
        }
    });
    // All that goes in without an answer being taken, then the end, and only then the answers.
    let sent = client.send_until_stuck(64 << 20);
    client.finish();
    assert_eq!(client.rest().len(), sent);
    echoing.join().unwrap();
}

fn a_refused_upgrade_stays_http(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(UPGRADE);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.answer("no");
    assert_eq!(client.response().text(), "no");
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
    upstream.answer("still http");
    assert_eq!(client.response().text(), "still http");
}

fn h2c_is_not_passed_on(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for upgrade in ["h2c", "raw, h2c"] {
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        ));
        let mut upstream = origin.accept();
        let request = upstream.head();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!request.has(name), "{upgrade}: {request:?}");
        }
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain");
        assert_eq!(client.response().text(), "plain");
    }
}

fn a_tunnel_that_idles_is_ended(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("tunnel_idle = \"300ms\"").start();
    let (mut client, mut upstream) = tunnel(&gateway, &origin);
    client.expect_end();
    upstream.expect_end();
}

fn connect_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("CONNECT internal:22 HTTP/1.1\r\nHost: internal:22\r\n\r\nSSH-2.0-x\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (501, "connect_not_supported"));
    client.expect_end();
    origin.expect_no_connection();
}
