//! What parts of HTTP/2 cost: blocks of an ordinary head that is in the tables already, and a whole request.

use std::hint::black_box;
use std::time::Duration;

use ringway_proto::hpack::{Block, Decoder, Encoder};
use ringway_proto::http1::RequestHead;
use ringway_proto::http2::{Client, Config, Event, RequestLine, Server};

use crate::cli::Error;
use crate::micro::{Part, repeat, tried};

const FIELDS: [(&[u8], &[u8]); 7] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"api.example.com"),
    (b":path", b"/users/1234?fields=name"),
    (b"user-agent", b"bench/1.0"),
    (b"accept", b"application/json"),
    (b"x-request-id", b"0123456789abcdef"),
];

fn encode(encoder: &mut Encoder, out: &mut Vec<u8>) {
    out.clear();
    encoder.begin(out);
    for (name, value) in FIELDS {
        encoder.field(name, value, out);
    }
}

fn decode(decoder: &mut Decoder, block: &[u8], text: &mut Vec<u8>) -> usize {
    text.clear();
    let mut reader = Block::new(block, 16_384);
    let mut fields = 0;
    while let Ok(Some(field)) = decoder.next(&mut reader, text) {
        black_box(field);
        fields += 1;
    }
    fields
}

pub(crate) fn decode_head() -> Result<Part, Error> {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    let (mut block, mut text) = (Vec::new(), Vec::new());
    encode(&mut encoder, &mut block);
    decode(&mut decoder, &block, &mut text);
    encode(&mut encoder, &mut block);
    let works = decode(&mut decoder, &block, &mut text) == FIELDS.len();
    tried(
        works,
        repeat(move || {
            black_box(decode(&mut decoder, black_box(&block), &mut text));
        }),
    )
}

pub(crate) fn encode_head() -> Result<Part, Error> {
    let (mut encoder, mut block) = (Encoder::new(4096), Vec::new());
    encode(&mut encoder, &mut block);
    let whole = block.len();
    encode(&mut encoder, &mut block);
    let works = block.len() < whole;
    tried(
        works,
        repeat(move || {
            encode(&mut encoder, &mut block);
            black_box(block.as_slice());
        }),
    )
}

/// A request and its answer of 128 bytes between a client and a server: what both cost together.
pub(crate) fn server_request() -> Result<Part, Error> {
    // One connection has identifiers for 2^30 requests, so that it lasts.
    let (mut serving, mut works) = (Serving::new(), true);
    for _ in 0..2 {
        works &= serving.request();
    }
    tried(
        works,
        repeat(move || {
            black_box(serving.request());
        }),
    )
}

struct Serving {
    client: Client,
    server: Server,
    input: Vec<u8>,
    out: Vec<u8>,
    head: RequestHead,
    text: Vec<u8>,
    answer: (ringway_proto::http1::ResponseHead, Vec<u8>),
}

impl Serving {
    fn new() -> Self {
        let config = Config::default();
        Self {
            client: Client::new(&config, Duration::ZERO),
            server: Server::new(&config, Duration::ZERO),
            input: Vec::new(),
            out: Vec::new(),
            head: RequestHead::default(),
            text: Vec::new(),
            answer: Default::default(),
        }
    }

    /// One request and its answer; whether all went well.
    fn request(&mut self) -> bool {
        let now = Duration::ZERO;
        let line = RequestLine {
            method: b"GET",
            scheme: b"https",
            authority: b"api.example.com",
            path: b"/users/1234?fields=name",
            protocol: None,
        };
        self.input.clear();
        let fields = FIELDS.into_iter().skip(4);
        if self.client.request(&line, fields, true, now, &mut self.input).is_err() {
            return false;
        }
        let (mut at, mut requests) = (0, 0);
        self.out.clear();
        while let Some(rest) = self.input.get(at..) {
            let Ok(step) = self.server.receive(rest, now, &mut self.head, &mut self.text) else {
                return false;
            };
            at += step.consumed;
            let Some(event) = step.event else {
                break;
            };
            if let Event::Request { stream, .. } = event {
                let fields: [(&[u8], &[u8]); 3] = [
                    (b"server", b"origin"),
                    (b"content-type", b"application/octet-stream"),
                    (b"content-length", b"128"),
                ];
                let responded = self.server.respond(stream, 200, fields.into_iter(), false, now, &mut self.out);
                if responded.is_err() || self.server.data(stream, 128, true, now, &mut self.out) != Some(128) {
                    return false;
                }
                self.out.extend_from_slice(&[b'x'; 128]);
                requests += 1;
            }
        }
        self.server.output(&mut self.out);
        self.listen() && requests == 1
    }

    /// The client reads the answer, so that its windows and streams stay as they are.
    fn listen(&mut self) -> bool {
        let (now, mut at) = (Duration::ZERO, 0);
        while let Some(rest) = self.out.get(at..) {
            let Ok(step) = self.client.receive(rest, now, &mut self.answer.0, &mut self.answer.1) else {
                return false;
            };
            at += step.consumed;
            match step.event {
                None => break,
                Some(Event::Data { stream, data, .. }) => self.client.consumed(stream, data.len(), now),
                Some(_) => {}
            }
        }
        self.client.streams() == 0
    }
}
