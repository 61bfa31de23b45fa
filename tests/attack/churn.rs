//! Connections that come and go, in order or not: memory and descriptors stay where they were.

use std::time::Instant;

use crate::support::{Child, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    thousands_of_short_connections_leave_nothing_behind,
    clients_that_reset_at_every_stage_leave_nothing_behind,
    origins_that_reset_at_every_stage_leave_nothing_behind,
);

fn answering() -> Origin {
    Origin::serve(|request, upstream| {
        // A client may be gone, and the gateway with it.
        let close = request.head.line.contains("/close");
        let connection = if close { "Connection: close\r\n" } else { "" };
        upstream.try_send(format!("HTTP/1.1 200 OK\r\n{connection}Content-Length: 2\r\n\r\nok").as_bytes()) && !close
    })
    .0
}

fn get(gateway: &Gateway, path: &str) {
    let mut client = gateway.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert_eq!(client.response().text(), "ok");
    client.expect_end();
}

/// Fails unless, in the end, no more descriptors are open than `before`. Asks between looks, which paces them.
fn expect_descriptors(gateway: &Gateway, child: &Child, before: usize) {
    let start = Instant::now();
    while child.descriptors() > before {
        assert!(start.elapsed() < PATIENCE, "{} descriptors are open, {before} were", child.descriptors());
        get(gateway, "/");
    }
}

fn thousands_of_short_connections_leave_nothing_behind(engine: Engine) {
    let origin = answering();
    let gateway = Config::new(engine).origin(&origin).start();
    for at in 0..500 {
        get(&gateway, if at % 10 == 0 { "/close" } else { "/" });
    }
    let (resident, descriptors) = (gateway.child.resident(), gateway.child.descriptors());
    for at in 0..5000 {
        get(&gateway, if at % 10 == 0 { "/close" } else { "/" });
    }
    let grown = gateway.child.resident().saturating_sub(resident);
    assert!(grown < 1 << 20, "{grown} bytes more than after the first 500");
    expect_descriptors(&gateway, &gateway.child, descriptors);
}

fn clients_that_reset_at_every_stage_leave_nothing_behind(engine: Engine) {
    let origin = answering();
    let gateway = Config::new(engine).origin(&origin).start();
    let stages: [&[u8]; 7] = [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
    ];
    let round = || {
        for stage in stages {
            let mut client = gateway.connect();
            client.try_send(stage);
            client.reset();
            let mut client = gateway.connect();
            client.try_send(stage);
            drop(client);
        }
        // Keeps the rounds apart.
        get(&gateway, "/");
    };
    get(&gateway, "/");
    let descriptors = gateway.child.descriptors();
    (0..20).for_each(|_| round());
    let resident = gateway.child.resident();
    (0..100).for_each(|_| round());
    get(&gateway, "/");
    let grown = gateway.child.resident().saturating_sub(resident);
    assert!(grown < 2 << 20, "{grown} bytes more");
    // Idle connections to the origin may be more than before; the origin closes none, so ask for as many as allowed.
    expect_descriptors(&gateway, &gateway.child, descriptors + 64);
}

fn origins_that_reset_at_every_stage_leave_nothing_behind(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("retry = { attempts = 1 }").start();
    let mut client = gateway.connect();
    let stages: [&str; 4] = [
        "",
        "HTTP/1.1 200 OK\r\nCont",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ];
    let descriptors = gateway.child.descriptors();
    for _ in 0..50 {
        for stage in stages {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut upstream = origin.accept();
            upstream.request();
            upstream.send(stage);
            if stage.contains("\r\n\r\n") {
                client.head();
                upstream.reset();
                client.rest_or_reset();
                client = gateway.connect();
            } else {
                upstream.reset();
                assert_eq!(client.response().status(), 502);
            }
        }
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("still here");
    assert_eq!(client.response().text(), "still here");
    assert!(gateway.child.descriptors() <= descriptors + 4);
}
