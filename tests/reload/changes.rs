//! Each kind of change takes effect, and requests end on the plan they began with.

use std::net::TcpStream;

use crate::support::{Client, Config, Engine, Origin, Reserved, on_both_engines};

on_both_engines!(
    routes_come_go_and_change,
    an_open_connection_takes_up_the_new_plan_with_its_next_request,
    new_limits_and_timeouts_apply_to_open_connections,
    an_idle_connection_is_measured_by_the_new_keep_alive,
    an_upstream_that_stays_keeps_its_connections,
    an_upstream_that_changes_gets_new_connections,
    requests_in_flight_end_on_the_plan_they_began_with,
    a_new_listener_accepts,
    a_removed_listener_ends_its_connections_after_their_request,
    a_listener_with_a_new_name_keeps_its_address_and_connections,
    counters_go_on,
);

/// A route that answers with its own text.
fn says(name: &str, path: &str, text: &str) -> String {
    format!(
        "[service.{name}]\ntype = \"respond\"\nbody = \"{text}\"\n\
         [[route]]\nname = \"{name}\"\npath = \"{path}\"\nservice = \"{name}\"\n"
    )
}

fn routes_come_go_and_change(engine: Engine) {
    let base = Config::new(engine);
    let gateway = base.clone().more(&says("a", "/a", "one")).more(&says("b", "/b", "two")).start();
    let get = |path: &str| {
        let answer = gateway.connect().get(path);
        (answer.status(), answer.body)
    };
    assert_eq!((get("/a"), get("/b")), ((200, b"one".to_vec()), (200, b"two".to_vec())));
    let said = gateway.run(&base.clone().more(&says("a", "/a", "changed")).more(&says("c", "/c", "three")));
    assert!(said.contains("plan 1 -> 2: ") && said.contains("+1 route") && said.contains("-1 route"), "{said}");
    assert_eq!((get("/a"), get("/c")), ((200, b"changed".to_vec()), (200, b"three".to_vec())));
    assert_eq!(get("/b").0, 404);
    let said = gateway.run(&base.clone().more(&says("a", "/a", "changed")).more(&says("c", "/c", "three")));
    assert!(said.contains("plan 2 -> 3: no change, built in "), "{said}");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn an_open_connection_takes_up_the_new_plan_with_its_next_request(engine: Engine) {
    let base = Config::new(engine);
    let gateway = base.clone().more(&says("a", "/a", "one")).start();
    let mut idle = gateway.connect();
    assert_eq!(idle.get("/a").text(), "one");
    let mut halfway = gateway.connect();
    halfway.send("GET /a HTTP/1.1\r\nHo");
    gateway.run(&base.clone().more(&says("a", "/a", "two")));
    assert_eq!(idle.get("/a").text(), "two");
    halfway.send("st: test\r\n\r\n");
    let text = halfway.response().text().to_owned();
    // Its first bytes may have come before the plan or after it.
    assert!(text == "one" || text == "two", "{text}");
    assert_eq!(halfway.get("/a").text(), "two");
}

fn new_limits_and_timeouts_apply_to_open_connections(engine: Engine) {
    let origin = Origin::listen();
    let base = Config::new(engine).origin(&origin);
    let gateway = base.clone().start();
    let mut client = gateway.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 404);
    gateway.run(&base.clone().limits("body = \"10B\"").upstream("timeout = { first_byte = \"50ms\" }"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.accept().request();
    assert_eq!(client.response().code(), "upstream_timeout_first_byte");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world");
    assert_eq!(client.response().code(), "body_too_large");
}

fn an_idle_connection_is_measured_by_the_new_keep_alive(engine: Engine) {
    let base = Config::new(engine).more(&says("a", "/a", "one"));
    let gateway = base.clone().timeouts("keep_alive = \"1h\"").start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/a").text(), "one");
    gateway.run(&base.timeouts("keep_alive = \"10ms\""));
    client.expect_end();
}

fn an_upstream_that_stays_keeps_its_connections(engine: Engine) {
    let (origin, connections) =
        Origin::serve(|_, upstream| upstream.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let base = Config::new(engine).origin(&origin);
    let gateway = base.clone().start();
    let mut client = gateway.connect();
    for plan in 0..5 {
        assert_eq!(client.get("/").status(), 200);
        gateway.run(&base.clone().more(&says("a", &format!("/a{plan}"), "other")));
    }
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

fn an_upstream_that_changes_gets_new_connections(engine: Engine) {
    let (one, two) = (Origin::listen(), Origin::listen());
    let base = Config::new(engine);
    let gateway = base.clone().origin(&one).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut warm = one.accept();
    warm.request();
    warm.answer("one");
    assert_eq!(client.response().text(), "one");
    let said = gateway.run(&base.clone().origin(&two));
    assert!(said.contains("~1 upstream"), "{said}");
    // The connection that waited for a next request is closed at once.
    warm.expect_end();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut other = two.accept();
    other.request();
    other.answer("two");
    assert_eq!(client.response().text(), "two");
    one.expect_no_connection();
}

fn requests_in_flight_end_on_the_plan_they_began_with(engine: Engine) {
    let origin = Origin::listen();
    let base = Config::new(engine);
    let headers = "policies = [{ type = \"headers\", response = { set = { x-plan = \"old\" } } }]";
    let gateway = base.clone().origin(&origin).route(headers).start();
    let mut waiting = gateway.connect();
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    let mut receiving = gateway.connect();
    receiving.send("GET /receiving HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    second.request();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    receiving.head();
    assert_eq!(receiving.take(4), b"half");
    let mut sending = gateway.connect();
    sending.send("POST /sending HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    let mut third = origin.accept();
    third.head();
    assert_eq!(third.take(4), b"half");
    // Neither route nor upstream are left.
    gateway.run(&base.clone().more(&says("a", "/a", "new")));
    first.answer("still");
    let answer = waiting.response();
    assert_eq!((answer.text(), answer.head.get("x-plan")), ("still", Some("old")));
    second.send("half");
    assert_eq!(receiving.take(4), b"half");
    sending.send("half");
    assert_eq!(third.take(4), b"half");
    third.answer("whole");
    assert_eq!(sending.response().text(), "whole");
    for upstream in [&mut first, &mut second, &mut third] {
        // What the upstream's pool had is not kept for anybody.
        upstream.expect_end();
    }
    for mut client in [waiting, receiving, sending] {
        assert_eq!(client.get("/waiting").status(), 404);
        assert_eq!(client.get("/a").text(), "new");
    }
}

fn listener(name: &str, address: std::net::SocketAddr) -> String {
    format!("[listener.{name}]\naddress = \"{address}\"\n")
}

fn a_new_listener_accepts(engine: Engine) {
    let base = Config::new(engine).more(&says("a", "/a", "one"));
    let gateway = base.clone().start();
    let reserved = Reserved::new();
    let address = reserved.address;
    let mut before = gateway.connect();
    let said = gateway.run(&base.clone().more(&listener("second", address)));
    assert!(said.contains("+1 listener"), "{said}");
    assert_eq!(Client::connect(address).get("/a").text(), "one");
    assert_eq!(before.get("/a").text(), "one");
}

fn a_removed_listener_ends_its_connections_after_their_request(engine: Engine) {
    let origin = Origin::listen();
    let reserved = Reserved::new();
    let address = reserved.address;
    let base = Config::new(engine).origin(&origin);
    let gateway = base.clone().more(&listener("second", address)).start();
    let refused = |client: &mut Client| {
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response().status()
    };
    let mut idle = Client::connect(address);
    assert_eq!(refused(&mut idle), 404);
    let mut busy = Client::connect(address);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let mut new = Client::connect(address);
    let mut elsewhere = gateway.connect();
    let said = gateway.run(&base.clone());
    assert!(said.contains("-1 listener"), "{said}");
    idle.expect_end();
    upstream.answer("done");
    let answer = busy.response();
    assert_eq!((answer.text(), answer.head.get("connection")), ("done", Some("close")));
    busy.expect_end();
    // It was connected before: it gets one answer.
    new.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = new.response();
    assert_eq!((answer.status(), answer.head.get("connection")), (404, Some("close")));
    new.expect_end();
    while TcpStream::connect(address).is_ok() {}
    assert_eq!(refused(&mut elsewhere), 404);
    // The address can be had again.
    gateway.run(&base.clone().more(&listener("second", address)));
    assert_eq!(refused(&mut Client::connect(address)), 404);
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn a_listener_with_a_new_name_keeps_its_address_and_connections(engine: Engine) {
    let reserved = Reserved::new();
    let address = reserved.address;
    let base = Config::new(engine).more(&says("a", "/a", "one"));
    let gateway = base.clone().more(&listener("old", address)).start();
    let mut client = Client::connect(address);
    assert_eq!(client.get("/a").text(), "one");
    gateway.run(&base.clone().more(&listener("new", address)).more("limits = { head = \"1KiB\" }"));
    client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1500)));
    assert_eq!(client.response().code(), "head_too_large");
    assert_eq!(Client::connect(address).get("/a").text(), "one");
}

fn counters_go_on(engine: Engine) {
    let metrics = tempfile::tempdir().unwrap();
    let base = Config::new(engine).cores(&format!("metrics_dir = \"{}\"", metrics.path().display()));
    let gateway = base.clone().more(&says("a", "/a", "one")).start();
    let mut client = gateway.connect();
    client.get("/a");
    gateway.run(&base.clone().more(&says("b", "/b", "two")));
    client.get("/b");
    client.get("/b");
    gateway.run(&base.clone().more(&says("b", "/b", "two")).more(&says("a", "/a", "one")));
    client.get("/a");
    drop(client);
    assert_eq!(gateway.stop().exit.code(), Some(0));
    let all = ringway_runtime::histogram::read_dir(metrics.path()).unwrap();
    let core = all[0].as_ref().unwrap();
    let count = |route| {
        let found = core.histogram("ringway_route_request_duration_seconds", &[("route", route)]);
        found.map(ringway_runtime::histogram::Distribution::count)
    };
    assert_eq!((all.len(), core.cores[0].epoch, count("a"), count("b")), (1, 3, Some(2), Some(2)));
    assert_eq!(core.counter("ringway_requests_total", &[("status", "2xx")]), Some(4));
}
