//! Large bodies stream: the pace is that of the slower side, and memory does not grow with the body.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::support::{Client, Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_large_answer_streams_through_little_memory,
    a_large_chunked_request_streams_through_little_memory,
    a_reader_that_pauses_holds_back_the_origin,
    an_origin_that_pauses_holds_back_the_client,
);

/// 256 MiB.
const LARGE: usize = 256 << 20;
/// What a gateway may hold, what it begins with and 2 MiB of receive buffers among it, whatever passes through.
const RESIDENT: u64 = 40 << 20;
/// What the kernel may hold in the socket buffers of two connections, at most, with what the gateway holds.
const IN_FLIGHT: usize = 40 << 20;

fn count_to_end(mut from: TcpStream, most: usize) -> usize {
    let mut buffer = vec![0; 256 * 1024];
    let mut count = 0;
    while count < most {
        match from.read(&mut buffer).expect("the body goes on") {
            0 => break,
            got => count += got,
        }
    }
    count
}

fn write_all_of(mut to: TcpStream, count: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let piece = vec![0x5a; 128 * 1024];
        for _ in 0..count / piece.len() {
            to.write_all(&piece).expect("the body goes on");
        }
    })
}

fn expect_little_memory(gateway: &Gateway) {
    let resident = gateway.child.resident();
    assert!(resident < RESIDENT, "{resident} bytes resident");
}

fn a_large_answer_streams_through_little_memory(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    let head = client.head();
    assert_eq!(head.get("content-length"), Some(LARGE.to_string().as_str()));
    let writer = write_all_of(upstream.stream().try_clone().unwrap(), LARGE);
    let early = client.take_unread();
    assert_eq!(early + count_to_end(client.stream().try_clone().unwrap(), LARGE - early), LARGE);
    writer.join().unwrap();
    expect_little_memory(&gateway);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /next HTTP/1.1");
}

fn a_large_chunked_request_streams_through_little_memory(engine: Engine) {
    const CHUNK: usize = 64 * 1024;
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"unlimited\"").start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut to = client.stream().try_clone().unwrap();
    let writer = thread::spawn(move || {
        let chunk = [&b"10000\r\n"[..], &vec![0x5a; CHUNK], b"\r\n"].concat();
        for _ in 0..LARGE / CHUNK {
            to.write_all(&chunk).unwrap();
        }
        to.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut upstream = origin.accept();
    upstream.head();
    let mut total = 0;
    loop {
        let size = upstream.chunk();
        if size == 0 {
            break;
        }
        total += size;
    }
    assert_eq!(total, LARGE);
    writer.join().unwrap();
    expect_little_memory(&gateway);
    upstream.answer("got it");
    assert_eq!(client.response().text(), "got it");
}

fn a_reader_that_pauses_holds_back_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Client::connect_with_small_buffer(gateway.address, 64 * 1024);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    let sent = upstream.send_until_stuck(LARGE);
    assert!(sent < IN_FLIGHT, "{sent} bytes went in though nobody read");
    expect_little_memory(&gateway);
    let writer = write_all_of(upstream.stream().try_clone().unwrap(), 4 << 20);
    client.head();
    let total = sent + (4 << 20);
    let early = client.take_unread();
    assert_eq!(early + count_to_end(client.stream().try_clone().unwrap(), total - early), total);
    writer.join().unwrap();
}

fn an_origin_that_pauses_holds_back_the_client(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"unlimited\"").start();
    let mut client = gateway.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut upstream = origin.accept();
    upstream.head();
    let sent = client.send_until_stuck(LARGE);
    assert!(sent < IN_FLIGHT, "{sent} bytes went in though nobody read");
    expect_little_memory(&gateway);
    let writer = write_all_of(client.stream().try_clone().unwrap(), 4 << 20);
    let total = sent + (4 << 20);
    let early = upstream.take_unread();
    assert_eq!(early + count_to_end(upstream.stream().try_clone().unwrap(), total - early), total);
    writer.join().unwrap();
}
