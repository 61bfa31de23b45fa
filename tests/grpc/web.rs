//! gRPC-Web before a server of gRPC: both forms, over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::{before, call, server};
use crate::support::{Config, Engine, Gateway, Message, Origin, on_both_engines};

on_both_engines!(
    a_call_becomes_one_of_grpc_and_its_answer_one_of_the_web,
    a_stream_of_answers_comes_as_it_is_made,
    clients_of_http2_are_served_too,
    what_a_client_sends_is_checked,
    what_a_server_sends_is_checked,
    other_requests_are_left_alone,
    a_call_that_fails_is_made_again,
);

const ROUTE: &str = "grpc = { web = true, max_message = \"64KiB\" }";
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A frame.
fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
    [&[flags][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// Base64 with its padding.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let group = |group: &[u8]| {
        let at = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digit =
            |place: usize| if place <= group.len() { DIGITS[(bits >> (18 - 6 * place) & 63) as usize] } else { b'=' };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// Any number of pieces of base64, each with its padding.
fn decode(text: &[u8]) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0, "{}", text.escape_ascii());
    let group = |group: &[u8]| {
        let value = |digit: &u8| DIGITS.iter().position(|known| known == digit).unwrap_or(0) as u32;
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | value(digit));
        let len = 3 - group.iter().rev().take_while(|digit| **digit == b'=').count();
        bits.to_be_bytes()[1..=len].to_vec()
    };
    text.chunks(4).flat_map(group).collect()
}

/// The messages of an answer, and its trailers.
fn read(mut bytes: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut messages = Vec::new();
    loop {
        let len = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let payload = bytes[5..5 + len].to_vec();
        if bytes[0] == 0x80 {
            assert_eq!(bytes.len(), 5 + len, "something follows the trailers");
            return (messages, String::from_utf8(payload).unwrap());
        }
        assert_eq!(bytes[0], 0);
        messages.push(payload);
        bytes = &bytes[5 + len..];
    }
}

fn request(method: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /test.Calls/{method} HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn ask(gateway: &Gateway, fields: &str, method: &str, body: &[u8]) -> Message {
    let mut client = gateway.connect();
    client.send(request(method, fields, body));
    let answer = client.response();
    assert!(answer.trailers.is_empty(), "{:?}", answer.trailers);
    answer
}

const BINARY: &str = "Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1";
const TEXT: &str = "Content-Type: application/grpc-web-text+proto\r\nX-Grpc-Web: 1";

fn a_call_becomes_one_of_grpc_and_its_answer_one_of_the_web(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route(ROUTE).start();
    let accept = |kind: &str| format!("\r\nAccept: application/json, application/grpc-web{kind}");
    for (fields, is_text, answers_text) in [
        (BINARY.to_owned(), false, false),
        (TEXT.to_owned(), true, true),
        (BINARY.to_owned() + &accept("-text"), false, true),
        (TEXT.to_owned() + &accept("+proto"), true, false),
    ] {
        for payload in [&b""[..], b"a", b"hello", &vec![7; 60_000]] {
            let mut body = frame(0, payload);
            if is_text {
                // Padding may come anywhere.
                body = [encode(&body[..4]), encode(&body[4..])].concat();
            }
            let answer = ask(&gateway, &fields, "Echo", &body);
            let kind = if answers_text { "application/grpc-web-text" } else { "application/grpc-web" };
            assert_eq!((answer.status(), answer.head.get("content-type")), (200, Some(kind)), "{:?}", answer.head);
            let bytes = if answers_text { decode(&answer.body) } else { answer.body };
            let (messages, trailers) = read(&bytes);
            assert_eq!(messages, [payload]);
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
        }
    }
    // Metadata both ways; those of trailers are in the frame.
    let answer = ask(
        &gateway,
        &format!("{BINARY}\r\nX-Text: a b\r\nX-Raw-Bin: AP4\r\nGrpc-Timeout: 20S"),
        "Meta",
        &frame(0, b""),
    );
    let (messages, trailers) = read(&answer.body);
    let told: serde_json::Value = serde_json::from_slice(&messages[0]).unwrap();
    assert_eq!((told["x-text"].as_str(), told["x-raw-bin"].as_str()), (Some("a b"), Some("00fe")), "{told}");
    assert!(told["remaining"].as_f64().is_some_and(|left| left <= 21.0), "{told}");
    assert_eq!((answer.head.get("x-first"), answer.head.get("x-last")), (Some("1"), None));
    assert!(trailers.contains("x-last: 2\r\n"), "{trailers}");
    // A call that fails before it answers says so in its head, as a call of gRPC does.
    let answer = ask(&gateway, BINARY, "None", &frame(0, b""));
    assert_eq!((answer.status(), answer.head.get("grpc-status"), answer.body.len()), (200, Some("12"), 0));
    assert_eq!(answer.head.get("content-type"), Some("application/grpc-web"));
}

fn a_stream_of_answers_comes_as_it_is_made(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route(ROUTE).start();
    let plan = |more: &str| frame(0, format!("{{\"messages\": 100, \"size\": 50 {more}}}").as_bytes());
    for (fields, is_text) in [(BINARY, false), (TEXT, true)] {
        let body = |plan: Vec<u8>| if is_text { encode(&plan) } else { plan };
        let bytes = |answer: Message| if is_text { decode(&answer.body) } else { answer.body };
        let (messages, trailers) = read(&bytes(ask(&gateway, fields, "Count", &body(plan("")))));
        assert_eq!((messages.len(), &messages[99][..3]), (100, &b"99x"[..]));
        assert!(trailers.contains("grpc-status: 0\r\n"));
        let (messages, trailers) = read(&bytes(ask(&gateway, fields, "Count", &body(plan(", \"code\": 9")))));
        assert_eq!(messages.len(), 100);
        assert!(trailers.contains("grpc-status: 9\r\n") && trailers.contains("at the end"), "{trailers}");
        // What is there is not kept back for what comes later; when the time is up that is said in the frame.
        let name = if is_text { "hung-text" } else { "hung" };
        let mut client = gateway.connect();
        let hangs = body(plan(&format!(", \"hangs\": \"{name}\"")));
        client.send(request("Count", &format!("{fields}\r\nGrpc-Timeout: 700m"), &hangs));
        let (messages, trailers) = read(&bytes(client.response()));
        assert_eq!(messages.len(), 100);
        // The gateway says so, or the server: both count.
        assert!(trailers.contains("grpc-status: 4\r\n"), "{trailers}");
        call(gateway.address, &[], &format!("assert unary('WaitCancelled', b'{name}') == b'1'"));
    }
}

/// What curl gets over HTTP/2.
fn curl(address: SocketAddr, method: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut child = Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "--max-time", "20", "--data-binary", "@-"])
        .args(["-H", &format!("content-type: {kind}"), &format!("http://{address}/test.Calls/{method}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), body).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    out.stdout
}

fn clients_of_http2_are_served_too(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route(ROUTE).start();
    for payload in [&b"hello"[..], &vec![9; 50_000]] {
        let (messages, trailers) =
            read(&curl(gateway.address, "Echo", "application/grpc-web+proto", &frame(0, payload)));
        assert_eq!((&messages[..], trailers.contains("grpc-status: 0")), (&[payload.to_vec()][..], true));
        let text = curl(gateway.address, "Echo", "application/grpc-web-text", &encode(&frame(0, payload)));
        let (messages, trailers) = read(&decode(&text));
        assert_eq!((&messages[..], trailers.contains("grpc-status: 0")), (&[payload.to_vec()][..], true));
    }
}

fn what_a_client_sends_is_checked(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route(ROUTE).start();
    let large = frame(0, &vec![0; 65_537]);
    for (fields, body, status, code) in [
        (BINARY, &b"\x80\0\0\0\0"[..], "13", "grpc_unknown_flag"),
        (BINARY, b"\x02\0\0\0\0", "13", "grpc_unknown_flag"),
        (BINARY, &large, "8", "grpc_message_too_large"),
        (BINARY, b"\0\0\0\0\x05hell", "13", "grpc_truncated"),
        (BINARY, b"\0\0", "13", "grpc_truncated"),
        (TEXT, b"AAAA*AFh", "13", "grpc_bad_base64"),
        (TEXT, b"AAAAAAF", "13", "grpc_bad_base64"),
        (TEXT, b"AAAAAAJh", "13", "grpc_truncated"),
        (TEXT, b"gAAAAAA=", "13", "grpc_unknown_flag"),
    ] {
        let answer = ask(&gateway, fields, "Echo", body);
        let said = (answer.status(), answer.head.get("grpc-status"));
        assert_eq!(said, (200, Some(status)), "{code}: {:?}", answer.head);
        assert!(answer.head.get("grpc-message").unwrap().contains(code), "{code}: {:?}", answer.head);
        // The same in chunks.
        let mut client = gateway.connect();
        let head =
            format!("POST /test.Calls/Echo HTTP/1.1\r\nHost: a\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(head);
        for piece in body.chunks(20_000) {
            client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().head.get("grpc-status"), Some(status), "{code}");
    }
}

/// A call that an origin answers, which the test itself drives.
fn answered(gateway: &Gateway, origin: &Origin, fields: &str, answer: &[u8]) -> (Message, Vec<u8>) {
    let mut client = gateway.connect();
    client.send(request("Echo", &format!("{fields}\r\nConnection: close"), &frame(0, b"x")));
    let mut upstream = origin.accept();
    let asked = upstream.request();
    assert_eq!(
        (asked.head.get("content-type"), asked.head.get("te")),
        (Some("application/grpc+proto"), Some("trailers"))
    );
    upstream.send([b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\n", answer].concat());
    let head = client.head();
    drop(upstream);
    (Message { head, ..Message::default() }, client.rest())
}

fn what_a_server_sends_is_checked(engine: Engine) {
    // An upstream of HTTP/1.1 can be driven by hand. A check of the config wants HTTP/2, but a fallback is not asked for it.
    let origin = Origin::listen();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Config::new(engine)
        .endpoint(free)
        .upstream("protocol = \"h2\"\nbreaker = { of = \"upstream\", consecutive_failures = 1, fallback = \"other\" }\nretry = { attempts = 1 }")
        .route(ROUTE)
        .more(&format!("[upstream.other]\nendpoints = \"{}\"\n", origin.address))
        .start();
    // The first call opens the breaker.
    assert_eq!(ask(&gateway, BINARY, "Echo", &frame(0, b"")).head.get("grpc-status"), Some("14"));
    let chunked = |data: &[u8], end: &str| {
        let head = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", data.len());
        [head.as_bytes(), data, b"\r\n", end.as_bytes()].concat()
    };
    const TRAILERS: &str = "0\r\ngrpc-status: 0\r\n\r\n";
    for (answer, status) in [
        (chunked(&frame(0, b"well"), TRAILERS), Some("grpc-status: 0\r\n")),
        // What would be taken for trailers.
        (
            chunked(&[frame(0, b"well"), frame(0x80, b"grpc-status: 0\r\n")].concat(), TRAILERS),
            Some("grpc-status: 14\r\n"),
        ),
        (chunked(&frame(4, b""), TRAILERS), Some("grpc-status: 14\r\n")),
        // Inside a message nothing can be said.
        (chunked(&frame(0, b"well")[..6], TRAILERS), None),
        (chunked(&frame(0, &vec![0; 65_537]), TRAILERS), None),
    ] {
        let (head, rest) = answered(&gateway, &origin, BINARY, &answer);
        assert_eq!(head.head.status(), 200);
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert_eq!(rest.ends_with("0\r\n\r\n"), status.is_some(), "{rest:?}");
        assert_eq!(rest.matches("grpc-status").count(), usize::from(status.is_some()), "{rest:?}");
        assert!(status.is_none_or(|status| rest.contains(status)), "{rest:?}");
    }
    // A server that says nothing of its status.
    let nothing =
        [chunked(&frame(0, b"well"), "0\r\n\r\n"), [b"Content-Length: 9\r\n\r\n", &frame(0, b"well")[..]].concat()];
    for answer in nothing {
        let (head, rest) = answered(&gateway, &origin, BINARY, &answer);
        assert_eq!(head.head.get("content-type"), Some("application/grpc-web+proto"));
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains("grpc-status: 2\r\ngrpc-message: the upstream sent no status\r\n"), "{rest:?}");
        assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    }
    // What is none of gRPC goes on as it is.
    let mut client = gateway.connect();
    client.send(request("Echo", BINARY, &frame(0, b"x")));
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ngone");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text(), answer.head.get("content-type")), (503, "gone", Some("text/plain")));
}

fn other_requests_are_left_alone(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).route(ROUTE).start();
    // gRPC itself, without the limit on messages.
    call(gateway.address, &[], "assert unary('Echo', b'x' * 100_000) == b'x' * 100_000");
    // Without the key nothing is translated.
    let origin = Origin::listen();
    for (engine_config, method, fields) in [
        (Config::new(engine).origin(&origin), "POST", TEXT),
        (
            Config::new(engine).origin(&origin),
            "OPTIONS",
            "Origin: https://a.test\r\nAccess-Control-Request-Method: POST",
        ),
    ] {
        let gateway = engine_config.start();
        let mut client = gateway.connect();
        let body = if method == "POST" { "AAAA" } else { "" };
        client.send(format!(
            "{method} /a HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut upstream = origin.accept();
        let asked = upstream.request();
        assert_eq!(asked.text(), body);
        assert_eq!(asked.head.get("content-type").is_some_and(|kind| kind.contains("web-text")), method == "POST");
        upstream.answer("as it is");
        assert_eq!(client.response().text(), "as it is");
    }
}

fn a_call_that_fails_is_made_again(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let retry = "retry = { attempts = 3, on = [\"unavailable\"], non_idempotent = true, backoff = \"1ms\" }";
    let gateway = before(engine, endpoint).upstream(retry).route(ROUTE).start();
    let plan = |key: &str| frame(0, format!("{{\"key\": \"{key}\", \"codes\": [14, 14]}}").as_bytes());
    let (messages, _) = read(&ask(&gateway, BINARY, "Fail", &plan("binary")).body);
    assert_eq!(messages, [b"[null, \"1\", \"2\"]"]);
    let (messages, _) = read(&decode(&ask(&gateway, TEXT, "Fail", &encode(&plan("text"))).body));
    assert_eq!(messages, [b"[null, \"1\", \"2\"]"]);
}
