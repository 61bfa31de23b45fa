//! Connections that carry more than they should: early bytes, leftovers, and answers nobody asked for.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    bytes_behind_a_refused_upgrade_are_requests_and_routed_as_such,
    an_upgrade_nobody_asked_for_is_refused,
    an_upgrade_before_the_body_is_whole_is_refused,
    a_bad_101_is_refused,
    a_leftover_body_never_becomes_a_request_to_the_origin,
    a_leftover_body_never_becomes_a_request_to_the_gateway,
    an_answer_before_its_request_is_never_used,
    an_answer_to_head_with_a_body_never_answers_the_next_request,
);

fn bytes_behind_a_refused_upgrade_are_requests_and_routed_as_such(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("path = \"/chat\"").start();
    let mut client = gateway.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n\
         GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let mut upstream = origin.accept();
    upstream.head();
    assert!(upstream.nothing_waits(), "raw bytes went out before the origin switched");
    upstream.answer("no upgrade");
    assert_eq!(client.response().text(), "no upgrade");
    assert_eq!(client.response().status(), 404);
    assert!(upstream.nothing_waits(), "the hidden request went through");
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nraw";

fn an_upgrade_nobody_asked_for_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for lines in ["", "Upgrade: raw\r\n", "Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"] {
        let mut client = gateway.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send(SWITCH);
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_protocol_error"), "{lines}");
        upstream.expect_end();
        let mut next = origin.accept();
        assert_eq!(next.head().line, "GET /next HTTP/1.1");
        next.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    // HTTP/1.0 has no upgrade at all.
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
    let mut upstream = origin.accept();
    assert!(!upstream.head().has("upgrade"));
    upstream.send(SWITCH);
    assert_eq!(client.response().status(), 502);
}

fn an_upgrade_before_the_body_is_whole_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\nContent-Length: 100\r\n\r\nsome");
    let mut upstream = origin.accept();
    upstream.head();
    upstream.take(4);
    upstream.send(SWITCH);
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_protocol_error"));
    client.expect_end();
    upstream.expect_end();
}

fn a_bad_101_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send(answer);
        assert_eq!(client.response().code(), "upstream_protocol_error", "{answer}");
        upstream.expect_end();
    }
}

fn a_leftover_body_never_becomes_a_request_to_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    // The origin answers before the body: what is left of the body must not follow on the pooled connection.
    let mut client = gateway.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 1 + smuggled.len()));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.answer("early");
    let answer = client.response();
    assert_eq!((answer.text(), answer.head.get("connection")), ("early", Some("close")));
    client.try_send(format!("x{smuggled}").as_bytes());
    upstream.expect_end();
    let mut next = gateway.connect();
    next.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(origin.accept().head().line, "GET /next HTTP/1.1");
}

fn a_leftover_body_never_becomes_a_request_to_the_gateway(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("path = \"/only\"").start();
    let smuggled = "GET /only HTTP/1.1\r\nHost: a\r\n\r\n";
    // The gateway refuses before the body is there.
    let mut client = gateway.connect();
    client.send(format!("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len()));
    let refused = client.response();
    assert_eq!((refused.status(), refused.head.get("connection")), (404, Some("close")));
    client.try_send(smuggled.as_bytes());
    assert!(client.rest_or_reset().0.is_empty());
    // It refuses when a part of a chunked body is there.
    let mut client = gateway.connect();
    client.send("POST /other HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(client.response().status(), 404);
    client.try_send(format!("0\r\n\r\n{smuggled}").as_bytes());
    assert!(client.rest_or_reset().0.is_empty());
    origin.expect_no_connection();
}

fn an_answer_before_its_request_is_never_used(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    first.answer("1");
    assert_eq!(client.response().text(), "1");
    // It lies in wait on the idle connection.
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    first.finish();
    first.expect_end();
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    assert_eq!(second.request().head.line, "GET /2 HTTP/1.1");
    second.answer("2");
    assert_eq!(client.response().text(), "2");
}

fn an_answer_to_head_with_a_body_never_answers_the_next_request(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    first.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{poison}", poison.len()));
    assert_eq!(client.head().status(), 200);
    first.expect_end();
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    second.request();
    second.answer("2");
    assert_eq!(client.response().text(), "2");
}
