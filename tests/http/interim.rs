//! Interim responses and `Expect: 100-continue`.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    early_hints_reach_a_client_of_http_1_1_before_the_answer,
    a_client_of_http_1_0_gets_no_interim_response,
    continue_is_sent_once_and_the_expectation_is_not_passed_on,
    continue_of_the_origin_is_not_passed_on_as_well,
    no_continue_where_the_body_is_already_there,
    a_refused_request_gets_no_continue,
    a_final_answer_instead_of_the_body_ends_the_connection,
    an_unknown_expectation_is_refused,
);

fn early_hints_reach_a_client_of_http_1_1_before_the_answer(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n");
    let hints = client.head();
    assert_eq!((hints.status(), hints.get("link")), (103, Some("<a>")));
    assert!(!hints.has("connection") && !hints.has("x-own"), "{hints:?}");
    upstream.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.head().status(), 102);
    assert_eq!(client.response().text(), "ok");
}

fn a_client_of_http_1_0_gets_no_interim_response(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    client.expect_end();
}

const EXPECTING: &str = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

fn continue_is_sent_once_and_the_expectation_is_not_passed_on(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for at in 0..2 {
        client.send(EXPECTING);
        let go = client.head();
        assert_eq!((go.line.as_str(), go.fields.len()), ("HTTP/1.1 100 Continue", 0));
        client.send("he");
        client.send("llo");
        let mut upstream = origin.accept();
        let request = upstream.request();
        assert!(!request.head.has("expect"));
        assert_eq!(request.text(), "hello");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (200, "ok"), "round {at}");
    }
}

fn continue_of_the_origin_is_not_passed_on_as_well(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(EXPECTING);
    assert_eq!(client.head().status(), 100);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(upstream.take(5), b"hello");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn no_continue_where_the_body_is_already_there(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(format!("{EXPECTING}hello"));
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().text(), "hello");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_refused_request_gets_no_continue(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("path = \"/only\"").start();
    let mut client = gateway.connect();
    client.send(EXPECTING);
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (404, "no_route"));
    assert_eq!(answer.head.get("connection"), Some("close"));
    client.expect_end();
    origin.expect_no_connection();
}

fn a_final_answer_instead_of_the_body_ends_the_connection(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send(EXPECTING);
    assert_eq!(client.head().status(), 100);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (403, "no"));
    // The body that never came would be taken for a request.
    assert_eq!(answer.head.get("connection"), Some("close"));
    client.expect_end();
    upstream.expect_end();
}

fn an_unknown_expectation_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: miracles\r\n\r\n");
    assert_eq!(client.response().status(), 417);
    client.expect_end();
    origin.expect_no_connection();
}
