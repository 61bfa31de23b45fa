//! `grpc-timeout`: held to by the gateway, and passed on.

use super::{before, call, raw, server};
use crate::support::{Config, Engine, Origin, on_both_engines};
use crate::tls::total;

on_both_engines!(
    servers_are_told_what_is_left,
    the_gateway_ends_a_call_whose_time_is_up,
    a_call_that_has_begun_ends_with_its_status,
    the_config_may_bound_it_or_leave_it_alone,
);

fn servers_are_told_what_is_left(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route("grpc = { max_timeout = \"30s\" }").start();
    call(
        gateway.address,
        &[],
        r#"
assert 5 < json.loads(unary("Meta", timeout=20))["remaining"] <= 21
assert 5 < json.loads(unary("Meta", timeout=2000))["remaining"] <= 31
assert json.loads(unary("Meta", timeout=None))["remaining"] is None
"#,
    );
}

// The endpoints of the next two are driven by hand: a server of gRPC would end such a call itself, about as soon.

fn the_gateway_ends_a_call_whose_time_is_up(engine: Engine) {
    let origin = Origin::listen();
    let metrics = tempfile::tempdir().unwrap();
    let cores = format!("metrics_dir = \"{}\"", metrics.path().display());
    let gateway = Config::new(engine).origin(&origin).cores(&cores).start();
    let mut client = gateway.connect();
    client.send(raw("Slow", "Grpc-Timeout: 500m", b"raw"));
    let mut upstream = origin.accept();
    upstream.request();
    let answer = client.response();
    assert_eq!((answer.status(), answer.head.get("grpc-status"), answer.body.len()), (200, Some("4"), 0));
    assert!(answer.head.get("grpc-message").unwrap().contains("deadline_exceeded"), "{:?}", answer.head);
    // Its connection tells the endpoint that nobody waits.
    let mut rest = Vec::new();
    assert!(!upstream.take_some(&mut rest) && rest.is_empty());
    gateway.stop();
    assert_eq!(total(metrics.path(), "ringway_timeouts_total", &[("kind", "deadline")]), 1);
    assert_eq!(total(metrics.path(), "ringway_grpc_answers_total", &[("grpc_status", "4")]), 1);
}

fn a_call_that_has_begun_ends_with_its_status(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).start();
    let mut client = gateway.connect();
    client.send(raw("Count", "Grpc-Timeout: 1S", b"x"));
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\n\0\0\0\0\x010\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"\0\0\0\0\x010"[..]));
    let status = answer.trailers.iter().find(|(name, _)| name == "grpc-status");
    assert_eq!(status.map(|(_, value)| &**value), Some("4"), "{:?}", answer.trailers);
    let mut rest = Vec::new();
    assert!(!upstream.take_some(&mut rest) && rest.is_empty());
}

fn the_config_may_bound_it_or_leave_it_alone(engine: Engine) {
    let origin = Origin::listen();
    // What the endpoint is told, for a call with half a minute.
    for (route, listener, least, most) in [
        ("", "", 20_000, 30_000),
        ("grpc = { max_timeout = \"10s\" }", "", 1_000, 10_000),
        ("timeout = { total = \"5s\" }", "", 1_000, 5_000),
        // As it came.
        ("grpc = { timeout = \"ignored\", web = false }", "", 30_000, 30_000),
        // What the config says of the field is all that counts: here nobody is believed.
        ("timeout = { total = \"1m\" }\ndeadline = { header = \"grpc-timeout\" }", "", 40_000, 60_000),
        ("", "deadline = { header = \"grpc-timeout\", trust = \"anyone\", max = \"7s\" }", 1_000, 7_000),
        // Beside another field the sooner counts.
        ("", "deadline = { trust = \"anyone\" }", 1_000, 15_000),
    ] {
        let gateway = Config::new(engine).origin(&origin).route(route).listener(listener).start();
        let mut client = gateway.connect();
        client.send(raw("Slow", "Grpc-Timeout: 30000m\r\nX-Request-Deadline: 15000", b"raw"));
        let mut upstream = origin.accept();
        let head = upstream.request().head;
        let said = head.get("grpc-timeout").unwrap();
        let (digits, unit) = said.split_at(said.len() - 1);
        let scale = match unit {
            "u" => 1_000,
            "m" => 1,
            unit => panic!("{unit}"),
        };
        let left = digits.parse::<u64>().unwrap() / scale;
        assert!((least..=most).contains(&left), "{route} {listener}: {said}");
        upstream.answer("");
        client.response();
    }
}
