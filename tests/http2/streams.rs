//! Streams side by side: bodies both ways, windows, sockets of the web.

use crate::support::frames::{DATA, END_STREAM, HEADERS, Http2, WINDOW_UPDATE, block, request};
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    streams_are_answered_as_they_come,
    large_bodies_flow_both_ways,
    a_window_that_is_shut_holds_up_no_other_stream,
    a_body_that_nobody_reads_is_held_back_by_windows,
    the_preface_may_come_byte_by_byte,
    a_websocket_opens_and_bytes_flow_both_ways,
    an_upgrade_that_is_not_granted_stays_http,
    urgent_answers_go_first,
);

fn streams_are_answered_as_they_come(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    let streams: Vec<u32> = (0..20).map(|at| 2 * at + 1).collect();
    for stream in &streams {
        client.ask(*stream, &format!("/{stream}"));
    }
    let mut upstreams: Vec<_> = streams
        .iter()
        .map(|_| {
            let mut upstream = origin.accept();
            let path = upstream.request().head.line;
            (upstream, path)
        })
        .collect();
    // The last first.
    for (upstream, line) in upstreams.iter_mut().rev() {
        upstream.answer(line);
    }
    for (stream, answer) in streams.iter().zip(client.answers(&streams)) {
        assert_eq!(answer.text(), format!("GET /{stream} HTTP/1.1"));
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn large_bodies_flow_both_ways(engine: Engine) {
    let (origin, _) = Origin::serve(|request, upstream| {
        if request.head.line.contains("/chunked") {
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in request.body.chunks(7001) {
                upstream.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
            }
            upstream.send("0\r\n\r\n");
        } else {
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            upstream.send(&request.body);
        }
        true
    });
    let gateway = Config::new(engine).origin(&origin).start();
    let body = pattern(1_500_000);
    for (path, length) in [("/chunked", None), ("/", Some("1500000")), ("/chunked", Some("1500000")), ("/", None)] {
        let mut client = Http2::connect(gateway.address);
        let length: Vec<(&str, &str)> = length.iter().map(|length| ("content-length", *length)).collect();
        client.head(1, &request("POST", path, &length), false);
        // The gateway opens the windows as the origin reads.
        client.body(1, &body, 65_535);
        let answer = client.answer(1);
        assert_eq!(answer.status(), 200);
        assert!(answer.body == body, "{path} came back changed");
    }
}

fn a_window_that_is_shut_holds_up_no_other_stream(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    // No data may come but what window updates let through.
    let mut client = Http2::connect_with(gateway.address, &[(4, 0)]);
    client.ask(1, "/large");
    let mut large = origin.accept();
    large.request();
    large.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let sent = large.send_until_stuck(100_000_000);
    assert!(sent < 50_000_000, "{sent} bytes went nowhere");
    assert_eq!(client.next_of(HEADERS).stream, 1);
    client.ask(3, "/small");
    let mut small = origin.accept();
    small.request();
    small.answer("hello");
    assert_eq!(client.next_of(HEADERS).stream, 3);
    client.frame(WINDOW_UPDATE, 0, 3, &2u32.to_be_bytes());
    assert_eq!(client.next_of(DATA).payload, b"he");
    client.frame(WINDOW_UPDATE, 0, 3, &100u32.to_be_bytes());
    let last = client.next_of(DATA);
    assert_eq!((&*last.payload, last.flags & END_STREAM), (&b"llo"[..], END_STREAM));
    client.frame(WINDOW_UPDATE, 0, 1, &1000u32.to_be_bytes());
    let data = client.next_of(DATA);
    assert_eq!((data.stream, data.payload.len()), (1, 1000));
}

fn a_body_that_nobody_reads_is_held_back_by_windows(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("POST", "/", &[("content-length", "100000000")]), false);
    let upstream = origin.accept();
    // The origin reads nothing: in the end the window stays shut.
    let mut window = 65_535usize;
    let mut sent = 0;
    client.wire.stream().set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    loop {
        while window > 0 {
            let piece = window.min(16_000);
            client.data(1, &vec![7; piece], false);
            (window, sent) = (window - piece, sent + piece);
        }
        let mut bytes = Vec::new();
        if !client.wire.take_some(&mut bytes) {
            break;
        }
        let mut rest = &bytes[..];
        while rest.len() >= 9 {
            let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            if rest[3] == WINDOW_UPDATE && rest[5..9] == 1u32.to_be_bytes() {
                window += u32::from_be_bytes(rest[9..13].try_into().unwrap()) as usize;
            }
            rest = &rest[9 + len..];
        }
        assert!(sent < 50_000_000, "it was never held back");
    }
    drop(upstream);
}

fn the_preface_may_come_byte_by_byte(engine: Engine) {
    let gateway = Config::new(engine).more(crate::http2::HELLO).start();
    let mut client = gateway.connect();
    let fields = block(&request("GET", "/hello", &[]));
    let all = [
        crate::support::frames::PREFACE.to_vec(),
        crate::support::frames::frame(4, 0, 0, &[]),
        crate::support::frames::frame(HEADERS, 5, 1, &fields),
    ]
    .concat();
    client.stream().set_nodelay(true).unwrap();
    for byte in all {
        client.send([byte]);
    }
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"hello") {
        assert!(client.take_some(&mut seen), "it ended: {}", seen.escape_ascii());
    }
}

fn connect<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = request("CONNECT", "/chat", &[]);
    fields.insert(1, (":protocol", "websocket"));
    fields.extend(more);
    fields
}

fn a_websocket_opens_and_bytes_flow_both_ways(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("websocket = { frames = \"raw\" }").start();
    let mut client = Http2::connect(gateway.address);
    client.head(1, &connect(&[("sec-websocket-version", "13")]), false).data(1, b"early", false);
    let mut upstream = origin.accept();
    let head = upstream.head();
    assert_eq!(head.line, "GET /chat HTTP/1.1");
    assert_eq!((head.get("upgrade"), head.get("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(head.get("sec-websocket-key").map(str::len), Some(24));
    assert!(upstream.nothing_waits(), "bytes before 101");
    upstream.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\n",
    );
    let fields = client.next_of(HEADERS).fields;
    assert_eq!(fields[0].1, "200");
    assert!(fields.iter().any(|field| field.0 == "sec-websocket-protocol"), "{fields:?}");
    assert!(!fields.iter().any(|field| field.0 == "sec-websocket-accept" || field.0 == "upgrade"), "{fields:?}");
    assert_eq!(upstream.take(5), b"early");
    for round in 0..20u8 {
        client.data(1, &[round; 7], false);
        assert_eq!(upstream.take(7), [round; 7]);
        upstream.send([!round; 9]);
        assert_eq!(client.next_of(DATA).payload, [!round; 9]);
    }
    // Other streams go on beside it.
    client.ask(3, "/");
    let mut other = origin.accept();
    other.request();
    other.answer("well");
    assert_eq!(client.answer(3).text(), "well");
    client.data(1, b"bye", true);
    assert_eq!(upstream.take(3), b"bye");
    upstream.send("farewell");
    assert_eq!(client.next_of(DATA).payload, b"farewell");
    drop(upstream);
    assert_eq!(client.next_of(DATA).flags & END_STREAM, END_STREAM);
}

fn an_upgrade_that_is_not_granted_stays_http(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("websocket = { frames = \"raw\" }").start();
    let mut client = Http2::connect(gateway.address);
    client.head(1, &connect(&[]), false).data(1, b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n", false);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.text()), (403, "no"));
    assert!(upstream.nothing_waits(), "what came early reached the origin");
    // A success would say that the WebSocket is open.
    client.head(3, &connect(&[]), false);
    upstream.head();
    upstream.answer("yes");
    assert_eq!(client.answer(3).status(), 502);
}

fn urgent_answers_go_first(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect_with(gateway.address, &[(4, 1 << 20)]);
    // The window of the connection holds both answers up.
    let mut upstreams = Vec::new();
    for (stream, priority) in [(1, "u=5"), (3, "u=0")] {
        client.head(stream, &request("GET", "/", &[("priority", priority)]), true);
        let mut upstream = origin.accept();
        upstream.request();
        upstreams.push(upstream);
    }
    upstreams[0].answer(&"a".repeat(100_000));
    let mut seen = 0;
    while seen < 65_535 {
        let data = client.next_of(DATA);
        assert_eq!(data.stream, 1);
        seen += data.payload.len();
    }
    upstreams[1].answer(&"b".repeat(50_000));
    assert_eq!(client.next_of(HEADERS).stream, 3);
    client.frame(WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
    let mut order = Vec::new();
    let mut left = 100_000 - 65_535 + 50_000;
    while left > 0 {
        let data = client.next_of(DATA);
        left -= data.payload.len();
        order.push(data.stream);
    }
    let last_urgent = order.iter().rposition(|&stream| stream == 3).unwrap();
    // All that was there of the urgent one goes first; the rest of it comes from the origin in pieces.
    assert_eq!(order[0], 3);
    assert!(last_urgent < order.len() - 1, "{order:?}");
}
