//! Upstreams that speak HTTP/2.

use std::thread;

use crate::support::frames::{END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, request};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    requests_share_a_connection,
    bodies_and_trailers_go_both_ways,
    a_request_that_was_refused_goes_out_again,
    what_a_goaway_left_behind_goes_out_again,
    more_than_the_endpoint_allows_opens_another_connection,
    an_answer_that_breaks_off_breaks_off,
    a_client_that_leaves_resets_its_stream,
    an_endpoint_that_speaks_http_1_is_a_bad_gateway,
    nobody_there_is_a_failed_connect,
    health_checks_speak_it_too,
);

fn config(engine: Engine, origin: &Origin) -> Config {
    Config::new(engine).origin(origin).upstream("protocol = \"h2\"")
}

/// A connection that the gateway made.
fn accept(origin: &Origin, settings: &[(u16, u32)]) -> Http2 {
    Http2::accept(origin, settings)
}

fn ok(status: &str) -> Vec<(&str, &str)> {
    vec![(":status", status)]
}

fn requests_share_a_connection(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut clients: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET /a?b HTTP/1.1\r\nHost: test\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\n\r\n");
    }
    let mut upstream = accept(&origin, &[]);
    let mut streams = Vec::new();
    for _ in &clients {
        let head = upstream.next_of(HEADERS);
        let get = |name: &str| head.fields.iter().find(|field| field.0 == name).map(|field| &*field.1);
        assert_eq!((get(":method"), get(":path"), get(":scheme")), (Some("GET"), Some("/a?b"), Some("http")));
        assert_eq!((get(":authority"), get("host"), get("x-a")), (Some("test"), None, Some("1")));
        assert_eq!((get("x-b"), get("connection"), get("via")), (None, None, Some("1.1 ringway")));
        assert_eq!(head.flags & END_STREAM, END_STREAM);
        streams.push(head.stream);
    }
    for stream in streams.iter().rev() {
        upstream.head(*stream, &ok("200"), false).data(*stream, format!("{stream}").as_bytes(), true);
    }
    let mut seen: Vec<u32> = clients.iter_mut().map(|client| client.response().text().parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, streams);
    origin.expect_no_connection();
    // And the next request of each goes there, too.
    clients[3].send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = upstream.next_of(HEADERS);
    upstream.head(head.stream, &ok("204"), true);
    assert_eq!(clients[3].response().status(), 204);
}

fn bodies_and_trailers_go_both_ways(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("POST", "/", &[("te", "trailers")]), false).data(1, b"hello", false);
    client.head(1, &[("x-sum", "5")], true);
    let mut upstream = accept(&origin, &[]);
    let head = upstream.next_of(HEADERS);
    assert!(head.fields.contains(&("te".to_owned(), "trailers".to_owned())), "{head:?}");
    let stream = head.stream;
    let mut body = Vec::new();
    let trailers = loop {
        let next = upstream.next();
        match next.kind {
            0 => body.extend(next.payload),
            HEADERS => break next.fields,
            _ => {}
        }
    };
    assert_eq!((&*body, trailers), (&b"hello"[..], vec![("x-sum".to_owned(), "5".to_owned())]));
    upstream.head(stream, &[(":status", "103"), ("link", "x")], false);
    upstream.head(stream, &ok("200"), false).data(stream, b"answer", false).head(stream, &[("x-end", "1")], true);
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.text(), answer.heads.len()), (103, "answer", 3));
    assert_eq!(answer.heads[2], [("x-end".to_owned(), "1".to_owned())]);
    // Only trailers.
    client.ask(3, "/");
    let stream = upstream.next_of(HEADERS).stream;
    upstream.head(stream, &[(":status", "200"), ("grpc-status", "12")], true);
    let answer = client.answer(3);
    assert_eq!((answer.heads.len(), answer.get("grpc-status"), answer.body.len()), (1, Some("12"), 0));
    // A large body, at the pace of windows.
    let large: Vec<u8> = (0..1_000_000u32).map(|at| (at * 7 + at / 251) as u8).collect();
    client.ask(5, "/");
    let stream = upstream.next_of(HEADERS).stream;
    let sent = large.clone();
    let writer = thread::spawn(move || {
        upstream.head(stream, &ok("200"), false);
        // The window of the connection, less the bytes of the answer before.
        upstream.body(stream, &sent, (256 << 10) - 6);
        upstream
    });
    assert!(client.answer(5).body == large);
    drop(writer.join().unwrap());
}

fn a_request_that_was_refused_goes_out_again(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut client = gateway.connect();
    // POST may not be done twice; this one was not done once.
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    let mut upstream = accept(&origin, &[]);
    let first = upstream.next_of(HEADERS).stream;
    upstream.frame(RST_STREAM, 0, first, &7u32.to_be_bytes());
    let second = upstream.next_of(HEADERS).stream;
    upstream.head(second, &ok("200"), false).data(second, b"well", true);
    assert_eq!(client.response().text(), "well");
    // Any other reset is none of that kind.
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    let third = upstream.next_of(HEADERS).stream;
    upstream.frame(RST_STREAM, 0, third, &2u32.to_be_bytes());
    assert_eq!(client.response().code(), "upstream_reset");
}

fn what_a_goaway_left_behind_goes_out_again(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let (mut one, mut other) = (gateway.connect(), gateway.connect());
    one.send("POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let mut upstream = accept(&origin, &[]);
    let first = upstream.next_of(HEADERS).stream;
    other.send("POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    upstream.next_of(HEADERS);
    let goaway = [first.to_be_bytes(), 0u32.to_be_bytes()].concat();
    upstream.frame(GOAWAY, 0, 0, &goaway);
    // The second goes out on another connection, the first is answered on this one.
    let mut next = accept(&origin, &[]);
    let second = next.next_of(HEADERS);
    assert!(second.fields.contains(&(":path".to_owned(), "/2".to_owned())), "{second:?}");
    next.head(second.stream, &ok("200"), false).data(second.stream, b"two", true);
    assert_eq!(other.response().text(), "two");
    upstream.head(first, &ok("200"), false).data(first, b"one", true);
    assert_eq!(one.response().text(), "one");
    upstream.goes_away();
}

fn more_than_the_endpoint_allows_opens_another_connection(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    clients[0].send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut upstream = accept(&origin, &[(3, 2)]);
    let first = upstream.next_of(HEADERS).stream;
    upstream.head(first, &ok("204"), true);
    clients[0].response();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let mut second = accept(&origin, &[(3, 2)]);
    for connection in [&mut upstream, &mut second] {
        let streams = [connection.next_of(HEADERS).stream, connection.next_of(HEADERS).stream];
        for stream in streams {
            connection.head(stream, &ok("204"), true);
        }
    }
    for client in &mut clients {
        assert_eq!(client.response().status(), 204);
    }
}

fn an_answer_that_breaks_off_breaks_off(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut upstream = accept(&origin, &[]);
    let stream = upstream.next_of(HEADERS).stream;
    upstream.head(stream, &ok("200"), false).data(stream, b"half", false);
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.take(9), b"4\r\nhalf\r\n");
    upstream.frame(RST_STREAM, 0, stream, &2u32.to_be_bytes());
    client.expect_end();
    // The connection goes on.
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let stream = upstream.next_of(HEADERS).stream;
    upstream.head(stream, &ok("204"), true);
    assert_eq!(client.response().status(), 204);
}

fn a_client_that_leaves_resets_its_stream(engine: Engine) {
    let origin = Origin::listen();
    let gateway = config(engine, &origin).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut upstream = accept(&origin, &[]);
    let stream = upstream.next_of(HEADERS).stream;
    drop(client);
    let reset = upstream.next_of(RST_STREAM);
    assert_eq!((reset.stream, reset.number(0)), (stream, 8));
}

fn an_endpoint_that_speaks_http_1_is_a_bad_gateway(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| {
        upstream.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        false
    });
    let gateway = config(engine, &origin).start();
    let answer = gateway.connect().get("/");
    assert_eq!((answer.status(), &*answer.code()), (502, "upstream_reset"));
}

fn nobody_there_is_a_failed_connect(engine: Engine) {
    let config = Config::new(engine).endpoint(Origin::refusing()).upstream("protocol = \"h2\"");
    let answer = config.start().connect().get("/");
    assert_eq!((answer.status(), &*answer.code()), (502, "upstream_connect_failed"));
}

fn health_checks_speak_it_too(engine: Engine) {
    let origin = Origin::listen();
    let health = "health = { path = \"/well\", interval = \"50ms\", unhealthy_after = 1 }";
    let _gateway = config(engine, &origin).upstream(health).start();
    // Each has a connection of its own, which goes away behind it.
    for status in ["200", "503", "200"] {
        let mut check = accept(&origin, &[]);
        let head = check.next_of(HEADERS);
        assert!(head.fields.contains(&(":path".to_owned(), "/well".to_owned())), "{head:?}");
        check.head(head.stream, &ok(status), true);
        check.goes_away();
    }
}
