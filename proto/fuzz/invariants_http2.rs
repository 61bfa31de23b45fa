//! What must hold of HPACK and HTTP/2 for any bytes at all. The fuzz targets and an ordinary test that replays their
//! corpora share it.

use std::time::Duration;

use ringway_proto::hpack::{Block, Decoder, Encoder, HpackError};
use ringway_proto::http1::{
    self, Framing, HeadScan, Limits as TextLimits, Method, Progress, RequestHead, ResponseHead, decode_request,
    decode_response,
};
use ringway_proto::http2::{Client, Config, Connection, Event, Limits, RequestLine, Server, Stream};

/// Marks the end of a body; no byte of data is written so.
const END: &str = "\u{1}";

const NOW: Duration = Duration::from_secs(1);

/// Limits that small inputs reach, beside the defaults.
fn configs() -> [Config; 2] {
    let limits = Limits { list: 300, fields: 5, line: 60, block: 200, continuations: 2 };
    let small = Config {
        limits,
        streams: 3,
        shut: 2,
        stream_window: 50,
        remembered: 2,
        decoder_table: 100,
        control: 200,
        ..Config::default()
    };
    [Config { extended_connect: true, ..Config::default() }, small]
}

/// Checks blocks of 64 bytes of one connection.
pub(crate) fn hpack(data: &[u8]) {
    let (mut decoder, mut text) = (Decoder::new(256), Vec::new());
    let (mut encoder, mut again, mut block) = (Encoder::new(200), Decoder::new(4096), Vec::new());
    for piece in data.chunks(64) {
        text.clear();
        let mut reader = Block::new(piece, 2000);
        let mut fields = Vec::new();
        loop {
            match decoder.next(&mut reader, &mut text) {
                Ok(Some(field)) => {
                    let (name, value) = (field.name.of(&text).to_vec(), field.value.of(&text).to_vec());
                    assert!(text.ends_with(&[&name[..], b": ", &value, b"\r\n"].concat()));
                    fields.push((name, value));
                }
                Ok(None) => break,
                Err(HpackError::MissingTableUpdate) => unreachable!("nothing was made smaller"),
                Err(_) => return,
            }
        }
        assert!(decoder.table_size() <= 256);
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert!(size <= 2000);
        // What is written again reads the same, but for the case of names.
        block.clear();
        encoder.begin(&mut block);
        for (name, value) in &fields {
            encoder.field(name, value, &mut block);
        }
        text.clear();
        let mut reader = Block::new(&block, usize::MAX);
        for (name, value) in &fields {
            let field = again.next(&mut reader, &mut text).unwrap().unwrap();
            assert_eq!(field.name.of(&text), name.to_ascii_lowercase());
            assert_eq!(field.value.of(&text), value);
        }
        assert_eq!(again.next(&mut reader, &mut text), Ok(None));
    }
}

/// What came of some input: a line for each event, how it ended, and all that was sent.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    events: Vec<String>,
    error: Option<&'static str>,
    out: Vec<u8>,
}

/// Notes an event in a way that does not depend on the pieces that data comes in.
fn note(events: &mut Vec<String>, event: Event, consumed: &[u8], text: &[u8]) {
    match event {
        Event::Data { stream, data, end } => {
            let start = format!("data {} ", stream.id());
            let bytes = data.of(consumed).escape_ascii();
            match events.last_mut().filter(|last| last.starts_with(&start) && !last.ends_with(END)) {
                Some(last) => *last = format!("{last}{bytes}"),
                None => events.push(format!("{start}{bytes}")),
            }
            if end && let Some(last) = events.last_mut() {
                last.push_str(END);
            }
        }
        Event::Request { .. } | Event::Response { .. } => events.push(format!("{event:?} {}", text.escape_ascii())),
        Event::Trailers { stream, trailers } => {
            let fields: Vec<_> = trailers.iter(text).map(|(name, value)| [name, b": ", value].concat()).collect();
            for field in &fields {
                assert!(!field.contains(&b'\r') && !field.contains(&b'\n') && !field.contains(&0));
            }
            events.push(format!("trailers {} {fields:?}", stream.id()));
        }
        other => events.push(format!("{other:?}")),
    }
}

/// Whether bytes are whole frames, after the preface of a client.
fn check_frames(mut bytes: &[u8]) {
    bytes = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(bytes);
    while let Some((header, rest)) = bytes.split_first_chunk::<9>() {
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        assert!(len <= 1 << 24 && header[3] <= 9);
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty());
}

const TEXT_LIMITS: TextLimits =
    TextLimits { line: 1 << 20, head: 1 << 20, fields: 1000, chunk_line: 10, extensions: 10, trailers: 10 };

/// The text of a request is one of HTTP/1.1, which reads the same.
fn check_request(head: &RequestHead, text: &[u8], is_extended: bool) {
    assert_ne!(head.framing, Framing::UntilClose);
    assert!(!head.host.is_empty());
    let text = &text[..head.len];
    if is_extended || head.framing == Framing::Chunked && head.expect_continue {
        return;
    }
    let mut other = RequestHead::default();
    assert_eq!(decode_request(text, &mut HeadScan::default(), &TEXT_LIMITS, &mut other), Ok(Progress::Complete));
    assert_eq!((other.len, other.method_span, other.host), (head.len, head.method_span, head.host));
    assert_eq!((other.target, &other.fields), (head.target, &head.fields));
    assert!(http1::values::authority(head.host.of(text)).is_some());
}

fn check_response(head: &ResponseHead, text: &[u8]) {
    let mut other = ResponseHead::default();
    let progress = decode_response(&text[..head.len], &mut HeadScan::default(), &TEXT_LIMITS, Method::Get, &mut other);
    assert_eq!(progress, Ok(Progress::Complete));
    assert_eq!((other.status, &other.fields), (head.status, &head.fields));
}

/// Answers whoever waits, with a body of fixed length.
fn answer(server: &mut Server, stream: Stream, out: &mut Vec<u8>) {
    let fields = [(&b"Content-Type"[..], &b"text/plain"[..]), (b"Connection", b"close")];
    if server.respond(stream, 200, fields.into_iter(), false, NOW, out).is_ok() {
        server.wants(stream, true, NOW);
    }
}

fn pump(connection: &mut Connection, sent: &mut Vec<(u32, usize)>, out: &mut Vec<u8>) {
    while let Some(stream) = connection.turn() {
        let at = sent.iter().position(|&(id, _)| id == stream.id()).unwrap_or_else(|| {
            sent.push((stream.id(), 0));
            sent.len() - 1
        });
        let left = 100 - sent[at].1;
        let window = connection.window(stream);
        let Some(len) = connection.data(stream, left, true, NOW, out) else {
            break;
        };
        assert!(len <= left && len <= window);
        out.resize(out.len() + len, b'x');
        sent[at].1 += len;
    }
    connection.output(out);
}

/// Feeds a server, `step` bytes at a time.
fn serve(data: &[u8], config: &Config, step: usize) -> Outcome {
    let mut server = Server::new(config, NOW);
    let (mut head, mut text) = (RequestHead::default(), Vec::new());
    let mut outcome = Outcome { events: Vec::new(), error: None, out: Vec::new() };
    let (mut at, mut end, mut sent) = (0, 0, Vec::new());
    loop {
        let found = match server.receive(&data[at..end], NOW, &mut head, &mut text) {
            Ok(found) => found,
            Err(error) => {
                outcome.error = Some(error.fault.code());
                break;
            }
        };
        let consumed = &data[at..at + found.consumed];
        at += found.consumed;
        let Some(event) = found.event else {
            server.output(&mut outcome.out);
            if end == data.len() {
                break;
            }
            end = (end + step).min(data.len());
            continue;
        };
        note(&mut outcome.events, event, consumed, &text);
        match event {
            Event::Request { stream, protocol, .. } => {
                check_request(&head, &text, protocol.is_some());
                answer(&mut server, stream, &mut outcome.out);
            }
            Event::Refused { stream, .. } => answer(&mut server, stream, &mut outcome.out),
            Event::Data { stream, data, .. } => server.consumed(stream, data.len(), NOW),
            _ => {}
        }
        pump(&mut server, &mut sent, &mut outcome.out);
        assert!(server.streams() <= config.streams as usize);
    }
    server.output(&mut outcome.out);
    check_frames(&outcome.out);
    outcome
}

/// Checks what a server makes of a client's bytes.
pub(crate) fn http2_server(data: &[u8]) {
    for config in &configs() {
        let whole = serve(data, config, data.len().max(1));
        for step in [1, 7, 64] {
            same(&whole, &serve(data, config, step));
        }
    }
}

/// Feeds a client that has three requests under way.
fn listen(data: &[u8], config: &Config, step: usize) -> Outcome {
    let mut client = Client::new(config, NOW);
    let (mut head, mut text) = (ResponseHead::default(), Vec::new());
    let mut outcome = Outcome { events: Vec::new(), error: None, out: Vec::new() };
    for (method, end) in [(&b"GET"[..], true), (b"POST", false), (b"HEAD", true)] {
        let line = RequestLine { method, scheme: b"https", authority: b"a", path: b"/", protocol: None };
        let stream = client.request(&line, std::iter::empty(), end, NOW, &mut outcome.out).unwrap();
        client.wants(stream, !end, NOW);
    }
    let (mut at, mut end, mut sent) = (0, 0, Vec::new());
    loop {
        let found = match client.receive(&data[at..end], NOW, &mut head, &mut text) {
            Ok(found) => found,
            Err(error) => {
                outcome.error = Some(error.fault.code());
                break;
            }
        };
        let consumed = &data[at..at + found.consumed];
        at += found.consumed;
        let Some(event) = found.event else {
            client.output(&mut outcome.out);
            if end == data.len() {
                break;
            }
            end = (end + step).min(data.len());
            continue;
        };
        note(&mut outcome.events, event, consumed, &text);
        match event {
            Event::Response { .. } => check_response(&head, &text),
            Event::Data { stream, data, .. } => client.consumed(stream, data.len(), NOW),
            _ => {}
        }
        pump(&mut client, &mut sent, &mut outcome.out);
    }
    client.output(&mut outcome.out);
    check_frames(&outcome.out);
    outcome
}

/// Checks what a client makes of a server's bytes.
pub(crate) fn http2_client(data: &[u8]) {
    for config in &configs() {
        let whole = listen(data, config, data.len().max(1));
        for step in [1, 7, 64] {
            same(&whole, &listen(data, config, step));
        }
    }
}

/// The same came of the same bytes. What we send depends on the pieces that data comes in, and so does what is charged
/// for it; what was seen of the peer does not.
fn same(whole: &Outcome, pieces: &Outcome) {
    if whole.error != pieces.error {
        let depends = |error| matches!(error, Some("h2_control_queue_full" | "h2_misbehaviour"));
        assert!(depends(whole.error) || depends(pieces.error), "{whole:?} {pieces:?}");
        return;
    }
    // Data is handed over before it is known that there is too little of it.
    let seen = |outcome: &Outcome| -> Vec<String> {
        outcome.events.iter().filter(|event| !event.starts_with("data") || event.ends_with(END)).cloned().collect()
    };
    assert_eq!(seen(whole), seen(pieces));
}
