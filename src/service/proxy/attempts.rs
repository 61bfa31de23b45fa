//! The attempts at one upstream for one request: a connection, the exchange on it, and what comes after one that failed.

use std::rc::Rc;

use ringway_runtime::clock::Instant;

use super::asked::asked;
use super::discard::{Held, Passed};
use super::hedge::{Race, Raced};
use super::mirror::Copy;
use super::preamble::preamble;
use super::relay::{Failure, Relay, Sent};
use super::tries::{Failed, Tries};
use super::{tunnel, websocket};
use crate::flow::{self, After, Client, Exchange, Input, Reply, refuse, tell};
use crate::observe::{Reason, Timeout, UpstreamEvent};
use crate::plan::{Fallback, Proxy, UpstreamId};
use crate::upstream::{Asked, Connection, Outcome, Pool, Short};

/// What comes after an attempt.
pub(super) enum Step {
    /// Nothing: the client has its answer.
    Done(After),
    /// This upstream stands in for the one that was asked.
    Elsewhere(UpstreamId),
    /// Another attempt, not before then.
    Again(Instant),
}

/// How far the exchange on a connection is.
pub(super) enum Begun {
    /// Nothing of the request is sent on it.
    Not,
    /// Its answer begins with this.
    Answers(Input),
    /// The same, and it was held back.
    Held(Input),
}

pub(super) struct Attempts<'p> {
    pool: &'p Rc<Pool>,
    to: Proxy,
    asked: Asked,
    tries: Tries<'p>,
    /// An idle connection will not do: one of them ended before it answered.
    fresh: bool,
    /// An answer that the client gets if no other comes about.
    held: Option<Box<Held>>,
    deadline: Instant,
}

impl<'p> Attempts<'p> {
    pub(super) fn new(
        pool: &'p Rc<Pool>,
        client: &Client,
        exchange: &Exchange,
        to: Proxy,
        copy: &'p mut Option<Box<Copy>>,
        deadline: Instant,
    ) -> Self {
        let mut asked = asked(exchange, pool, to);
        asked.is_hurried = exchange.has_deadline;
        asked.preamble = preamble(client, pool.upstream());
        let may_go_elsewhere = asked.sticky.is_none();
        let tries = Tries::new(pool, exchange, to.retry, may_go_elsewhere, copy, client.now(), deadline);
        Self { pool, to, asked, tries, fresh: false, held: None, deadline }
    }

    /// A connection that is there at once. An error says what else would help; nothing where the request is under way
    /// already.
    pub(super) fn ready(&mut self, exchange: &mut Exchange) -> Result<Connection, Option<Short>> {
        if self.tries.has_others() {
            return Err(None);
        }
        self.tries.end_race();
        // An answer that is held back must not wait for the connection that it keeps itself.
        self.asked.at_once = self.held.as_ref().is_some_and(|held| held.has_connection());
        let connection = self.pool.ready(&self.asked, self.fresh).map_err(Some)?;
        exchange.attempts += 1;
        Ok(connection)
    }

    /// An attempt that waits for a connection or for the first of several answers.
    pub(super) async fn make_slowly(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        short: Option<Short>,
    ) -> Step {
        let got = match short {
            None => self.race(client, exchange).await,
            Some(short) => self.wait(client, exchange, short).await,
        };
        let (connection, begun) = match got {
            Ok(got) => got,
            Err(Lost::Step(step)) => return step,
            Err(Lost::Attempt(Some(at), _)) => return Step::Again(at),
            Err(Lost::Attempt(None, reason)) => match self.held.take() {
                // No time is left for the rest of it.
                Some(before) if before.has_connection() && client.now() >= self.deadline => {
                    return Step::Done(refuse(client, exchange, reason));
                }
                // What the endpoint said before tells the client more than that nobody can be asked again.
                Some(before) => match before.pass_on(client, exchange, &mut self.tries) {
                    Passed::Whole(after) => return Step::Done(after),
                    Passed::Begun(answer) => (answer.0, Begun::Held(answer.1)),
                },
                None => return Step::Done(refuse(client, exchange, reason)),
            },
        };
        self.make(client, exchange, connection, begun).await
    }

    /// Waits for the first answer of several endpoints.
    async fn race(&mut self, client: &mut Client, exchange: &mut Exchange) -> Result<(Connection, Begun), Lost> {
        let Some(mut race) = self.tries.race.take() else { return Err(Lost::Attempt(None, Reason::Internal)) };
        let raced = race.run(client, exchange, &mut self.asked, self.to, &self.tries, self.deadline).await;
        self.tries.race = Some(race);
        match raced {
            Raced::Answers(answer) => Ok((answer.0, Begun::Answers(answer.1))),
            Raced::Gone => Err(Lost::Step(Step::Done(After::Gone))),
            Raced::Over(reason) => Err(Lost::Step(Step::Done(refuse(client, exchange, reason)))),
            Raced::Lost(failed, reason) => {
                self.fresh |= matches!(failed, Failed::Reset | Failed::Stale | Failed::Refused);
                Err(Lost::Attempt(self.tries.again(client, failed), reason))
            }
        }
    }

    /// Waits for a connection.
    async fn wait(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        short: Short,
    ) -> Result<(Connection, Begun), Lost> {
        let acquired = self.pool.wait(short, &client.timer, self.deadline, &self.asked, self.fresh).await;
        let (reason, endpoint) = match acquired {
            Ok(connection) => {
                exchange.attempts += 1;
                return Ok((connection, Begun::Not));
            }
            Err(error) => error,
        };
        let reason = in_time(client, exchange, reason, self.deadline);
        let again = endpoint.and_then(|endpoint| {
            exchange.attempts += 1;
            exchange.asked = Some((self.to.upstream, endpoint));
            tell::upstream_failed(client, exchange, reason, "");
            self.asked.avoid.add(endpoint);
            self.tries.again(client, Failed::Connect)
        });
        if matches!(reason, Reason::BreakerOpen | Reason::NoEndpoint) {
            // Nothing of the request is gone yet.
            let may_fall_back = exchange.attempts == 0;
            if may_fall_back && let Some(step) = self.fall_back(client, exchange, self.pool.upstream().fallback()) {
                self.pool.series().event(UpstreamEvent::FellBack);
                return Err(Lost::Step(step));
            }
            exchange.retry_after = self.pool.retry_after();
        }
        Err(Lost::Attempt(again, reason))
    }

    /// What a fallback does with a request of which nothing is gone yet; nothing where it has no answer. One that may lack
    /// its answer, and names what is asked then, is one more arm that comes back here with that.
    fn fall_back(&self, client: &mut Client, exchange: &mut Exchange, fallback: &Fallback) -> Option<Step> {
        match fallback {
            Fallback::Refuse => None,
            Fallback::Upstream(upstream) => (!self.to.stands_in).then_some(Step::Elsewhere(*upstream)),
            Fallback::Respond(_, response) => {
                Some(Step::Done(flow::reply(client, exchange, &Reply::from(&**response))))
            }
        }
    }

    /// The exchange on a connection.
    pub(super) async fn make(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        connection: Connection,
        begun: Begun,
    ) -> Step {
        if let Some(held) = self.held.take() {
            held.discard(client);
        }
        exchange.asked = Some((self.to.upstream, connection.endpoint()));
        if matches!(begun, Begun::Not) {
            let before = exchange.attempts.saturating_sub(1);
            tell_server(client, exchange, self.to, self.deadline, before);
        }
        let mut relay = Relay::new(client, exchange, &connection, &mut self.tries, self.asked.sticky, self.deadline);
        match begun {
            Begun::Not => relay.begin(),
            Begun::Answers(input) => relay.read_on(input),
            Begun::Held(input) => relay.resume(input),
        }
        let mut outcome = relay.run().await;
        if let Err(failure) = &mut outcome {
            relay.say_why(failure);
        }
        relay.account();
        match outcome {
            Ok(Sent::Done { after, reusable }) => {
                connection.went(answered(exchange));
                if reusable {
                    connection.keep();
                }
                Step::Done(after)
            }
            Ok(Sent::Upgraded(upgraded)) => {
                connection.went(answered(exchange));
                // Few requests become tunnels: a connection has no room for what most of them never need.
                let (rest, websocket) = *upgraded;
                Step::Done(match websocket {
                    Some(agreed) => Box::pin(websocket::run(client, exchange, connection, rest, agreed)).await,
                    None => Box::pin(tunnel::run(client, connection, rest, &mut exchange.traffic)).await,
                })
            }
            Ok(Sent::Held { at, rest }) => {
                connection.went(answered(exchange));
                self.asked.avoid.add(connection.endpoint());
                self.held = Some(Box::new(Held::new(client, connection, *rest)));
                Step::Again(at)
            }
            Ok(Sent::Slow { whole, after }) => {
                self.tries.begin_race(Race::new(self.pool, connection, exchange, whole, after));
                Step::Again(client.now())
            }
            Err(failure) => self.failed(client, exchange, connection, &failure),
        }
    }

    /// What comes after an exchange that failed.
    #[cold]
    fn failed(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        connection: Connection,
        failure: &Failure,
    ) -> Step {
        let endpoint = connection.endpoint();
        // A connection that went stale is no failure of its endpoint's.
        let failed = match failure.failed {
            Some(Failed::Reset) if connection.reused => Some(Failed::Stale),
            failed => failed,
        };
        let is_fault = !matches!(failed, Some(Failed::Stale | Failed::Refused));
        if failure.kind.is_some() && is_fault {
            connection.went(Outcome::Failed(client.now().since(exchange.ledger.sent)));
            self.asked.avoid.add(endpoint);
        }
        drop(connection);
        if let Some(kind) = failure.kind.filter(|_| failed != Some(Failed::Refused)) {
            self.pool.failed(endpoint, kind);
        }
        let again = match failed {
            _ if failure.started => None,
            None if self.tries.has_others() => Some(client.now()),
            failed => failed.and_then(|failed| self.tries.again(client, failed)),
        };
        // That an idle connection was closed is no failure to tell of.
        if failure.kind.is_some() && (is_fault || again.is_none()) {
            tell::upstream_failed(client, exchange, failure.reason, failure.detail);
        }
        if failure.started {
            exchange.reason = failure.breaks_off();
            return Step::Done(failure.after);
        }
        self.fresh |= matches!(failed, Some(Failed::Reset | Failed::Stale | Failed::Refused));
        again.map_or_else(|| Step::Done(refuse(client, exchange, failure.reason)), Step::Again)
    }
}

/// Has the next head for an endpoint say what it should know of the request: how much time is left, and which try it is.
pub(super) fn tell_server(client: &Client, exchange: &mut Exchange, to: Proxy, deadline: Instant, tries_before: u32) {
    if to.tells_deadline {
        flow::deadline::tell(client, exchange, deadline);
    }
    if exchange.rpc.is_some() {
        flow::rpc::tell(client, exchange, deadline, tries_before);
    }
}

/// Why there is no connection for an attempt.
enum Lost {
    /// What comes now.
    Step(Step),
    /// It failed for this reason, and there may be another one then.
    Attempt(Option<Instant>, Reason),
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
