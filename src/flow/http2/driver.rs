//! One connection of HTTP/2: what it has, and what a turn does with that.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_proto::http1::{RequestHead, ResponseHead, encode};
use ringway_proto::http2::{Connection, ConnectionError, ErrorCode, Event, HeadError, Server, Side, Stream};
use ringway_runtime::buffer::Outbox;
use ringway_runtime::clock::Instant;
use ringway_runtime::core::Ready;
use ringway_runtime::engine::{Stream as Wire, Timer};

use super::super::client::{Client, Notice};
use super::super::input::Input;
use super::super::{After, Bound, Progress};
use super::answer::{BROKE_OFF, Next};
use super::carrier::{Carrier, Spare};
use super::turn::{self, Role};
use crate::observe::{Http2Reset, Http2Side, Timeout};

/// How long carriers wait for the next stream when there is none.
const SPARE_REST: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    client: Client,
    h2: Server,
    head: RequestHead,
    text: Vec<u8>,
    response: ResponseHead,
    /// By the slots of their streams.
    open: Vec<Option<Box<Carrier>>>,
    spare: Spare,
    /// Slots of streams that can go on.
    ready: Rc<Ready>,
    /// It takes no more streams than are under way.
    is_leaving: bool,
    is_idle: bool,
    /// Whether the client takes what it gets, and what it had not taken when that was looked at.
    takes: Progress,
    unsent: usize,
}

/// The time as the codec counts it.
pub(super) fn now(client: &Client) -> Duration {
    Duration::from_nanos(client.now().as_nanos())
}

/// Lets `write` append to what goes to the client.
pub(super) fn put<R>(client: &Client, write: impl FnOnce(&mut Outbox) -> R) -> R {
    client.stream.with_outbox(write)
}

impl Driver {
    pub(super) fn new(mut client: Client) -> Self {
        let listener = client.listener();
        let config = listener.http2.of_clients(&listener.limits, &listener.timeouts);
        let h2 = Server::new(&config, now(&client));
        client.idle_since = client.now();
        client.state.metrics.http2_connection(Http2Side::Client);
        Self {
            client,
            h2,
            head: RequestHead::default(),
            text: Vec::new(),
            response: ResponseHead::default(),
            open: Vec::new(),
            spare: Spare::default(),
            ready: Rc::default(),
            is_leaving: false,
            is_idle: false,
            takes: Progress::default(),
            unsent: 0,
        }
    }

    /// Lets go of its streams.
    pub(super) fn end(mut self) -> Client {
        for carrier in self.open.drain(..).flatten() {
            carrier.to.reset_on_drop();
        }
        turn::output(&mut self);
        self.client.stream.flush();
        self.client
    }

    /// Begins to end without losing a request.
    fn leave(&mut self) {
        self.is_leaving = true;
        self.h2.drain(now(&self.client));
    }

    /// The client did something for which the connection ends.
    fn failed(&mut self, error: ConnectionError) -> After {
        self.client.state.metrics.http2_fault(Http2Side::Client, error.fault);
        After::Close
    }

    /// Acts upon an event. What is in the input is not consumed yet.
    fn act(&mut self, event: Event) {
        match event {
            Event::Request { stream, end, protocol, .. } => {
                self.client.requests += 1;
                self.client.state.metrics.http2_stream(Http2Side::Client);
                let protocol = protocol.map(|span| span.of(&self.text));
                let mut carrier = self.spare.take(&self.client, stream);
                carrier.begin(&self.client, &self.head, &self.text, protocol, end);
                let slot = stream.slot();
                carrier.to.note_in(&self.ready, slot);
                self.ready.add(slot);
                if self.open.len() <= slot {
                    self.open.resize_with(slot + 1, || None);
                }
                if let Some(place) = self.open.get_mut(slot) {
                    *place = Some(carrier);
                }
                if self.client.requests >= self.client.listener().limits.keep_alive_requests {
                    self.leave();
                }
            }
            Event::Refused { stream, error } => self.refuse(stream, error),
            Event::Data { stream, data, end } => match carrier(&mut self.open, stream) {
                Some(carrier) => {
                    carrier.body(&self.client.input, data, end);
                    self.ready.add(stream.slot());
                }
                None => self.h2.consumed(stream, data.len(), now(&self.client)),
            },
            Event::Trailers { stream, trailers } => {
                if let Some(carrier) = carrier(&mut self.open, stream) {
                    carrier.trailers(trailers, &self.text);
                }
            }
            Event::Reset { stream, reset } => {
                let metrics = &self.client.state.metrics;
                let by = if reset.side == Side::Local { Http2Reset::Fault } else { Http2Reset::Peer };
                metrics.http2_reset(Http2Side::Client, by);
                if let Some(fault) = reset.fault {
                    metrics.http2_fault(Http2Side::Client, fault);
                }
                self.drop_carrier(stream);
            }
            Event::Response { .. } | Event::Settings | Event::GoAway { .. } | Event::Pong => {}
        }
    }

    /// Ends what is carried for a stream that ended before its time.
    fn drop_carrier(&mut self, stream: Stream) {
        if carrier(&mut self.open, stream).is_some()
            && let Some(carrier) = self.open.get_mut(stream.slot()).and_then(Option::take)
        {
            carrier.to.reset_on_drop();
        }
    }

    /// Answers a request that is more than is accepted.
    fn refuse(&mut self, stream: Stream, error: HeadError) {
        let now = now(&self.client);
        let body = problem(error);
        let mut length = Vec::new();
        encode::decimal(&mut length, body.len() as u64);
        let fields: [(&[u8], &[u8]); 2] =
            [(b"content-type", b"application/problem+json"), (b"content-length", &length)];
        let h2 = &mut self.h2;
        put(&self.client, |outbox| {
            outbox.write(|out| {
                if h2.respond(stream, error.status(), fields.into_iter(), false, now, out).is_err() {
                    return;
                }
                if let Some(len) = h2.data(stream, body.len(), true, now, out) {
                    out.extend_from_slice(body.get(..len).unwrap_or_default());
                }
            });
        });
        // Where it was more than fits a window, or the client goes on to send.
        h2.reset(stream, ErrorCode::NoError, now);
    }

    fn then(&mut self, slot: usize, next: Next) {
        let code = match next {
            Next::Wait | Next::Turn => return,
            Next::Over => ErrorCode::NoError,
            Next::BrokeOff => {
                self.client.state.metrics.http2_reset(Http2Side::Client, Http2Reset::BrokeOff);
                BROKE_OFF
            }
        };
        let Some(carrier) = self.open.get_mut(slot).and_then(Option::take) else { return };
        // Nothing, where both sides have said all.
        self.h2.reset(carrier.stream, code, now(&self.client));
        if next == Next::Over {
            self.spare.keep(carrier);
        }
    }

    /// Notes whether anything is under way.
    fn note_idle(&mut self) {
        let is_idle = self.h2.streams() == 0;
        if is_idle != self.is_idle {
            self.is_idle = is_idle;
            if is_idle {
                self.client.idle_since = self.client.now();
            }
            self.client.set_idle(is_idle);
        }
    }
}

impl Role for Driver {
    type End = After;

    fn wire(&self) -> &Wire {
        &self.client.stream
    }

    fn input(&mut self) -> &mut Input {
        &mut self.client.input
    }

    fn parts(&mut self) -> (&Wire, &mut Connection) {
        (&self.client.stream, &mut self.h2)
    }

    fn timer(&self) -> &Timer {
        &self.client.timer
    }

    fn ready(&self) -> &Ready {
        &self.ready
    }

    fn high(&self) -> usize {
        self.client.listener().limits.stream_buffer as usize
    }

    fn notices(&mut self, cx: &Context<'_>) -> Option<After> {
        loop {
            match self.client.poll_carrier_notice(self.is_leaving, cx) {
                Poll::Ready(Notice::Plan) => self.client.refresh(),
                Poll::Ready(Notice::End) => self.leave(),
                Poll::Ready(Notice::Evicted) if self.is_idle && self.client.stream.unsent() == 0 => {
                    return Some(After::Gone);
                }
                _ => return None,
            }
        }
    }

    fn event(&mut self) -> Result<bool, After> {
        let now = now(&self.client);
        let bytes = self.client.input.bytes();
        let step = self.h2.receive(bytes, now, &mut self.head, &mut self.text).map_err(|error| self.failed(error))?;
        let is_more = step.event.is_some();
        if let Some(event) = step.event {
            self.act(event);
        }
        self.client.input.consume(step.consumed);
        Ok(is_more)
    }

    fn carry(&mut self, slot: usize, cx: &Context<'_>) {
        let Self { client, h2, response, open, .. } = self;
        let Some(Some(carrier)) = open.get_mut(slot) else { return };
        let next = carrier.advance(client, h2, response, cx);
        let taken = carrier.poll_taken(cx);
        if taken > 0 {
            h2.consumed(carrier.stream, taken, now(client));
        }
        self.then(slot, next);
    }

    fn send(&mut self, stream: Stream, cx: &Context<'_>) -> bool {
        let Self { client, h2, response, open, .. } = self;
        let Some(carrier) = carrier(open, stream).filter(|carrier| carrier.answer.data > 0) else {
            h2.wants(stream, false, now(client));
            return true;
        };
        if carrier.send(client, h2).is_none() {
            return false;
        }
        let next = if carrier.is_over() { Next::Over } else { carrier.advance(client, h2, response, cx) };
        self.then(stream.slot(), next);
        true
    }

    fn took(&mut self) {
        let unsent = self.client.stream.unsent();
        if unsent < self.unsent {
            self.takes.moved((self.unsent - unsent) as u64, self.client.now());
            self.unsent = unsent;
        }
    }

    fn rest(&mut self) -> Option<After> {
        if self.h2.is_drained() || self.h2.error().is_some() {
            return Some(After::Close);
        }
        self.note_idle();
        None
    }

    fn due(&mut self) -> Instant {
        let client = &self.client;
        let timeouts = &client.listener().timeouts;
        let unsent = client.stream.unsent();
        let mut due = Instant::from_nanos(u64::MAX);
        if let Some(at) = self.h2.deadline() {
            due = Instant::from_nanos(at.as_nanos() as u64);
        }
        if unsent > 0 {
            let (Bound::Idle(at) | Bound::Rate(at)) = self.takes.wait(client.now(), timeouts.send_idle, timeouts);
            due = due.min(at);
        } else {
            self.takes = Progress::default();
        }
        self.unsent = unsent;
        if self.is_idle && !self.is_leaving {
            due = due.min(client.idle_since + timeouts.keep_alive);
        }
        if self.is_idle && !self.spare.is_empty() {
            due = due.min(client.idle_since + SPARE_REST);
        }
        due
    }

    fn on_time(&mut self) -> Option<After> {
        let now_is = self.client.now();
        while let Some(event) = match self.h2.on_time(now(&self.client)) {
            Ok(event) => event,
            Err(error) => return Some(self.failed(error)),
        } {
            self.act(event);
        }
        let timeouts = &self.client.listener().timeouts;
        if self.client.stream.unsent() > 0 {
            let (Bound::Idle(at) | Bound::Rate(at)) = self.takes.wait(now_is, timeouts.send_idle, timeouts);
            if at <= now_is {
                self.client.state.metrics.timed_out(Timeout::Send);
                return Some(After::Reset);
            }
        }
        if self.is_idle {
            if now_is >= self.client.idle_since + SPARE_REST {
                self.spare.clear();
            }
            if !self.is_leaving && now_is >= self.client.idle_since + timeouts.keep_alive {
                self.client.state.metrics.timed_out(Timeout::KeepAlive);
                self.leave();
            }
        }
        None
    }

    fn gone(&self) -> After {
        After::Gone
    }
}

/// What carries a stream.
fn carrier(open: &mut [Option<Box<Carrier>>], stream: Stream) -> Option<&mut Carrier> {
    open.get_mut(stream.slot())?.as_deref_mut().filter(|carrier| carrier.stream == stream)
}

/// Problem details (RFC 9457) of a request that is refused.
fn problem(error: HeadError) -> Vec<u8> {
    let (status, code) = (error.status(), error.code());
    let title = encode::reason_phrase(status);
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\"detail\":\"{error}\"}}\n"
    )
    .into_bytes()
}
