//! One end of a pair, on which requests come as HTTP/1.1: from there to frames, and their answers back.

use std::task::{Context, Poll};
use std::time::Duration;

use ringway_proto::http1::{
    self, Body, Event, EventKind, Framing, HeadScan, Known, Limits, Method, Progress, RequestHead, ResponseHead, Span,
    Trailers, encode,
};
use ringway_proto::http2::{self, Client, ErrorCode, RequestLine, SendError};
use ringway_runtime::engine::Stream;

use crate::flow::Input;

/// What the gateway wrote itself needs no narrow bounds.
const LIMITS: Limits =
    Limits { line: 1 << 20, head: 2 << 20, fields: 20_000, chunk_line: 256, extensions: 0, trailers: 1 << 20 };

pub(super) struct Carried {
    pub(super) to: Stream,
    /// The stream of the request that is under way.
    pub(super) stream: Option<http2::Stream>,
    at: At,
    input: Input,
    scan: HeadScan,
    /// What is there says nothing without more.
    is_stuck: bool,
    method: Method,
    /// So many bytes at the front of the input are data that waits for its turn.
    pub(super) data: usize,
    ends: bool,
    after: Option<Event>,
    /// How far the answer is.
    pub(super) answer: Answer,
    is_chunked: bool,
    /// Bytes of the answer that the peer was not told to be out of the way.
    held: usize,
}

/// How far a request is.
enum At {
    Head,
    Body(Body),
    /// All of it was sent.
    Sent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing came, or interim answers.
    Awaited,
    Begun,
    Over,
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until somebody says more.
    Wait,
    /// Nothing, until another stream can be opened.
    Blocked,
    /// It is over: whoever asked is gone, or speaks no HTTP/1.1.
    Gone,
    /// No stream can be opened any more.
    Refused,
}

/// What is needed to write frames.
pub(super) struct Out<'a> {
    pub(super) h2: &'a mut Client,
    pub(super) wire: &'a Stream,
    pub(super) head: &'a mut RequestHead,
    pub(super) now: Duration,
}

impl Carried {
    pub(super) fn new(to: Stream) -> Self {
        Self {
            to,
            stream: None,
            at: At::Head,
            input: Input::default(),
            scan: HeadScan::default(),
            is_stuck: false,
            method: Method::Get,
            data: 0,
            ends: false,
            after: None,
            answer: Answer::Awaited,
            is_chunked: false,
            held: 0,
        }
    }

    /// Goes on with the request.
    pub(super) fn advance(&mut self, out: &mut Out<'_>, cx: &Context<'_>) -> Next {
        loop {
            if self.data > 0 {
                return Next::Wait;
            }
            let step = match self.at {
                At::Head => self.head(out),
                At::Body(_) => self.piece(out),
                At::Sent => None,
            };
            match step {
                Some(next) => return next,
                None if self.data > 0 => {
                    if let Some(stream) = self.stream {
                        out.h2.wants(stream, true, out.now);
                    }
                    return Next::Wait;
                }
                None => {}
            }
            // Behind a request nothing comes before its answer.
            let is_sent = matches!(self.at, At::Sent);
            if !self.input.is_empty() && !self.is_stuck {
                if is_sent {
                    return Next::Wait;
                }
                continue;
            }
            self.input.gather();
            match self.to.poll_read(cx) {
                Poll::Ready(Ok(Some(lease))) => {
                    self.input.add(lease);
                    self.is_stuck = false;
                }
                Poll::Ready(_) => return Next::Gone,
                Poll::Pending => return Next::Wait,
            }
        }
    }

    /// Reads a head and opens a stream for it. Nothing where there is no whole one, or a body may follow.
    fn head(&mut self, out: &mut Out<'_>) -> Option<Next> {
        if self.input.is_empty() {
            return None;
        }
        if !out.h2.can_open() {
            return Some(if out.h2.is_leaving() { Next::Refused } else { Next::Blocked });
        }
        let bytes = self.input.bytes();
        match http1::decode_request(bytes, &mut self.scan, &LIMITS, out.head) {
            Ok(Progress::Complete) => {}
            Ok(Progress::Partial) => {
                self.is_stuck = true;
                return None;
            }
            Err(_) => return Some(Next::Gone),
        }
        let head = &*out.head;
        let line = RequestLine {
            method: head.method_span.of(bytes),
            scheme: b"http",
            authority: head.host.of(bytes),
            path: head.target.whole.of(bytes),
            protocol: None,
        };
        let fields = head.fields.iter().filter(|field| !field.hop_by_hop || field.known == Known::Te);
        let fields = fields.map(|field| (field.name.of(bytes), field.value.of(bytes)));
        let body = Body::new(head.framing);
        let end = body.is_done();
        let (h2, now) = (&mut *out.h2, out.now);
        let opened = out.wire.with_outbox(|outbox| outbox.write(|to| h2.request(&line, fields, end, now, to)));
        self.method = head.method;
        match opened {
            Ok(stream) => self.stream = Some(stream),
            Err(SendError::NoStream) => return Some(Next::Refused),
            Err(_) => return Some(Next::Gone),
        }
        self.input.consume(head.len);
        self.at = if end { At::Sent } else { At::Body(body) };
        None
    }

    /// Reads a piece of the body.
    fn piece(&mut self, out: &mut Out<'_>) -> Option<Next> {
        let (At::Body(body), Some(stream)) = (&mut self.at, self.stream) else { return None };
        let event = match self.after.take() {
            Some(event) => event,
            None => match body.decode(self.input.bytes(), &LIMITS) {
                Ok(event) => event,
                Err(_) => return Some(Next::Gone),
            },
        };
        match event.kind {
            EventKind::Data(span) => {
                self.input.consume(span.start as usize);
                (self.data, self.ends) = (span.len(), body.is_done());
                let rest = self.input.bytes().get(span.len()..).unwrap_or_default();
                // Where the end is there already, the last data says so.
                if !self.ends
                    && !rest.is_empty()
                    && let Ok(after) = body.decode(rest, &LIMITS)
                {
                    self.ends = after.kind == EventKind::End;
                    self.after = Some(after);
                }
            }
            EventKind::NeedMore => {
                self.input.consume(event.consumed);
                self.is_stuck = true;
            }
            EventKind::End => {
                let (h2, now) = (&mut *out.h2, out.now);
                out.wire.with_outbox(|outbox| outbox.write(|to| h2.data(stream, 0, true, now, to)));
                self.input.consume(event.consumed);
                self.at = At::Sent;
            }
            EventKind::Trailers(trailers) => {
                let all: Vec<(&[u8], &[u8])> = trailers.iter(self.input.bytes()).collect();
                let (h2, now) = (&mut *out.h2, out.now);
                let sent =
                    out.wire.with_outbox(|outbox| outbox.write(|to| h2.trailers(stream, all.iter().copied(), now, to)));
                if sent.is_err() {
                    return Some(Next::Gone);
                }
                self.input.consume(event.consumed);
                self.at = At::Sent;
            }
        }
        None
    }

    /// Sends what the windows let through of the data that waits. False when nothing can be sent.
    pub(super) fn send(&mut self, out: &mut Out<'_>) -> bool {
        let Some(stream) = self.stream else { return false };
        let (h2, now, input) = (&mut *out.h2, out.now, &self.input);
        let sent = out.wire.with_outbox(|outbox| {
            let len = outbox.write(|to| h2.data(stream, self.data, self.ends, now, to))?;
            input.send(Span { start: 0, end: len as u32 }, outbox);
            Some(len)
        });
        let Some(sent) = sent else { return false };
        self.input.consume(sent);
        self.data -= sent;
        if self.data == 0 && self.ends {
            if let Some(after) = self.after.take() {
                self.input.consume(after.consumed);
            }
            self.at = At::Sent;
        }
        true
    }

    /// Passes on the head of an answer, or an interim one.
    pub(super) fn respond(&mut self, head: &ResponseHead, text: &[u8], end: bool) {
        let whole = text.get(..head.len).unwrap_or(text);
        let lines = whole.strip_suffix(encode::CRLF).unwrap_or(whole);
        let is_interim = head.is_interim();
        let is_bodiless = is_interim || self.method == Method::Head || head.status == 204 || head.status == 304;
        self.is_chunked = !is_bodiless && !end && head.framing == Framing::Chunked;
        self.to.with_outbox(|outbox| {
            outbox.write(|out| {
                out.extend_from_slice(lines);
                if self.is_chunked {
                    out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                } else if end && !is_bodiless && head.content_length.is_none() {
                    out.extend_from_slice(b"content-length: 0\r\n");
                }
                out.extend_from_slice(encode::CRLF);
            });
        });
        self.to.flush();
        if !is_interim {
            self.answer = if end { Answer::Over } else { Answer::Begun };
        }
    }

    /// Passes on a piece of the body, which lies in `input`.
    pub(super) fn body(&mut self, input: &Input, data: Span, end: bool) {
        self.held += data.len();
        self.to.with_outbox(|outbox| {
            if !data.is_empty() {
                if self.is_chunked {
                    outbox.write(|out| encode::chunk_head(out, data.len()));
                }
                input.send(data, outbox);
                if self.is_chunked {
                    outbox.write(|out| out.extend_from_slice(encode::CRLF));
                }
            }
            if end && self.is_chunked {
                outbox.write(|out| out.extend_from_slice(encode::LAST_CHUNK));
            }
        });
        self.to.flush();
        if end {
            self.answer = Answer::Over;
        }
    }

    /// Ends the body with trailers. Behind a body of stated length there is no place for any.
    pub(super) fn trailers(&mut self, trailers: Trailers, text: &[u8]) {
        if self.is_chunked {
            self.to.with_outbox(|outbox| {
                outbox.write(|out| {
                    out.extend_from_slice(encode::LAST_CHUNK_BEFORE_TRAILERS);
                    for (name, value) in trailers.iter(text) {
                        encode::field(out, name, value);
                    }
                    out.extend_from_slice(encode::CRLF);
                });
            });
            self.to.flush();
        }
        self.answer = Answer::Over;
    }

    /// How many bytes of the answer are out of the way that were not before.
    pub(super) fn poll_taken(&mut self, cx: &Context<'_>) -> usize {
        if self.held == 0 || self.to.poll_unsent_at_most(cx, 0).is_pending() {
            return 0;
        }
        std::mem::take(&mut self.held)
    }

    /// Whether the exchange is over. Then it is ready for the next one, or its end is to go.
    pub(super) fn is_over(&self) -> bool {
        self.answer == Answer::Over
    }

    /// Makes it ready for the next request. False where the last was not sent whole: no other can follow it.
    pub(super) fn is_ready_again(&mut self, h2: &mut Client, now: Duration) -> bool {
        let is_sent = matches!(self.at, At::Sent);
        if let Some(stream) = self.stream.take() {
            // What is left of the request serves nobody.
            h2.reset(stream, ErrorCode::Cancel, now);
        }
        (self.at, self.answer, self.held, self.is_stuck) = (At::Head, Answer::Awaited, 0, false);
        self.scan.reset();
        is_sent
    }
}
