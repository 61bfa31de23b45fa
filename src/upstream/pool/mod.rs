//! The connections one core keeps to one upstream.
//!
//! A connection is idle in the pool or held by one request. `max_connections` bounds both together; requests past it
//! wait in line, first come first served, each with a deadline.

mod acquire;
mod connection;
mod lines;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ringway_proto::http2;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, LayerRoom};

pub use self::acquire::Short;
pub use self::connection::Connection;
use self::lines::{Line, Whole};
use super::breaker::Leave;
use super::secure::Secure;
use super::{
    Balancer, BreakerState, Budget, Cause, Change, Checks, Drained, HealthSight, Hedging, Outcome, Picked, Seat,
    Shared, Standing, health,
};
use crate::observe::records::{Event, Recorder};
use crate::observe::{Metrics, Reason, UpstreamEvent, UpstreamFailure, UpstreamSeries};
use crate::plan::Upstream;

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
}
