//! Heads as the caller gets them: as text that HTTP/1.1 reads the same.

use super::driver::Driver;
use super::wire::{block, data, get, headers, request};
use super::*;
use crate::http1::{self, Framing, HeadScan, Known, Method, Progress, RequestHead, ResponseHead, TargetForm};

/// Hands a whole request over and gives its text.
fn request_text(driver: &mut Driver, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    driver.feed(&headers(1, end, &block(fields)));
    let seen = driver.seen.pop().expect("an event");
    assert!(matches!(seen.event, Event::Request { end: whole, .. } if whole == end), "{:?}", seen.event);
    seen.text
}

const ORDINARY: &[(&str, &str)] = &[
    (":path", "/users/7?full=1"),
    (":method", "GET"),
    (":authority", "api.example.com:8443"),
    (":scheme", "https"),
    ("cookie", "a=1"),
    ("accept", "*/*"),
    ("cookie", "b=2"),
    ("te", "trailers"),
    ("x-empty", ""),
];

#[test]
fn a_request_reads_as_its_text_does() {
    let mut driver = Driver::server(Config::default());
    let text = request_text(&mut driver, true, ORDINARY);
    assert_eq!(
        text.escape_ascii().to_string(),
        b"GET /users/7?full=1 HTTP/1.1\r\nhost: api.example.com:8443\r\naccept: */*\r\nte: trailers\r\nx-empty: \r\n\
          cookie: a=1; b=2\r\n\r\n"
            .escape_ascii()
            .to_string()
    );
    let head = &driver.request;
    let mut other = RequestHead::default();
    let progress = http1::decode_request(&text, &mut HeadScan::default(), &http1::Limits::default(), &mut other);
    assert_eq!(progress, Ok(Progress::Complete));
    assert_eq!(head.fields, other.fields);
    assert_eq!((head.method, head.method_span, head.target), (other.method, other.method_span, other.target));
    assert_eq!((head.host, head.len, head.framing), (other.host, other.len, other.framing));
    assert_eq!(head.target.path.of(&text), b"/users/7");
    assert_eq!(head.host.of(&text), b"api.example.com:8443");
    // TE is for this connection only.
    assert!(head.fields.iter().any(|field| field.known == Known::Te && field.hop_by_hop));
}

#[test]
fn framing_says_what_a_body_will_be() {
    let post = |more: &[(&'static str, &'static str)]| {
        let own = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        [&own[..], more].concat()
    };
    for (end, more, framing, waits) in [
        (true, &[][..], Framing::None, false),
        (false, &[][..], Framing::Chunked, false),
        (false, &[("content-length", "5")][..], Framing::Length(5), false),
        (true, &[("content-length", "0")][..], Framing::Length(0), false),
        (false, &[("expect", "100-continue")][..], Framing::Chunked, true),
        (true, &[("expect", "100-Continue")][..], Framing::None, false),
    ] {
        let mut driver = Driver::server(Config::default());
        request_text(&mut driver, end, &post(more));
        assert_eq!((driver.request.framing, driver.request.expect_continue), (framing, waits));
    }
}

#[test]
fn requests_that_are_too_much_are_refused_and_answered() {
    let long = "x".repeat(9000);
    let get = |more: &[(&'static str, &str)]| {
        let own = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        [&own[..], more].concat().iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let connect = vec![(":method".to_owned(), "CONNECT".to_owned()), (":authority".to_owned(), "a:80".to_owned())];
    let path = vec![
        (":method".to_owned(), "GET".to_owned()),
        (":scheme".to_owned(), "http".to_owned()),
        (":path".to_owned(), format!("/{long}")),
        (":authority".to_owned(), "a".to_owned()),
    ];
    let rows = [
        (get(&[("x", &long)]), HeadError::LineTooLong, 431),
        (get(&[("cookie", &long[..5000]), ("cookie", &long[..5000])]), HeadError::LineTooLong, 431),
        (get(&[("x", "y")].repeat(100)), HeadError::TooManyFields, 431),
        (get(&[("x", &long[..8000])].repeat(2).repeat(3)), HeadError::TooLarge, 431),
        (path, HeadError::TargetTooLong, 414),
        (connect, HeadError::Connect, 501),
        (get(&[("expect", "something")]), HeadError::Request(http1::RequestError::ExpectationFailed), 417),
    ];
    for (fields, error, status) in rows {
        let config =
            Config { frame: 1 << 17, limits: Limits { block: 1 << 17, ..Limits::default() }, ..Config::default() };
        let mut driver = Driver::server(config);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        driver.feed(&headers(1, false, &block(&fields)));
        let Event::Refused { stream, error: seen } = driver.seen[0].event else { panic!("{:?}", driver.seen) };
        assert_eq!((seen, seen.status()), (error, status));
        assert!(seen.is_answerable());
        // The body is dropped, the answer goes out, and the stream ends without an error.
        driver.feed(&data(1, false, b"body"));
        driver.answer(stream, b"sorry");
        assert_eq!(driver.seen.len(), 1);
        assert_eq!(driver.resets(), [(1, ErrorCode::NoError)]);
        assert_eq!(driver.connection().streams(), 0);
        assert!(driver.is_alive());
    }
}

#[test]
fn extended_connect_is_a_setting() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat?x"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ];
    let mut driver = Driver::server(Config { extended_connect: true, ..Config::default() });
    driver.feed(&headers(1, false, &block(&fields)));
    let seen = driver.seen.pop().unwrap();
    let Event::Request { protocol: Some(protocol), is_https: true, .. } = seen.event else { panic!("{seen:?}") };
    assert_eq!(protocol.of(&seen.text), b"websocket");
    assert_eq!((driver.request.method, driver.request.target.form), (Method::Connect, TargetForm::Origin));
    assert_eq!(driver.request.target.path.of(&seen.text), b"/chat");
    assert!(protocol.start as usize >= driver.request.len);

    // What it lacks or has too much makes it malformed.
    for (leave_out, change) in [
        (2, None),
        (3, None),
        (4, None),
        (9, Some((1, (":protocol", "web socket")))),
        (9, Some((0, (":method", "GET")))),
        (9, Some((5, ("content-length", "5")))),
        (9, Some((5, ("content-length", "0")))),
    ] {
        let mut fields: Vec<_> =
            fields.iter().enumerate().filter(|(at, _)| *at != leave_out).map(|(_, field)| *field).collect();
        if let Some((at, field)) = change {
            fields[at] = field;
        }
        let mut driver = Driver::server(Config { extended_connect: true, ..Config::default() });
        driver.feed(&headers(1, false, &block(&fields)));
        assert_eq!(driver.resets(), [(1, ErrorCode::ProtocolError)], "{fields:?}");
    }
}

#[test]
fn trailers_are_what_http1_makes_of_them() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, false, &request("POST", &[])));
    driver.feed(&data(1, false, b"body"));
    driver.feed(&headers(1, true, &block(&[("x-sum", "1"), ("content-length", "3"), ("x-more", "2")])));
    let seen = driver.seen.last().unwrap();
    let Event::Trailers { trailers, .. } = seen.event else { panic!("{seen:?}") };
    // Those that a message is framed or routed by have no business there.
    let fields: Vec<_> = trailers.iter(&seen.text).collect();
    assert_eq!(fields, [(&b"x-sum"[..], &b"1"[..]), (b"x-more", b"2")]);
}

#[test]
fn a_response_reads_as_its_text_does() {
    let mut driver = Driver::client(Config::default());
    let line = RequestLine { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
    let now = driver.now;
    let mut out = Vec::new();
    if let driver::Machine::Client(client) = &mut driver.machine {
        client.request(&line, std::iter::empty(), true, now, &mut out).unwrap();
    }
    driver.feed(&headers(1, false, &block(&[(":status", "103"), ("link", "</a>")])));
    assert!(driver.response.is_interim());
    driver.feed(&headers(
        1,
        false,
        &block(&[(":status", "404"), ("content-length", "2"), ("set-cookie", "a"), ("set-cookie", "b")]),
    ));
    let text = driver.seen.last().unwrap().text.clone();
    assert_eq!(text, b"HTTP/1.1 404 \r\ncontent-length: 2\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n");
    let mut other = ResponseHead::default();
    let limits = http1::Limits::default();
    let progress = http1::decode_response(&text, &mut HeadScan::default(), &limits, Method::Get, &mut other);
    assert_eq!(progress, Ok(Progress::Complete));
    assert_eq!((driver.response.status, driver.response.framing), (other.status, other.framing));
    assert_eq!(driver.response.fields, other.fields);
}

#[test]
fn the_priority_of_a_request_is_known() {
    let mut driver = Driver::server(Config::default());
    let update = |id: u8, value: &str| wire::frame(0x10, 0, 0, &[&[0, 0, 0, id][..], value.as_bytes()].concat());
    driver.feed(&update(5, "u=0"));
    driver.feed(&headers(1, true, &get(&[("priority", "u=1, i")])));
    driver.feed(&headers(5, true, &get(&[("priority", "u=7")])));
    driver.feed(&headers(7, true, &get(&[])));
    driver.feed(&update(7, "i"));
    let priorities = [1, 5, 7].map(|id| {
        let stream = driver.stream(id);
        let priority = driver.connection().priority(stream);
        (priority.urgency, priority.is_incremental)
    });
    assert_eq!(priorities, [(1, true), (0, false), (3, true)]);
}

#[test]
fn every_fault_has_a_code_of_its_own() {
    let mut codes: Vec<_> = Fault::all().filter(|fault| !matches!(fault, Fault::Head(_))).map(Fault::code).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count);
    for fault in Fault::all() {
        assert!(fault.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        assert!(!fault.to_string().is_empty());
    }
    for number in 0..20 {
        assert_eq!(ErrorCode::from_u32(number).to_u32(), number);
    }
}

#[test]
fn the_start_of_a_connection_tells_its_protocol() {
    let whole = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(preface(&whole[..end]), Preface::Partial);
    }
    assert_eq!(preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Preface::Http2);
    for other in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSN", b"PUT", b"\x16\x03\x01"] {
        assert_eq!(preface(other), Preface::Other);
    }
}
