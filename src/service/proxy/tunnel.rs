//! After 101: bytes both ways until both sides have ended.

use std::future::poll_fn;
use std::task::Poll;

use ringway_runtime::engine::Stream;

use crate::flow::{After, Client, Input};
use crate::observe::Timeout;
use crate::upstream::Connection;

/// Unsent bytes of one side past which the other is not read, and at which it is read again.
const HIGH: usize = 64 * 1024;
const LOW: usize = 32 * 1024;

enum Event {
    FromClient(Option<ringway_runtime::buffer::Lease>),
    FromUpstream(Option<ringway_runtime::buffer::Lease>),
    Room,
    Broken,
    Timeout,
}

/// Carries bytes until both sides ended, one broke, or nothing came for too long. `rest` came after the 101.
pub(super) async fn run(client: &mut Client, connection: Connection, rest: Input) -> After {
    let upstream = connection.stream();
    let early = std::mem::take(&mut client.input);
    pass(&early, upstream);
    pass(&rest, &client.stream);
    let idle = client.listener().timeouts.tunnel_idle;
    let (mut client_open, mut upstream_open) = (true, true);
    while client_open || upstream_open {
        client.timer.set(client.now() + idle);
        match next(client, upstream, client_open, upstream_open).await {
            Event::FromClient(Some(lease)) => {
                client.state.metrics.client_received(lease.len() as u64);
                client.state.metrics.upstream_sent(lease.len() as u64);
                upstream.with_outbox(|outbox| outbox.push(lease));
                upstream.flush();
            }
            Event::FromUpstream(Some(lease)) => {
                client.state.metrics.upstream_received(lease.len() as u64);
                client.state.metrics.client_sent(lease.len() as u64);
                client.stream.with_outbox(|outbox| outbox.push(lease));
                client.stream.flush();
            }
            Event::FromClient(None) => {
                client_open = false;
                if upstream.drained().await.is_err() || upstream.shut_down_write().is_err() {
                    return After::Gone;
                }
            }
            Event::FromUpstream(None) => {
                upstream_open = false;
                if client.stream.drained().await.is_err() || client.stream.shut_down_write().is_err() {
                    return After::Gone;
                }
            }
            Event::Room => {}
            Event::Broken => return After::Gone,
            Event::Timeout => {
                client.state.metrics.timed_out(Timeout::Tunnel);
                return After::Gone;
            }
        }
    }
    After::Gone
}

fn pass(bytes: &Input, to: &Stream) {
    if !bytes.is_empty() {
        to.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(bytes.bytes())));
        to.flush();
    }
}

async fn next(client: &Client, upstream: &Stream, client_open: bool, upstream_open: bool) -> Event {
    let (client_full, upstream_full) = (client.stream.unsent() > HIGH, upstream.unsent() > HIGH);
    poll_fn(|cx| {
        if client_open
            && !upstream_full
            && let Poll::Ready(read) = client.stream.poll_read(cx)
        {
            return Poll::Ready(read.map_or(Event::Broken, Event::FromClient));
        }
        if upstream_open
            && !client_full
            && let Poll::Ready(read) = upstream.poll_read(cx)
        {
            return Poll::Ready(read.map_or(Event::Broken, Event::FromUpstream));
        }
        for (full, stream) in [(client_full, &client.stream), (upstream_full, upstream)] {
            if full && let Poll::Ready(room) = stream.poll_unsent_at_most(cx, LOW) {
                return Poll::Ready(room.map_or(Event::Broken, |()| Event::Room));
            }
        }
        client.timer.poll(cx).map(|()| Event::Timeout)
    })
    .await
}
