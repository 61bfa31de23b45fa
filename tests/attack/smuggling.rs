//! Requests that two parsers could read in two ways: refused with their status, never repaired, and nothing of them
//! reaches the origin.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    an_ambiguous_head_is_refused_and_the_origin_sees_nothing,
    an_ambiguous_chunk_ends_the_exchange_before_it_is_whole,
    what_follows_a_refused_request_is_never_a_request,
    nothing_can_be_smuggled_behind_a_length,
    nothing_can_be_smuggled_behind_a_chunked_body,
    nothing_can_be_smuggled_in_a_chunk_over_the_limit,
);

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// `lines` in a request that is otherwise in order, and the status that refuses it.
const HEADS: &[(&str, u16)] = &[
    // Length and encoding.
    ("Content-Length: 6\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 6", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    // Lengths that differ, repeat or are none.
    ("Content-Length: 6\r\nContent-Length: 5", 400),
    ("Content-Length: 6\r\nContent-Length: 6", 400),
    ("Content-Length: 6, 6", 400),
    ("Content-Length: 6, 5", 400),
    ("Content-Length: +6", 400),
    ("Content-Length: -6", 400),
    ("Content-Length: 0x6", 400),
    ("Content-Length: 6 6", 400),
    ("Content-Length: 6;", 400),
    ("Content-Length: 6.0", 400),
    ("Content-Length: 6e0", 400),
    ("Content-Length:", 400),
    ("Content-Length: 18446744073709551622", 400),
    ("Content-Length: \"6\"", 400),
    // Encodings in disguise.
    ("Transfer-Encoding: xchunked", 400),
    ("Transfer-Encoding: identity", 400),
    ("Transfer-Encoding: gzip, chunked", 501),
    ("Transfer-Encoding: chunked, identity", 400),
    ("Transfer-Encoding: chunked, chunked", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", 400),
    ("Transfer-Encoding:", 400),
    ("Transfer-Encoding: , chunked", 400),
    ("Transfer-Encoding: chunked;q=1", 400),
    ("Transfer-Encoding: \"chunked\"", 400),
    ("Transfer-Encoding: 'chunked'", 400),
    ("Transfer-Encoding: chun\0ked", 400),
    ("Transfer-Encoding: \x0bchunked", 400),
    ("Transfer-Encoding: chunked\x0b", 400),
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding\t: chunked", 400),
    ("Transfer-Encoding", 400),
    ("Transfer-Encoding:\r\n chunked", 400),
    ("X: y\rTransfer-Encoding: chunked", 400),
    ("X: y\nTransfer-Encoding: chunked", 400),
    ("\u{a0}Transfer-Encoding: chunked", 400),
    // Bytes that end lines for some.
    ("X: a\rb", 400),
    ("X: a\nb", 400),
    ("X: a\0b", 400),
    ("X\0: a", 400),
    ("X: a\x7f", 400),
    ("X: a\r\n folded", 400),
    ("X: a\r\n\tfolded: b", 400),
    (" X: a", 400),
    ("X y: a", 400),
    (": a", 400),
    ("X", 400),
    // Whose request it is.
    ("Host: b", 400),
    ("host: a", 400),
];

/// Whole heads.
const WHOLE: &[(&str, u16)] = &[
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("POST http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("POST / HTTP/1.1\nHost: a\n\n", 400),
    ("POST / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
    ("POST /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST /\x0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("POST / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("POST / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", 505),
    ("POST /\r\n\r\n", 400),
    ("P(ST / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST \\ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
];

fn expect_refusal(gateway: &Gateway, request: &str, status: u16) {
    let mut client = gateway.connect();
    client.send(format!("{request}0\r\n\r\n{SMUGGLED}"));
    let answer = client.response();
    assert_eq!(answer.status(), status, "{}", request.escape_debug());
    answer.code();
    assert_eq!(answer.head.get("connection"), Some("close"), "{}", request.escape_debug());
    let rest = client.rest();
    assert!(rest.is_empty(), "{}: {}", request.escape_debug(), rest.escape_ascii());
}

fn an_ambiguous_head_is_refused_and_the_origin_sees_nothing(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for (lines, status) in HEADS {
        expect_refusal(&gateway, &format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"), *status);
    }
    for (request, status) in WHOLE {
        expect_refusal(&gateway, request, *status);
    }
    origin.expect_no_connection();
}

fn an_ambiguous_chunk_ends_the_exchange_before_it_is_whole(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n folded\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n00x\r\n\r\n",
    ] {
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"));
        let answer = client.response();
        assert_eq!(answer.status(), 400, "{}", body.escape_debug());
        answer.code();
        client.expect_end();
        let seen = origin.accept().rest();
        assert!(!seen.ends_with(b"0\r\n\r\n"), "{}: {}", body.escape_debug(), seen.escape_ascii());
        assert!(!seen.windows(8).any(|part| part == b"smuggled"), "{}", seen.escape_ascii());
    }
    origin.expect_no_connection();
}

fn what_follows_a_refused_request_is_never_a_request(engine: Engine) {
    let hello = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                 [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";
    let gateway = Config::new(engine).more(hello).start();
    let mut client = gateway.connect();
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(client.response().status(), 400);
    client.expect_end();
}

fn nothing_can_be_smuggled_behind_a_length(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).start();
    let mut client = gateway.connect();
    // The body looks like a request, and the chunk like an end: neither is.
    let body = format!("0\r\n\r\n{SMUGGLED}");
    client.send(format!("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!((request.head.line.as_str(), request.text()), ("POST /1 HTTP/1.1", body.as_str()));
    upstream.answer("1");
    assert_eq!(client.response().text(), "1");
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /2 HTTP/1.1");
}

fn nothing_can_be_smuggled_behind_a_chunked_body(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n", SMUGGLED.len());
    client.send(format!("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunKed\r\n\r\n{chunk}000;x=y\r\n\r\n"));
    let mut upstream = origin.accept();
    let request = upstream.request();
    // What the origin gets is written anew: one spelling of the coding, no extension.
    assert_eq!(request.head.get("transfer-encoding"), Some("chunked"));
    assert_eq!((request.head.line.as_str(), request.text()), ("POST /1 HTTP/1.1", SMUGGLED));
    upstream.answer("1");
    assert_eq!(client.response().text(), "1");
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET /2 HTTP/1.1");
}

/// The decoder must never see a byte twice: a chunk that is refused in its middle, decoded again from its start, would
/// have its own data taken for chunk framing, and what stands there for a request.
fn nothing_can_be_smuggled_in_a_chunk_over_the_limit(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("body = \"1KiB\"").start();
    for missing in [1usize, 16, 500, 2000] {
        let mut data = "x".repeat(missing);
        data.push_str("\r\n0\r\n\r\n");
        data.push_str(SMUGGLED);
        data.push_str(&"y".repeat(4096 - missing - data.len()));
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{data}"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (413, "body_too_large"));
        assert_eq!(answer.head.get("connection"), Some("close"));
        client.expect_end();
    }
}
