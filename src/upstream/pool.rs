//! The connections one core keeps to one upstream.
//!
//! A connection is idle in the pool or held by one request. `max_connections` bounds both together; requests past it
//! wait in line, first come first served, each with a deadline.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_proto::http2;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, LayerRoom, Stream, Timer};
use ringway_runtime::net::Address;

use super::breaker::Leave;
use super::health;
use super::http2::{Dial, Mux};
use super::secure::Secure;
use super::{
    Asked, Balancer, BreakerState, Budget, Cause, Change, Checks, Drained, HealthSight, Hedging, Outcome, Picked, Seat,
    Shared, Standing, Unpicked,
};
use crate::observe::records::{Event, Recorder};
use crate::observe::{Metrics, Reason, Timeout, UpstreamEvent, UpstreamFailure, UpstreamSeries};
use crate::plan::{Endpoint, Sticky, Upstream};

/// How often it is looked whether endpoints that were full still are.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(2);

/// One core's connections to one upstream.
pub struct Pool {
    engine: Engine,
    upstream: Arc<Upstream>,
    metrics: Rc<Metrics>,
    series: UpstreamSeries,
    /// Takes what operators hear of.
    records: Rc<Recorder>,
    /// Requests share connections.
    http2: Option<http2::Config>,
    balancer: Balancer,
    budget: Rc<Budget>,
    hedging: Option<Rc<Hedging>>,
    whole: Rc<Whole>,
    lines: Box<[Rc<Line>]>,
    /// A task looks whether endpoints that had no room have some.
    looks_for_room: Cell<bool>,
    /// No plan has it any more: it serves the requests of plans before, and keeps connections only to endpoints that the
    /// pool after it has, too.
    retired: Cell<bool>,
    /// What becomes of its requests still says something of the endpoints.
    judges: Cell<bool>,
    /// A plan with it has run.
    is_settled: Cell<bool>,
    /// The tasks that ask.
    checkers: RefCell<Vec<Waker>>,
    /// Where it is spoken to over TLS.
    secure: Option<Rc<Secure>>,
}

/// What the core has of one upstream, for as long as plans have one of its name: its pools share it.
#[derive(Default)]
struct Whole {
    /// Idle, busy and connecting.
    open: Cell<u32>,
    idle: Cell<u32>,
    /// Copies of requests that are on their way to it.
    copies: Cell<u32>,
    /// An endpoint may have only so many connections, in one of the pools.
    has_limits: Cell<bool>,
    waiting: RefCell<VecDeque<Rc<Place>>>,
}

/// What the core has of one endpoint, for as long as plans have it: its pools share it.
#[derive(Default)]
struct Line {
    /// Idle, busy and connecting.
    open: Cell<u32>,
    /// Exchanges that failed since a plan brought it.
    failures: Cell<u64>,
    /// Idle connections, the one used last at the back.
    idle: RefCell<VecDeque<Idle>>,
    /// No plan has it any more.
    is_gone: Cell<bool>,
    /// When it is asked next how it is.
    next_check: Cell<Instant>,
    /// Connections that requests share.
    mux: Mux,
}

/// How one endpoint is, as one core sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointSight {
    /// Connections: idle, busy and connecting.
    pub open: u32,
    /// Those of them that are idle.
    pub idle: u32,
    /// Exchanges that failed, connects included, since a plan brought it.
    pub failures: u64,
    /// Requests under way.
    pub requests: u32,
    /// Whether it may be used, and why not.
    pub standing: Standing,
    /// What is known of its health.
    pub health: HealthSight,
}

struct Idle {
    stream: Stream,
    /// What it began with.
    preamble: Option<Rc<[u8]>>,
    since: Instant,
    opened: Instant,
}

/// A place in the line.
#[derive(Default)]
struct Place {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A connection one request holds. Dropping it closes it; [`Connection::keep`] gives it back.
pub struct Connection {
    stream: Stream,
    /// Goes before the place of the connection: whoever is called next finds both free.
    turn: Turn,
    slot: Slot,
    opened: Instant,
    /// What it began with: it is only for requests that want just that.
    preamble: Option<Rc<[u8]>>,
    /// Whether it served another request before this one.
    pub reused: bool,
}

/// Why there is no connection at once.
pub enum Short {
    /// Nothing may be asked now.
    Refused(Reason),
    /// There may be a new one.
    New(Box<NewConnection>),
    /// As many as there may be are busy.
    Full,
}

/// An endpoint was picked, and there is room for a connection to it.
pub struct NewConnection(Turn);

/// A request that an endpoint was picked for, until it has ended.
struct Turn {
    pool: Rc<Pool>,
    picked: Picked,
    outcome: Cell<Outcome>,
    /// What the breaker of the upstream said, until it is told how the request went.
    leave: Cell<Option<Leave>>,
}

impl Turn {
    fn endpoint(&self) -> usize {
        self.picked.endpoint
    }

    /// Says how the request went.
    fn went(&self, outcome: Outcome) {
        self.outcome.set(outcome);
        if let Some(leave) = self.leave.take() {
            if let (Some(hedging), Outcome::Answered(..500, took) | Outcome::Abandoned(took)) =
                (&self.pool.hedging, outcome)
            {
                hedging.took(took);
            }
            self.pool.judge(self.picked, leave, outcome);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Nothing, where the outcome was told before.
        self.went(self.outcome.get());
        self.pool.balancer.end(self.picked, self.outcome.get(), self.pool.engine.now());
    }
}

/// Leave of the upstream's breaker, while it has no endpoint.
struct UpstreamLeave<'a> {
    pool: &'a Rc<Pool>,
    leave: Cell<Option<Leave>>,
}

impl UpstreamLeave<'_> {
    fn take(&self) -> Leave {
        self.leave.take().unwrap_or(Leave::Plain)
    }
}

impl Drop for UpstreamLeave<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.pool.shared().report(leave, Outcome::Unknown, 0, self.pool.engine.now());
        }
    }
}

/// One of the `max_connections`.
struct Slot {
    pool: Rc<Pool>,
    endpoint: usize,
    holds: Holds,
}

/// What is in a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// No connection yet.
    Nothing,
    Connection,
    /// The connection is idle now: its place stays taken.
    Idle,
}

impl Drop for Slot {
    fn drop(&mut self) {
        match self.holds {
            Holds::Idle => self.pool.note_room(self.endpoint),
            Holds::Connection => {
                self.pool.count_open(self.endpoint, -1);
                self.pool.series.closed();
            }
            Holds::Nothing => self.pool.count_open(self.endpoint, -1),
        }
        self.pool.call_next();
    }
}

impl Pool {
    /// A pool that goes on with what the one `before` has of the endpoints that both have; empty without one.
    pub fn new(
        engine: &Engine,
        shared: &Arc<Shared>,
        metrics: &Rc<Metrics>,
        series: UpstreamSeries,
        records: &Rc<Recorder>,
        room: &LayerRoom,
        before: Option<&Self>,
    ) -> Result<Rc<Self>, String> {
        let upstream = shared.upstream();
        let stays = shared.stays(before.map(|before| &*before.upstream));
        let line = |stays: &Option<usize>| stays.and_then(|at| before?.lines.get(at).cloned()).unwrap_or_default();
        let same = before.filter(|before| before.upstream.retry == upstream.retry);
        let known = before.filter(|before| before.upstream.tls == upstream.tls).map(|before| before.secure.clone());
        // With the sessions it knows.
        let secure = if let Some(known) = known {
            known
        } else {
            let client = upstream.tls.as_ref().map(|tls| tls.on_core()).transpose()?;
            client.map(|client| Rc::new(Secure::new(client, room, metrics)))
        };
        Ok(Rc::new(Self {
            engine: engine.clone(),
            upstream: upstream.clone(),
            metrics: metrics.clone(),
            series,
            records: records.clone(),
            http2: upstream.http2.is_enabled.then(|| upstream.http2.of_endpoints()),
            balancer: Balancer::new(shared, engine.random(), engine.now(), before.map(|before| &before.balancer)),
            budget: same
                .map_or_else(|| Rc::new(Budget::new(&upstream.retry, &shared.retries)), |before| before.budget.clone()),
            hedging: same.map_or_else(|| Hedging::new(&upstream.retry).map(Rc::new), |before| before.hedging.clone()),
            whole: before.map_or_else(Rc::default, |before| before.whole.clone()),
            lines: stays.iter().map(line).collect(),
            looks_for_room: Cell::new(false),
            retired: Cell::new(false),
            judges: Cell::new(true),
            is_settled: Cell::new(false),
            checkers: RefCell::default(),
            secure,
        }))
    }

    /// What the plan says of the upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The upstream's metrics.
    pub fn series(&self) -> &UpstreamSeries {
        &self.series
    }

    /// The retries it may have.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What its hedges need, where it is hedged.
    pub fn hedging(&self) -> Option<&Hedging> {
        self.hedging.as_deref()
    }

    /// What it takes to speak TLS to it, where that is spoken.
    pub(super) fn secure(&self) -> Option<&Secure> {
        self.secure.as_deref()
    }

    pub(super) fn copies(&self) -> &Cell<u32> {
        &self.whole.copies
    }

    /// Whether there is an endpoint beside another.
    pub fn has_several(&self) -> bool {
        self.upstream.endpoints.len() > 1
    }

    /// What the cores share of it.
    pub fn shared(&self) -> &Shared {
        self.balancer.shared()
    }

    /// An idle connection to the endpoint that the balancer picks, or what else would help. `fresh` asks for a new one.
    pub fn ready(self: &Rc<Self>, asked: &Asked, fresh: bool) -> Result<Connection, Short> {
        let leave = self.leave().ok_or(Short::Refused(Reason::BreakerOpen))?;
        let now = self.engine.now();
        self.look_at_time(now);
        match self.balancer.pick(asked, now) {
            Err(Unpicked::NoEndpoint) => Err(Short::Refused(Reason::NoEndpoint)),
            Err(Unpicked::Broken) => Err(Short::Refused(self.refused())),
            Err(Unpicked::Full) => {
                if !asked.at_once {
                    self.look_for_room();
                }
                Err(Short::Full)
            }
            Ok(picked) => {
                if let Some(special) = picked.special {
                    self.series.picked(special);
                }
                if let Leave::First(_) = picked.leave {
                    self.is_half_open(Some(picked.endpoint));
                }
                let outcome = Cell::new(Outcome::Unknown);
                let turn = Turn { pool: self.clone(), picked, outcome, leave: Cell::new(Some(leave.take())) };
                let endpoint = turn.endpoint();
                if !fresh && let Some((idle, slot)) = self.take_idle(endpoint, asked.preamble.as_ref()) {
                    let Idle { stream, preamble, opened, .. } = idle;
                    return Ok(Connection { stream, turn, slot, opened, preamble, reused: true });
                }
                self.keep_within(endpoint);
                // An idle connection to another endpoint makes room.
                let has_room = self.whole.open.get() < self.upstream().pool.max_connections || self.close_one_idle();
                // Who waits keeps nobody else from trying: its turn ends here.
                Err(if has_room { Short::New(Box::new(NewConnection(turn))) } else { Short::Full })
            }
        }
    }

    /// A connection where [`Pool::ready`] had none: a new one, else one that another request gives up in time.
    /// `deadline` bounds all of it beside the pool's own bounds. An error is `(reason, endpoint)`.
    pub async fn wait(
        self: &Rc<Self>,
        short: Short,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
        fresh: bool,
    ) -> Result<Connection, (Reason, Option<usize>)> {
        let give_up = (self.engine.now() + self.upstream().pool.wait).min(deadline);
        let mut short = short;
        let mut was_called = false;
        loop {
            match short {
                Short::Refused(reason) => return Err((reason, None)),
                Short::New(new) => {
                    let endpoint = new.0.endpoint();
                    let connected = self.connect(new.0, timer, deadline, asked).await;
                    return connected.map_err(|reason| (reason, Some(endpoint)));
                }
                Short::Full if asked.at_once => return Err((Reason::PoolExhausted, None)),
                Short::Full => {}
            }
            self.wait_in_line(timer, give_up, was_called).await.map_err(|reason| (reason, None))?;
            // Somebody quicker may have taken the place meanwhile: then back to the head of the line.
            was_called = true;
            short = match self.ready(asked, fresh) {
                Ok(connection) => return Ok(connection),
                Err(short) => short,
            };
        }
    }

    /// [`Pool::ready`], and [`Pool::wait`] where that has none.
    pub async fn acquire(
        self: &Rc<Self>,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
        fresh: bool,
    ) -> Result<Connection, (Reason, Option<usize>)> {
        match self.ready(asked, fresh) {
            Ok(connection) => Ok(connection),
            Err(short) => self.wait(short, timer, deadline, asked, fresh).await,
        }
    }

    /// Leave of the upstream's breaker.
    fn leave(self: &Rc<Self>) -> Option<UpstreamLeave<'_>> {
        let leave = self.shared().leave(self.engine.now());
        match leave {
            Some(Leave::Plain | Leave::Probe(_)) => {}
            Some(Leave::First(_)) => self.is_half_open(None),
            None => _ = self.refused(),
        }
        leave.map(|leave| UpstreamLeave { pool: self, leave: Cell::new(Some(leave)) })
    }

    /// The first probe goes through a breaker.
    #[cold]
    fn is_half_open(&self, endpoint: Option<usize>) {
        self.tell(Change::breaker(endpoint, BreakerState::Open, BreakerState::HalfOpen, "open_for"));
    }

    /// Lets in again who was out for long enough.
    fn look_at_time(&self, now: Instant) {
        self.shared().look_at_time(now, |change| self.tell(change));
    }

    /// Tells of a change that this core made.
    #[cold]
    pub(super) fn tell(&self, change: Change) {
        let Change { kind, endpoint, old, new, reason, event } = change;
        if let Some(event) = event {
            self.series.event(event);
        }
        let endpoint = endpoint.and_then(|at| self.upstream.endpoints.get(at));
        let event = Event {
            upstream: self.upstream.name.as_bytes(),
            endpoint: endpoint.map_or(&b""[..], |endpoint| endpoint.name.as_bytes()),
            old: old.as_bytes(),
            new: new.as_bytes(),
            code: reason.as_bytes(),
            ..Event::new(kind, self.engine.wall().as_nanos())
        };
        self.records.event(&event, self.engine.now());
    }

    /// A breaker refused a request.
    fn refused(&self) -> Reason {
        self.series.event(UpstreamEvent::BreakerRefused);
        Reason::BreakerOpen
    }

    /// Tells the breakers and outlier ejection how a request went. A plan that is gone has no say any more.
    fn judge(&self, picked: Picked, leave: Leave, outcome: Outcome) {
        let shared = self.shared();
        if !self.judges.get() || !shared.judges() {
            return;
        }
        let now = self.engine.now();
        let random = self.balancer.random();
        let of_endpoint = shared.report_at(picked.endpoint, picked.leave, outcome, random, now);
        let of_upstream = shared.report(leave, outcome, random, now);
        for change in of_endpoint.into_iter().chain([of_upstream]).flatten() {
            self.tell(change);
        }
    }

    /// Seconds until a breaker that refuses may let something through: at least one.
    pub fn retry_after(&self) -> u64 {
        let now = self.engine.now();
        let left = self.shared().opens().map_or(Duration::ZERO, |opens| opens.since(now));
        left.as_nanos().div_ceil(1_000_000_000).max(1) as u64
    }

    /// A plan it belongs to runs now. Its endpoints are asked how they are, each by one core. Nothing is left to do for
    /// one that a plan before had as well, which nearly all are in most plans.
    pub fn settle(self: &Rc<Self>, drained: &Drained, checks: &Rc<Checks>, seat: Seat) {
        if self.is_settled.replace(true) {
            return;
        }
        self.set_drained(drained);
        self.shared().settle(self.engine.now(), |change| self.tell(change));
        if self.upstream.endpoints.iter().any(|endpoint| endpoint.max_connections.is_some()) {
            self.whole.has_limits.set(true);
        }
        for at in 0..self.lines.len() {
            self.note_room(at);
        }
        health::start(self, &self.engine, checks, seat);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Whether what becomes of its requests and checks still says something of the endpoints.
    pub(super) fn judges(&self) -> bool {
        self.judges.get()
    }

    pub(super) fn wake_when_retired(&self, waker: Waker) {
        self.checkers.borrow_mut().push(waker);
    }

    pub(super) fn now(&self) -> Instant {
        self.engine.now()
    }

    /// The breaker of the upstream, where it has one.
    pub fn breaker(&self) -> Option<BreakerState> {
        self.shared().breaker(self.engine.now())
    }

    /// Adds to what is open.
    fn count_open(&self, endpoint: usize, change: i32) {
        self.whole.open.set(self.whole.open.get().saturating_add_signed(change));
        if let Some(line) = self.lines.get(endpoint) {
            line.open.set(line.open.get().saturating_add_signed(change));
            self.note_room(endpoint);
        }
    }

    /// Connections that this core may have to one endpoint.
    fn most_at(&self, endpoint: usize) -> Option<u32> {
        self.upstream.endpoints.get(endpoint)?.max_connections
    }

    /// Tells the balancer whether there is room at an endpoint that may have only so many connections.
    fn note_room(&self, endpoint: usize) {
        if !self.whole.has_limits.get() {
            return;
        }
        if let Some(line) = self.lines.get(endpoint) {
            let is_full = |most: u32| line.open.get() >= most && line.idle.borrow().is_empty();
            self.balancer.set_full(endpoint, self.most_at(endpoint).is_some_and(is_full));
        }
    }

    /// Makes room for a new connection to an endpoint that may have only so many, of which one must be idle then.
    fn keep_within(self: &Rc<Self>, endpoint: usize) {
        let Some(most) = self.most_at(endpoint) else { return };
        let Some(line) = self.lines.get(endpoint) else { return };
        while line.open.get() >= most {
            let oldest = line.idle.borrow_mut().pop_front();
            let Some(oldest) = oldest else { return };
            self.whole.idle.set(self.whole.idle.get() - 1);
            self.close(endpoint, oldest);
        }
    }

    /// Requests wait because endpoints have as many as they may. Places that come free on other cores are not called out
    /// to this one, so for as long as somebody waits it looks itself.
    fn look_for_room(self: &Rc<Self>) {
        if self.looks_for_room.replace(true) {
            return;
        }
        let pool = Rc::downgrade(self);
        let engine = self.engine.clone();
        self.engine.spawn(async move {
            loop {
                engine.sleep(LOOK_FOR_ROOM).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.whole.waiting.borrow().is_empty() {
                    pool.looks_for_room.set(false);
                    return;
                }
                pool.call_next();
            }
        });
    }

    /// An exchange with this endpoint failed.
    pub fn failed(&self, endpoint: usize, kind: UpstreamFailure) {
        self.series.failed(kind);
        if let Some(line) = self.lines.get(endpoint) {
            line.failures.set(line.failures.get() + 1);
        }
    }

    /// Takes endpoints out, and in again: no request goes to one that is drained, and its idle connections close.
    pub fn set_drained(self: &Rc<Self>, drained: &Drained) {
        let shared = self.balancer.shared();
        for (at, endpoint) in self.upstream.endpoints.iter().enumerate() {
            let is_drained = drained.has(&self.upstream.name, &endpoint.name);
            shared.set_standing(at, Cause::Drained, is_drained, self.engine.now());
        }
        self.close_idle(|endpoint, _| self.is_drained(endpoint));
    }

    fn is_drained(&self, endpoint: usize) -> bool {
        self.balancer.shared().standing(endpoint).has(Cause::Drained)
    }

    /// How its endpoints are, by their index.
    pub fn sight(&self) -> Vec<EndpointSight> {
        let now = self.engine.now();
        self.look_at_time(now);
        let sight = |(at, line): (usize, &Rc<Line>)| EndpointSight {
            open: line.open.get(),
            idle: line.idle.borrow().len() as u32,
            failures: line.failures.get(),
            requests: self.balancer.requests(at),
            standing: self.shared().standing(at),
            health: self.shared().health_sight(at, now),
        };
        self.lines.iter().enumerate().map(sight).collect()
    }

    /// Requests that wait for a connection now.
    pub fn waiting(&self) -> usize {
        self.whole.waiting.borrow().len()
    }

    /// An idle connection to `endpoint` that is still good.
    fn take_idle(self: &Rc<Self>, endpoint: usize, preamble: Option<&Rc<[u8]>>) -> Option<(Idle, Slot)> {
        let line = self.lines.get(endpoint)?;
        let idle = loop {
            let mut all = line.idle.borrow_mut();
            let idle = if preamble.is_none() {
                all.pop_back()?
            } else {
                let at = all.iter().rposition(|idle| idle.preamble.as_ref() == preamble)?;
                all.remove(at)?
            };
            drop(all);
            self.note_room(endpoint);
            self.whole.idle.set(self.whole.idle.get() - 1);
            // Closed by the endpoint, or unasked bytes: the next request must not see it. Nor one of a plan before that
            // began with something else.
            if idle.stream.is_quiet() && idle.preamble.as_ref() == preamble {
                break idle;
            }
            self.close(endpoint, idle);
        };
        self.series.reused();
        Some((idle, Slot { pool: self.clone(), endpoint, holds: Holds::Connection }))
    }

    /// Ends an idle connection and frees its place.
    fn close(self: &Rc<Self>, endpoint: usize, idle: Idle) {
        drop(idle);
        drop(Slot { pool: self.clone(), endpoint, holds: Holds::Connection });
    }

    /// Closes the connection that has been idle longest, for a request that needs its place. The place is not called
    /// out to the line: it is the caller's.
    fn close_one_idle(&self) -> bool {
        let since = |line: &Line| line.idle.borrow().front().map(|idle| idle.since);
        let all = self.lines.iter().enumerate();
        let oldest = all.filter_map(|(at, line)| Some((since(line)?, at))).min();
        let Some((line, endpoint)) = oldest.and_then(|(_, at)| Some((self.lines.get(at)?, at))) else { return false };
        let oldest = line.idle.borrow_mut().pop_front();
        if oldest.is_some() {
            self.whole.idle.set(self.whole.idle.get() - 1);
            self.count_open(endpoint, -1);
            self.series.closed();
        }
        oldest.is_some()
    }

    async fn connect(
        self: &Rc<Self>,
        turn: Turn,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
    ) -> Result<Connection, Reason> {
        let (upstream, endpoint) = (self.upstream(), turn.endpoint());
        let target = upstream.endpoints.get(endpoint).ok_or(Reason::NoEndpoint)?;
        self.count_open(endpoint, 1);
        let mut slot = Slot { pool: self.clone(), endpoint, holds: Holds::Nothing };
        let start = self.engine.now();
        let own = start + upstream.timeout.connect;
        timer.set(own.min(deadline));
        let mut connecting = pin!(self.dial(endpoint, target, asked));
        let outcome = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => timer.poll(cx).map(|()| None),
        })
        .await;
        let is_cut = asked.is_hurried && own > deadline && outcome.is_none();
        if !matches!(outcome, Some(Ok(_))) && !is_cut {
            turn.went(Outcome::Failed(self.engine.now().since(start)));
        }
        match outcome {
            Some(Ok(stream)) => {
                slot.holds = Holds::Connection;
                let now = self.engine.now();
                self.metrics.upstream_connected(&self.series, now.nanos_since(start));
                let preamble = asked.preamble.clone();
                Ok(Connection { stream, turn, slot, opened: now, preamble, reused: false })
            }
            Some(Err(reason)) => {
                self.failed(endpoint, UpstreamFailure::Connect);
                Err(reason)
            }
            None if is_cut => Err(Reason::UpstreamTimeoutTotal),
            None => {
                self.failed(endpoint, UpstreamFailure::Timeout);
                if own <= deadline {
                    self.metrics.timed_out(Timeout::Connect);
                    Err(Reason::UpstreamTimeoutConnect)
                } else {
                    self.metrics.timed_out(Timeout::Total);
                    Err(Reason::UpstreamTimeoutTotal)
                }
            }
        }
    }

    /// A new connection, or a place on one that requests share.
    async fn dial(&self, endpoint: usize, target: &Endpoint, asked: &Asked) -> Result<Stream, Reason> {
        let upstream = self.upstream();
        let dial = self.dials(&target.name, &target.address, upstream.timeout.connect, upstream.pool.idle);
        if let (Some(dial), Some(line)) = (dial, self.lines.get(endpoint)) {
            return line.mux.connect(&dial).await.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Reason::UpstreamTlsFailed,
                _ => Reason::UpstreamConnectFailed,
            });
        }
        let stream = self.engine.connect(&target.address).await.map_err(|_| Reason::UpstreamConnectFailed)?;
        if let Some(preamble) = &asked.preamble {
            // It goes out with what comes first, be it a handshake or the request.
            stream.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(preamble)));
        }
        match &self.secure {
            None => Ok(stream),
            Some(secure) => Ok(secure.over(stream, &target.name).await.ok_or(Reason::UpstreamTlsFailed)?.0),
        }
    }

    /// How to connect to where HTTP/2 is spoken.
    pub(super) fn dials<'a>(
        &'a self,
        name: &'a str,
        address: &'a Address,
        connect: Duration,
        idle: Duration,
    ) -> Option<Dial<'a>> {
        let config = self.http2.as_ref()?;
        let secure = self.secure.as_ref();
        Some(Dial { engine: &self.engine, metrics: &self.metrics, name, address, secure, config, connect, idle })
    }

    async fn wait_in_line(&self, timer: &Timer, give_up: Instant, at_head: bool) -> Result<(), Reason> {
        let place = InLine { pool: self, place: Rc::default() };
        {
            let mut waiting = self.whole.waiting.borrow_mut();
            if at_head {
                waiting.push_front(place.place.clone());
            } else if waiting.len() >= self.upstream().pool.max_waiting as usize {
                return Err(Reason::PoolExhausted);
            } else {
                waiting.push_back(place.place.clone());
                self.series.waited();
            }
        }
        timer.set(give_up);
        poll_fn(|cx| {
            // Taking the call leaves nothing to pass on when the place is dropped.
            if place.place.called.take() {
                return Poll::Ready(Ok(()));
            }
            if timer.poll(cx).is_ready() {
                self.metrics.timed_out(Timeout::Pool);
                return Poll::Ready(Err(Reason::PoolTimeout));
            }
            *place.place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A place came free: whoever waits longest may have it.
    fn call_next(&self) {
        let next = self.whole.waiting.borrow_mut().pop_front();
        if let Some(place) = next {
            place.called.set(true);
            let waker = place.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Closes what has been idle for too long, and what its endpoint closed. Called now and then.
    pub fn sweep(self: &Rc<Self>) {
        let now = self.engine.now();
        self.look_at_time(now);
        let limit = self.upstream().pool.idle;
        self.close_idle(|_, idle| now.since(idle.since) >= limit || !idle.stream.is_quiet());
    }

    /// No plan has it any more. What it has of endpoints that the pool `after` it has, too, goes on there; all else that
    /// is idle is closed, and from now on every connection whose request is done.
    pub fn retire(self: &Rc<Self>, after: Option<&Self>) {
        self.retired.set(true);
        self.judges.set(after.is_some_and(|after| self.upstream.is_same_but_for_endpoints(&after.upstream)));
        let checkers = self.checkers.take();
        checkers.into_iter().for_each(Waker::wake);
        let stay: HashSet<*const Line> = after.iter().flat_map(|after| &after.lines).map(Rc::as_ptr).collect();
        for line in self.lines.iter().filter(|line| !stay.contains(&Rc::as_ptr(line))) {
            line.is_gone.set(true);
        }
        self.close_idle(|endpoint, _| self.is_gone(endpoint));
    }

    fn is_gone(&self, endpoint: usize) -> bool {
        self.lines.get(endpoint).is_none_or(|line| line.is_gone.get())
    }

    /// When an endpoint is asked next how it is, where that is known from a plan before.
    pub(super) fn next_check(&self, endpoint: usize) -> Option<Instant> {
        self.lines.get(endpoint).map(|line| line.next_check.get()).filter(|next| *next > self.engine.now())
    }

    pub(super) fn set_next_check(&self, endpoint: usize, next: Instant) {
        if let Some(line) = self.lines.get(endpoint) {
            line.next_check.set(next);
        }
    }

    fn close_idle(self: &Rc<Self>, which: impl Fn(usize, &Idle) -> bool) {
        for (endpoint, line) in self.lines.iter().enumerate() {
            loop {
                let stale = {
                    let mut idle = line.idle.borrow_mut();
                    let stale = idle.iter().position(|idle| which(endpoint, idle));
                    stale.and_then(|at| idle.remove(at))
                };
                let Some(stale) = stale else { break };
                self.whole.idle.set(self.whole.idle.get() - 1);
                self.close(endpoint, stale);
            }
        }
    }
}

/// Leaves the line when its request goes away; a call it did not answer goes to the next.
struct InLine<'a> {
    pool: &'a Pool,
    place: Rc<Place>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.pool.whole.waiting.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
        if self.place.called.get() {
            self.pool.call_next();
        }
    }
}

impl Connection {
    /// The stream to the endpoint.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Its upstream in the plan.
    pub fn upstream(&self) -> &Upstream {
        self.slot.pool.upstream()
    }

    /// The endpoint's index in the upstream.
    pub fn endpoint(&self) -> usize {
        self.turn.endpoint()
    }

    /// Whether a breaker let this request through to see how it fares.
    pub fn is_probe(&self) -> bool {
        let leaves = [self.turn.leave.get(), Some(self.turn.picked.leave)];
        leaves.into_iter().flatten().any(|leave| matches!(leave, Leave::Probe(_) | Leave::First(_)))
    }

    /// How the exchange on it went, for the balancer; nothing is known where this is not told.
    pub fn went(&self, outcome: Outcome) {
        self.turn.went(outcome);
    }

    /// The cookie that brings a client back to this endpoint, unless it came with that one: `brought` is the endpoint
    /// that its cookie named.
    pub fn cookie(&self, brought: Option<usize>) -> Option<(&Sticky, &[u8])> {
        let sticky = self.upstream().sticky.as_ref()?;
        let value = self.slot.pool.shared().cookie(self.endpoint())?;
        (brought != Some(self.endpoint())).then_some((sticky, value))
    }

    /// Gives the connection back for the next request. It must be at the end of an exchange.
    pub fn keep(self) {
        let Self { stream, turn, mut slot, opened, preamble, .. } = self;
        let (pool, endpoint) = (&*slot.pool, turn.endpoint());
        drop(turn);
        let limits = &pool.upstream().pool;
        let now = pool.engine.now();
        // Where connections are kept for one client each, the oldest goes: its client may be long gone.
        if preamble.is_some() && pool.whole.idle.get() >= limits.max_idle && pool.close_one_idle() {
            pool.call_next();
        }
        let is_full = pool.whole.idle.get() >= limits.max_idle;
        let is_unwanted = pool.is_gone(endpoint) || pool.is_drained(endpoint);
        if is_unwanted || is_full || now.since(opened) >= limits.lifetime || !stream.watch() {
            return;
        }
        if let Some(line) = pool.lines.get(endpoint) {
            line.idle.borrow_mut().push_back(Idle { stream, preamble, since: now, opened });
            pool.whole.idle.set(pool.whole.idle.get() + 1);
            slot.holds = Holds::Idle;
        }
    }
}
