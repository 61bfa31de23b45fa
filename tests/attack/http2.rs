//! What a client of HTTP/2 can do without ever being of use: each ends its connection and no other.

use std::sync::mpsc;

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame, request,
};
use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    rapid_resets_end_the_connection,
    streams_that_we_are_made_to_reset_end_the_connection,
    a_flood_of_continuations_ends_the_connection,
    an_hpack_bomb_ends_the_connection,
    floods_of_control_frames_end_the_connection,
    empty_data_ends_the_connection,
    windows_that_are_never_open_end_the_connection,
    windows_that_stay_shut_hold_little_and_not_for_long,
    a_client_that_reads_nothing_is_let_go,
    a_client_that_says_nothing_behind_the_preface_is_let_go,
    bytes_in_tiny_pieces_take_no_more_memory_than_they_are,
);

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";
/// What a gateway may hold beyond what it begins with, with 64 receive buffers, whatever a client does.
const GROWTH: u64 = 16 << 20;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends `attack` on a connection of its own, which must end by it, while others are served before, beside and after it.
fn ends(gateway: &Gateway, attack: &[u8]) {
    let before = gateway.child.resident();
    let mut other = Http2::connect(gateway.address);
    assert_eq!(other.get(1, "/hello").text(), "hello");
    let mut attacker = Http2::connect(gateway.address);
    attacker.wire.try_send(attack);
    assert_eq!(attacker.ends_with(), ENHANCE_YOUR_CALM);
    assert_eq!(other.get(3, "/hello").text(), "hello");
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    assert!(gateway.child.resident() < before + GROWTH);
}

/// What this makes of the odd numbers from 1 on, so many of them.
fn each(count: u32, bytes: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|at| bytes(2 * at + 1)).collect()
}

fn rapid_resets_end_the_connection(engine: Engine) {
    let (origin, connections) = Origin::serve(|_, upstream| {
        upstream.answer("slow");
        true
    });
    let gateway = Config::new(engine).origin(&origin).upstream("pool = { max_connections = 8 }").more(HELLO).start();
    for path in ["/hello", "/origin"] {
        let head = block(&request("GET", path, &[]));
        let attack = each(1000, |stream| {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            [head, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
        });
        ends(&gateway, &attack);
    }
    assert!(connections.load(std::sync::atomic::Ordering::SeqCst) <= 400, "resets reach the origin");
}

fn streams_that_we_are_made_to_reset_end_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    let head = block(&request("POST", "/hello", &[]));
    let by_window = each(1000, |stream| {
        [frame(HEADERS, END_HEADERS, stream, &head), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    ends(&gateway, &by_window);
    let malformed = block(&[(":method", "GET"), ("x", "y")]);
    ends(&gateway, &each(1000, |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &malformed)));
}

fn a_flood_of_continuations_ends_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    let head = block(&request("GET", "/hello", &[]));
    let more = block(&[("x", "y")]);
    for piece in [&more[..], b""] {
        let mut attack = frame(HEADERS, END_STREAM, 1, &head);
        attack.extend((0..1000).flat_map(|_| frame(CONTINUATION, 0, 1, piece)));
        ends(&gateway, &attack);
    }
    let mut large = frame(HEADERS, END_STREAM, 1, &head);
    large.extend((0..4).flat_map(|_| frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(16_000))]))));
    ends(&gateway, &large);
}

fn an_hpack_bomb_ends_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    // A large entry of the dynamic table, and then its index again and again: a byte for 4 KB.
    let mut bomb = block(&request("GET", "/hello", &[]));
    bomb.extend([0x40, 1, b'x', 127, 0x81, 0x1e]);
    bomb.extend([b'y'; 4000]);
    bomb.extend([0xbe; 12_000]);
    ends(&gateway, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
}

fn floods_of_control_frames_end_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    for flooding in [
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, 1, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        // PRIORITY of a stream that is idle, PRIORITY_UPDATE, and a type that nobody knows.
        frame(2, 0, 1, &[0, 0, 0, 0, 1]),
        frame(16, 0, 0, b"\0\0\0\x01u=1"),
        frame(99, 0, 0, &[]),
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
    ] {
        ends(&gateway, &flooding.repeat(12_000));
    }
}

fn empty_data_ends_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    let head = frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "/hello", &[])));
    let after_the_end = [head.clone(), frame(DATA, 0, 1, &[]).repeat(3000)].concat();
    ends(&gateway, &after_the_end);
}

fn windows_that_are_never_open_end_the_connection(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    let head = block(&request("GET", "/hello", &[]));
    let ask = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
    // Those that are served wait for as long as `send_idle`, which nothing here does.
    ends(&gateway, &[frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), each(100, ask)].concat());
    // A client may begin with no window, if it then opens those of its requests.
    let mut opens = Http2::connect_with(gateway.address, &[(4, 0)]);
    for stream in (0..40).map(|at| 2 * at + 1) {
        opens.ask(stream, "/hello");
        assert_eq!(opens.next_of(HEADERS).stream, stream);
        opens.frame(WINDOW_UPDATE, 0, stream, &300u32.to_be_bytes());
        assert_eq!(opens.next_of(DATA).stream, stream);
    }
    // Few of its requests wait for that, and those beyond may be sent again.
    for stream in (40..48).map(|at| 2 * at + 1) {
        opens.ask(stream, "/hello");
        assert_eq!(opens.next_of(HEADERS).stream, stream);
    }
    const REFUSED_STREAM: u32 = 7;
    opens.ask(97, "/hello");
    let reset = opens.next_of(RST_STREAM);
    assert_eq!((reset.stream, reset.number(0)), (97, REFUSED_STREAM));
    opens.frame(WINDOW_UPDATE, 0, 81, &300u32.to_be_bytes());
    assert_eq!(opens.next_of(DATA).stream, 81);
    opens.ask(99, "/hello");
    assert_eq!(opens.next_of(HEADERS).stream, 99);
}

fn windows_that_stay_shut_hold_little_and_not_for_long(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while upstream.try_send(&vec![0; 65_536]) {}
        false
    });
    let gateway = Config::new(engine).origin(&origin).timeouts("send_idle = \"2s\"").more(HELLO).start();
    let before = gateway.child.resident();
    // Windows that are open at first.
    let mut holder = Http2::connect_with(gateway.address, &[(4, 300)]);
    let streams: Vec<u32> = (0..90).map(|at| 2 * at + 1).collect();
    for stream in &streams {
        holder.ask(*stream, "/large");
    }
    for _ in &streams {
        assert_eq!(holder.next_of(HEADERS).fields[0].1, "200");
    }
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    // Each stream may have a pipe, the buffer of its exchange, and what was received ahead.
    assert!(gateway.child.resident() < before + 90 * (4 * 65_536) + GROWTH);
    // Some are let go one by one; who holds that many has spent the budget.
    assert_eq!(holder.next_of(RST_STREAM).number(0), ENHANCE_YOUR_CALM);
    assert_eq!(holder.ends_with(), ENHANCE_YOUR_CALM);
    // Others are not ended for one stream of many.
    let mut idle = Http2::connect_with(gateway.address, &[(4, 0)]);
    idle.ask(1, "/large");
    assert_eq!(idle.next_of(RST_STREAM).number(0), ENHANCE_YOUR_CALM);
    assert_eq!(idle.get(1001, "/hello").heads[0][0].1, "200");
}

fn a_client_that_reads_nothing_is_let_go(engine: Engine) {
    const STREAMS: u32 = 20;
    let (send, let_go) = mpsc::channel();
    let (origin, _) = Origin::serve(move |_, upstream| {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while upstream.try_send(&vec![0; 65_536]) {}
        let _ = send.send(());
        false
    });
    let gateway = Config::new(engine).origin(&origin).timeouts("send_idle = \"500ms\"").more(HELLO).start();
    let before = gateway.child.resident();
    let wire = Client::connect_with_small_buffer(gateway.address, 4096);
    let mut client = Http2::over(wire, &[(4, i32::MAX as u32)]);
    client.frame(WINDOW_UPDATE, 0, 0, &1_000_000_000u32.to_be_bytes());
    for stream in 0..STREAMS {
        client.ask(2 * stream + 1, "/large");
    }
    for _ in 0..STREAMS {
        let_go.recv_timeout(PATIENCE).expect("the origin is let go of as well");
    }
    assert!(gateway.child.resident() < before + u64::from(STREAMS) * (4 * 65_536) + GROWTH);
    assert!(client.wire.rest_or_reset().1);
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
}

fn a_client_that_says_nothing_behind_the_preface_is_let_go(engine: Engine) {
    let gateway = Config::new(engine).timeouts("head = \"300ms\"").more(HELLO).start();
    let mut silent = gateway.connect();
    silent.send(PREFACE);
    // Settings that nobody acknowledges.
    let rest = silent.rest();
    assert!(rest.windows(19).any(|window| window == b"h2_settings_timeout"), "{}", rest.escape_ascii());
    // A head that does not end.
    let mut slow = Http2::connect(gateway.address);
    slow.frame(SETTINGS, 1, 0, &[]).frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/hello", &[])));
    assert_eq!(slow.ends_with(), ENHANCE_YOUR_CALM);
}

fn bytes_in_tiny_pieces_take_no_more_memory_than_they_are(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).more(HELLO).start();
    let before = gateway.child.resident();
    let mut client = Http2::connect(gateway.address);
    let mut upstreams = Vec::new();
    for stream in [1, 3, 5] {
        client.head(stream, &request("POST", "/", &[]), false);
        upstreams.push(origin.accept());
        // A byte a frame, which the origin does not read.
        client.wire.try_send(&frame(DATA, 0, stream, b"x").repeat(20_000));
    }
    client.head(7, &request("GET", "/hello", &[]), true);
    while client.next_of(HEADERS).stream != 7 {}
    assert!(gateway.child.resident() < before + GROWTH);
}
