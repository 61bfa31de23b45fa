//! `upstream = "NAME"`: the request goes to an endpoint and its response comes back, both streamed.

mod asked;
mod relay;
mod tunnel;

use ringway_proto::http1::Framing;
use ringway_runtime::clock::Instant;

use self::relay::{Relay, Sent};
use crate::flow::{After, Client, Exchange, refuse, tell};
use crate::plan::Proxy;
use crate::upstream::Outcome;

/// Proxies one request, whose last byte must have gone by `deadline`.
pub(crate) async fn proxy(client: &mut Client, exchange: &mut Exchange, to: Proxy, deadline: Instant) -> After {
    let pool = client.running.pools[to.upstream.0 as usize].clone();
    let upstream = pool.upstream();
    let mut asked = asked::asked(exchange, &pool, to);
    let mut fresh = false;
    let mut attempt = 1;
    loop {
        let may_retry = attempt < upstream.retry.attempts;
        let connection = match pool.acquire(&client.timer, deadline, &asked, fresh).await {
            Ok(connection) => connection,
            Err((reason, endpoint)) => {
                if let Some(endpoint) = endpoint {
                    (exchange.asked, exchange.attempts) = (Some((to.upstream, endpoint)), exchange.attempts + 1);
                    tell::upstream_failed(client, exchange, reason, "");
                }
                // Nothing was sent, so trying elsewhere is always safe.
                if let Some(endpoint) = endpoint
                    && may_retry
                    && upstream.retry.on_connect
                    && client.now() < deadline
                {
                    asked.avoid.add(endpoint);
                    attempt += 1;
                    pool.series().retried();
                    continue;
                }
                return refuse(client, exchange, reason);
            }
        };
        let endpoint = connection.endpoint();
        let was_reused = connection.reused;
        (exchange.asked, exchange.attempts) = (Some((to.upstream, endpoint)), exchange.attempts + 1);
        let mut relay = Relay::new(client, exchange, &connection, asked.sticky, deadline);
        let outcome = relay.run().await;
        relay.account();
        match outcome {
            Ok(Sent::Done { after, reusable }) => {
                connection.went(answered(exchange));
                if reusable {
                    connection.keep();
                }
                return after;
            }
            Ok(Sent::Upgraded(rest)) => {
                connection.went(answered(exchange));
                return tunnel::run(client, connection, rest, &mut exchange.traffic).await;
            }
            Err(failure) => {
                let is_stale = failure.is_reset && was_reused;
                if failure.kind.is_some() && !is_stale {
                    connection.went(Outcome::Failed(client.now().since(exchange.ledger.sent)));
                }
                drop(connection);
                if let Some(kind) = failure.kind {
                    pool.failed(endpoint, kind);
                }
                // A reset before the first byte: the endpoint may have acted on what it got, so only a request that
                // may be done twice, and of which nothing is lost, goes out again. A stale connection does not count
                // as an attempt of the endpoint's.
                let again = failure.is_reset && exchange.head.method.is_idempotent() && is_replayable(exchange);
                // That an idle connection was closed is no failure to tell of.
                if failure.kind.is_some() && !(again && was_reused) {
                    tell::upstream_failed(client, exchange, failure.reason, failure.detail);
                }
                if failure.started {
                    exchange.reason = failure.breaks_off();
                    return failure.after;
                }
                if again && (was_reused || (may_retry && upstream.retry.on_reset)) {
                    if !was_reused {
                        asked.avoid.add(endpoint);
                        attempt += 1;
                    }
                    fresh = true;
                    pool.series().retried();
                    continue;
                }
                return refuse(client, exchange, failure.reason);
            }
        }
    }
}

/// What the balancer is told of an exchange that has its answer. What the client takes of it is not the endpoint's time.
fn answered(exchange: &Exchange) -> Outcome {
    let ledger = &exchange.ledger;
    Outcome::Answered(exchange.response.status, ledger.first_byte.since(ledger.sent))
}

/// Whether nothing of the request was consumed that a second try would need.
fn is_replayable(exchange: &Exchange) -> bool {
    matches!(exchange.head.framing, Framing::None | Framing::Length(0))
}
