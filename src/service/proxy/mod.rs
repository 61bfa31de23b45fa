//! `upstream = "NAME"`: the request goes to an endpoint and its response comes back, both streamed.

mod asked;
mod attempts;
mod discard;
mod hedge;
mod mirror;
mod relay;
mod tries;
mod tunnel;

use std::future::poll_fn;
use std::task::Poll;

use ringway_runtime::clock::Instant;

use self::attempts::{Attempts, Step};
use self::mirror::Copy;
use crate::flow::{After, Client, Exchange};
use crate::plan::{Proxy, UpstreamId};

/// Proxies one request, whose last byte must have gone by `deadline`.
pub(crate) async fn proxy(client: &mut Client, exchange: &mut Exchange, to: Proxy, deadline: Instant) -> After {
    let mut to = to;
    let mut copy = if to.mirrors { mirror::begin(client, exchange) } else { None };
    loop {
        match proxy_to(client, exchange, to, &mut copy, deadline).await {
            Ok(after) => {
                if let Some(copy) = copy {
                    copy.send(client, exchange);
                }
                return after;
            }
            // An answer that was kept would do as well; there is no cache yet.
            Err(upstream) => to = Proxy { upstream, subset: 0, capture: None, fallback: None, ..to },
        }
    }
}

/// Proxies to one upstream. An error is the one that stands in for it, where its breakers let nothing through or none of
/// its endpoints may be used.
async fn proxy_to(
    client: &mut Client,
    exchange: &mut Exchange,
    to: Proxy,
    copy: &mut Option<Box<Copy>>,
    deadline: Instant,
) -> Result<After, UpstreamId> {
    let pool = client.running.pools[to.upstream.0 as usize].clone();
    let mut attempts = Attempts::new(&pool, client, exchange, to, copy, deadline);
    loop {
        let step = match attempts.ready() {
            Ok(connection) => attempts.make(client, exchange, connection).await,
            // A request that waits may allocate: a connection then has no room for what most of them never need.
            Err(short) => Box::pin(attempts.make_slowly(client, exchange, short)).await,
        };
        match step {
            Step::Done(after) => return Ok(after),
            Step::Elsewhere(upstream) => return Err(upstream),
            Step::Again(at) => {
                if !wait(client, at).await {
                    return Ok(After::Gone);
                }
            }
        }
    }
}

/// Waits until then. False when the client left meanwhile.
async fn wait(client: &mut Client, until: Instant) -> bool {
    // A request that waits may allocate.
    until <= client.now() || Box::pin(wait_for(client, until)).await
}

async fn wait_for(client: &mut Client, until: Instant) -> bool {
    client.timer.set(until);
    loop {
        let read = poll_fn(|cx| {
            if client.input.is_empty()
                && let Poll::Ready(read) = client.stream.poll_read(cx)
            {
                return Poll::Ready(Some(read));
            }
            client.timer.poll(cx).map(|()| None)
        });
        match read.await {
            None => return true,
            Some(Ok(Some(lease))) => {
                client.state.metrics.client_received(lease.len() as u64);
                client.input.add(lease);
            }
            Some(_) => return false,
        }
    }
}
