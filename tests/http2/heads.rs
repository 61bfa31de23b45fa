//! What becomes of heads on their way to the origin and back.

use crate::support::frames::{Http2, request};
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_request_reaches_the_origin_as_http_1,
    cookies_are_joined,
    a_host_that_differs_from_the_authority_is_refused,
    what_would_be_read_in_two_ways_never_reaches_the_origin,
    a_head_that_is_too_large_is_answered,
    fields_of_a_connection_stop_at_the_gateway,
    interim_answers_and_trailers_reach_the_client,
    trailers_reach_the_origin,
    the_access_log_says_which_version_it_was,
);

fn a_request_reaches_the_origin_as_http_1(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("GET", "/a?b=c", &[("accept", "*/*"), ("te", "trailers"), ("priority", "u=1")]), true);
    let mut upstream = origin.accept();
    let head = upstream.request().head;
    assert_eq!(head.line, "GET /a?b=c HTTP/1.1");
    assert_eq!((head.get("host"), head.get("accept")), (Some("test"), Some("*/*")));
    assert_eq!((head.get("te"), head.get("connection")), (Some("trailers"), Some("te")));
    assert_eq!((head.get("via"), head.get("x-forwarded-for")), (Some("2 ringway"), Some("127.0.0.1")));
    assert!(!head.has("content-length") && !head.has("transfer-encoding"), "{head:?}");
    upstream.send("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-One: 1\r\nX-One: 2\r\nKeep-Alive: x\r\n\r\nhello");
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.text()), (200, "hello"));
    let names: Vec<&str> = answer.heads[0].iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, [":status", "content-length", "x-one", "x-one", "date", "via"]);
    // The next stream takes the same ways.
    client.head(3, &request("POST", "/", &[("content-length", "3")]), false).data(3, b"abc", true);
    let second = upstream.request();
    assert_eq!((second.head.get("content-length"), &*second.body), (Some("3"), &b"abc"[..]));
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    let answer = client.answer(3);
    assert_eq!((answer.status(), answer.body.len(), answer.heads.len()), (204, 0, 1));
    client.head(5, &request("HEAD", "/", &[]), true);
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    let answer = client.answer(5);
    assert_eq!((answer.get("content-length"), answer.body.len()), (Some("100"), 0));
}

fn cookies_are_joined(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("GET", "/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]), true);
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.get("cookie"), Some("a=1; b=2"));
    upstream.answer("x");
    assert_eq!(client.answer(1).text(), "x");
}

const PROTOCOL_ERROR: Option<u32> = Some(1);

fn a_host_that_differs_from_the_authority_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("GET", "/", &[("host", "other")]), true);
    assert_eq!(client.answer(1).reset, PROTOCOL_ERROR);
    origin.expect_no_connection();
    client.head(3, &request("GET", "/", &[("host", "test")]), true);
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.get("host"), Some("test"));
    upstream.answer("x");
    assert_eq!(client.answer(3).status(), 200);
}

fn what_would_be_read_in_two_ways_never_reaches_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    let with = |field: (&'static str, &'static str)| request("GET", "/", &[field]);
    let without = |name: &str| -> Vec<(&'static str, &'static str)> {
        request("GET", "/", &[]).into_iter().filter(|(is, _)| *is != name).collect()
    };
    let bad: Vec<Vec<(&str, &str)>> = vec![
        with(("x", "a\r\nHost: evil")),
        with(("x", "a\0")),
        with(("x\r\ny", "a")),
        with(("x: y", "a")),
        with(("X", "a")),
        with(("x", " a")),
        with(("connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "websocket")),
        with(("te", "gzip")),
        with(("content-length", "1")),
        with(("content-length", "-1")),
        with((":method", "POST")),
        with((":unknown", "a")),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y"), (":authority", "test")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "x"), (":authority", "test")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "te st")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a@test")],
        vec![(":method", "G ET"), (":scheme", "http"), (":path", "/"), (":authority", "test")],
        vec![(":method", "GET"), (":scheme", "ftp"), (":path", "/"), (":authority", "test")],
        without(":method"),
        without(":path"),
        without(":scheme"),
        without(":authority"),
    ];
    let mut stream = 1;
    for fields in bad {
        client.head(stream, &fields, true);
        assert_eq!(client.answer(stream).reset, PROTOCOL_ERROR, "{fields:?}");
        stream += 2;
    }
    origin.expect_no_connection();
    // Less and more data than was stated.
    for data in [&b"a"[..], b"abc"] {
        client.head(stream, &request("POST", "/", &[("content-length", "2")]), false).data(stream, data, true);
        assert_eq!(client.answer(stream).reset, PROTOCOL_ERROR);
        stream += 2;
    }
    client.ask(stream, "/");
    // The bodies that broke off may have opened connections.
    let answered = std::thread::spawn(move || {
        loop {
            let mut upstream = origin.accept();
            let mut bytes = Vec::new();
            while upstream.take_some(&mut bytes) && !bytes.ends_with(b"\r\n\r\n") {}
            if bytes.starts_with(b"GET / ") {
                upstream.answer("well");
                return;
            }
            assert!(!bytes.windows(5).any(|window| window == b"abc\r\n"), "{}", bytes.escape_ascii());
        }
    });
    assert_eq!(client.answer(stream).text(), "well");
    answered.join().unwrap();
}

fn a_head_that_is_too_large_is_answered(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    let many: Vec<String> = (0..101).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "y")).collect();
    client.head(1, &request("GET", "/", &many), true);
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.get("content-type")), (431, Some("application/problem+json")));
    assert!(answer.text().contains("\"too_many_fields\""), "{}", answer.text());
    client.head(3, &[(":method", "CONNECT"), (":authority", "test")], true);
    assert_eq!(client.answer(3).status(), 501);
    origin.expect_no_connection();
}

fn fields_of_a_connection_stop_at_the_gateway(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.ask(1, "/");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Theirs\r\nX-Theirs: 1\r\nProxy-Connection: a\r\nTransfer-Encoding: chunked\r\n\
         \r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let answer = client.answer(1);
    assert_eq!(answer.text(), "abc");
    for name in ["connection", "x-theirs", "proxy-connection", "transfer-encoding"] {
        assert_eq!(answer.get(name), None, "{name}");
    }
}

fn interim_answers_and_trailers_reach_the_client(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.ask(1, "/");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.get("link"), answer.text()), (103, Some("</a>"), "hi"));
    assert_eq!(answer.heads[1][0], (":status".to_owned(), "200".to_owned()));
    assert_eq!(answer.heads[2], [("x-sum".to_owned(), "7".to_owned())]);
}

fn trailers_reach_the_origin(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = Http2::connect(gateway.address);
    client.head(1, &request("POST", "/", &[]), false).data(1, b"one", false).data(1, b"two", false);
    client.head(1, &[("x-sum", "6")], true);
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!((&*request.body, request.trailers), (&b"onetwo"[..], vec![("x-sum".to_owned(), "6".to_owned())]));
    upstream.answer("done");
    assert_eq!(client.answer(1).text(), "done");
}

fn the_access_log_says_which_version_it_was(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let log = format!("[access_log]\nto = \"{}\"\n{}", file.display(), super::HELLO);
    let gateway = Config::new(engine).more(&log).start();
    assert_eq!(Http2::connect(gateway.address).get(1, "/hello").text(), "hello");
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    gateway.stop();
    let text = std::fs::read_to_string(file).unwrap();
    let versions: Vec<_> = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    let version = |at: usize| versions[at]["version"].as_str();
    assert_eq!((version(0), version(1), versions.len()), (Some("HTTP/2"), Some("HTTP/1.1"), 2));
}

#[test]
fn a_listener_may_refuse_it() {
    let config = Config::new(Engine::Ring).listener("http2 = { enabled = false }");
    let gateway = config.origin(&Origin::listen()).start();
    let mut client = gateway.connect();
    client.send(crate::support::frames::PREFACE);
    assert_eq!(client.response().status(), 505);
}
