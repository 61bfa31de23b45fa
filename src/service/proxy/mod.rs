//! `upstream = "NAME"`: the request goes to an endpoint and its response comes back, both streamed.

mod asked;
mod discard;
mod hedge;
mod mirror;
mod relay;
mod tries;
mod tunnel;

use std::future::poll_fn;
use std::task::Poll;

use ringway_runtime::clock::Instant;

use self::discard::{Held, Passed};
use self::hedge::{Race, Raced};
use self::mirror::Copy;
use self::relay::{Relay, Sent};
use self::tries::{Failed, Tries};
use crate::flow::{self, After, Client, Exchange, Input, refuse, tell};
use crate::observe::{Reason, Timeout, UpstreamEvent};
use crate::plan::{Proxy, UpstreamId};
use crate::upstream::Outcome;

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
    let mut asked = asked::asked(exchange, &pool, to);
    asked.is_hurried = exchange.has_deadline;
    let may_go_elsewhere = asked.sticky.is_none();
    let mut tries = Tries::new(&pool, exchange, to.retry, may_go_elsewhere, copy, client.now(), deadline);
    let mut fresh = false;
    let mut held: Option<Box<Held>> = None;
    loop {
        let raced = match tries.race.take_if(|race| race.has_others()) {
            Some(mut race) => {
                // Few requests are under way at several endpoints.
                let raced = Box::pin(race.run(client, exchange, &mut asked, to, &tries, deadline)).await;
                tries.race = Some(race);
                Some(raced)
            }
            None => None,
        };
        let got = match raced {
            Some(Raced::Answers(answer)) => Ok((answer.0, Begun::Answers(answer.1))),
            Some(Raced::Gone) => return Ok(After::Gone),
            Some(Raced::Over(reason)) => return Ok(refuse(client, exchange, reason)),
            Some(Raced::Lost(failed, reason)) => {
                fresh |= matches!(failed, Failed::Reset | Failed::Stale);
                Err((tries.again(client, failed), reason))
            }
            None => {
                tries.end_race();
                // An answer that is held back must not wait for the connection that it keeps itself.
                asked.at_once = held.as_ref().is_some_and(|held| held.has_connection());
                let acquired = pool.acquire(&client.timer, deadline, &asked, fresh).await;
                match acquired {
                    Ok(connection) => {
                        exchange.attempts += 1;
                        Ok((connection, Begun::Not))
                    }
                    Err((reason, endpoint)) => {
                        let reason = in_time(client, exchange, reason, deadline);
                        let again = endpoint.and_then(|endpoint| {
                            let attempts = exchange.attempts + 1;
                            (exchange.asked, exchange.attempts) = (Some((to.upstream, endpoint)), attempts);
                            tell::upstream_failed(client, exchange, reason, "");
                            asked.avoid.add(endpoint);
                            tries.again(client, Failed::Connect)
                        });
                        if matches!(reason, Reason::BreakerOpen | Reason::NoEndpoint) {
                            // Nothing of the request is gone yet.
                            if let Some(fallback) = to.fallback.filter(|_| exchange.attempts == 0) {
                                pool.series().event(UpstreamEvent::FellBack);
                                return Err(fallback);
                            }
                            exchange.retry_after = pool.retry_after();
                        }
                        Err((again, reason))
                    }
                }
            }
        };
        let (connection, begun) = match got {
            Ok(got) => {
                if let Some(held) = held.take() {
                    held.discard(client);
                }
                got
            }
            Err((Some(at), _)) => {
                if !wait(client, at).await {
                    return Ok(After::Gone);
                }
                continue;
            }
            Err((None, reason)) => match held.take() {
                // No time is left for the rest of it.
                Some(before) if before.has_connection() && client.now() >= deadline => {
                    return Ok(refuse(client, exchange, reason));
                }
                // What the endpoint said before tells the client more than that nobody can be asked again.
                Some(before) => match before.pass_on(client, exchange, &mut tries) {
                    Passed::Whole(after) => return Ok(after),
                    Passed::Begun(answer) => (answer.0, Begun::Held(answer.1)),
                },
                None => return Ok(refuse(client, exchange, reason)),
            },
        };
        let (endpoint, was_reused) = (connection.endpoint(), connection.reused);
        exchange.asked = Some((to.upstream, endpoint));
        if to.tells_deadline && matches!(begun, Begun::Not) {
            flow::deadline::tell(client, exchange, deadline);
        }
        let mut relay = Relay::new(client, exchange, &connection, &mut tries, asked.sticky, deadline);
        let outcome = match begun {
            Begun::Not => relay.run().await,
            Begun::Answers(input) => Box::pin(relay.read_on(input)).await,
            Begun::Held(input) => Box::pin(relay.resume(input)).await,
        };
        relay.account();
        let again = match outcome {
            Ok(Sent::Done { after, reusable }) => {
                connection.went(answered(exchange));
                if reusable {
                    connection.keep();
                }
                return Ok(after);
            }
            Ok(Sent::Upgraded(rest)) => {
                connection.went(answered(exchange));
                // Few requests become tunnels: a connection has no room for what most of them never need.
                return Ok(Box::pin(tunnel::run(client, connection, rest, &mut exchange.traffic)).await);
            }
            Ok(Sent::Held { at, rest }) => {
                connection.went(answered(exchange));
                asked.avoid.add(endpoint);
                held = Some(Box::new(Held::new(client, connection, rest)));
                at
            }
            Ok(Sent::Slow { whole, after }) => {
                tries.begin_race(Race::new(&pool, connection, exchange, whole, after));
                client.now()
            }
            Err(failure) => {
                // A connection that went stale is no failure of its endpoint's.
                let failed = match failure.failed {
                    Some(Failed::Reset) if was_reused => Some(Failed::Stale),
                    failed => failed,
                };
                if failure.kind.is_some() && failed != Some(Failed::Stale) {
                    connection.went(Outcome::Failed(client.now().since(exchange.ledger.sent)));
                    asked.avoid.add(endpoint);
                }
                drop(connection);
                if let Some(kind) = failure.kind {
                    pool.failed(endpoint, kind);
                }
                let again = match failed {
                    _ if failure.started => None,
                    None if tries.has_others() => Some(client.now()),
                    failed => failed.and_then(|failed| tries.again(client, failed)),
                };
                // That an idle connection was closed is no failure to tell of.
                if failure.kind.is_some() && !(failed == Some(Failed::Stale) && again.is_some()) {
                    tell::upstream_failed(client, exchange, failure.reason, failure.detail);
                }
                if failure.started {
                    exchange.reason = failure.breaks_off();
                    return Ok(failure.after);
                }
                fresh |= matches!(failed, Some(Failed::Reset | Failed::Stale));
                match again {
                    Some(at) => at,
                    None => return Ok(refuse(client, exchange, failure.reason)),
                }
            }
        };
        if !wait(client, again).await {
            return Ok(After::Gone);
        }
    }
}

/// How far the exchange on a connection is.
enum Begun {
    /// Nothing of the request is sent on it.
    Not,
    /// Its answer begins with this.
    Answers(Input),
    /// The same, and it was held back.
    Held(Input),
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

/// Why no endpoint could be asked: nobody else is to blame where the client's deadline passed meanwhile.
fn in_time(client: &Client, exchange: &Exchange, reason: Reason, deadline: Instant) -> Reason {
    let is_time = matches!(reason, Reason::PoolTimeout | Reason::UpstreamTimeoutTotal);
    if exchange.has_deadline && is_time && client.now() >= deadline {
        client.state.metrics.timed_out(Timeout::Deadline);
        return Reason::DeadlineExceeded;
    }
    reason
}

/// What the balancer is told of an exchange that has its answer. What the client takes of it is not the endpoint's time.
fn answered(exchange: &Exchange) -> Outcome {
    let ledger = &exchange.ledger;
    Outcome::Answered(exchange.response.status, ledger.first_byte.since(ledger.sent))
}
