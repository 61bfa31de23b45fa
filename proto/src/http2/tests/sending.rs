//! What is sent, and in which order.

use super::driver::{Driver, Machine};
use super::wire::{self, Sent, data, get, headers, request, settings, settings_ack, window};
use super::*;
use crate::hpack::{Block, Decoder};

/// The fields that a header block stands for.
fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
    let (mut text, mut reader, mut fields) = (Vec::new(), Block::new(block, 1 << 20), Vec::new());
    while let Some(field) = decoder.next(&mut reader, &mut text).unwrap() {
        let part = |span: crate::http1::Span| String::from_utf8(span.of(&text).to_vec()).unwrap();
        fields.push((part(field.name), part(field.value)));
    }
    fields
}

fn client(config: Config) -> Box<Client> {
    let Machine::Client(client) = Driver::client(config).machine else { unreachable!() };
    client
}

const LINE: RequestLine<'_> =
    RequestLine { method: b"POST", scheme: b"https", authority: b"a", path: b"/b", protocol: None };

#[test]
fn what_speaks_of_a_connection_is_left_out_and_names_are_lowered() {
    let given = [
        ("Host", "other"),
        ("Connection", "keep-alive, x-a"),
        ("Keep-Alive", "5"),
        ("Proxy-Connection", "x"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("TE", "deflate"),
        ("te", "trailers"),
        ("Accept", "*/*"),
    ];
    let given = given.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut out = Vec::new();
    let now = std::time::Duration::ZERO;
    client(Config::default()).request(&LINE, given.clone(), true, now, &mut out).unwrap();
    let sent = wire::frames(&out).pop().unwrap();
    assert_eq!((sent.kind, sent.flags, sent.stream), (1, 5, 1));
    let expected = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/b"),
        ("te", "trailers"),
        ("accept", "*/*"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields(&mut Decoder::new(4096), &sent.payload), expected);

    // A response has no TE, and its Host is nobody's business.
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, true, &get(&[])));
    let (stream, now) = (driver.stream(1), driver.now);
    let Machine::Server(server) = &mut driver.machine else { unreachable!() };
    let mut out = Vec::new();
    server.respond(stream, 103, std::iter::empty(), false, now, &mut out).unwrap();
    server.respond(stream, 404, given, true, now, &mut out).unwrap();
    assert_eq!(server.respond(stream, 200, std::iter::empty(), true, now, &mut out), Err(SendError::Ended));
    let sent = wire::frames(&out);
    let mut decoder = Decoder::new(4096);
    assert_eq!((sent[0].flags, fields(&mut decoder, &sent[0].payload)), (4, vec![(":status".into(), "103".into())]));
    let names: Vec<_> = fields(&mut decoder, &sent[1].payload).into_iter().map(|(name, _)| name).collect();
    assert_eq!((sent[1].flags, names), (5, vec![":status".to_owned(), "host".to_owned(), "accept".to_owned()]));
}

#[test]
fn a_long_head_goes_in_several_frames_and_one_too_long_does_not_go() {
    let long = "~".repeat(30_000);
    let given = [(&b"x"[..], long.as_bytes())];
    let mut out = Vec::new();
    let mut client = client(Config::default());
    let now = std::time::Duration::ZERO;
    client.request(&LINE, given.into_iter(), true, now, &mut out).unwrap();
    let sent = wire::frames(&out);
    let shape: Vec<_> = sent.iter().map(|frame| (frame.kind, frame.flags, frame.payload.len() <= 16_384)).collect();
    assert_eq!(shape, [(1, 1, true), (9, 4, true)]);
    let block: Vec<u8> = sent.into_iter().flat_map(|frame| frame.payload).collect();
    assert_eq!(fields(&mut Decoder::new(4096), &block).pop(), Some(("x".to_owned(), long.clone())));

    let mut driver = Driver::client(Config::default());
    driver.feed(&settings(&[(6, 20_000)]));
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    let mut out = Vec::new();
    assert_eq!(client.request(&LINE, given.into_iter(), true, now, &mut out), Err(SendError::TooLarge));
    assert_eq!((out.len(), client.streams()), (0, 0));
}

#[test]
fn a_client_opens_no_more_streams_than_allowed() {
    let mut driver = Driver::client(Config::default());
    driver.feed(&settings(&[(3, 2)]));
    let now = driver.now;
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    let mut ask = || client.request(&LINE, std::iter::empty(), true, now, &mut Vec::new()).map(Stream::id);
    assert_eq!([ask(), ask(), ask()], [Ok(1), Ok(3), Err(SendError::NoStream)]);
    driver.feed(&headers(1, true, &wire::block(&[(":status", "200")])));
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    assert!(client.can_open() && !client.has_extended_connect());
    driver.feed(&settings(&[(8, 1)]));
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    assert!(client.has_extended_connect());
    client.drain(now);
    assert!(!client.can_open());
}

#[test]
fn data_takes_turns_by_priority() {
    let mut driver = Driver::server(Config { frame_sent: 10, ..Config::default() });
    for (id, priority) in [(1, "u=5"), (3, "u=3, i"), (5, "u=3, i"), (7, "u=1")] {
        driver.feed(&headers(id, true, &get(&[("priority", priority)])));
        let (stream, now) = (driver.stream(id), driver.now);
        let Machine::Server(server) = &mut driver.machine else { unreachable!() };
        server.respond(stream, 200, std::iter::empty(), false, now, &mut Vec::new()).unwrap();
        server.wants(stream, true, now);
    }
    let now = driver.now;
    let mut left = [0, 20, 0, 20, 0, 20, 0, 20];
    let mut turns = Vec::new();
    while let Some(stream) = driver.connection().turn() {
        let rest = &mut left[stream.id() as usize];
        *rest -= driver.connection().data(stream, *rest, true, now, &mut Vec::new()).unwrap();
        turns.push(stream.id());
    }
    assert_eq!(turns, [7, 7, 3, 5, 3, 5, 1, 1]);
    assert_eq!(driver.connection().streams(), 0);
}

#[test]
fn windows_are_kept_and_opened_as_data_is_taken() {
    let config = Config { stream_window: 100_000, connection_window: 150_000, ..Config::default() };
    let mut driver = Driver::fresh_server(config);
    driver.takes = false;
    driver.feed(&[frame::PREFACE, &settings(&[])].concat());
    let sent = driver.sent();
    // Settings, the rest of the connection's window, the acknowledgement.
    assert_eq!(sent.iter().map(|frame| (frame.kind, frame.flags)).collect::<Vec<_>>(), [(4, 0), (8, 0), (4, 1)]);
    assert_eq!(sent[1].number(0), 150_000 - 65_535);
    driver.feed(&headers(1, false, &request("POST", &[])));
    // Only the acknowledgement makes the window of streams larger.
    driver.feed(&settings_ack());
    driver.forget();
    driver.feed(&data(1, false, &[0; 10_000]).repeat(10));
    assert_eq!((driver.error, driver.resets()), (None, vec![]));
    let (stream, now) = (driver.stream(1), driver.now + std::time::Duration::from_mins(1));
    let updates = |driver: &mut Driver| -> Vec<(u32, u32)> {
        let sent = driver.sent();
        driver.out.clear();
        sent.iter().filter(|frame| frame.kind == 8).map(|frame: &Sent| (frame.stream, frame.number(0))).collect()
    };
    driver.connection().consumed(stream, 49_999, now);
    assert_eq!(updates(&mut driver), []);
    driver.connection().consumed(stream, 1, now);
    assert_eq!(updates(&mut driver), [(1, 50_000)]);
    // Nobody can give back more than came; what the stream holds at its end goes back to the connection.
    driver.connection().consumed(stream, 20_000, now);
    driver.connection().reset(stream, ErrorCode::Cancel, now);
    assert_eq!(updates(&mut driver), [(0, 100_000)]);
    driver.connection().consumed(stream, 50_000, now);
    assert_eq!(updates(&mut driver), []);
}

#[test]
fn data_keeps_to_both_windows_and_to_frames() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, true, &get(&[])));
    let (stream, now) = (driver.stream(1), driver.now);
    let Machine::Server(server) = &mut driver.machine else { unreachable!() };
    assert_eq!(server.data(stream, 10, false, now, &mut Vec::new()), None, "before the head");
    server.respond(stream, 200, std::iter::empty(), false, now, &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    let lens: Vec<_> = (0..5).map(|_| server.data(stream, 100_000, true, now, &mut out)).collect();
    assert_eq!(lens, [Some(16_384), Some(16_384), Some(16_384), Some(16_383), None]);
    assert_eq!(server.turn(), None);
    driver.feed(&window(0, 10));
    assert_eq!((driver.connection().window(stream), driver.connection().turn()), (0, None));
    driver.feed(&window(1, 20));
    assert_eq!((driver.connection().window(stream), driver.connection().turn()), (10, Some(stream)));
    let Machine::Server(server) = &mut driver.machine else { unreachable!() };
    assert_eq!(server.data(stream, 10, true, now, &mut out), Some(10));
    assert_eq!(out[out.len() - 9 + 4], 1, "the last frame ends the stream");
    assert!(!server.is_open(stream));
    assert_eq!(server.trailers(stream, std::iter::empty(), now, &mut out), Err(SendError::Ended));
}

#[test]
fn acknowledgements_go_out_before_what_they_allow() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, true, &get(&[])));
    driver.forget();
    let now = driver.now;
    let stream = driver.stream(1);
    let Machine::Server(server) = &mut driver.machine else { unreachable!() };
    let (mut head, mut text) = (crate::http1::RequestHead::default(), Vec::new());
    server.receive(&settings(&[(1, 100), (4, 1 << 20)]), now, &mut head, &mut text).unwrap();
    assert!(server.has_output());
    let mut out = Vec::new();
    server.respond(stream, 200, std::iter::empty(), true, now, &mut out).unwrap();
    let sent = wire::frames(&out);
    assert_eq!((sent[0].kind, sent[0].flags, sent[1].kind), (4, 1, 1));
    // The smaller table is said at once (RFC 7541 section 4.2).
    assert_eq!(sent[1].payload[..2], [0x3f, 100 - 31]);
}

#[test]
fn a_window_that_our_settings_make_small_does_not_stay_shut() {
    let mut driver = Driver::fresh_server(Config { stream_window: 1, ..Config::default() });
    driver.feed(&[frame::PREFACE, &settings(&[]), &headers(1, false, &request("POST", &[]))].concat());
    // Much less than half of the window that holds as long as nothing is acknowledged.
    driver.feed(&data(1, false, &[0; 1000]));
    driver.forget();
    driver.feed(&settings_ack());
    let sent = driver.sent();
    let updates: Vec<_> = sent.iter().map(|frame| (frame.kind, frame.stream, frame.number(0))).collect();
    assert_eq!(updates, [(8, 1, 1000)]);
}
