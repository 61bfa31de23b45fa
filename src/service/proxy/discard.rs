//! Responses that nobody may get: held back until another try has its endpoint, and then thrown away. What is left of one
//! is read to its end where that is near, so that its connection can be kept.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringway_proto::http1::{Body, EventKind, Framing, Limits, ResponseHead};
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Timer;

use super::answer::Answer;
use super::relay::stream_buffer;
use super::tries::Tries;
use crate::flow::{After, Client, Exchange, Input};
use crate::observe::Metrics;
use crate::upstream::Connection;

/// A response whose head was read, from its first byte on.
pub(super) struct Rest {
    framing: Framing,
    body: Body,
    input: Input,
    /// Bytes of the head.
    head: usize,
    /// Another response may follow it.
    keep_alive: bool,
}

/// A response that is the client's if no other try comes about. Its head is that in the exchange.
pub(super) struct Held {
    rest: Rest,
    /// Where the rest of it comes from. Nothing where all of it is there: then its connection serves others.
    connection: Option<Connection>,
}

/// What the client gets of a response that was held back.
pub(super) enum Passed {
    /// All of it.
    Whole(After),
    /// What is there, and then what comes from the endpoint.
    Begun(Box<(Connection, Input)>),
}

impl Held {
    /// Holds a response back.
    pub(super) fn new(client: &Client, connection: Connection, mut rest: Rest) -> Self {
        // Receive buffers are not held while others are waited for.
        rest.input.gather();
        let connection = match rest.is_whole(&client.listener().limits.of_responses()) {
            None => Some(connection),
            Some(is_all) => {
                if is_all && rest.keep_alive {
                    connection.keep();
                }
                None
            }
        };
        Self { rest, connection }
    }

    /// Whether it keeps a connection from others.
    pub(super) fn has_connection(&self) -> bool {
        self.connection.is_some()
    }

    /// Another try has its endpoint.
    pub(super) fn discard(self, client: &Client) {
        if let Some(connection) = self.connection {
            discard(client, connection, self.rest);
        }
    }

    /// No other try came about.
    pub(super) fn pass_on(self, client: &mut Client, exchange: &mut Exchange, tries: &mut Tries<'_>) -> Passed {
        let mut input = self.rest.input;
        if let Some(connection) = self.connection {
            return Passed::Begun(Box::new((connection, input)));
        }
        tries.settle(client, exchange);
        let mut written = 0;
        let mut answer = Answer::begin(client, exchange, &mut input, &mut written);
        // It was looked through before: it ends, and breaks no rule.
        let sent = answer.send(client, exchange, &mut input, &mut written, usize::MAX);
        exchange.traffic.sent += written;
        Passed::Whole(match sent {
            Ok(true) if !answer.close => After::KeepAlive,
            Ok(true) => After::Close,
            _ => After::Truncated,
        })
    }
}

/// How far a body is.
enum At {
    End,
    Middle,
    Nowhere,
}

impl Rest {
    /// `input` begins with the head.
    pub(super) fn new(response: &ResponseHead, input: Input, keep_alive: bool) -> Self {
        let framing = response.framing;
        Self { framing, body: Body::new(framing), input, head: response.len, keep_alive }
    }

    /// Whether nothing follows it, where all of it is there.
    fn is_whole(&self, limits: &Limits) -> Option<bool> {
        let mut body = Body::new(self.framing);
        let mut left = self.input.bytes().get(self.head..).unwrap_or_default();
        while !body.is_done() {
            let event = body.decode(left, limits).ok().filter(|event| event.kind != EventKind::NeedMore)?;
            left = left.get(event.consumed..).unwrap_or_default();
        }
        Some(left.is_empty())
    }

    fn read(&mut self, limits: &Limits) -> At {
        loop {
            if self.body.is_done() {
                return At::End;
            }
            let Ok(event) = self.body.decode(self.input.bytes(), limits) else { return At::Nowhere };
            self.input.consume(event.consumed);
            if event.kind == EventKind::NeedMore {
                self.input.gather();
                return At::Middle;
            }
        }
    }
}

/// What bounds the reading of a response that nobody gets.
pub(super) struct Bounds {
    pub(super) limits: Limits,
    /// What comes counts as any other.
    pub(super) metrics: Rc<Metrics>,
    pub(super) timer: Timer,
    /// By when it must have ended.
    pub(super) until: Instant,
    /// Bytes that may come.
    pub(super) most: usize,
}

/// Keeps the connection of a response that is thrown away, at once where all of it is there. Otherwise a task reads at
/// most as much as a stream buffer holds, for at most as long as an endpoint may pause; past that the connection closes.
fn discard(client: &Client, connection: Connection, rest: Rest) {
    let engine = &client.state.engine;
    let bounds = Bounds {
        limits: client.listener().limits.of_responses(),
        metrics: client.state.metrics.clone(),
        timer: engine.timer(),
        until: client.now() + connection.upstream().timeout.idle,
        most: stream_buffer(client),
    };
    engine.spawn(read_to_end(connection, rest, bounds));
}

/// Reads a response that nobody gets to its end, and keeps its connection, where that is within bounds.
pub(super) async fn read_to_end(connection: Connection, mut rest: Rest, mut bounds: Bounds) {
    if !rest.keep_alive || matches!(rest.framing, Framing::UntilClose) {
        return;
    }
    rest.input.consume(rest.head);
    bounds.timer.set(bounds.until);
    loop {
        match rest.read(&bounds.limits) {
            At::End => return keep(connection, &rest),
            At::Middle => {}
            At::Nowhere => return,
        }
        let read = poll_fn(|cx| match connection.stream().poll_read(cx) {
            Poll::Ready(read) => Poll::Ready(read.ok().flatten()),
            Poll::Pending => bounds.timer.poll(cx).map(|()| None),
        });
        let Some(lease) = read.await else { return };
        bounds.metrics.upstream_received(lease.len() as u64);
        if lease.len() > bounds.most {
            return;
        }
        bounds.most -= lease.len();
        rest.input.add(lease);
    }
}

/// Bytes after the end of a response belong to no request: such a connection is not used again.
fn keep(connection: Connection, rest: &Rest) {
    if rest.input.is_empty() {
        connection.keep();
    }
}
