//! What an origin breaks off is broken off for the client as well, and contradictions are refused.

use crate::support::{Client, Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_body_shorter_than_its_length_ends_short,
    a_chunked_body_without_its_last_chunk_ends_without_it,
    a_body_until_close_that_is_reset_ends_in_a_reset_for_http_1_0,
    a_body_until_close_that_is_reset_has_no_last_chunk_for_http_1_1,
    a_malformed_chunk_breaks_the_answer_off,
    an_origin_that_stalls_in_the_body_breaks_the_answer_off,
    the_total_time_cuts_an_answer_off,
    a_client_that_leaves_ends_the_exchange_with_the_origin,
    a_request_body_cut_short_never_looks_whole_to_the_origin,
    bytes_behind_an_answer_never_reach_another_client,
);

fn answered(gateway: &Gateway, origin: &Origin, version: &str, answer: &str, reset: bool) -> Client {
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(answer);
    client.head();
    if reset {
        // The client has the head, so the reset cannot overtake it.
        upstream.reset();
    }
    client
}

fn a_body_shorter_than_its_length_ends_short(engine: Engine) {
    for reset in [false, true] {
        let (gateway, origin) = Gateway::before(engine);
        let mut client = answered(&gateway, &origin, "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", reset);
        let (body, _) = client.rest_or_reset();
        assert!(body.len() <= 4 && b"half".starts_with(&body), "{}", body.escape_ascii());
    }
}

fn a_chunked_body_without_its_last_chunk_ends_without_it(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let (body, _) = answered(&gateway, &origin, "1.1", answer, false).rest_or_reset();
    assert_eq!(body, b"4\r\nhalf\r\n");
}

fn a_body_until_close_that_is_reset_ends_in_a_reset_for_http_1_0(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = answered(&gateway, &origin, "1.0", "HTTP/1.1 200 OK\r\n\r\nhalf", true);
    let (_, was_reset) = client.rest_or_reset();
    assert!(was_reset, "it looks whole");
    // The same for a chunked answer, which goes on without its chunks.
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let (_, was_reset) = answered(&gateway, &origin, "1.0", answer, false).rest_or_reset();
    assert!(was_reset, "it looks whole");
}

fn a_body_until_close_that_is_reset_has_no_last_chunk_for_http_1_1(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = answered(&gateway, &origin, "1.1", "HTTP/1.1 200 OK\r\n\r\nhalf", true);
    let (body, _) = client.rest_or_reset();
    assert!(!body.ends_with(b"0\r\n\r\n"), "it looks whole");
}

fn a_malformed_chunk_breaks_the_answer_off(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\nxyz\r\n0\r\n\r\n";
    let (body, _) = answered(&gateway, &origin, "1.1", answer, false).rest_or_reset();
    assert_eq!(body, b"4\r\ngood\r\n");
}

fn an_origin_that_stalls_in_the_body_breaks_the_answer_off(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("timeout = { idle = \"300ms\" }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.head();
    assert_eq!(client.rest(), b"half");
    upstream.expect_end();
}

fn the_total_time_cuts_an_answer_off(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("timeout = { total = \"400ms\" }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    // An endless answer that never idles, until the gateway takes no more of it.
    let mut body = Vec::new();
    while upstream.try_send(b"1\r\nx\r\n") && client.take_some(&mut body) {}
    assert!(!body.ends_with(b"0\r\n\r\n"), "it looks whole");
}

fn a_client_that_leaves_ends_the_exchange_with_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for reset in [false, true] {
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        upstream.expect_end();
    }
}

fn a_request_body_cut_short_never_looks_whole_to_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for (framing, body) in [("Content-Length: 10", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}"));
        let mut upstream = origin.accept();
        upstream.head();
        assert_eq!(upstream.take(body.len()), body.as_bytes());
        drop(client);
        upstream.expect_end();
    }
}

fn bytes_behind_an_answer_never_reach_another_client(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    assert_eq!(client.response().text(), "1");
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    assert_eq!(second.request().head.line, "GET /2 HTTP/1.1");
    second.answer("2");
    assert_eq!(client.response().text(), "2");
    first.expect_end();
}
