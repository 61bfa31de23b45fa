//! What one request may take.

use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    a_length_beyond_the_limit_is_refused_at_once,
    a_chunked_body_beyond_the_limit_is_cut_off,
    a_route_has_its_own_limit,
    a_listener_has_its_own_limit,
    long_lines_and_heads_have_their_own_statuses,
    trailers_and_chunk_lines_are_bounded,
);

fn a_length_beyond_the_limit_is_refused_at_once(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"1KiB\"").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(answer.head.get("connection"), Some("close"));
    client.expect_end();
    origin.expect_no_connection();
    let mut client = gateway.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)));
    assert_eq!(origin.accept().request().body.len(), 1024);
}

fn a_chunked_body_beyond_the_limit_is_cut_off(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"1KiB\"").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.take(1024);
    client.send("1\r\nx\r\n0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (413, "body_too_large"));
    client.expect_end();
    assert!(!upstream.rest().ends_with(b"0\r\n\r\n"), "the body looks whole to the origin");
}

fn a_route_has_its_own_limit(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"1KiB\"").route("body = \"1MiB\"").start();
    let mut client = gateway.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000)));
    assert_eq!(origin.accept().request().body.len(), 5000);
}

fn a_listener_has_its_own_limit(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).listener("limits = { headers = 3 }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (431, "too_many_fields"));
    client.expect_end();
}

fn long_lines_and_heads_have_their_own_statuses(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("request_line = \"1KiB\"").start();
    let rows = [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1024)), 414, "request_line_too_long"),
        // Without its end, too: the bound does not wait for it.
        (format!("GET /{}", "x".repeat(1024)), 414, "request_line_too_long"),
        (format!("GET / HTTP/1.1\r\n{}", "A: bbbbbbbbbbbbb\r\n".repeat(101)), 431, "too_many_fields"),
        (format!("GET / HTTP/1.1\r\n{}", format!("A: {}\r\n", "b".repeat(900)).repeat(40)), 431, "head_too_large"),
    ];
    for (request, status, code) in rows {
        let mut client = gateway.connect();
        client.send(request);
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (status, code));
        client.expect_end();
    }
    origin.expect_no_connection();
}

fn trailers_and_chunk_lines_are_bounded(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).start();
    let rows = [
        (format!("0\r\n{}", "A: bbbbbbbbbbbbb\r\n".repeat(1000)), 431),
        (format!("1;{}", "x".repeat(1000)), 400),
        ("11111111111111111\r\n".to_owned(), 400),
    ];
    for (body, status) in rows {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let answer = client.response();
        assert_eq!(answer.status(), status, "{}", answer.text());
        client.expect_end();
        origin.accept().rest();
    }
}
