//! What is sent again, when, and what is kept for that.

mod bodies;
mod budget;
mod deadlines;
mod hedges;
mod held;
mod mirrors;

use crate::support::{Client, Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_listed_status_is_asked_for_again_elsewhere_and_its_connection_kept,
    the_answer_of_the_last_try_goes_to_the_client,
    statuses_not_listed_go_to_the_client,
    only_what_may_be_done_twice_is_sent_twice,
    a_route_has_the_last_word,
    the_rest_of_a_discarded_answer_is_read_where_it_is_near,
    a_try_has_a_timeout_of_its_own,
    a_request_is_not_repeated_past_its_deadline,
    retry_after_is_waited_for_up_to_its_limit,
    a_client_that_leaves_while_its_request_waits_is_not_asked_for_again,
    interim_answers_of_a_discarded_answer_stay_with_the_client,
    a_reload_changes_what_is_retried,
);

const RETRY: &str = "retry = { attempts = 3, on = [\"connect\", \"reset\", \"timeout\", \"503\"], backoff = \"1ms\" }";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// A gateway before one origin with this `retry`.
fn before(engine: Engine, retry: &str) -> (Gateway, Origin) {
    let origin = Origin::listen();
    (Config::new(engine).origin(&origin).upstream(retry).start(), origin)
}

fn ask(gateway: &Gateway, method: &str) -> Client {
    let mut client = gateway.connect();
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

fn a_listed_status_is_asked_for_again_elsewhere_and_its_connection_kept(engine: Engine) {
    let origins = [Origin::listen(), Origin::listen()];
    let gateway = Config::new(engine).origin(&origins[0]).origin(&origins[1]).upstream(RETRY).start();
    let mut client = ask(&gateway, "GET");
    let mut first = origins[0].accept();
    first.request();
    first.send(UNAVAILABLE);
    let mut second = origins[1].accept();
    second.request();
    second.answer("2");
    assert_eq!(client.response().text(), "2");
    // Both connections are used again.
    for turn in [&mut first, &mut second] {
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(turn.request().head.line, "GET /next HTTP/1.1");
        turn.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
    origins.iter().for_each(Origin::expect_no_connection);
}

fn the_answer_of_the_last_try_goes_to_the_client(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    for _ in 0..3 {
        upstream.request();
        upstream.send(UNAVAILABLE);
    }
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (503, "busy"));
    assert!(upstream.nothing_waits());
    // The next request begins anew.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn statuses_not_listed_go_to_the_client(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    for status in [500, 404, 502, 200] {
        upstream.request();
        upstream.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status(), status);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
}

fn only_what_may_be_done_twice_is_sent_twice(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    for (method, twice) in [
        ("GET", true),
        ("OPTIONS", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("MINE", false),
    ] {
        for is_reset in [false, true] {
            let mut client = ask(&gateway, method);
            let mut upstream = origin.accept();
            upstream.request();
            if is_reset {
                upstream.reset();
            } else {
                upstream.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            if twice {
                let mut upstream = origin.accept();
                upstream.request();
                upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                assert_eq!(client.response().status(), 200, "{method} {is_reset}");
            } else {
                assert_eq!(client.response().status(), if is_reset { 502 } else { 503 }, "{method}");
                origin.expect_no_connection();
            }
        }
    }
}

fn a_route_has_the_last_word(engine: Engine) {
    for (upstream, route, twice) in [
        ("non_idempotent = true, ", "", true),
        ("", "retry = { non_idempotent = true }", true),
        ("non_idempotent = true, ", "retry = { non_idempotent = false }", false),
        ("non_idempotent = true, ", "retry = { attempts = 1 }", false),
    ] {
        let origin = Origin::listen();
        let retry = RETRY.replace("{ ", &format!("{{ {upstream}"));
        let gateway = Config::new(engine).origin(&origin).upstream(&retry).route(route).start();
        let mut client = ask(&gateway, "POST");
        let mut conn = origin.accept();
        conn.request();
        conn.send(UNAVAILABLE);
        if twice {
            conn.request();
            conn.answer("ok");
            assert_eq!(client.response().text(), "ok");
        } else {
            assert_eq!(client.response().status(), 503, "{upstream} {route}");
        }
    }
}

fn the_rest_of_a_discarded_answer_is_read_where_it_is_near(engine: Engine) {
    let origins = [Origin::listen(), Origin::listen()];
    let config = Config::new(engine).origin(&origins[0]).origin(&origins[1]).upstream(RETRY);
    let gateway = config.limits("stream_buffer = \"4KiB\"").start();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    for (head, rest, kept) in [
        ("Content-Length: 4\r\n\r\nbu", "sy".to_owned(), true),
        ("Transfer-Encoding: chunked\r\n\r\n", "4\r\nbusy\r\n0\r\n\r\n".to_owned(), true),
        // Bytes of no response.
        ("Content-Length: 4\r\n\r\n", "busyHTTP/1.1".to_owned(), false),
        // No chunk.
        ("Transfer-Encoding: chunked\r\n\r\n", "x\r\n".to_owned(), false),
        // Too far.
        ("Content-Length: 1000000\r\n\r\n", "x".repeat(5_000), false),
        ("Content-Length: 4\r\nConnection: close\r\n\r\n", "busy".to_owned(), false),
        ("\r\n", String::new(), false),
    ] {
        let mut client = ask(&gateway, "GET");
        let mut first = origins[0].accept();
        first.request();
        first.send(format!("HTTP/1.1 503 X\r\n{head}"));
        let mut second = origins[1].accept();
        second.request();
        first.try_send(rest.as_bytes());
        second.send(ok);
        assert_eq!(client.response().text(), "ok");
        if !kept {
            first.rest();
            continue;
        }
        // It was read to its end before that answer came.
        client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(first.request().head.line, "GET /again HTTP/1.1");
        first.send(ok);
        assert_eq!(client.response().text(), "ok");
        // The turn of the other one.
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut second = origins[1].accept();
        second.request();
        second.send(ok);
        assert_eq!(client.response().text(), "ok");
    }
}

fn a_try_has_a_timeout_of_its_own(engine: Engine) {
    let retry = "retry = { attempts = 2, on = [\"timeout\"], per_try = \"100ms\", backoff = \"off\" }";
    let (gateway, origin) = before(engine, retry);
    let mut client = ask(&gateway, "GET");
    let mut silent = origin.accept();
    silent.request();
    let mut second = origin.accept();
    second.request();
    silent.expect_end();
    // A head that is not whole counts as none.
    second.send("HTTP/1.1 200 OK\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (504, "upstream_timeout_try"));
    let mut client = ask(&gateway, "POST");
    let mut third = origin.accept();
    third.request();
    assert_eq!(client.response().code(), "upstream_timeout_try");
    origin.expect_no_connection();
}

fn a_request_is_not_repeated_past_its_deadline(engine: Engine) {
    let retry = "retry = { attempts = 3, on = [\"503\"], backoff = \"365d\", backoff_max = \"365d\" }";
    let (gateway, origin) = before(engine, retry);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(UNAVAILABLE);
    assert_eq!(client.response().text(), "busy");
    assert!(upstream.nothing_waits());
}

fn retry_after_is_waited_for_up_to_its_limit(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    for (after, again) in [("0", true), ("2", false), ("Fri, 31 Dec 1999 23:59:59 GMT", false), ("soon", false)] {
        upstream.request();
        upstream.send(format!("HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: {after}\r\n\r\n"));
        if again {
            upstream.request();
            upstream.answer("ok");
        }
        let answer = client.response();
        assert_eq!(answer.status(), if again { 200 } else { 503 }, "{after}");
        assert!(again || answer.head.get("retry-after") == Some(after));
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
}

fn a_client_that_leaves_while_its_request_waits_is_not_asked_for_again(engine: Engine) {
    let retry = "retry = { on = [\"503\"], retry_after = \"10m\" }";
    let (gateway, origin) = before(engine, retry);
    let client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: 500\r\nConnection: close\r\n\r\n");
    upstream.expect_end();
    client.reset();
    // It does not wait for that request.
    assert!(gateway.stop().exit.success());
    origin.expect_no_connection();
}

fn interim_answers_of_a_discarded_answer_stay_with_the_client(engine: Engine) {
    let (gateway, origin) = before(engine, RETRY);
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.head().status(), 103);
    upstream.send(UNAVAILABLE);
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_reload_changes_what_is_retried(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let gateway = config.clone().start();
    let mut client = ask(&gateway, "GET");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(UNAVAILABLE);
    assert_eq!(client.response().status(), 503);
    gateway.run(&config.upstream(RETRY));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The connection stays: it is to an endpoint that the new plan has as well.
    upstream.request();
    upstream.send(UNAVAILABLE);
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}
