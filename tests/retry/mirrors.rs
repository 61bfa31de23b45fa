//! Copies of requests for another upstream: what is in them, what bounds them, and that clients never notice.

use std::time::Instant;

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Config, Engine, Gateway, Origin, OriginConn, PATIENCE, on_both_engines};

on_both_engines!(
    a_copy_is_the_request_with_a_mark_and_its_answer_is_thrown_away,
    a_copy_has_its_body_whatever_its_framing,
    a_body_beyond_the_bound_is_not_copied,
    a_mirror_that_is_away_or_silent_is_not_noticed,
    there_are_no_more_copies_than_there_may_be,
    what_does_not_go_out_whole_is_not_copied,
    a_copy_is_not_copied_again,
    a_share_of_none_copies_nothing_and_a_reload_changes_it,
);

struct World {
    gateway: Gateway,
    origin: Origin,
    mirror: Origin,
    dir: TempDir,
}

fn config(engine: Engine, origin: &Origin, mirror: impl std::fmt::Display, dir: &TempDir, more: &str) -> Config {
    let metrics = format!("metrics_dir = \"{}\"", dir.path().display());
    let route = format!("mirror = {{ upstream = \"canary\", {more} }}");
    let canary = format!("[upstream.canary]\nendpoints = \"{mirror}\"\n");
    Config::new(engine).cores(&metrics).origin(origin).route(&route).more(&canary)
}

fn world(engine: Engine, more: &str) -> World {
    let (origin, mirror, dir) = (Origin::listen(), Origin::listen(), tempfile::tempdir().unwrap());
    let gateway = config(engine, &origin, mirror.address, &dir, more).start();
    World { gateway, origin, mirror, dir }
}

/// Bytes that came from endpoints.
fn received(dir: &TempDir) -> u64 {
    let files = read_dir(dir.path()).unwrap().into_iter().map(Result::unwrap);
    files.filter_map(|file| file.counter("ringway_received_bytes_total", &[("side", "upstream")])).sum()
}

fn count(dir: &TempDir, outcome: &str) -> u64 {
    let files = read_dir(dir.path()).unwrap().into_iter().map(Result::unwrap);
    let labels = [("upstream", "canary"), ("outcome", outcome)];
    files.filter_map(|file| file.counter("ringway_upstream_mirrored_total", &labels)).sum()
}

/// Waits until so many copies have had this outcome.
fn wait_for(dir: &TempDir, outcome: &str, wanted: u64) {
    let begun = Instant::now();
    while count(dir, outcome) < wanted {
        assert!(begun.elapsed() < PATIENCE, "{outcome}: {}", count(dir, outcome));
        std::thread::yield_now();
    }
    assert_eq!(count(dir, outcome), wanted, "{outcome}");
}

fn serve(origin: &Origin) -> OriginConn {
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("ok");
    upstream
}

fn a_copy_is_the_request_with_a_mark_and_its_answer_is_thrown_away(engine: Engine) {
    let world = world(engine, "remove = [\"Authorization\"]");
    let mut client = world.gateway.connect();
    client.send("GET /a?b HTTP/1.1\r\nHost: shop\r\nAuthorization: secret\r\nCookie: c\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
    let mut upstream = world.origin.accept();
    let head = upstream.request().head;
    assert_eq!((head.get("authorization"), head.has("x-ringway-mirror")), (Some("secret"), false));
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    let mut mirror = world.mirror.accept();
    let copy = mirror.request().head;
    assert_eq!(
        (copy.line.as_str(), copy.get("host"), copy.get("cookie")),
        ("GET /a?b HTTP/1.1", Some("shop"), Some("c"))
    );
    assert_eq!(copy.get("x-ringway-mirror"), Some("1"));
    assert!(!copy.has("authorization") && !copy.has("x-hop"));
    mirror.send("HTTP/1.1 500 X\r\nSet-Cookie: never\r\nContent-Length: 3\r\n\r\nbad");
    wait_for(&world.dir, "5xx", 1);
    // The connections go on, and the client has nothing of that answer.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("next");
    assert_eq!(client.response().text(), "next");
    mirror.request();
    mirror.answer("thrown away");
    wait_for(&world.dir, "2xx", 1);
    client.expect_nothing_yet();
    // What nobody gets came all the same.
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).len();
    let bad = "HTTP/1.1 500 X\r\nSet-Cookie: never\r\nContent-Length: 3\r\n\r\nbad".len();
    assert_eq!(received(&world.dir), (answer("ok") + answer("next") + bad + answer("thrown away")) as u64);
    world.mirror.expect_no_connection();
}

fn a_copy_has_its_body_whatever_its_framing(engine: Engine) {
    let world = world(engine, "");
    for framing in
        ["Content-Length: 6\r\n\r\nabcdef", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"]
    {
        let mut client = world.gateway.connect();
        let (head, body) = framing.split_once("\r\n\r\n").unwrap();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n"));
        let mut upstream = world.origin.accept();
        for piece in body.as_bytes().chunks(4) {
            client.send(piece);
        }
        assert_eq!(upstream.request().text(), "abcdef");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
        let mut mirror = world.mirror.accept();
        assert_eq!(mirror.request().text(), "abcdef");
        mirror.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    wait_for(&world.dir, "2xx", 2);
}

fn a_body_beyond_the_bound_is_not_copied(engine: Engine) {
    let world = world(engine, "body = \"1KiB\"");
    let long = "x".repeat(1_200);
    for framing in [
        format!("Content-Length: 1200\r\n\r\n{long}"),
        format!("Transfer-Encoding: chunked\r\n\r\n4b0\r\n{long}\r\n0\r\n\r\n"),
    ] {
        let mut client = world.gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
        let mut upstream = world.origin.accept();
        assert_eq!(upstream.request().text(), long);
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
    wait_for(&world.dir, "too_large", 2);
    world.mirror.expect_no_connection();
}

fn a_mirror_that_is_away_or_silent_is_not_noticed(engine: Engine) {
    let (origin, dir) = (Origin::listen(), tempfile::tempdir().unwrap());
    let gateway = config(engine, &origin, Origin::refusing(), &dir, "").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    serve(&origin);
    assert_eq!(client.response().text(), "ok");
    wait_for(&dir, "no_connection", 1);

    let world = world(engine, "timeout = \"50ms\"");
    let mut client = world.gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = serve(&world.origin);
    assert_eq!(client.response().text(), "ok");
    let mut silent = world.mirror.accept();
    silent.request();
    // Meanwhile others are served.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("next");
    assert_eq!(client.response().text(), "next");
    silent.expect_end();
    let mut second = world.mirror.accept();
    second.request();
    second.reset();
    wait_for(&world.dir, "no_answer", 2);
}

fn there_are_no_more_copies_than_there_may_be(engine: Engine) {
    let world = world(engine, "max_active = 1, timeout = \"1h\"");
    let mut client = world.gateway.connect();
    client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = serve(&world.origin);
    assert_eq!(client.response().text(), "ok");
    let mut mirror = world.mirror.accept();
    mirror.request();
    for _ in 0..3 {
        client.send("GET /dropped HTTP/1.1\r\nHost: a\r\n\r\n");
        upstream.request();
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
    }
    wait_for(&world.dir, "busy", 3);
    mirror.answer("late");
    wait_for(&world.dir, "2xx", 1);
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(mirror.request().head.line, "GET /again HTTP/1.1");
    world.mirror.expect_no_connection();
}

fn what_does_not_go_out_whole_is_not_copied(engine: Engine) {
    let world = world(engine, "");
    let mut client = world.gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    let mut upstream = world.origin.accept();
    upstream.head();
    client.reset();
    wait_for(&world.dir, "incomplete", 1);
    world.mirror.expect_no_connection();
}

fn a_copy_is_not_copied_again(engine: Engine) {
    for (listener, kept) in [("", false), ("trusted_proxies = [\"127.0.0.0/8\"]", true)] {
        let (origin, mirror, dir) = (Origin::listen(), Origin::listen(), tempfile::tempdir().unwrap());
        let gateway = config(engine, &origin, mirror.address, &dir, "").listener(listener).start();
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Ringway-Mirror: 1\r\n\r\n");
        let mut upstream = origin.accept();
        // A stranger's mark is none.
        assert_eq!(upstream.request().head.has("x-ringway-mirror"), kept);
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
        client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n");
        upstream.request();
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
        assert_eq!(mirror.accept().request().head.line, "GET /plain HTTP/1.1");
    }
}

fn a_share_of_none_copies_nothing_and_a_reload_changes_it(engine: Engine) {
    let world = world(engine, "share = 0");
    let mut client = world.gateway.connect();
    client.send("GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = serve(&world.origin);
    assert_eq!(client.response().text(), "ok");
    let World { gateway, origin, mirror, dir } = &world;
    gateway.run(&config(engine, origin, mirror.address, dir, "share = 1"));
    client.send("GET /all HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer("ok");
    assert_eq!(client.response().text(), "ok");
    assert_eq!(mirror.accept().request().head.line, "GET /all HTTP/1.1");
}
