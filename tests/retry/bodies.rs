//! Request bodies that are sent again.

use super::{RETRY, UNAVAILABLE, before};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    a_body_that_was_kept_is_sent_again,
    a_body_that_is_still_coming_is_sent_from_its_beginning,
    a_body_beyond_the_limit_is_not_sent_again,
    a_core_keeps_so_many_bytes_of_all_bodies,
    nothing_of_a_body_that_may_not_be_done_twice_is_kept,
    a_client_is_told_to_go_on_once,
    a_refused_connection_costs_no_body,
);

fn a_body_that_was_kept_is_sent_again(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = gateway.connect();
    let long = "x".repeat(9_000);
    for (framing, sent, whole) in [
        ("Content-Length: 5", "hello".to_owned(), "hello".to_owned()),
        ("Content-Length: 9000", long.clone(), long.clone()),
        ("Transfer-Encoding: chunked", "3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n".to_owned(), "hello".to_owned()),
        ("Transfer-Encoding: chunked", format!("2328\r\n{long}\r\n0\r\nX-Sum: 7\r\n\r\n"), long.clone()),
        ("Transfer-Encoding: chunked", "0\r\n\r\n".to_owned(), String::new()),
    ] {
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{sent}"));
        let mut first = origin.accept();
        assert_eq!(first.request().text(), whole);
        first.reset();
        let mut second = origin.accept();
        assert_eq!(second.request().text(), whole);
        second.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let mut third = origin.accept();
        assert_eq!(third.request().text(), whole);
        third.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
}

fn a_body_that_is_still_coming_is_sent_from_its_beginning(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    for chunked in [false, true] {
        let mut client = gateway.connect();
        if chunked {
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n");
        } else {
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
        }
        let mut first = origin.accept();
        first.head();
        if chunked {
            first.chunk();
        } else {
            assert_eq!(first.take(3), b"hel");
        }
        first.reset();
        let mut second = origin.accept();
        second.head();
        if chunked {
            assert_eq!(second.chunk(), 3);
            client.send("2\r\nlo\r\n0\r\n\r\n");
            assert_eq!((second.chunk(), second.chunk()), (2, 0));
        } else {
            assert_eq!(second.take(3), b"hel");
            client.send("lo");
            assert_eq!(second.take(2), b"lo");
        }
        second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
}

fn a_body_beyond_the_limit_is_not_sent_again(engine: Engine) {
    let (gateway, origin) = before(engine, &RETRY.replace("{ ", "{ body = \"4KiB\", "));
    let long = "x".repeat(5_000);
    for (framing, sent) in
        [("Content-Length: 5000", long.clone()), ("Transfer-Encoding: chunked", format!("1388\r\n{long}\r\n0\r\n\r\n"))]
    {
        let mut client = gateway.connect();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{sent}"));
        let mut upstream = origin.accept();
        assert_eq!(upstream.request().text(), long);
        upstream.send("HTTP/1.1 503 X\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy");
        assert_eq!(client.response().text(), "busy");
        origin.expect_no_connection();
    }
}

fn a_core_keeps_so_many_bytes_of_all_bodies(engine: Engine) {
    let (gateway, origin) = before(engine, &RETRY.replace("{ ", "{ bodies = \"100B\", "));
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n".to_owned() + &"x".repeat(60);
    let mut kept = gateway.connect();
    kept.send(&put);
    let mut first = origin.accept();
    first.request();
    let mut not_kept = gateway.connect();
    not_kept.send(&put);
    let mut second = origin.accept();
    second.request();
    second.send(UNAVAILABLE);
    assert_eq!(not_kept.response().text(), "busy");
    first.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(second.request().text().len(), 60);
    second.answer("ok");
    assert_eq!(kept.response().text(), "ok");
    // The place is free again.
    not_kept.send(&put);
    second.request();
    second.send(UNAVAILABLE);
    second.request();
    second.answer("ok");
    assert_eq!(not_kept.response().text(), "ok");
}

fn nothing_of_a_body_that_may_not_be_done_twice_is_kept(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(UNAVAILABLE);
    assert_eq!(client.response().status(), 503);
    assert!(upstream.nothing_waits());
}

fn a_client_is_told_to_go_on_once(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = gateway.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let mut first = origin.accept();
    first.head();
    assert_eq!(client.head().status(), 100);
    first.reset();
    let mut second = origin.accept();
    second.head();
    client.send("hello");
    assert_eq!(second.take(5), b"hello");
    second.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_refused_connection_costs_no_body(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).endpoint(Origin::refusing()).origin(&origin);
    let gateway = config.upstream("retry = { body = \"0B\", attempts = 3, backoff = \"off\" }").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().text(), "hello");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}
