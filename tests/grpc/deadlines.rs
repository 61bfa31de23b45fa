//! `grpc-timeout`: held to by the gateway, and passed on.

use super::{before, call, server};
use crate::support::{Engine, Origin, on_both_engines};
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

/// A call as HTTP/1.1 has it: a client that does not end it by itself.
fn raw(timeout: &str) -> String {
    format!(
        "POST /test.Calls/Slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
         Grpc-Timeout: {timeout}\r\nContent-Length: 8\r\n\r\n\0\0\0\0\x03raw"
    )
}

fn the_gateway_ends_a_call_whose_time_is_up(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let metrics = tempfile::tempdir().unwrap();
    let gateway = before(engine, endpoint).cores(&format!("metrics_dir = \"{}\"", metrics.path().display())).start();
    let mut client = gateway.connect();
    client.send(raw("50m"));
    let answer = client.response();
    assert_eq!((answer.status(), answer.head.get("grpc-status"), answer.body.len()), (200, Some("4"), 0));
    assert!(answer.head.get("grpc-message").unwrap().contains("deadline_exceeded"), "{:?}", answer.head);
    // The stream of the server was reset: it knows that nobody waits.
    call(gateway.address, &[], "assert unary('WaitCancelled', b'raw') == b'1'");
    gateway.stop();
    assert_eq!(total(metrics.path(), "ringway_timeouts_total", &[("kind", "deadline")]), 1);
    assert_eq!(total(metrics.path(), "ringway_grpc_answers_total", &[("grpc_status", "4")]), 1);
}

fn a_call_that_has_begun_ends_with_its_status(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).start();
    let plan = "{\"messages\": 1, \"hangs\": \"late\"}";
    let mut client = gateway.connect();
    client.send(format!(
        "POST /test.Calls/Count HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
         Grpc-Timeout: 500m\r\nContent-Length: {}\r\n\r\n\0\0\0\0{}{plan}",
        plan.len() + 5,
        char::from(plan.len() as u8)
    ));
    let answer = client.response();
    assert_eq!((answer.status(), &answer.body[..]), (200, &b"\0\0\0\0\x010"[..]));
    let status = answer.trailers.iter().find(|(name, _)| name == "grpc-status");
    assert_eq!(status.map(|(_, value)| &**value), Some("4"), "{:?}", answer.trailers);
    call(gateway.address, &[], "assert unary('WaitCancelled', b'late') == b'1'");
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
        let gateway = crate::support::Config::new(engine).origin(&origin).route(route).listener(listener).start();
        let mut client = gateway.connect();
        client.send(raw("30000m").replace("TE: trailers", "X-Request-Deadline: 15000"));
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
