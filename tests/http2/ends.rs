//! How streams and connections end.

use rustix::process::Signal;

use crate::support::frames::{GOAWAY, HEADERS, Http2, PING, RST_STREAM, request};
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_stream_the_client_resets_ends_the_upstreams,
    an_answer_that_breaks_off_is_a_reset,
    an_early_answer_ends_the_stream_without_an_error,
    a_drain_loses_nothing,
    a_listener_that_goes_lets_its_streams_end,
    requests_past_the_limit_of_a_connection_go_elsewhere,
    a_connection_without_requests_ends,
    a_request_past_the_streams_at_once_is_refused,
);

fn a_stream_the_client_resets_ends_the_upstreams(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.ask(1, "/").ask(3, "/");
    let mut one = origin.accept();
    let mut other = origin.accept();
    one.request();
    other.request();
    client.frame(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    // Which of them it was: the other one answers.
    let ended = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        one.take_some(&mut bytes);
        one
    });
    other.answer("well");
    let answer = client.next_of(HEADERS);
    assert_eq!(answer.stream, 3);
    let _one = ended.join().unwrap();
}

fn an_answer_that_breaks_off_is_a_reset(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    for (stream, head) in [(1, "Content-Length: 100"), (3, "Transfer-Encoding: chunked")] {
        client.ask(stream, "/");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\n"));
        assert_eq!(client.next_of(HEADERS).stream, stream);
        drop(upstream);
        let reset = client.next_of(RST_STREAM);
        assert_eq!((reset.stream, reset.number(0)), (stream, 2));
    }
    // One that ends with its connection is whole.
    client.ask(5, "/");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    drop(upstream);
    let answer = client.answer(5);
    assert_eq!((answer.text(), answer.reset), ("all of it", None));
}

fn an_early_answer_ends_the_stream_without_an_error(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"1KiB\"").start();
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("POST", "/", &[("content-length", "2000")]), false).data(1, &[1; 10], false);
    let answer = client.answer(1);
    assert_eq!(answer.status(), 413);
    let reset = client.next_of(RST_STREAM);
    assert_eq!((reset.stream, reset.number(0)), (1, 0));
    // What is on its way still is no harm.
    client.data(1, &[1; 10], false);
    client.ask(3, "/");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("well");
    assert_eq!(client.answer(3).text(), "well");
}

fn a_drain_loses_nothing(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.ask(1, "/1");
    let mut first = origin.accept();
    first.request();
    gateway.child.signal(Signal::TERM);
    let mut goaway = client.next();
    while goaway.kind != GOAWAY {
        goaway = client.next();
    }
    assert_eq!(goaway.number(0), i32::MAX as u32, "the first names no stream");
    // Sent before the client can know: it is served.
    client.ask(3, "/3");
    let mut second = origin.accept();
    second.request();
    let ping = loop {
        let next = client.next();
        if next.kind == PING && next.flags == 0 {
            break next;
        }
    };
    client.frame(PING, 1, 0, &ping.payload);
    let goaway = client.next_of(GOAWAY);
    assert_eq!((goaway.number(0), goaway.number(4)), (3, 0));
    first.answer("one");
    second.answer("three");
    let answers = client.answers(&[1, 3]);
    assert_eq!((answers[0].text(), answers[1].text()), ("one", "three"));
    assert!(client.wire.rest().is_empty());
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

fn a_listener_that_goes_lets_its_streams_end(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let both = config.clone().more("[listener.other]\naddress = \"127.0.0.1:0\"\n");
    let gateway = both.start();
    let mut client = Http2::connect(gateway.addresses[1]);
    client.ask(1, "/");
    let mut upstream = origin.accept();
    upstream.request();
    gateway.run(&config);
    assert_eq!(client.next_of(GOAWAY).number(4), 0);
    upstream.answer("well");
    assert_eq!(client.answer(1).text(), "well");
    client.wire.rest();
}

fn requests_past_the_limit_of_a_connection_go_elsewhere(engine: Engine) {
    let gateway = Config::new(engine).limits("keep_alive_requests = 3").more(super::HELLO).start();
    let mut client = Http2::connect(gateway.address);
    for stream in [1, 3, 5] {
        assert_eq!(client.get(stream, "/hello").text(), "hello");
    }
    client.goes_away();
}

fn a_connection_without_requests_ends(engine: Engine) {
    let gateway = Config::new(engine).timeouts("keep_alive = \"200ms\"").more(super::HELLO).start();
    let mut client = Http2::connect(gateway.address);
    assert_eq!(client.get(1, "/hello").text(), "hello");
    client.goes_away();
}

fn a_request_past_the_streams_at_once_is_refused(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).listener("http2 = { max_concurrent_streams = 2 }").start();
    let mut client = Http2::connect(gateway.address);
    client.ask(1, "/1").ask(3, "/3").ask(5, "/5");
    let refused = client.next_of(RST_STREAM);
    assert_eq!((refused.stream, refused.number(0)), (5, 7));
    let (mut one, mut other) = (origin.accept(), origin.accept());
    for upstream in [&mut one, &mut other] {
        upstream.request();
        upstream.answer("well");
    }
    assert!(client.answers(&[1, 3]).iter().all(|answer| answer.text() == "well"));
}
