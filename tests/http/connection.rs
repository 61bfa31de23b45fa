//! How long a client's connection lives, and in which order it is answered.

use crate::support::{Client, Config, Engine, Gateway, Transfer, on_both_engines};

on_both_engines!(
    requests_come_to_the_origin_whole_and_go_on_one_connection,
    pipelined_requests_are_answered_in_order,
    a_slow_first_answer_holds_back_those_behind_it,
    a_request_may_come_byte_by_byte,
    close_is_honored_and_said,
    a_client_of_http_1_0_is_answered_and_closed,
    a_client_of_http_1_0_that_asks_to_keep_the_connection_keeps_it,
    head_has_the_length_and_no_body,
    answers_204_and_304_have_no_body,
    the_last_of_the_allowed_requests_says_close,
    ipv6_and_several_listeners_are_served,
    an_origin_of_http_1_0_is_not_kept,
);

fn requests_come_to_the_origin_whole_and_go_on_one_connection(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST /a/b?c=d HTTP/1.1\r\nHost: Example.com:81\r\nContent-Length: 5\r\nX-Mine: 1\r\n\r\nhello");
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!(request.head.line, "POST /a/b?c=d HTTP/1.1");
    assert_eq!(request.head.get("host"), Some("Example.com:81"));
    assert_eq!(request.head.get("x-mine"), Some("1"));
    assert_eq!(request.head.get("connection"), None);
    assert_eq!(request.text(), "hello");
    upstream.send("HTTP/1.1 201 Made It\r\nX-Theirs: 2\r\nContent-Length: 3\r\n\r\nyes");
    let answer = client.response();
    assert_eq!(answer.head.line, "HTTP/1.1 201 Made It");
    assert_eq!(answer.head.get("x-theirs"), Some("2"));
    assert_eq!(answer.text(), "yes");
    client.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
    upstream.answer("again");
    assert_eq!(client.response().text(), "again");
    origin.expect_no_connection();
}

fn pipelined_requests_are_answered_in_order(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let mut sent = Vec::new();
    for at in 0..50 {
        sent.extend(format!("POST /{at} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{at:02}").bytes());
    }
    client.send(sent);
    let mut upstream = origin.accept();
    for at in 0..50 {
        let request = upstream.request();
        assert_eq!(request.head.line, format!("POST /{at} HTTP/1.1"));
        assert_eq!(request.text(), format!("{at:02}"));
        upstream.answer(&at.to_string());
    }
    for at in 0..50 {
        assert_eq!(client.response().text(), at.to_string());
    }
}

fn a_slow_first_answer_holds_back_those_behind_it(engine: Engine) {
    let origin = crate::support::Origin::listen();
    let hello = "[service.hello]\ntype = \"respond\"\nbody = \"fixed\"\n\
                 [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";
    let gateway = Config::new(engine).origin(&origin).more(hello).start();
    let mut client = gateway.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    client.expect_nothing_yet();
    upstream.answer("slow");
    assert_eq!(client.response().text(), "slow");
    assert_eq!(client.response().text(), "fixed");
}

fn a_request_may_come_byte_by_byte(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for byte in b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" {
        client.send([*byte]);
    }
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().text(), "hello");
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nworld" {
        upstream.send([*byte]);
    }
    assert_eq!(client.response().text(), "world");
}

fn close_is_honored_and_said(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.get("connection"), None);
    upstream.answer("bye");
    let answer = client.response();
    assert_eq!(answer.head.get("connection"), Some("close"));
    client.expect_end();
    // The upstream's connection is another matter: it serves the next client.
    let mut next = gateway.connect();
    next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    // And what the origin says of its own connection does not reach the client.
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(next.response().head.get("connection"), None);
    upstream.expect_end();
}

fn a_client_of_http_1_0_is_answered_and_closed(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!(request.head.line, "GET /old HTTP/1.1");
    upstream.answer("old");
    let answer = client.response();
    assert_eq!(answer.text(), "old");
    assert_ne!(answer.head.get("connection"), Some("keep-alive"));
    client.expect_end();
}

fn a_client_of_http_1_0_that_asks_to_keep_the_connection_keeps_it(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let mut upstream = None;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        upstream.request();
        upstream.answer("kept");
        let answer = client.response();
        assert_eq!(answer.head.get("connection"), Some("keep-alive"));
        assert_eq!(answer.text(), "kept");
    }
}

fn head_has_the_length_and_no_body(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.line, "HEAD /a HTTP/1.1");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    assert_eq!(client.head().get("content-length"), Some("12345"));
    client.send("HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().get("content-length"), None);
    client.send("GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /c HTTP/1.1");
    upstream.answer("c");
    assert_eq!(client.response().text(), "c");
}

fn answers_204_and_304_have_no_body(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.head.get("content-length")), (204, None));
    client.send("GET /b HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n");
    assert_eq!(upstream.request().head.get("if-none-match"), Some("\"x\""));
    upstream.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 999\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.head.get("content-length")), (304, Some("999")));
    client.send("GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("c");
    assert_eq!(client.response().text(), "c");
}

fn the_last_of_the_allowed_requests_says_close(engine: Engine) {
    let origin = crate::support::Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("keep_alive_requests = 2").start();
    let mut client = gateway.connect();
    client
        .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    for connection in [None, Some("close")] {
        upstream.request();
        upstream.answer("");
        assert_eq!(client.response().head.get("connection"), connection);
    }
    client.expect_end();
}

fn ipv6_and_several_listeners_are_served(engine: Engine) {
    let origin = crate::support::Origin::listen();
    let second = "[listener.second]\naddress = [\"127.0.0.1:0\", \"[::1]:0\"]\n";
    let gateway = Config::new(engine).origin(&origin).more(second).start();
    assert_eq!(gateway.addresses.len(), 3, "{}", gateway.ready);
    let mut upstream = None;
    for &address in &gateway.addresses {
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        let peer = upstream.request().head.get("x-forwarded-for").map(str::to_owned);
        assert_eq!(peer.as_deref(), Some(if address.is_ipv6() { "::1" } else { "127.0.0.1" }));
        upstream.answer("");
        assert_eq!(client.response().status(), 200);
    }
}

fn an_origin_of_http_1_0_is_not_kept(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
        let answer = client.response();
        assert_eq!((answer.head.line.as_str(), answer.transfer), ("HTTP/1.1 200 OK", Transfer::Length));
        upstream.expect_end();
    }
}
