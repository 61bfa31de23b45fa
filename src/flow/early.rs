//! Early: requests that may be replayed, as they came before the TLS handshake was done, or because a gateway before this
//! one says so (RFC 8470).
//!
//! A route that allows it serves what is safe to serve twice at once, and its upstream is told. Everything else waits
//! until the handshake is done, which nobody but its client can bring about. What was early on its way here
//! does not become safe by a wait: it is refused with 425, and its client asks again.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use ringway_proto::http1::{Framing, Method, RequestHead};
use ringway_runtime::buffer::Lease;

use super::client::Client;
use super::exchange::Exchange;
use super::{After, reply};
use crate::observe::{EarlyRequest, Reason};
use crate::plan::{ListenerTls, Route};

/// Whether a request with this head may be served though somebody else may send it again: its route allows that, and it is
/// safe and has no body.
pub(crate) fn may_be_early(route: Option<&Route>, head: &RequestHead) -> bool {
    route.is_some_and(|route| route.early_data)
        && matches!(head.method, Method::Get | Method::Head | Method::Options)
        && matches!(head.framing, Framing::None | Framing::Length(0))
        && !head.upgrade
}

/// Whether a request may be replayed.
pub(super) fn needs(client: &Client, exchange: &Exchange) -> bool {
    client.tls.as_ref().is_some_and(|handshake| !handshake.is_done()) || exchange.head.early_data
}

/// Holds a request back as long as it may be replayed, or refuses it, or notes that it is early. Nothing when it goes on.
pub(super) async fn hold(client: &mut Client, exchange: &mut Exchange, may_be_early: bool) -> Option<After> {
    let state = client.state.clone();
    if may_be_early {
        state.metrics.early_request(EarlyRequest::Served);
        exchange.is_early = true;
        return None;
    }
    if exchange.head.early_data {
        state.metrics.early_request(EarlyRequest::Refused);
        return Some(reply::refuse(client, exchange, Reason::TooEarly));
    }
    match wait(client).await {
        Waited::Done => {
            state.metrics.early_request(EarlyRequest::Delayed);
            None
        }
        Waited::Timeout => {
            state.metrics.early_request(EarlyRequest::Refused);
            exchange.head.keep_alive = false;
            Some(reply::refuse(client, exchange, Reason::TooEarly))
        }
        Waited::Gone => Some(After::Gone),
    }
}

enum Waited {
    Done,
    Timeout,
    Gone,
}

enum Event {
    Done(bool),
    Read(io::Result<Option<Lease>>),
    Timeout,
}

/// Waits until the handshake of a client is done.
async fn wait(client: &mut Client) -> Waited {
    let Some(handshake) = client.tls.clone() else { return Waited::Done };
    let timeout = client.listener().tls.as_ref().map_or(ListenerTls::HANDSHAKE_TIMEOUT, |tls| tls.handshake_timeout);
    let deadline = client.now() + timeout;
    loop {
        client.timer.set(deadline);
        let event = poll_fn(|cx| {
            if let Poll::Ready(done) = handshake.poll_done(cx) {
                return Poll::Ready(Event::Done(done));
            }
            // The connection of a stream is read by others. What is read of one that is not is no more than what may be
            // early, and what came with the end of the handshake.
            let has_room = client.input.bytes().len() < client.listener().limits.stream_buffer as usize;
            if (has_room || !client.is_carried())
                && let Poll::Ready(read) = client.stream.poll_read(cx)
            {
                return Poll::Ready(Event::Read(read));
            }
            client.timer.poll(cx).map(|()| Event::Timeout)
        })
        .await;
        match event {
            Event::Done(true) => return Waited::Done,
            Event::Read(Ok(Some(lease))) => {
                client.state.metrics.client_received(lease.len() as u64);
                client.input.add(lease);
            }
            Event::Done(false) | Event::Read(_) => return Waited::Gone,
            Event::Timeout => return Waited::Timeout,
        }
    }
}
