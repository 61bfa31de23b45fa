//! An answer that another try might better is the client's where no other try comes about.

use crate::support::{Client, Config, Engine, Gateway, Origin, on_both_engines};

use super::{UNAVAILABLE, ask};

on_both_engines!(
    it_is_passed_on_where_nobody_else_can_be_reached,
    it_is_passed_on_while_it_is_still_coming,
    it_is_passed_on_where_a_breaker_opens,
    it_is_passed_on_where_no_connection_is_left,
);

const RETRY: &str = "retry = { attempts = 2, on = [\"503\"], backoff = \"1ms\" }";

/// A gateway before this origin and one that nobody reaches.
fn before_one_of_two(engine: Engine, origin: &Origin) -> Gateway {
    Config::new(engine).origin(origin).endpoint(Origin::refusing()).upstream(RETRY).start()
}

fn again(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

fn it_is_passed_on_where_nobody_else_can_be_reached(engine: Engine) {
    let origin = Origin::listen();
    let gateway = before_one_of_two(engine, &origin);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    for framing in ["Content-Length: 4\r\n\r\nbusy", "Transfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n"] {
        upstream.request();
        upstream.send(format!("HTTP/1.1 503 Service Unavailable\r\nX-From: origin\r\n{framing}"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.text(), answer.head.get("x-from")), (503, "busy", Some("origin")));
        again(&mut client);
    }
    // Its connection, and that of the client, are good for more.
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    origin.expect_no_connection();
}

fn it_is_passed_on_while_it_is_still_coming(engine: Engine) {
    let origin = Origin::listen();
    let gateway = before_one_of_two(engine, &origin);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 503 X\r\nContent-Length: 300000\r\n\r\nbusy");
    assert_eq!(client.head().status(), 503);
    let rest = "x".repeat(299_996);
    upstream.send(&rest);
    assert_eq!(client.take(300_000), format!("busy{rest}").into_bytes());
    again(&mut client);
    upstream.request();
    upstream.send("HTTP/1.1 503 X\r\n\r\nto the end");
    let head = client.head();
    assert_eq!(head.status(), 503);
    upstream.finish();
    assert_eq!(client.body_of(head).text(), "to the end");
}

fn it_is_passed_on_where_a_breaker_opens(engine: Engine) {
    let origin = Origin::listen();
    let breaker = "breaker = { failure_ratio = 0.5, min_requests = 2, open_for = \"1h\" }";
    let gateway = Config::new(engine).origin(&origin).upstream(RETRY).upstream(breaker).start();
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    again(&mut client);
    upstream.request();
    upstream.send(UNAVAILABLE);
    assert_eq!(client.response().text(), "busy");
    // It is open by now.
    again(&mut client);
    assert_eq!(client.response().code(), "breaker_open");
}

fn it_is_passed_on_where_no_connection_is_left(engine: Engine) {
    let origin = Origin::listen();
    let pool = "pool = { max_connections = 1 }";
    let gateway = Config::new(engine).origin(&origin).upstream(RETRY).upstream(pool).start();
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbu");
    assert_eq!(client.head().status(), 503);
    upstream.send("sy");
    assert_eq!(client.take(4), b"busy");
    // With all of it there the connection is free for the next try.
    again(&mut client);
    upstream.request();
    upstream.send(UNAVAILABLE);
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}
