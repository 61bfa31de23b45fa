//! A state machine with storage around it, fed with raw bytes.

use std::time::Duration;

use super::super::frame::{GOAWAY, PREFACE, RST_STREAM};
use super::wire::{self, Sent};
use super::*;
use crate::http1::{RequestHead, ResponseHead};

/// Either side.
pub(super) enum Machine {
    Server(Box<Server>),
    Client(Box<Client>),
}

/// An event with what it points to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) event: Event,
    /// The text of a head or of trailers, or the data.
    pub(super) text: Vec<u8>,
}

/// A machine, its storage, and all that came of it.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    text: Vec<u8>,
    input: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) seen: Vec<Seen>,
    pub(super) error: Option<ConnectionError>,
    pub(super) now: Duration,
    /// Whether whole requests get an answer at once.
    pub(super) answers: bool,
    /// Whether data is taken out of the way at once.
    pub(super) takes: bool,
    /// How many bytes are handed over at a time.
    pub(super) step: usize,
    /// What is left of the bodies of answers.
    bodies: Vec<(Stream, &'static [u8])>,
}

impl Driver {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            request: RequestHead::default(),
            response: ResponseHead::default(),
            text: Vec::new(),
            input: Vec::new(),
            out: Vec::new(),
            seen: Vec::new(),
            error: None,
            now: Duration::from_secs(1000),
            answers: false,
            takes: true,
            step: usize::MAX,
            bodies: Vec::new(),
        }
    }

    /// A server that has heard nothing.
    pub(super) fn fresh_server(config: Config) -> Self {
        Self::new(Machine::Server(Box::new(Server::new(&config, Duration::from_secs(1000)))))
    }

    pub(super) fn fresh_client(config: Config) -> Self {
        Self::new(Machine::Client(Box::new(Client::new(&config, Duration::from_secs(1000)))))
    }

    /// A server after the preface and both SETTINGS.
    pub(super) fn server(config: Config) -> Self {
        let mut driver = Self::fresh_server(config);
        driver.feed(&[PREFACE, &wire::settings(&[]), &wire::settings_ack()].concat());
        driver.forget();
        driver
    }

    /// A client after the preface and both SETTINGS.
    pub(super) fn client(config: Config) -> Self {
        let mut driver = Self::fresh_client(config);
        driver.feed(&[wire::settings(&[]), wire::settings_ack()].concat());
        driver.forget();
        driver
    }

    /// Leaves out what came so far.
    pub(super) fn forget(&mut self) {
        self.flush();
        assert_eq!(self.error, None);
        self.out.clear();
        self.seen.clear();
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        match &mut self.machine {
            Machine::Server(server) => server,
            Machine::Client(client) => client,
        }
    }

    pub(super) fn flush(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.connection().output(&mut out);
        self.out = out;
    }

    /// Hands bytes over, in pieces.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.step.min(bytes.len().max(1))) {
            self.input.extend_from_slice(piece);
            self.turn();
        }
        self.flush();
    }

    fn turn(&mut self) {
        while self.error.is_none() {
            let (input, now) = (&self.input, self.now);
            let step = match &mut self.machine {
                Machine::Server(server) => server.receive(input, now, &mut self.request, &mut self.text),
                Machine::Client(client) => client.receive(input, now, &mut self.response, &mut self.text),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            };
            let consumed: Vec<u8> = self.input.drain(..step.consumed).collect();
            let Some(event) = step.event else {
                break;
            };
            self.note(event, &consumed);
        }
        self.flush();
        self.pump();
    }

    fn note(&mut self, event: Event, consumed: &[u8]) {
        let text = match event {
            Event::Request { .. } | Event::Response { .. } | Event::Refused { .. } => self.text.clone(),
            Event::Trailers { trailers, .. } => trailers.section.of(&self.text).to_vec(),
            Event::Data { data, .. } => data.of(consumed).to_vec(),
            _ => Vec::new(),
        };
        if let Event::Data { stream, data, .. } = event
            && self.takes
        {
            let now = self.now;
            self.connection().consumed(stream, data.len(), now);
        }
        self.seen.push(Seen { event, text });
        let whole = match event {
            Event::Request { stream, end: true, .. }
            | Event::Data { stream, end: true, .. }
            | Event::Trailers { stream, .. }
            | Event::Refused { stream, .. } => Some(stream),
            _ => None,
        };
        if let Some(stream) = whole
            && self.answers
        {
            self.answer(stream, b"hello");
        }
    }

    /// Answers with 200 and a body, as the windows let it through.
    pub(super) fn answer(&mut self, stream: Stream, body: &'static [u8]) {
        let now = self.now;
        let mut out = std::mem::take(&mut self.out);
        if let Machine::Server(server) = &mut self.machine {
            let fields = [(&b"Content-Type"[..], &b"text/plain"[..])];
            let _ = server.respond(stream, 200, fields.into_iter(), body.is_empty(), now, &mut out);
            server.wants(stream, !body.is_empty(), now);
        }
        self.out = out;
        self.bodies.push((stream, body));
        self.pump();
    }

    /// Puts another body in the place of what is left of an answer.
    pub(super) fn bodies_of(&mut self, id: u32, body: &'static [u8]) {
        for (stream, rest) in &mut self.bodies {
            if stream.id() == id {
                *rest = body;
            }
        }
    }

    /// Sends data as long as it is somebody's turn.
    pub(super) fn pump(&mut self) {
        let now = self.now;
        let mut out = std::mem::take(&mut self.out);
        while let Some(stream) = self.connection().turn() {
            let Some(at) = self.bodies.iter().position(|(other, _)| *other == stream) else {
                break;
            };
            let body = self.bodies[at].1;
            let Some(len) = self.connection().data(stream, body.len(), true, now, &mut out) else {
                break;
            };
            out.extend_from_slice(&body[..len]);
            self.bodies[at].1 = &body[len..];
        }
        self.out = out;
    }

    /// The stream with this number, if it is open.
    pub(super) fn stream(&mut self, id: u32) -> Stream {
        let found = self.connection().each_stream().find(|stream| stream.id() == id);
        found.unwrap_or_else(|| panic!("stream {id} is not open"))
    }

    pub(super) fn sent(&mut self) -> Vec<Sent> {
        self.flush();
        wire::frames(&self.out)
    }

    /// The code of the GOAWAY that was sent, and its last stream.
    pub(super) fn goaway(&mut self) -> Option<(u32, ErrorCode)> {
        let sent = self.sent();
        let goaway = sent.iter().rfind(|frame| frame.kind == GOAWAY)?;
        Some((goaway.number(0), ErrorCode::from_u32(goaway.number(4))))
    }

    /// The streams that were reset, with their codes.
    pub(super) fn resets(&mut self) -> Vec<(u32, ErrorCode)> {
        let sent = self.sent();
        let resets = sent.iter().filter(|frame| frame.kind == RST_STREAM);
        resets.map(|frame| (frame.stream, ErrorCode::from_u32(frame.number(0)))).collect()
    }

    /// Whether a PING is answered: the connection lives.
    pub(super) fn is_alive(&mut self) -> bool {
        let before = self.sent().len();
        self.feed(&wire::ping_frame(*b"alive?!?"));
        let sent = self.sent();
        self.error.is_none() && sent[before..].iter().any(|frame| frame.payload == b"alive?!?" && frame.flags == 1)
    }
}
