//! `upstream = "NAME"`: the request goes to an endpoint and its response comes back, both streamed.

mod answer;
mod asked;
mod attempts;
mod discard;
mod grpc;
mod hedge;
mod mirror;
mod preamble;
mod relay;
mod tries;
mod tunnel;
mod websocket;
mod write;

use std::future::poll_fn;
use std::task::Poll;

use ringway_runtime::clock::Instant;

use self::attempts::{Attempts, Begun, Step};
use crate::flow::{After, Client, Exchange, refuse, web};
use crate::plan::Proxy;

/// Proxies one request, whose last byte must have gone by `deadline`.
pub(crate) async fn proxy(client: &mut Client, exchange: &mut Exchange, to: Proxy, deadline: Instant) -> After {
    if exchange.head.upgrade
        && let Err(reason) = websocket::admit(client, exchange)
    {
        return refuse(client, exchange, reason);
    }
    let mut to = to;
    if let Some(most) = to.web {
        web::begin(exchange, most);
    }
    let mut copy = if to.mirrors { mirror::begin(client, exchange) } else { None };
    let after = 'asked: loop {
        let pool = client.running.pools[to.upstream.0 as usize].clone();
        let mut attempts = Attempts::new(&pool, client, exchange, to, &mut copy, deadline);
        loop {
            let step = match attempts.ready(exchange) {
                Ok(connection) => attempts.make(client, exchange, connection, Begun::Not).await,
                // A request that waits may allocate: a connection then has no room for what most of them never need.
                Err(short) => Box::pin(attempts.make_slowly(client, exchange, short)).await,
            };
            match step {
                Step::Done(after) => break 'asked after,
                Step::Elsewhere(upstream) => {
                    to = Proxy { upstream, subset: 0, capture: None, stands_in: true, ..to };
                    break;
                }
                Step::Again(at) => {
                    if !wait(client, at).await {
                        break 'asked After::Gone;
                    }
                }
            }
        }
    };
    if let Some(copy) = copy {
        copy.send(client, exchange);
    }
    after
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
