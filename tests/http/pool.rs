//! Connections to the upstream: reuse, bounds, and what is tried again.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    connections_are_reused_across_clients,
    endpoints_take_turns_by_weight,
    an_endpoint_that_refuses_is_passed_over,
    when_every_endpoint_refuses_the_answer_is_502,
    requests_wait_for_a_connection_and_get_it_in_turn,
    waiting_ends_with_503,
    a_full_line_is_503_at_once,
    a_client_that_leaves_gives_up_its_place_in_line,
    a_stale_connection_is_retried_for_get_and_not_for_post,
    a_connection_the_origin_closed_is_not_used_again,
    a_reset_is_retried_only_for_what_may_be_done_twice,
    no_retries_are_made_where_none_are_wanted,
    idle_connections_are_closed_in_time,
    old_connections_are_closed_instead_of_kept,
    no_more_idle_connections_are_kept_than_allowed,
);

fn connections_are_reused_across_clients(engine: Engine) {
    let (origin, connections) = Origin::serve(|_, upstream| {
        upstream.answer("ok");
        true
    });
    let gateway = Config::new(engine).origin(&origin).start();
    for _ in 0..5 {
        let mut client = gateway.connect();
        for _ in 0..20 {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// An origin that answers with `name`, and the connections it has seen.
fn named(name: &'static str) -> Origin {
    Origin::serve(move |_, upstream| {
        upstream.answer(name);
        true
    })
    .0
}

fn endpoints_take_turns_by_weight(engine: Engine) {
    let (one, two) = (named("1"), named("2"));
    let upstream = format!(
        "[upstream.pair]\nendpoints = [\"{}\", {{ address = \"{}\", weight = 2 }}]\n\
         [[route]]\nname = \"pair\"\npath = \"/\"\nupstream = \"pair\"\n",
        one.address, two.address
    );
    let gateway = Config::new(engine).more(&upstream).start();
    let mut client = gateway.connect();
    let picks: String = (0..9).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!((picks.matches('1').count(), picks.matches('2').count()), (3, 6), "{picks}");
    assert!(!picks.contains("11") && !picks.contains("222"), "bunched: {picks}");
}

fn an_endpoint_that_refuses_is_passed_over(engine: Engine) {
    let origin = named("up");
    let gateway = Config::new(engine).endpoint(Origin::refusing()).origin(&origin).start();
    let mut client = gateway.connect();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "up");
        // Nothing was sent to the one that refused, so not even a POST suffers.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "up");
    }
}

fn when_every_endpoint_refuses_the_answer_is_502(engine: Engine) {
    let gateway = Config::new(engine).endpoint(Origin::refusing()).endpoint(Origin::refusing()).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_connect_failed"));
    }
}

fn ask(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

fn requests_wait_for_a_connection_and_get_it_in_turn(engine: Engine) {
    let origin = Origin::listen();
    let pool = "pool = { max_connections = 1, wait = \"20s\" }";
    let gateway = Config::new(engine).origin(&origin).upstream(pool).start();
    let mut first = ask(&gateway);
    let mut upstream = origin.accept();
    upstream.request();
    let mut others = [ask(&gateway), ask(&gateway)];
    upstream.answer("1");
    assert_eq!(first.response().text(), "1");
    for _ in 0..2 {
        upstream.request();
        upstream.answer("later");
    }
    for other in &mut others {
        assert_eq!(other.response().text(), "later");
    }
    origin.expect_no_connection();
}

fn waiting_ends_with_503(engine: Engine) {
    let origin = Origin::listen();
    let pool = "pool = { max_connections = 1, wait = \"200ms\" }";
    let gateway = Config::new(engine).origin(&origin).upstream(pool).start();
    let mut first = ask(&gateway);
    let mut upstream = origin.accept();
    upstream.request();
    let mut second = ask(&gateway);
    let answer = second.response();
    assert_eq!((answer.status(), answer.code().as_str()), (503, "pool_timeout"));
    assert!(answer.head.has("retry-after"));
    upstream.answer("ok");
    assert_eq!(first.response().text(), "ok");
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("now");
    assert_eq!(second.response().text(), "now");
}

fn a_full_line_is_503_at_once(engine: Engine) {
    let origin = Origin::listen();
    let pool = "pool = { max_connections = 1, max_waiting = 1, wait = \"20s\" }";
    let gateway = Config::new(engine).origin(&origin).upstream(pool).start();
    let mut first = ask(&gateway);
    let mut upstream = origin.accept();
    upstream.request();
    let (send, answers) = mpsc::channel();
    // One of the two waits, whichever came first; the other is turned away.
    for mut client in [ask(&gateway), ask(&gateway)] {
        let send = send.clone();
        thread::spawn(move || send.send(client.response()).unwrap());
    }
    let turned_away = answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!((turned_away.status(), turned_away.code().as_str()), (503, "pool_exhausted"));
    upstream.answer("1");
    assert_eq!(first.response().text(), "1");
    upstream.request();
    upstream.answer("2");
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap().text(), "2");
}

fn a_client_that_leaves_gives_up_its_place_in_line(engine: Engine) {
    let (entered, has_entered) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let (entered, gate) = (Mutex::new(entered), Mutex::new(gate));
    let (origin, _) = Origin::serve(move |request, upstream| {
        if request.head.line.contains("/hold") {
            entered.lock().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
        }
        upstream.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let pool = "pool = { max_connections = 1, wait = \"20s\" }";
    let gateway = Config::new(engine).origin(&origin).upstream(pool).start();
    let mut first = gateway.connect();
    first.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    has_entered.recv_timeout(PATIENCE).unwrap();
    let gone: Vec<_> = (0..5).map(|_| ask(&gateway)).collect();
    let mut stays = ask(&gateway);
    gone.into_iter().for_each(Client::reset);
    open.send(()).unwrap();
    assert_eq!(first.response().text(), "ok");
    assert_eq!(stays.response().text(), "ok");
}

fn a_stale_connection_is_retried_for_get_and_not_for_post(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    first.answer("1");
    client.response();
    // It goes stale in the very moment of the second request.
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.request().head.line, "GET /2 HTTP/1.1");
    drop(first);
    let mut second = origin.accept();
    assert_eq!(second.request().head.line, "GET /2 HTTP/1.1");
    second.answer("2");
    assert_eq!(client.response().text(), "2");
    client.send("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    second.request();
    drop(second);
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_reset"));
    origin.expect_no_connection();
}

fn a_connection_the_origin_closed_is_not_used_again(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    first.answer("1");
    client.response();
    first.finish();
    first.expect_end();
    client.send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let mut second = origin.accept();
    assert_eq!(second.request().text(), "hi");
    second.answer("2");
    assert_eq!(client.response().text(), "2");
}

fn a_reset_is_retried_only_for_what_may_be_done_twice(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for (request, retried) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", true),
        // Its body was kept.
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", true),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("MINE / HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ] {
        let mut client = gateway.connect();
        client.send(request);
        let mut first = origin.accept();
        first.request();
        first.reset();
        if retried {
            let mut second = origin.accept();
            second.request();
            second.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(client.response().status(), 200, "{request}");
        } else {
            let answer = client.response();
            assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_reset"), "{request}");
            origin.expect_no_connection();
        }
    }
}

fn no_retries_are_made_where_none_are_wanted(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("retry = { attempts = 1 }").start();
    let mut client = ask(&gateway);
    let mut upstream = origin.accept();
    upstream.request();
    upstream.reset();
    assert_eq!(client.response().code(), "upstream_reset");
    origin.expect_no_connection();
}

fn idle_connections_are_closed_in_time(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("pool = { idle = \"100ms\" }").start();
    let mut client = ask(&gateway);
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    upstream.expect_end();
}

fn old_connections_are_closed_instead_of_kept(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("pool = { lifetime = \"1ns\" }").start();
    let mut client = ask(&gateway);
    for _ in 0..2 {
        let mut upstream = origin.accept();
        upstream.request();
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
        upstream.expect_end();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
}

fn no_more_idle_connections_are_kept_than_allowed(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("pool = { max_idle = 1 }").start();
    let mut clients = [ask(&gateway), ask(&gateway)];
    let mut upstreams = [origin.accept(), origin.accept()];
    for upstream in &mut upstreams {
        upstream.request();
    }
    upstreams[0].answer("ok");
    // Its answer is through, so it is the one that is kept.
    let (send, answers) = mpsc::channel();
    for mut client in std::mem::replace(&mut clients, [gateway.connect(), gateway.connect()]) {
        let send = send.clone();
        thread::spawn(move || send.send(client.response()).unwrap());
    }
    answers.recv_timeout(PATIENCE).unwrap();
    upstreams[1].answer("ok");
    answers.recv_timeout(PATIENCE).unwrap();
    upstreams[1].expect_end();
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstreams[0].request();
}
