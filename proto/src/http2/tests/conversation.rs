//! Whatever legal conversation a client of ours and a server of ours have, in whatever pieces it arrives: both ends see
//! the same, and no window is passed.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::http1::{RequestHead, ResponseHead};

/// What the two do.
#[derive(Clone, Debug)]
enum Act {
    /// The client asks, with a body of this length, perhaps with trailers.
    Ask {
        body: usize,
        has_trailers: bool,
        urgency: u8,
    },
    /// The client resets the stream of this one of its requests.
    Cancel(usize),
    /// The server changes nothing it promised and pings.
    Ping,
    /// Bytes go from the client to the server, at most so many; then the other way.
    ToServer(usize),
    ToClient(usize),
    /// Both take what they were given out of the way, and time goes on.
    Take,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..40_000_usize, any::<bool>(), 0..8_u8)
            .prop_map(|(body, has_trailers, urgency)| Act::Ask { body, has_trailers, urgency }),
        1 => (0..20_usize).prop_map(Act::Cancel),
        1 => Just(Act::Ping),
        6 => prop_oneof![1..30_usize, 1..40_000_usize].prop_map(Act::ToServer),
        6 => prop_oneof![1..30_usize, 1..40_000_usize].prop_map(Act::ToClient),
        3 => Just(Act::Take),
    ];
    prop::collection::vec(act, 1..80)
}

/// What one end knows of a message.
#[derive(Default)]
struct Message {
    head: Vec<u8>,
    sent: usize,
    to_send: usize,
    has_trailers: bool,
    received: usize,
    is_whole: bool,
    is_reset: bool,
}

/// The byte at a place of the body of a stream.
fn body_byte(id: u32, at: usize) -> u8 {
    (id as usize * 31 + at * 7) as u8
}

fn body(id: u32, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| body_byte(id, at)).collect()
}

/// The parts of a connection that both ends have.
struct End {
    input: Vec<u8>,
    out: Vec<u8>,
    text: Vec<u8>,
    held: Vec<(Stream, usize)>,
    messages: BTreeMap<u32, Message>,
}

impl End {
    fn new() -> Self {
        Self { input: Vec::new(), out: Vec::new(), text: Vec::new(), held: Vec::new(), messages: BTreeMap::new() }
    }

    /// Sends what it is the turn of.
    fn pump(&mut self, connection: &mut Connection, now: Duration) {
        while let Some(stream) = connection.turn() {
            let message = self.messages.get_mut(&stream.id()).unwrap();
            let left = message.to_send - message.sent;
            let Some(len) = connection.data(stream, left, !message.has_trailers, now, &mut self.out) else {
                break;
            };
            self.out.extend_from_slice(&body(stream.id(), message.sent, len));
            message.sent += len;
            if message.sent == message.to_send && message.has_trailers {
                let sum = message.to_send.to_string();
                let trailers = [(&b"x-sum"[..], sum.as_bytes())];
                connection.trailers(stream, trailers.into_iter(), now, &mut self.out).unwrap();
            }
        }
        connection.output(&mut self.out);
    }

    /// Notes what came, but for heads.
    fn note(&mut self, event: Event, consumed: &[u8]) {
        match event {
            Event::Data { stream, data, end } => {
                let message = self.messages.get_mut(&stream.id()).unwrap();
                let bytes = data.of(consumed);
                assert_eq!(bytes, body(stream.id(), message.received, bytes.len()));
                message.received += bytes.len();
                message.is_whole |= end;
                self.held.push((stream, bytes.len()));
            }
            Event::Trailers { stream, trailers } => {
                let message = self.messages.get_mut(&stream.id()).unwrap();
                let fields: Vec<_> = trailers.iter(&self.text).collect();
                assert_eq!(fields, [(&b"x-sum"[..], message.received.to_string().as_bytes())]);
                message.is_whole = true;
            }
            Event::Reset { stream, .. } => self.messages.entry(stream.id()).or_default().is_reset = true,
            _ => {}
        }
    }
}

struct Conversation {
    client: Client,
    server: Server,
    at_client: End,
    at_server: End,
    request: RequestHead,
    response: ResponseHead,
    now: Duration,
    asked: Vec<Stream>,
}

impl Conversation {
    fn new(config: Config) -> Self {
        let now = Duration::from_secs(1);
        Self {
            client: Client::new(&config, now),
            server: Server::new(&config, now),
            at_client: End::new(),
            at_server: End::new(),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            now,
            asked: Vec::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        let now = self.now;
        match *act {
            Act::Ask { body, has_trailers, urgency } => {
                let path = format!("/{body}/{has_trailers}");
                let line = RequestLine {
                    method: b"POST",
                    scheme: b"http",
                    authority: b"example.com",
                    path: path.as_bytes(),
                    protocol: None,
                };
                let (priority, count) = (format!("u={urgency}, i"), format!("{}", self.asked.len()));
                let fields =
                    [(&b"Priority"[..], priority.as_bytes()), (b"X-Count", count.as_bytes()), (b"Cookie", b"a=1; b=2")];
                let end = body == 0 && !has_trailers;
                let Ok(stream) = self.client.request(&line, fields.into_iter(), end, now, &mut self.at_client.out)
                else {
                    return;
                };
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: example.com\r\npriority: {priority}\r\nx-count: {count}\r\n\
                     cookie: a=1; b=2\r\n\r\n"
                );
                let message = Message { head: head.into(), to_send: body, has_trailers, ..Message::default() };
                self.at_client.messages.insert(stream.id(), message);
                self.client.wants(stream, !end, now);
                if body == 0 && has_trailers {
                    // No data goes before the trailers.
                    self.client.wants(stream, false, now);
                    let trailers = [(&b"x-sum"[..], &b"0"[..])];
                    self.client.trailers(stream, trailers.into_iter(), now, &mut self.at_client.out).unwrap();
                }
                self.asked.push(stream);
            }
            Act::Cancel(which) => {
                if let Some(&stream) = self.asked.get(which)
                    && self.client.is_open(stream)
                {
                    self.client.reset(stream, ErrorCode::Cancel, now);
                    self.at_client.messages.get_mut(&stream.id()).unwrap().is_reset = true;
                }
            }
            Act::Ping => self.server.send_ping(now),
            Act::ToServer(most) => {
                self.at_client.pump(&mut self.client, now);
                let len = most.min(self.at_client.out.len());
                self.at_server.input.extend(self.at_client.out.drain(..len));
                self.serve();
            }
            Act::ToClient(most) => {
                self.at_server.pump(&mut self.server, now);
                let len = most.min(self.at_server.out.len());
                self.at_client.input.extend(self.at_server.out.drain(..len));
                self.listen();
            }
            Act::Take => {
                self.now += Duration::from_millis(3);
                for (stream, len) in std::mem::take(&mut self.at_server.held) {
                    self.server.consumed(stream, len, self.now);
                }
                for (stream, len) in std::mem::take(&mut self.at_client.held) {
                    self.client.consumed(stream, len, self.now);
                }
            }
        }
    }

    /// The server reads what it has; each whole request gets an answer of as many bytes and trailers.
    fn serve(&mut self) {
        let (now, end) = (self.now, &mut self.at_server);
        loop {
            let step = self.server.receive(&end.input, now, &mut self.request, &mut end.text).expect("a legal client");
            let consumed: Vec<u8> = end.input.drain(..step.consumed).collect();
            let Some(event) = step.event else {
                break;
            };
            if let Event::Request { stream, end: is_whole, .. } = event {
                let message = Message { head: end.text.clone(), is_whole, ..Message::default() };
                end.messages.insert(stream.id(), message);
            }
            end.note(event, &consumed);
            let (Event::Request { stream: whole, end: true, .. }
            | Event::Data { stream: whole, end: true, .. }
            | Event::Trailers { stream: whole, .. }) = event
            else {
                continue;
            };
            let message = end.messages.get_mut(&whole.id()).unwrap();
            message.to_send = message.received;
            let fields = [(&b"Content-Type"[..], &b"x/y"[..])];
            self.server.respond(whole, 200, fields.into_iter(), message.to_send == 0, now, &mut end.out).unwrap();
            self.server.wants(whole, message.to_send > 0, now);
        }
    }

    fn listen(&mut self) {
        let (now, end) = (self.now, &mut self.at_client);
        loop {
            let step = self.client.receive(&end.input, now, &mut self.response, &mut end.text).expect("a legal server");
            let consumed: Vec<u8> = end.input.drain(..step.consumed).collect();
            let Some(event) = step.event else {
                break;
            };
            if let Event::Response { stream, end: is_whole } = event {
                assert_eq!(end.text, b"HTTP/1.1 200 \r\ncontent-type: x/y\r\n\r\n");
                end.messages.get_mut(&stream.id()).unwrap().is_whole |= is_whole;
            }
            end.note(event, &consumed);
        }
    }

    /// Lets everything arrive, and compares.
    fn settle(&mut self) {
        // A small window takes many rounds; one that is stuck moves no byte.
        let mut idle = 0;
        while idle < 10 && (self.client.streams(), self.server.streams()) != (0, 0) {
            let moved = |conversation: &Self| -> usize {
                let ends = [&conversation.at_client, &conversation.at_server];
                ends.iter().flat_map(|end| end.messages.values()).map(|message| message.received).sum()
            };
            let before = moved(self);
            for act in [Act::ToServer(usize::MAX), Act::ToClient(usize::MAX), Act::Take] {
                self.act(&act);
            }
            idle = if moved(self) == before { idle + 1 } else { 0 };
        }
        assert_eq!((self.client.streams(), self.server.streams()), (0, 0));
        for (id, asked) in &self.at_client.messages {
            let Some(served) = self.at_server.messages.get(id) else {
                assert!(asked.is_reset);
                continue;
            };
            if asked.is_reset {
                continue;
            }
            assert_eq!(served.head.escape_ascii().to_string(), asked.head.escape_ascii().to_string());
            assert_eq!((served.received, served.sent), (asked.to_send, asked.to_send));
            assert_eq!(asked.received, asked.to_send);
            assert!(served.is_whole && asked.is_whole && !served.is_reset);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_see_the_same(
        acts in acts(),
        stream_window in prop_oneof![1..300_u32, 10_000..100_000_u32],
        frame_sent in prop_oneof![1..300_u32, Just(16_384_u32)],
        table in prop_oneof![Just(0_u32), Just(100_u32), Just(4096_u32), Just(10_000_u32)],
        streams in 1..20_u32,
    ) {
        let budget = Budget { capacity: 10_000_000, ..Budget::default() };
        let config = Config {
            stream_window,
            frame_sent,
            decoder_table: table,
            encoder_table: table,
            streams,
            budget,
            control: 1 << 20,
            ..Config::default()
        };
        let mut conversation = Conversation::new(config);
        for act in &acts {
            conversation.act(act);
        }
        conversation.settle();
    }
}
