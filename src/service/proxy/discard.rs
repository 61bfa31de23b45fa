//! What is left of a response that nobody gets: read to its end where that is near, so that its connection can be kept.

use std::future::poll_fn;
use std::task::Poll;

use ringway_proto::http1::{Body, EventKind, Framing, Limits};
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Timer;

use super::relay::stream_buffer;
use crate::flow::{Client, Input};
use crate::upstream::Connection;

/// The rest of a response whose head was read.
pub(super) struct Rest {
    pub(super) framing: Framing,
    pub(super) body: Body,
    pub(super) input: Input,
    /// Another response may follow it.
    pub(super) keep_alive: bool,
}

/// How far a body is.
enum At {
    End,
    Middle,
    Nowhere,
}

impl Rest {
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

/// Keeps the connection of a response that is thrown away, at once where all of it is there. Otherwise a task reads at
/// most as much as a stream buffer holds, for at most as long as an endpoint may pause; past that the connection closes.
pub(super) fn discard(client: &Client, connection: Connection, mut rest: Rest) {
    let is_bounded = !matches!(rest.framing, Framing::UntilClose);
    if !rest.keep_alive || !is_bounded {
        return;
    }
    let limits = client.listener().limits.of_responses();
    match rest.read(&limits) {
        At::End => keep(connection, &rest),
        At::Nowhere => {}
        At::Middle => {
            let engine = &client.state.engine;
            let until = client.now() + connection.upstream().timeout.idle;
            let (timer, most) = (engine.timer(), stream_buffer(client));
            engine.spawn(read_rest(connection, rest, limits, timer, until, most));
        }
    }
}

async fn read_rest(
    connection: Connection,
    mut rest: Rest,
    limits: Limits,
    timer: Timer,
    until: Instant,
    mut most: usize,
) {
    timer.set(until);
    loop {
        let read = poll_fn(|cx| match connection.stream().poll_read(cx) {
            Poll::Ready(read) => Poll::Ready(read.ok().flatten()),
            Poll::Pending => timer.poll(cx).map(|()| None),
        });
        let Some(lease) = read.await.filter(|lease| lease.len() <= most) else { return };
        most -= lease.len();
        rest.input.add(lease);
        match rest.read(&limits) {
            At::End => return keep(connection, &rest),
            At::Middle => {}
            At::Nowhere => return,
        }
    }
}

/// Bytes after the end of a response belong to no request: such a connection is not used again.
fn keep(connection: Connection, rest: &Rest) {
    if rest.input.is_empty() {
        connection.keep();
    }
}
