//! The origin's HTTP/2, by prior knowledge: the same answers as over HTTP/1.1, and to a call of gRPC one message and its
//! status.

use std::sync::Arc;
use std::time::Duration;

use ringway_proto::http1::RequestHead;
use ringway_proto::http2::{Event, Server, Stream};

use super::size;
use crate::http::Malformed;
use crate::multiplex::{Bodies, config, grpc_message};

/// Streams that a client may have open at once.
const STREAMS: u32 = 1000;
/// Bytes of a body that a path may ask for.
const BODY_MAX: u64 = 64 << 20;

/// What is answered to requests that ask for nothing else.
pub(super) struct Ordinary {
    body: Arc<[u8]>,
    length: String,
    message: Arc<[u8]>,
}

impl Ordinary {
    /// `None` where the bodies are too large to be kept.
    pub(super) fn new(body: u64) -> Option<Self> {
        (body <= BODY_MAX).then(|| Self {
            body: vec![b'x'; body as usize].into(),
            length: body.to_string(),
            message: grpc_message(body).into(),
        })
    }
}

/// One connection.
pub(super) struct Http2 {
    server: Server,
    bodies: Bodies,
    head: RequestHead,
    text: Vec<u8>,
    /// What each stream asked for whose request is not whole yet, by its slot.
    asked: Vec<Option<Asked>>,
}

#[derive(Clone)]
enum Asked {
    Ordinary,
    Bytes(u64),
    Message,
}

impl Http2 {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            server: Server::new(&config(STREAMS), now),
            bodies: Bodies::default(),
            head: RequestHead::default(),
            text: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Takes requests off `input` and puts answers into `out`. Returns the bytes that are dealt with and how many requests
    /// were answered.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        ordinary: &Ordinary,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(usize, u64), Malformed> {
        let (mut at, mut answered) = (0, 0);
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let step = self.server.receive(rest, now, &mut self.head, &mut self.text).map_err(|_| Malformed)?;
            at += step.consumed;
            let Some(event) = step.event else { break };
            let whole = match event {
                Event::Request { stream, end, .. } => {
                    let asked = self.asked()?;
                    self.keep(stream, asked);
                    end.then_some(stream)
                }
                Event::Data { stream, data, end } => {
                    self.server.consumed(stream, data.len(), now);
                    end.then_some(stream)
                }
                Event::Trailers { stream, .. } => Some(stream),
                Event::Reset { stream, .. } => {
                    self.bodies.forget(stream);
                    None
                }
                _ => None,
            };
            if let Some(stream) = whole
                && let Some(asked) = self.asked.get_mut(stream.slot()).and_then(Option::take)
            {
                self.answer(stream, &asked, ordinary, now, out);
                answered += 1;
            }
        }
        self.write(now, out);
        Ok((at, answered))
    }

    /// Puts what can be sent now into `out`.
    pub(super) fn write(&mut self, now: Duration, out: &mut Vec<u8>) {
        self.bodies.write(&mut self.server, now, out);
    }

    fn keep(&mut self, stream: Stream, asked: Asked) {
        let slot = stream.slot();
        if slot >= self.asked.len() {
            self.asked.resize(slot + 1, None);
        }
        if let Some(place) = self.asked.get_mut(slot) {
            *place = Some(asked);
        }
    }

    /// What the request asks for whose head is here.
    fn asked(&self) -> Result<Asked, Malformed> {
        let is_grpc = |field: &ringway_proto::http1::Field| {
            field.name.of(&self.text).eq_ignore_ascii_case(b"content-type")
                && field.value.of(&self.text).starts_with(b"application/grpc")
        };
        if self.head.fields.iter().any(is_grpc) {
            return Ok(Asked::Message);
        }
        let path = self.head.target.path.of(&self.text);
        match size(path, u64::MAX)? {
            u64::MAX => Ok(Asked::Ordinary),
            bytes if bytes <= BODY_MAX => Ok(Asked::Bytes(bytes)),
            _ => Err(Malformed),
        }
    }

    fn answer(&mut self, stream: Stream, asked: &Asked, ordinary: &Ordinary, now: Duration, out: &mut Vec<u8>) {
        let (other, length);
        let (body, length, is_grpc) = match asked {
            Asked::Message => (&ordinary.message, None, true),
            Asked::Ordinary => (&ordinary.body, Some(ordinary.length.as_bytes()), false),
            Asked::Bytes(bytes) => {
                (other, length) = (vec![b'x'; *bytes as usize].into(), bytes.to_string());
                (&other, Some(length.as_bytes()), false)
            }
        };
        let kind: &[u8] = if is_grpc { b"application/grpc" } else { b"application/octet-stream" };
        let fields = std::iter::once((&b"content-type"[..], kind));
        let fields = fields.chain(length.map(|length| (&b"content-length"[..], length)));
        // Whoever has gone needs no answer.
        if self.server.respond(stream, 200, fields, body.is_empty(), now, out).is_ok() && !body.is_empty() {
            self.bodies.send(&mut self.server, stream, body.clone(), is_grpc, now);
        }
    }
}
