//! Deadlines that clients give: who is believed, what they bound, and what upstreams are told.

use crate::support::{Client, Config, Engine, Gateway, Head, Origin, on_both_engines};

on_both_engines!(
    what_is_left_is_told_in_every_field_that_is_asked_for,
    nobody_is_believed_who_is_not_trusted,
    a_request_without_time_asks_nobody,
    a_malformed_deadline_says_nothing,
    the_deadline_bounds_all_tries,
    a_client_in_a_hurry_takes_no_endpoint_out,
    a_reload_changes_who_is_believed,
    a_listener_says_it_for_routes_that_do_not,
);

const HOUR: u64 = 3_600_000;

fn before(engine: Engine, deadline: &str) -> (Gateway, Origin) {
    let origin = Origin::listen();
    (config(engine, &origin, deadline).start(), origin)
}

fn config(engine: Engine, origin: &Origin, deadline: &str) -> Config {
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]";
    Config::new(engine).origin(origin).listener(trusted).route(&format!("deadline = {{ {deadline} }}"))
}

fn ask(client: &mut Client, fields: &str) {
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
}

fn millis(head: &Head, name: &str) -> u64 {
    let all = head.all(name);
    assert_eq!(all.len(), 1, "{name}: {head:?}");
    let (digits, by) = match all[0].strip_suffix('u') {
        Some(micros) => (micros, 1_000),
        None => (all[0].trim_end_matches('m'), 1),
    };
    digits.parse::<u64>().unwrap_or_else(|_| panic!("{name}: {all:?}")) / by
}

fn what_is_left_is_told_in_every_field_that_is_asked_for(engine: Engine) {
    let (gateway, origin) = before(engine, "send = [\"x-request-deadline\", \"grpc-timeout\"], max = \"1m\"");
    let mut client = gateway.connect();
    let mut upstream = None;
    for (fields, most) in [
        ("X-Request-Deadline: 30000\r\n", 30_000),
        ("X-Request-Deadline: 30000\r\nx-request-deadline: 20000\r\n", 20_000),
        // More than there may be, and what is no deadline here.
        ("X-Request-Deadline: 999999\r\nGrpc-Timeout: 1n\r\n", 60_000),
        // Nothing said is all of the time that there is.
        ("", HOUR),
    ] {
        ask(&mut client, fields);
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        let head = upstream.request().head;
        for name in ["x-request-deadline", "grpc-timeout"] {
            let left = millis(&head, name);
            assert!(left <= most && left > most - 15_000, "{fields}: {left}");
        }
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
}

fn nobody_is_believed_who_is_not_trusted(engine: Engine) {
    for (trust, listener, believed) in [
        ("proxies", "trusted_proxies = [\"10.0.0.0/8\"]", false),
        ("nobody", "trusted_proxies = [\"127.0.0.0/8\"]", false),
        ("anyone", "", true),
    ] {
        let origin = Origin::listen();
        let route = format!("deadline = {{ trust = \"{trust}\" }}");
        let gateway = Config::new(engine).origin(&origin).listener(listener).route(&route).start();
        let mut client = gateway.connect();
        ask(&mut client, "X-Request-Deadline: 30000\r\n");
        let mut upstream = origin.accept();
        let left = millis(&upstream.request().head, "x-request-deadline");
        assert_eq!(left <= 30_000, believed, "{trust}: {left}");
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
}

fn a_request_without_time_asks_nobody(engine: Engine) {
    for (deadline, fields) in [
        ("", "X-Request-Deadline: 0\r\n"),
        ("format = \"seconds\"", "X-Request-Deadline: 0.000\r\n"),
        ("format = \"unix-ms\"", "X-Request-Deadline: 1500000000000\r\n"),
        ("header = \"grpc-timeout\"", "Grpc-Timeout: 0S\r\n"),
    ] {
        let (gateway, origin) = before(engine, deadline);
        let mut client = gateway.connect();
        ask(&mut client, fields);
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (504, "deadline_exceeded"), "{fields}");
        origin.expect_no_connection();
        // The connection goes on.
        ask(&mut client, "");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
}

fn a_malformed_deadline_says_nothing(engine: Engine) {
    let (gateway, origin) = before(engine, "send = []");
    let mut client = gateway.connect();
    let mut upstream = None;
    for said in ["", "soon", "-1", "0x10", "1.5", "99999999999999999"] {
        ask(&mut client, &format!("X-Request-Deadline: {said}\r\n"));
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        // Nor is it passed on.
        assert!(!upstream.request().head.has("x-request-deadline"), "{said}");
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok", "{said}");
    }
}

fn the_deadline_bounds_all_tries(engine: Engine) {
    let origin = Origin::listen();
    let retry = "retry = { attempts = 3, on = [\"503\", \"timeout\"], backoff = \"off\" }";
    let gateway = config(engine, &origin, "").upstream(retry).start();
    let mut client = gateway.connect();
    ask(&mut client, "X-Request-Deadline: 400\r\n");
    let mut upstream = origin.accept();
    let first = millis(&upstream.request().head, "x-request-deadline");
    upstream.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
    let second = millis(&upstream.request().head, "x-request-deadline");
    assert!(first <= 400 && second <= first, "{first} {second}");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (504, "deadline_exceeded"));
    upstream.expect_end();
}

fn a_client_in_a_hurry_takes_no_endpoint_out(engine: Engine) {
    let origin = Origin::listen();
    let breaker = "breaker = { consecutive_failures = 1, open_for = \"1h\" }";
    let gateway = config(engine, &origin, "").upstream(breaker).start();
    for _ in 0..3 {
        let mut client = gateway.connect();
        ask(&mut client, "X-Request-Deadline: 20\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        assert_eq!(client.response().code(), "deadline_exceeded");
    }
    let mut client = gateway.connect();
    ask(&mut client, "");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_reload_changes_who_is_believed(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin, "trust = \"nobody\"").start();
    let mut client = gateway.connect();
    ask(&mut client, "X-Request-Deadline: 0\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    gateway.run(&config(engine, &origin, ""));
    ask(&mut client, "X-Request-Deadline: 0\r\n");
    assert_eq!(client.response().code(), "deadline_exceeded");
}

fn a_listener_says_it_for_routes_that_do_not(engine: Engine) {
    let origin = Origin::listen();
    let own = "[[route]]\nname = \"own\"\npath = \"/own\"\nupstream = \"origin\"\ndeadline = { send = [\"x-left\"] }\n\
               [service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/s\"\nservice = \"s\"\n";
    let listener = "trusted_proxies = [\"127.0.0.0/8\"]\ndeadline = { max = \"1m\" }";
    let gateway = Config::new(engine).origin(&origin).listener(listener).more(own).start();
    let mut client = gateway.connect();
    ask(&mut client, "X-Request-Deadline: 999999\r\n");
    let mut upstream = origin.accept();
    let left = millis(&upstream.request().head, "x-request-deadline");
    assert!(left <= 60_000, "{left}");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    // What the route says holds, all of it.
    client.send("GET /own HTTP/1.1\r\nHost: a\r\nX-Request-Deadline: 999999\r\n\r\n");
    let head = upstream.request().head;
    let left = millis(&head, "x-left");
    assert!(left > 60_000 && !head.has("x-request-deadline"), "{left}");
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    ask(&mut client, "X-Request-Deadline: 0\r\n");
    assert_eq!(client.response().code(), "deadline_exceeded");
    // Nobody has to be waited for.
    client.send("GET /s HTTP/1.1\r\nHost: a\r\nX-Request-Deadline: 0\r\n\r\n");
    assert_eq!(client.response().status(), 200);
}
