//! Upstreams that break the rules: their connection ends, the client gets a reason, and its own connection goes on.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_malformed_answer_is_502_and_its_connection_is_gone,
    an_endless_head_is_cut_off,
    endless_interim_answers_end_with_the_total_time,
    an_upstream_that_resets_at_any_stage_is_502,
    a_refused_connection_is_502,
);

/// What a gateway may hold of one upstream that sends without end, with the memory of the code that deals with it.
const GROWTH: u64 = 16 << 20;

const ANSWERS: &[&str] = &[
    // Conflicting lengths.
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello",
    // Response splitting.
    "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX y: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\r\n\r\n",
    "HTTP/1.1 200 OK\rX: a\r\n\r\n",
    "HTTP/1.1 200 O\nK\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\n\r\n",
    // No answer of HTTP/1.1 at all.
    "HTTP/1.1 99 No\r\n\r\n",
    "HTTP/1.1 600 No\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "<html>\r\n\r\n",
    "SSH-2.0-OpenSSH\r\n",
    "\x16\x03\x01\x02\r\n",
];

fn a_malformed_answer_is_502_and_its_connection_is_gone(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for bad in ANSWERS {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send(bad);
        let answer = client.response();
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (502, "upstream_protocol_error"),
            "{}",
            bad.escape_debug()
        );
        assert!(!answer.head.has("set-cookie"));
        upstream.expect_end();
    }
    origin.expect_no_connection();
}

fn an_endless_head_is_cut_off(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let before = gateway.child.resident();
    let mut client = gateway.connect();
    for piece in ["X: y\r\n", "X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", "x"] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send("HTTP/1.1 200 OK\r\n");
        let pieces = piece.repeat(1000);
        while upstream.try_send(pieces.as_bytes()) {}
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_protocol_error"));
    }
    assert!(gateway.child.resident() < before + GROWTH);
}

fn endless_interim_answers_end_with_the_total_time(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("timeout = { total = \"500ms\" }").start();
    let before = gateway.child.resident();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    // The client reads nothing of them.
    while upstream.try_send(&b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".repeat(100)) {}
    assert!(gateway.child.resident() < before + GROWTH);
    // Once it reads, it finds whole interim answers and at last the reason.
    let last = loop {
        let head = client.head();
        if head.status() != 103 {
            break client.body_of(head);
        }
    };
    assert_eq!((last.status(), last.code().as_str()), (504, "upstream_timeout_total"));
}

fn an_upstream_that_resets_at_any_stage_is_502(engine: Engine) {
    let origin = Origin::listen();
    // A reset in the very moment of connecting counts as a failed connect, which would be tried again.
    let gateway = Config::new(engine).origin(&origin).upstream("retry = { attempts = 1 }").start();
    let mut client = gateway.connect();
    for part in ["", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send(part);
        if part.ends_with("\r\n\r\n") {
            assert_eq!(client.head().status(), 103);
        }
        upstream.reset();
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_reset"), "{part}");
    }
    // Before it has read anything at all.
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    origin.accept().reset();
    assert_eq!(client.response().status(), 502);
}

fn a_refused_connection_is_502(engine: Engine) {
    let gateway = Config::new(engine).endpoint(Origin::refusing()).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").code(), "upstream_connect_failed");
    }
}
