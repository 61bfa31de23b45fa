//! Decode: bytes to a request head, within the time a client has for one.

use std::future::poll_fn;
use std::task::Poll;

use ringway_proto::http1::{self, Body, Method, Progress};

use super::client::{Client, Notice};
use super::exchange::Exchange;
use crate::observe::{Reason, Timeout};

/// What a connection brought next.
pub(super) enum Next {
    Request(Box<Exchange>),
    /// Something that is no acceptable request.
    Refused(Box<Exchange>, Reason),
    /// The client sends no more or idled for too long, or the core drains: what is unsent still goes out.
    Closed,
    /// It may go to another core.
    Leave,
    /// The connection broke.
    Gone,
}

enum Event {
    Read(std::io::Result<Option<ringway_runtime::buffer::Lease>>),
    Notice(Notice),
    Timeout,
}

/// Waits for the next request of `client`.
pub(super) async fn next(client: &mut Client) -> Next {
    let mut exchange: Option<Box<Exchange>> = None;
    loop {
        if exchange.is_none() {
            client.refresh();
        }
        if !client.input.is_empty() {
            let mut current = exchange.take().unwrap_or_else(|| {
                let mut exchange = client.state.take_exchange();
                exchange.ledger.received = client.now();
                exchange.client_ip = client.peer.ip();
                exchange
            });
            let limits = client.listener().limits.of_requests();
            match http1::decode_request(client.input.bytes(), &mut current.scan, &limits, &mut current.head) {
                Ok(Progress::Complete) => {
                    current.head_bytes = Some(client.input.take_front(current.head.len));
                    current.body = Body::new(current.head.framing);
                    current.ledger.parsed = client.now();
                    current.traffic.received = current.head.len as u64;
                    current.id = client.state.new_id();
                    if current.head.method == Method::Connect {
                        return Next::Refused(current, Reason::ConnectNotSupported);
                    }
                    return Next::Request(current);
                }
                Ok(Progress::Partial) => {
                    client.input.gather();
                    exchange = Some(current);
                }
                Err(error) => {
                    current.traffic.received = client.input.bytes().len() as u64;
                    current.id = client.state.new_id();
                    return Next::Refused(current, Reason::Request(error));
                }
            }
        }
        match wait(client, exchange.as_deref()).await {
            Event::Read(Ok(Some(lease))) => {
                client.state.metrics.client_received(lease.len() as u64);
                client.input.add(lease);
            }
            Event::Notice(Notice::Plan) => {}
            // Its place is free at once, unless it has still to get an answer.
            Event::Notice(Notice::Evicted) if client.stream.unsent() == 0 => return Next::Gone,
            Event::Notice(Notice::Leave) => return Next::Leave,
            Event::Read(Ok(None)) | Event::Notice(Notice::End | Notice::Evicted) => return Next::Closed,
            Event::Read(Err(_)) => return Next::Gone,
            Event::Timeout => {
                let Some(mut exchange) = exchange else {
                    client.state.metrics.timed_out(Timeout::KeepAlive);
                    return Next::Closed;
                };
                client.state.metrics.timed_out(Timeout::Head);
                exchange.traffic.received = client.input.bytes().len() as u64;
                exchange.id = client.state.new_id();
                return Next::Refused(exchange, Reason::HeadTimeout);
            }
        }
    }
}

async fn wait(client: &Client, begun: Option<&Exchange>) -> Event {
    let timeouts = &client.listener().timeouts;
    loop {
        // A client that does not take its last answer has less time than one that is merely idle.
        let unsent = client.stream.unsent();
        let deadline = match begun {
            // From accept for the first request: its first byte buys no more time.
            _ if client.requests == 0 => client.idle_since + timeouts.head,
            Some(exchange) => exchange.ledger.received + timeouts.head,
            None if unsent > 0 => client.idle_since + timeouts.send_idle.min(timeouts.keep_alive),
            None => client.idle_since + timeouts.keep_alive,
        };
        client.timer.set(deadline);
        if begun.is_none() {
            client.set_idle(true);
        }
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = client.stream.poll_read(cx) {
                return Poll::Ready(Event::Read(read));
            }
            // A request that has begun is finished first.
            if begun.is_none()
                && let Poll::Ready(notice) = client.poll_notice(cx)
            {
                return Poll::Ready(Event::Notice(notice));
            }
            client.timer.poll(cx).map(|()| Event::Timeout)
        })
        .await;
        if begun.is_none() {
            client.set_idle(false);
        }
        if matches!(event, Event::Timeout) && unsent > 0 && client.stream.unsent() == 0 {
            // The answer has gone out meanwhile: only the idle timeout counts.
            continue;
        }
        return event;
    }
}
