//! How bodies are framed on their way through.

use crate::support::{Config, Engine, Gateway, Origin, Transfer, on_both_engines};

on_both_engines!(
    a_chunked_request_stays_chunked_with_its_trailers,
    a_chunked_answer_stays_chunked_with_its_trailers,
    trailers_that_would_frame_or_route_are_dropped,
    a_client_of_http_1_0_gets_a_chunked_answer_until_close,
    an_answer_until_close_is_chunked_for_a_client_of_http_1_1,
    an_answer_until_close_stays_so_for_a_client_of_http_1_0,
    chunks_flow_as_they_come,
    an_empty_chunked_body_is_whole,
    the_body_of_a_refused_request_is_skipped_and_the_connection_kept,
    an_answer_before_the_body_ends_closes_the_connection_after_it,
    a_missing_date_is_added_and_an_own_one_kept,
);

fn a_chunked_request_stays_chunked_with_its_trailers(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    client.send("3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\nX-More: 8\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!((request.transfer, request.text()), (Transfer::Chunked, "abcdefg"));
    let trailers: Vec<_> = request.trailers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(trailers, [("X-Sum", "7"), ("X-More", "8")]);
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
}

fn a_chunked_answer_stays_chunked_with_its_trailers(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.transfer, answer.text()), (Transfer::Chunked, "abcde"));
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "5".to_owned())]);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
}

fn trailers_that_would_frame_or_route_are_dropped(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\nHost: b\r\n\
         Transfer-Encoding: x\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\nX-Fine: 1\r\n\r\n",
    );
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().trailers, [("X-Fine".to_owned(), "1".to_owned())]);
}

fn a_client_of_http_1_0_gets_a_chunked_answer_until_close(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 5\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.transfer, answer.text()), (Transfer::UntilClose, "abc"));
    assert_ne!(answer.head.get("connection"), Some("keep-alive"));
}

fn an_answer_until_close_is_chunked_for_a_client_of_http_1_1(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send("HTTP/1.1 200 OK\r\n\r\nuntil ");
        upstream.send("the end").finish();
        let answer = client.response();
        assert_eq!((answer.transfer, answer.text()), (Transfer::Chunked, "until the end"));
        upstream.expect_end();
    }
}

fn an_answer_until_close_stays_so_for_a_client_of_http_1_0(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").finish();
    let answer = client.response();
    assert_eq!((answer.transfer, answer.text()), (Transfer::UntilClose, "until the end"));
}

fn chunks_flow_as_they_come(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.head();
    for _ in 0..3 {
        client.send("5\r\nhello\r\n");
        assert_eq!(upstream.take(10), b"5\r\nhello\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(upstream.take(5), b"0\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for _ in 0..3 {
        upstream.send("5\r\nworld\r\n");
        assert_eq!(client.take(10), b"5\r\nworld\r\n");
    }
    upstream.send("0\r\n\r\n");
    assert_eq!(client.take(5), b"0\r\n\r\n");
}

fn an_empty_chunked_body_is_whole(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!((request.transfer, request.text()), (Transfer::Chunked, ""));
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.transfer, answer.text()), (Transfer::Chunked, ""));
}

fn the_body_of_a_refused_request_is_skipped_and_the_connection_kept(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("path = \"/only\"").start();
    let mut client = gateway.connect();
    client
        .send("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /only HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status(), refused.head.get("connection")), (404, None));
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.line, "GET /only HTTP/1.1");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn an_answer_before_the_body_ends_closes_the_connection_after_it(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome");
    let mut upstream = origin.accept();
    upstream.head();
    assert_eq!(upstream.take(4), b"some");
    upstream.answer("enough");
    let answer = client.response();
    assert_eq!((answer.text(), answer.head.get("connection")), ("enough", Some("close")));
    client.expect_end();
    upstream.expect_end();
}

fn a_missing_date_is_added_and_an_own_one_kept(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let mut upstream = None;
    for own in ["", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        upstream.request();
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{own}\r\n"));
        let answer = client.response();
        let date = answer.head.get("date").expect("an answer has a date");
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        assert_eq!(date == "Sun, 06 Nov 1994 08:49:37 GMT", !own.is_empty());
    }
}
