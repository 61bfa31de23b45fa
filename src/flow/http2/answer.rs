//! The answer of a carrier, from HTTP/1.1 to frames.

use std::task::{Context, Poll};

use ringway_proto::http1::{self, Body, EventKind, Field, Progress, ResponseHead, Span};
use ringway_proto::http2::{ErrorCode, Server};

use super::super::client::Client;
use super::carrier::{At, Carrier};
use super::driver::{now, put};

/// What is to be done next for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until the carrier or the client says more.
    Wait,
    /// Data waits for its turn.
    Turn,
    /// The answer is over.
    Over,
    /// It ended before its time.
    BrokeOff,
}

impl Carrier {
    /// Goes on with the answer. Heads are written at once, data waits for its turn.
    pub(super) fn advance(
        &mut self,
        client: &Client,
        h2: &mut Server,
        response: &mut ResponseHead,
        cx: &Context<'_>,
    ) -> Next {
        loop {
            if self.answer.data > 0 {
                return Next::Turn;
            }
            let step = match self.answer.at {
                At::Head => self.head(client, h2, response),
                At::Body(_) => self.piece(client, h2),
                At::Raw => {
                    self.answer.data = self.input.bytes().len();
                    None
                }
            };
            if let Some(next) = step {
                return next;
            }
            if self.answer.data > 0 {
                h2.wants(self.stream, true, now(client));
                return Next::Turn;
            }
            if !self.needs_more() {
                continue;
            }
            match self.poll_more(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return self.ended(client, h2),
                Poll::Pending => return Next::Wait,
            }
        }
    }

    /// Whether nothing can be done with what is there.
    fn needs_more(&self) -> bool {
        self.input.is_empty() || self.is_stuck
    }

    /// Reads a head. Nothing where there is no whole one, or it was an interim one, or a body follows.
    fn head(&mut self, client: &Client, h2: &mut Server, response: &mut ResponseHead) -> Option<Next> {
        self.is_stuck = true;
        if self.input.is_empty() {
            return None;
        }
        let limits = client.listener().limits.of_responses();
        let bytes = self.input.bytes();
        match http1::decode_response(bytes, &mut self.scan, &limits, self.request.method, response) {
            Ok(Progress::Complete) => {}
            Ok(Progress::Partial) => return None,
            Err(_) => return Some(Next::BrokeOff),
        }
        self.is_stuck = false;
        let (mut status, mut is_error) = (response.status, false);
        if self.request.is_upgrade && !response.is_interim() {
            match status {
                // RFC 8441 section 5.
                101 => status = 200,
                // For an extended CONNECT it would say that the other protocol is spoken.
                200..=299 => (status, is_error) = (502, true),
                _ => {}
            }
        }
        let switches = response.upgrade;
        let body = Body::new(response.framing);
        let end = !response.is_interim() && !switches && (body.is_done() || is_error);
        let is_kept = |field: &&Field| {
            let is_answer_to_key = switches && field.name.of(bytes).eq_ignore_ascii_case(b"sec-websocket-accept");
            !field.hop_by_hop && !is_answer_to_key
        };
        let fields = response.fields.iter().filter(is_kept).map(|field| (field.name.of(bytes), field.value.of(bytes)));
        let written = put(client, |outbox| {
            outbox.write(|out| {
                if is_error {
                    h2.respond(self.stream, status, std::iter::empty(), end, now(client), out)
                } else {
                    h2.respond(self.stream, status, fields, end, now(client), out)
                }
            })
        });
        if written.is_err() {
            return Some(Next::BrokeOff);
        }
        self.input.consume(response.len);
        if response.is_interim() {
            return None;
        }
        self.answer.keep_alive = response.keep_alive;
        if switches {
            self.switch();
        } else if end {
            return Some(Next::Over);
        } else {
            self.answer.at = At::Body(body);
        }
        None
    }

    /// Reads a piece of the body.
    fn piece(&mut self, client: &Client, h2: &mut Server) -> Option<Next> {
        let At::Body(body) = &mut self.answer.at else { return None };
        let limits = client.listener().limits.of_responses();
        let event = match self.answer.after.take() {
            Some(event) => event,
            None => match body.decode(self.input.bytes(), &limits) {
                Ok(event) => event,
                Err(_) => return Some(Next::BrokeOff),
            },
        };
        self.is_stuck = false;
        match event.kind {
            EventKind::Data(span) => {
                self.input.consume(span.start as usize);
                self.answer.data = span.len();
                self.answer.ends = body.is_done();
                // Where the end is there already, the last data says so.
                let rest = self.input.bytes().get(span.len()..).unwrap_or_default();
                if !self.answer.ends && !rest.is_empty() {
                    // The same error comes again after the data.
                    if let Ok(after) = body.decode(rest, &limits) {
                        self.answer.ends = after.kind == EventKind::End;
                        self.answer.after = Some(after);
                    }
                }
                None
            }
            EventKind::NeedMore => {
                self.input.consume(event.consumed);
                self.is_stuck = true;
                None
            }
            EventKind::End => {
                put(client, |outbox| outbox.write(|out| h2.data(self.stream, 0, true, now(client), out)));
                self.input.consume(event.consumed);
                Some(Next::Over)
            }
            EventKind::Trailers(trailers) => {
                let fields = trailers.iter(self.input.bytes());
                let all: Vec<(&[u8], &[u8])> = fields.collect();
                let written = put(client, |outbox| {
                    outbox.write(|out| h2.trailers(self.stream, all.iter().copied(), now(client), out))
                });
                self.input.consume(event.consumed);
                Some(if written.is_ok() { Next::Over } else { Next::BrokeOff })
            }
        }
    }

    /// Sends what the windows let through of the data that waits. None when nothing can be sent.
    pub(super) fn send(&mut self, client: &Client, h2: &mut Server) -> Option<()> {
        let (data, ends) = (self.answer.data, self.answer.ends);
        let sent = put(client, |outbox| {
            let len = outbox.write(|out| h2.data(self.stream, data, ends, now(client), out))?;
            self.input.send(Span { start: 0, end: len as u32 }, outbox);
            Some(len)
        })?;
        self.input.consume(sent);
        self.answer.data -= sent;
        Some(())
    }

    /// Whether the data that was sent was the last of the answer.
    pub(super) fn is_over(&mut self) -> bool {
        let is_over = self.answer.data == 0 && self.answer.ends;
        if is_over && let Some(after) = self.answer.after.take() {
            self.input.consume(after.consumed);
        }
        is_over
    }

    /// The carrier says no more.
    fn ended(&mut self, client: &Client, h2: &mut Server) -> Next {
        let is_whole = match &mut self.answer.at {
            At::Head => false,
            At::Body(body) => body.finish().is_ok(),
            At::Raw => true,
        };
        if !is_whole {
            return Next::BrokeOff;
        }
        self.answer.keep_alive = false;
        put(client, |outbox| outbox.write(|out| h2.data(self.stream, 0, true, now(client), out)));
        Next::Over
    }
}

/// How a stream ends whose answer broke off.
pub(super) const BROKE_OFF: ErrorCode = ErrorCode::InternalError;
