//! Every wait has its bound, and the answer says whose time ran out.

use crate::support::{Client, Config, Engine, Message, Origin, on_both_engines};

on_both_engines!(
    half_a_head_is_answered_408,
    a_connection_that_says_nothing_is_closed_in_silence,
    an_idle_connection_is_closed_in_silence,
    a_body_that_stops_coming_is_answered_408,
    a_body_below_the_least_rate_is_answered_408,
    a_client_that_takes_nothing_is_reset,
    an_upstream_that_does_not_accept_is_answered_504,
    an_upstream_that_does_not_answer_is_answered_504,
    an_upstream_that_does_not_take_the_body_is_answered_504,
    the_total_time_of_a_route_is_answered_504,
);

fn code(answer: &Message) -> (u16, String) {
    (answer.status(), answer.code())
}

fn half_a_head_is_answered_408(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("head = \"300ms\"").start();
    for half in ["G", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = gateway.connect();
        client.send(half);
        assert_eq!(code(&client.response()), (408, "head_timeout".to_owned()));
        client.expect_end();
    }
    origin.expect_no_connection();
}

fn a_connection_that_says_nothing_is_closed_in_silence(engine: Engine) {
    let gateway = Config::new(engine).endpoint(Origin::refusing()).timeouts("head = \"300ms\"").start();
    gateway.connect().expect_end();
}

fn an_idle_connection_is_closed_in_silence(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("keep_alive = \"300ms\"").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().head.get("connection"), None);
    client.expect_end();
}

fn a_body_that_stops_coming_is_answered_408(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("body_idle = \"300ms\"").start();
    for (framing, part) in [("Content-Length: 10", "half"), ("Transfer-Encoding: chunked", "4\r\nhalf\r\n")] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{part}"));
        let mut upstream = origin.accept();
        upstream.head();
        assert_eq!(upstream.rest(), part.as_bytes());
        assert_eq!(code(&client.response()), (408, "body_timeout".to_owned()));
        client.expect_end();
    }
}

fn a_body_below_the_least_rate_is_answered_408(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine)
        .origin(&origin)
        .timeouts("min_rate = \"100MB/s\"")
        .timeouts("min_rate_grace = \"300ms\"")
        .start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.head();
    // One byte for each that arrived: never idle, and never fast.
    let mut arrived = Vec::new();
    while client.try_send(b"x") && upstream.take_some(&mut arrived) {}
    assert!(arrived.len() > 1, "the grace let nothing through");
    assert_eq!(code(&client.response()), (408, "rate_too_slow".to_owned()));
}

fn a_client_that_takes_nothing_is_reset(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("send_idle = \"300ms\"").start();
    let mut client = Client::connect_with_small_buffer(gateway.address, 4096);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let piece = vec![0; 64 * 1024];
    while upstream.try_send(&piece) {}
    let (_, was_reset) = client.rest_or_reset();
    assert!(was_reset);
}

fn an_upstream_that_does_not_accept_is_answered_504(engine: Engine) {
    let full = Origin::full();
    let gateway = Config::new(engine)
        .endpoint(full.address)
        .upstream("timeout = { connect = \"200ms\" }\nretry = { attempts = 1 }")
        .start();
    let answer = gateway.connect().get("/");
    assert_eq!(code(&answer), (504, "upstream_timeout_connect".to_owned()));
}

fn an_upstream_that_does_not_answer_is_answered_504(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("timeout = { first_byte = \"300ms\" }").start();
    let mut client = gateway.connect();
    // Twice: the client's connection outlives the origin's fault.
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let mut upstream = origin.accept();
        assert_eq!(upstream.request().text(), "hi");
        assert_eq!(code(&client.response()), (504, "upstream_timeout_first_byte".to_owned()));
        upstream.expect_end();
    }
}

fn an_upstream_that_does_not_take_the_body_is_answered_504(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("timeout = { idle = \"300ms\" }").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n");
    let upstream = origin.accept();
    let mut sender = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let piece = vec![0; 64 * 1024];
        while std::io::Write::write_all(&mut sender, &piece).is_ok() {}
    });
    assert_eq!(code(&client.response()), (504, "upstream_timeout_idle".to_owned()));
    drop(client);
    sending.join().unwrap();
    drop(upstream);
}

fn the_total_time_of_a_route_is_answered_504(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("timeout = { total = \"300ms\" }").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    assert_eq!(code(&client.response()), (504, "upstream_timeout_total".to_owned()));
    upstream.expect_end();
}
