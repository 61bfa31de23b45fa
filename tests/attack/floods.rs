//! Clients that cost more than they pay: each runs into a bound, and the others are served meanwhile.

use std::io::Write;
use std::time::Duration;

use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    a_header_bomb_is_refused_by_count_and_by_bytes,
    slow_heads_hold_nobody_up_and_end_with_408,
    a_slow_reader_is_reset,
    a_slow_reader_below_the_least_rate_is_reset,
    a_slow_reader_of_a_tunnel_is_ended,
    pipelined_requests_whose_answers_nobody_reads_stop_being_read,
);

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";
/// What a gateway may hold beyond what it begins with, with 64 receive buffers, whatever a client does.
const GROWTH: u64 = 16 << 20;

fn a_header_bomb_is_refused_by_count_and_by_bytes(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let before = gateway.child.resident();
    for (lines, code) in [
        ("a: b\r\n".repeat(100_000), "too_many_fields"),
        (format!("a: {}\r\n", "b".repeat(8000)).repeat(100), "head_too_large"),
        (format!("a: {}", "b".repeat(1_000_000)), "field_line_too_long"),
        (format!("cookie: {}\r\n", "a=b; ".repeat(1500)).repeat(100), "head_too_large"),
        (format!("connection: {}\r\n", "a,".repeat(3000)), "too_many_connection_options"),
    ] {
        let mut client = gateway.connect();
        // It is refused before all of it is read.
        client.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
        let answer = client.response();
        assert!(matches!(answer.status(), 400 | 431), "{}", answer.text());
        assert_eq!(answer.code(), code);
    }
    origin.expect_no_connection();
    assert!(gateway.child.resident() < before + GROWTH);
}

fn slow_heads_hold_nobody_up_and_end_with_408(engine: Engine) {
    let gateway = Config::new(engine).timeouts("head = \"2s\"").more(HELLO).start();
    let mut slow: Vec<Client> = (0..200).map(|_| gateway.connect()).collect();
    let mut other = gateway.connect();
    for part in ["GET / HTT", "P/1.1\r\nHo", "st: a\r\nX: "] {
        for client in &mut slow {
            // Each byte keeps the connection busy; none prolongs the time for the head.
            client.try_send(part.as_bytes());
        }
        assert_eq!(other.get("/hello").text(), "hello");
    }
    for mut client in slow {
        assert_eq!(client.response().code(), "head_timeout");
        client.expect_end();
    }
}

fn large_answer(gateway: &Gateway, origin: &Origin, buffer: usize) -> (Client, std::thread::JoinHandle<()>) {
    let mut client = Client::connect_with_small_buffer(gateway.address, buffer);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let writer = std::thread::spawn(move || while upstream.try_send(&vec![0; 64 * 1024]) {});
    client.head();
    (client, writer)
}

fn a_slow_reader_is_reset(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("send_idle = \"500ms\"").start();
    let before = gateway.child.resident();
    let (mut client, writer) = large_answer(&gateway, &origin, 4096);
    // The origin is let go of as well.
    writer.join().unwrap();
    assert!(client.rest_or_reset().1);
    assert!(gateway.child.resident() < before + GROWTH);
}

fn a_slow_reader_below_the_least_rate_is_reset(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine)
        .origin(&origin)
        .timeouts("min_rate = \"1GB/s\"")
        .timeouts("min_rate_grace = \"300ms\"")
        .start();
    let (mut client, writer) = large_answer(&gateway, &origin, 4096);
    // It takes a little whenever there is a little, so it never idles.
    let mut some = Vec::new();
    while client.take_some(&mut some) {
        some.clear();
    }
    writer.join().unwrap();
}

fn a_slow_reader_of_a_tunnel_is_ended(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).timeouts("tunnel_idle = \"500ms\"").start();
    let open = || {
        let mut client = Client::connect_with_small_buffer(gateway.address, 4096);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        (client, upstream)
    };
    let (_client, mut upstream) = open();
    let most = upstream.send_until_stuck(64 << 20);
    upstream.expect_end();
    // The origin's end comes while any amount is still to be sent: none, some of it here, or more than is let in.
    let steps: Vec<usize> = (48 * 1024..most).step_by(48 * 1024).collect();
    for steps in steps.chunks(16) {
        let mut tunnels: Vec<_> = steps.iter().map(|_| open()).collect();
        for ((_, upstream), bytes) in tunnels.iter_mut().zip(steps) {
            if upstream.try_send(&vec![0; *bytes]) {
                // Opening the others took time: the idle limit may have ended this one already.
                let _ = upstream.stream().shutdown(std::net::Shutdown::Write);
            }
        }
        for (_, upstream) in &mut tunnels {
            upstream.expect_end();
        }
    }
}

fn pipelined_requests_whose_answers_nobody_reads_stop_being_read(engine: Engine) {
    let large = HELLO.replace("hello\"\n[[", &format!("{}\"\n[[", "x".repeat(60_000)));
    let gateway = Config::new(engine).more(&large).start();
    let before = gateway.child.resident();
    for path in ["/hello", "/absent"] {
        let client = Client::connect_with_small_buffer(gateway.address, 4096);
        client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let requests = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(1000);
        let mut sent = 0;
        let mut stream = client.stream();
        while sent < 64 << 20 && stream.write_all(requests.as_bytes()).is_ok() {
            sent += requests.len();
        }
        assert!(sent < 40 << 20, "{path}: {sent} bytes of requests were taken though no answer was");
        let held = gateway.child.resident().saturating_sub(before);
        assert!(held < GROWTH, "{path}: {held} bytes for answers that nobody reads");
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    // And the answers are all right for whoever does read them.
    let mut client = gateway.connect();
    let mut sender = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for _ in 0..500 {
            sender.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
    });
    for _ in 0..500 {
        assert_eq!(client.response().body.len(), 60_000);
    }
    sending.join().unwrap();
}
