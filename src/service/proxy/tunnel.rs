//! After 101: bytes both ways until both sides have ended.

use std::future::poll_fn;
use std::task::{Context, Poll};

use ringway_runtime::buffer::Lease;
use ringway_runtime::engine::Stream;

use super::relay::stream_buffer;
use crate::flow::{After, Client, Input, Traffic};
use crate::observe::Timeout;
use crate::upstream::Connection;

/// What one side still has to say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// It may send more.
    Open,
    /// It has ended; the last of it is on its way to the other side.
    Ending,
    /// The other side was told.
    Ended,
}

enum Event {
    FromClient(Option<Lease>),
    FromUpstream(Option<Lease>),
    Room,
    Broken,
    Timeout,
}

/// Carries bytes until both sides ended, one broke, or nothing moved for too long. `rest` came after the 101.
pub(super) async fn run(client: &mut Client, connection: Connection, rest: Input, traffic: &mut Traffic) -> After {
    let upstream = connection.stream();
    let early = std::mem::take(&mut client.input);
    pass(&early, upstream);
    pass(&rest, &client.stream);
    traffic.received += early.bytes().len() as u64;
    traffic.sent += rest.bytes().len() as u64;
    drop((early, rest));
    let metrics = client.state.metrics.clone();
    let idle = client.listener().timeouts.tunnel_idle;
    let (mut from_client, mut from_upstream) = (Half::Open, Half::Open);
    loop {
        if !tell_end(&mut from_client, upstream) || !tell_end(&mut from_upstream, &client.stream) {
            return After::Gone;
        }
        if from_client == Half::Ended && from_upstream == Half::Ended {
            return After::Gone;
        }
        client.timer.set(client.now() + idle);
        match poll_fn(|cx| next(cx, client, upstream, from_client, from_upstream)).await {
            Event::FromClient(Some(lease)) => {
                metrics.client_received(lease.len() as u64);
                traffic.received += lease.len() as u64;
                metrics.upstream_sent(lease.len() as u64);
                upstream.with_outbox(|outbox| outbox.push(lease));
                upstream.flush();
            }
            Event::FromUpstream(Some(lease)) => {
                metrics.upstream_received(lease.len() as u64);
                metrics.client_sent(lease.len() as u64);
                traffic.sent += lease.len() as u64;
                client.stream.with_outbox(|outbox| outbox.push(lease));
                client.stream.flush();
            }
            Event::FromClient(None) => from_client = Half::Ending,
            Event::FromUpstream(None) => from_upstream = Half::Ending,
            Event::Room => {}
            Event::Broken => return After::Gone,
            Event::Timeout => {
                metrics.timed_out(Timeout::Tunnel);
                return After::Gone;
            }
        }
    }
}

fn pass(bytes: &Input, to: &Stream) {
    if !bytes.is_empty() {
        to.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(bytes.bytes())));
        to.flush();
    }
}

/// Tells `to` that the other side has ended, once everything before is sent. False when `to` is broken.
fn tell_end(half: &mut Half, to: &Stream) -> bool {
    if *half == Half::Ending && to.unsent() == 0 {
        *half = Half::Ended;
        return to.shut_down_write().is_ok();
    }
    true
}

fn next(cx: &Context<'_>, client: &Client, upstream: &Stream, from_client: Half, from_upstream: Half) -> Poll<Event> {
    let high = stream_buffer(client);
    let sides = [
        (&client.stream, upstream, from_client, Event::FromClient as fn(Option<Lease>) -> Event),
        (upstream, &client.stream, from_upstream, Event::FromUpstream),
    ];
    for (from, to, half, event) in sides {
        let enough = match half {
            Half::Open if to.unsent() <= high => {
                if let Poll::Ready(read) = from.poll_read(cx) {
                    return Poll::Ready(read.map_or(Event::Broken, event));
                }
                continue;
            }
            Half::Open => high / 2,
            Half::Ending => 0,
            Half::Ended => continue,
        };
        if let Poll::Ready(room) = to.poll_unsent_at_most(cx, enough) {
            return Poll::Ready(room.map_or(Event::Broken, |()| Event::Room));
        }
    }
    client.timer.poll(cx).map(|()| Event::Timeout)
}
