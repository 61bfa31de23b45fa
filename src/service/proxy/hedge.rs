//! Hedges: a request that has no answer yet goes to another endpoint as well, and the first answer is the client's.
//!
//! All of it is on the heap, and only where a request is slow.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_proto::http1::{self, HeadScan, Method, Progress, ResponseHead};
use ringway_runtime::buffer::Lease;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Timer};

use super::attempts::tell_server;
use super::discard::{Bounds, Rest, read_to_end};
use super::relay::{send_request, stream_buffer};
use super::tries::{Failed, Tries};
use crate::flow::{Client, Exchange, Input, tell};
use crate::observe::{Hedged, Reason, Timeout, UpstreamFailure};
use crate::plan::{Priority, Proxy};
use crate::upstream::{Asked, BreakerState, Connection, Outcome, Pool};

/// The least time that an answer which comes too late is still waited for, so that its connection can be kept.
const LATE: Duration = Duration::from_millis(50);

/// A try that is under way beside others, and of which nothing came yet.
struct Try {
    connection: Connection,
    /// When its head was sent, and when the last byte of its body was.
    sent: Instant,
    whole: Instant,
    is_hedge: bool,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, (Reason, Option<usize>)>>>>;

/// The tries of one request that are under way at once.
pub(super) struct Race {
    pool: Rc<Pool>,
    tries: Vec<Try>,
    /// The answer that is read now is that of a hedge.
    is_hedge_read: bool,
    /// When there may be another hedge, as long as there may be.
    next: Option<Instant>,
    after: Duration,
    /// Hedges that may still be.
    left: u32,
    connecting: Option<Connecting>,
}

/// How a race went on.
pub(super) enum Raced {
    /// An answer begins with this.
    Answers(Box<(Connection, Input)>),
    /// Nobody is left, the last one for this reason.
    Lost(Failed, Reason),
    /// The time of the request is over.
    Over(Reason),
    /// The client is.
    Gone,
}

enum Event {
    Read(usize, io::Result<Option<Lease>>),
    Connected(Result<Connection, (Reason, Option<usize>)>),
    Client(io::Result<Option<Lease>>),
    Due,
}

impl Race {
    /// With a request that was sent whole then, and has no answer yet.
    pub(super) fn new(
        pool: &Rc<Pool>,
        connection: Connection,
        exchange: &Exchange,
        whole: Instant,
        after: Duration,
    ) -> Self {
        let left = pool.hedging().map_or(0, |hedging| hedging.plan().max);
        let next = (!connection.is_probe()).then_some(whole + after);
        let first = Try { connection, sent: exchange.ledger.sent, whole, is_hedge: false };
        Self { pool: pool.clone(), tries: vec![first], is_hedge_read: false, next, after, left, connecting: None }
    }

    /// Whether others are under way beside the one whose answer is read.
    pub(super) fn has_others(&self) -> bool {
        !self.tries.is_empty()
    }

    /// Waits for the first answer to begin; meanwhile hedges are sent when it is their time.
    pub(super) async fn run(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        asked: &mut Asked,
        to: Proxy,
        tries: &Tries<'_>,
        deadline: Instant,
    ) -> Raced {
        self.read_on();
        loop {
            let now = client.now();
            if self.next.is_some_and(|next| next <= now) {
                self.hedge(client, asked, deadline);
            }
            let due = |at: &Try| {
                let first_byte = at.whole + at.connection.upstream().timeout.first_byte;
                tries.due(at.whole).map_or(first_byte, |due| due.min(first_byte))
            };
            let soonest = self.tries.iter().map(due).chain(self.next).fold(deadline, Instant::min);
            client.timer.set(soonest);
            match self.event(client).await {
                Event::Read(at, Ok(Some(lease))) => {
                    let Try { connection, sent, is_hedge, .. } = self.tries.remove(at);
                    client.state.metrics.upstream_received(lease.len() as u64);
                    self.is_hedge_read = is_hedge;
                    (exchange.ledger.sent, exchange.ledger.first_byte) = (sent, client.now());
                    let mut input = Input::default();
                    input.add(lease);
                    return Raced::Answers(Box::new((connection, input)));
                }
                Event::Read(at, Ok(None) | Err(_)) => {
                    let failed = self.tries.remove(at);
                    let is_stale = failed.connection.reused;
                    let why = (Reason::UpstreamReset, UpstreamFailure::Reset);
                    self.fail(client, exchange, to, failed, why, is_stale);
                    if self.tries.is_empty() {
                        let failed = if is_stale { Failed::Stale } else { Failed::Reset };
                        return Raced::Lost(failed, Reason::UpstreamReset);
                    }
                }
                Event::Connected(connected) => {
                    self.connecting = None;
                    self.connected(client, exchange, asked, to, connected, deadline);
                }
                Event::Client(Ok(Some(lease))) => {
                    client.state.metrics.client_received(lease.len() as u64);
                    client.input.add(lease);
                }
                Event::Client(_) => return Raced::Gone,
                Event::Due => {
                    let now = client.now();
                    if now >= deadline {
                        return Raced::Over(self.over(client, exchange, to));
                    }
                    while let Some(at) = self.tries.iter().position(|at| due(at) <= now) {
                        let failed = self.tries.remove(at);
                        let is_try = tries.due(failed.whole).is_some_and(|due| due <= now);
                        let (timeout, reason) = if is_try {
                            (Timeout::Try, Reason::UpstreamTimeoutTry)
                        } else {
                            (Timeout::FirstByte, Reason::UpstreamTimeoutFirstByte)
                        };
                        client.state.metrics.timed_out(timeout);
                        self.fail(client, exchange, to, failed, (reason, UpstreamFailure::Timeout), false);
                        if self.tries.is_empty() {
                            return Raced::Lost(Failed::Timeout, reason);
                        }
                    }
                }
            }
        }
    }

    /// What was read last is no answer for the client.
    fn read_on(&mut self) {
        if std::mem::take(&mut self.is_hedge_read) {
            self.pool.series().hedged(Hedged::Lost);
        }
    }

    /// Nobody answered.
    pub(super) fn end(mut self) {
        self.read_on();
    }

    async fn event(&mut self, client: &Client) -> Event {
        let Self { tries, connecting, .. } = self;
        poll_fn(|cx| {
            for (at, other) in tries.iter().enumerate() {
                if let Poll::Ready(read) = other.connection.stream().poll_read(cx) {
                    return Poll::Ready(Event::Read(at, read));
                }
            }
            if let Some(connecting) = connecting
                && let Poll::Ready(connected) = connecting.as_mut().poll(cx)
            {
                return Poll::Ready(Event::Connected(connected));
            }
            if client.input.is_empty()
                && let Poll::Ready(read) = client.stream.poll_read(cx)
            {
                return Poll::Ready(Event::Client(read));
            }
            client.timer.poll(cx).map(|()| Event::Due)
        })
        .await
    }

    /// It is time for a hedge: a connection to another endpoint is asked for, unless that would hurt.
    fn hedge(&mut self, client: &Client, asked: &mut Asked, deadline: Instant) {
        self.next = None;
        if self.left == 0 || self.connecting.is_some() {
            return;
        }
        self.left -= 1;
        let pool = &self.pool;
        for other in &self.tries {
            asked.avoid.add(other.connection.endpoint());
        }
        let is_well = pool.breaker().is_none_or(|breaker| breaker == BreakerState::Closed);
        // Hedges are the first to go where there is much to do.
        if !is_well || pool.waiting() > 0 || !client.state.admission.admits(Priority::Low) {
            pool.series().hedged(Hedged::NoEndpoint);
            return;
        }
        if !pool.hedging().is_some_and(|hedging| hedging.take(client.now())) {
            pool.series().hedged(Hedged::OutOfBudget);
            return;
        }
        let (pool, timer) = (pool.clone(), client.state.engine.timer());
        let elsewhere = Asked { at_once: true, elsewhere: true, ..asked.clone() };
        self.connecting = Some(Box::pin(async move { pool.acquire(&timer, deadline, &elsewhere, false).await }));
    }

    fn connected(
        &mut self,
        client: &Client,
        exchange: &mut Exchange,
        asked: &mut Asked,
        to: Proxy,
        connected: Result<Connection, (Reason, Option<usize>)>,
        deadline: Instant,
    ) {
        let now = client.now();
        let connection = match connected {
            Ok(connection) if !connection.is_probe() => connection,
            Ok(_) => return self.pool.series().hedged(Hedged::NoEndpoint),
            Err((reason, endpoint)) => {
                if let Some(endpoint) = endpoint {
                    (exchange.asked, exchange.attempts) = (Some((to.upstream, endpoint)), exchange.attempts + 1);
                    asked.avoid.add(endpoint);
                    tell::upstream_failed(client, exchange, reason, "");
                }
                return self.pool.series().hedged(Hedged::NoEndpoint);
            }
        };
        if !self.pool.budget().take(now) {
            // Nothing was sent on it.
            connection.keep();
            return self.pool.series().hedged(Hedged::OutOfBudget);
        }
        let before = exchange.attempts;
        tell_server(client, exchange, to, deadline, before);
        exchange.attempts += 1;
        send_request(client, exchange, &connection);
        connection.stream().flush();
        self.pool.series().hedged(Hedged::Sent);
        asked.avoid.add(connection.endpoint());
        self.tries.push(Try { connection, sent: now, whole: now, is_hedge: true });
        self.next = (self.left > 0).then(|| now + self.after);
    }

    /// A try failed while others are under way, or as the last.
    fn fail(
        &self,
        client: &Client,
        exchange: &mut Exchange,
        to: Proxy,
        failed: Try,
        (reason, kind): (Reason, UpstreamFailure),
        is_stale: bool,
    ) {
        let Try { connection, sent, is_hedge, .. } = failed;
        let endpoint = connection.endpoint();
        exchange.asked = Some((to.upstream, endpoint));
        if is_hedge {
            self.pool.series().hedged(Hedged::Lost);
        }
        // A connection that went stale is no failure of its endpoint's.
        if !is_stale {
            connection.went(Outcome::Failed(client.now().since(sent)));
            self.pool.failed(endpoint, kind);
            tell::upstream_failed(client, exchange, reason, "");
        }
    }

    /// The time of the whole request is over.
    fn over(&mut self, client: &Client, exchange: &mut Exchange, to: Proxy) -> Reason {
        let (timeout, reason) = if exchange.has_deadline {
            (Timeout::Deadline, Reason::DeadlineExceeded)
        } else {
            (Timeout::Total, Reason::UpstreamTimeoutTotal)
        };
        client.state.metrics.timed_out(timeout);
        for failed in std::mem::take(&mut self.tries) {
            // A client that gives little time says nothing of an endpoint.
            self.fail(client, exchange, to, failed, (reason, UpstreamFailure::Timeout), exchange.has_deadline);
        }
        reason
    }

    /// The answer that is read is the client's: what else is under way has lost.
    pub(super) fn settle(self, client: &Client, method: Method) {
        let series = self.pool.series();
        if self.is_hedge_read {
            series.hedged(Hedged::Won);
        }
        for Try { connection, sent, is_hedge, .. } in self.tries {
            if is_hedge {
                series.hedged(Hedged::Lost);
            }
            let (engine, now) = (&client.state.engine, client.now());
            // As long again as it has had: most answers that lost come soon.
            let patience = now.since(sent).max(LATE).min(connection.upstream().timeout.idle);
            let bounds = Bounds {
                limits: client.listener().limits.of_responses(),
                metrics: client.state.metrics.clone(),
                timer: engine.timer(),
                until: now + patience,
                most: stream_buffer(client),
            };
            engine.spawn(await_late(engine.clone(), connection, method, sent, bounds));
        }
    }
}

/// Waits for an answer that nobody gets, within bounds, so that its endpoint is judged by what it did and its connection
/// can be kept. Past them the connection closes, which tells the endpoint as well.
async fn await_late(engine: Engine, connection: Connection, method: Method, sent: Instant, bounds: Bounds) {
    let said = late_head(&connection, method, &bounds).await;
    let took = engine.now().since(sent);
    match said {
        Late::Answered(response, input) => {
            connection.went(Outcome::Answered(response.status, took));
            let keep_alive = response.keep_alive;
            read_to_end(connection, Rest::new(&response, input, keep_alive), bounds).await;
        }
        Late::Failed => connection.went(Outcome::Failed(took)),
        Late::Silent => connection.went(Outcome::Abandoned(took)),
    }
}

/// What came of an answer that nobody gets.
pub(super) enum Late {
    /// It is of this head, with which these bytes begin.
    Answered(Box<ResponseHead>, Input),
    /// The connection ended, or what came is no answer.
    Failed,
    /// Nothing came in time.
    Silent,
}

/// Reads up to the head of an answer that nobody gets.
pub(super) async fn late_head(connection: &Connection, method: Method, bounds: &Bounds) -> Late {
    let mut input = Input::default();
    let (mut scan, mut response) = (HeadScan::default(), Box::new(ResponseHead::default()));
    bounds.timer.set(bounds.until);
    loop {
        let read = read_by(connection, &bounds.timer).await;
        match read {
            None => return Late::Silent,
            Some(Ok(Some(lease))) => {
                bounds.metrics.upstream_received(lease.len() as u64);
                input.add(lease);
            }
            Some(_) => return Late::Failed,
        }
        loop {
            match http1::decode_response(input.bytes(), &mut scan, &bounds.limits, method, &mut response) {
                Ok(Progress::Complete) if response.is_interim() => input.consume(response.len),
                Ok(Progress::Complete) if response.upgrade => return Late::Failed,
                Ok(Progress::Complete) => return Late::Answered(response, input),
                Ok(Progress::Partial) => break,
                Err(_) => return Late::Failed,
            }
            if input.is_empty() {
                break;
            }
        }
        input.gather();
    }
}

async fn read_by(connection: &Connection, timer: &Timer) -> Option<io::Result<Option<Lease>>> {
    poll_fn(|cx| match connection.stream().poll_read(cx) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    })
    .await
}
