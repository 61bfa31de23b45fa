//! The opening handshake (RFC 6455 section 4): what is passed on, and what is refused on either side.

use super::{ACCEPT, KEY, gateway, open_with, request, switch};
use crate::support::{Engine, Gateway, on_both_engines};

on_both_engines!(
    a_handshake_passes_through,
    a_request_that_is_no_handshake_is_refused,
    another_version_is_told_which_one_there_is,
    extensions_that_are_not_known_are_not_offered,
    compression_can_be_turned_off,
    an_answer_that_does_not_follow_is_refused,
    only_pages_of_known_origins_may_open_one,
    an_endpoint_may_refuse,
    frames_right_behind_the_heads_are_passed_on,
    raw_frames_are_left_alone,
);

fn a_handshake_passes_through(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(request("Origin: http://a\r\nSec-WebSocket-Protocol: chat, superchat\r\n"));
    let mut upstream = origin.accept();
    let head = upstream.head();
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("origin", "http://a"),
    ] {
        assert_eq!(head.get(name), Some(value));
    }
    upstream.send(switch("Sec-WebSocket-Protocol: superchat\r\n"));
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(
        (head.get("sec-websocket-accept"), head.get("sec-websocket-protocol")),
        (Some(ACCEPT), Some("superchat"))
    );
    assert_eq!((head.get("upgrade"), head.get("connection")), (Some("websocket"), Some("upgrade")));
}

fn a_request_that_is_no_handshake_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    for (head, code) in [
        (request("").replace(&key, ""), "websocket_key"),
        (request(&key), "websocket_key"),
        (request("").replace(KEY, "dG9vIHNob3J0"), "websocket_key"),
        (request("Sec-WebSocket-Protocol: a, a\r\n"), "websocket_protocol"),
        (request("Sec-WebSocket-Protocol: (\r\n"), "websocket_protocol"),
        (request("Sec-WebSocket-Extensions: a b\r\n"), "websocket_extensions"),
        (request("").replace("GET", "POST"), "websocket_method"),
        (request("Content-Length: 4\r\n") + "body", "websocket_method"),
    ] {
        let mut client = gateway.connect();
        let answer = client.send(&head).response();
        assert_eq!((answer.status(), answer.code().as_str()), (400, code), "{head}");
    }
    origin.expect_no_connection();
}

fn another_version_is_told_which_one_there_is(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for head in
        [request("").replace("Version: 13", "Version: 8"), request("").replace("Sec-WebSocket-Version: 13\r\n", "")]
    {
        let answer = client.send(head).response();
        assert_eq!((answer.status(), answer.code().as_str()), (426, "websocket_version"));
        assert_eq!(
            (answer.head.get("sec-websocket-version"), answer.head.get("upgrade")),
            (Some("13"), Some("websocket"))
        );
    }
    origin.expect_no_connection();
}

fn extensions_that_are_not_known_are_not_offered(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for (offered, passed) in [
        ("permessage-deflate; client_max_window_bits", Some("permessage-deflate; client_max_window_bits")),
        (
            "x-foo, permessage-deflate; server_max_window_bits=10 , x-bar",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
        ("permessage-deflate; unknown, permessage-deflate", Some("permessage-deflate")),
        ("x-webkit-deflate-frame", None),
    ] {
        let mut client = gateway.connect();
        client.send(request(&format!("Sec-WebSocket-Extensions: {offered}\r\n")));
        let mut upstream = origin.accept();
        assert_eq!(upstream.head().get("sec-websocket-extensions"), passed);
        upstream.send(switch(""));
        assert_eq!(client.head().status(), 101);
    }
}

fn compression_can_be_turned_off(engine: Engine) {
    let (gateway, origin) = gateway(engine, "compression = \"off\"");
    let mut client = gateway.connect();
    client.send(request("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    let mut upstream = origin.accept();
    assert!(!upstream.head().has("sec-websocket-extensions"));
    upstream.send(switch("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert_eq!(client.response().status(), 502);
}

fn an_answer_that_does_not_follow_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let offer = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    for answer in [
        switch("").replace(ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
        switch("").replace(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"), ""),
        switch("Sec-WebSocket-Protocol: other\r\n"),
        switch("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"),
        switch("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n"),
        switch("Sec-WebSocket-Extensions: x-other\r\n"),
        switch("").replace("Upgrade: websocket", "Upgrade: other"),
    ] {
        let mut client = gateway.connect();
        client.send(request(offer));
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send(&answer);
        let response = client.response();
        assert_eq!((response.status(), response.code().as_str()), (502, "upstream_protocol_error"), "{answer}");
        upstream.expect_end();
    }
}

fn an_endpoint_may_refuse(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(request(""));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (403, "no"));
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
}

fn frames_right_behind_the_heads_are_passed_on(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let first = super::c(super::FIN | super::TEXT, "early");
    client.send([request("").as_bytes(), &first].concat());
    let mut upstream = origin.accept();
    upstream.head();
    assert!(upstream.nothing_waits());
    let second = super::s(super::FIN | super::TEXT, "first");
    upstream.send([switch("").as_bytes(), &second].concat());
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.take(second.len()), second);
    assert_eq!(upstream.take(first.len()), first);
}

fn raw_frames_are_left_alone(engine: Engine) {
    let (gateway, origin) = gateway(engine, "frames = \"raw\"");
    let mut open = open_with(&gateway, &origin, "Sec-WebSocket-Extensions: x-own\r\n");
    open.up(b"\xff\xff no frame");
    open.down(b"\xff\xff neither");
}

fn only_pages_of_known_origins_may_open_one(engine: Engine) {
    for frames in ["", "frames = \"raw\", "] {
        let keys = format!("{frames}origins = [\"same\", \"https://*.example.com\"]");
        let (gateway, origin) = gateway(engine, &keys);
        for refused in ["https://evil.example", "http://a.evil.example", "null", "https://example.com.evil.example"] {
            let answer = gateway.connect().send(request(&format!("Origin: {refused}\r\n"))).response();
            assert_eq!((answer.status(), answer.code().as_str()), (403, "websocket_origin"), "{refused}");
        }
        let two = "Origin: https://app.example.com\r\nOrigin: https://evil.example\r\n";
        assert_eq!(gateway.connect().send(request(two)).response().status(), 403);
        origin.expect_no_connection();
        // Who is no browser need not say whose page it is. The request is for host `a`.
        for known in ["", "Origin: http://a\r\n", "Origin: https://app.example.com\r\n"] {
            let mut client = gateway.connect();
            client.send(request(known));
            let mut upstream = origin.accept();
            upstream.head();
            upstream.send(switch(""));
            assert_eq!(client.head().status(), 101, "{known}");
        }
        // What is no WebSocket is nobody's business here.
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
}
