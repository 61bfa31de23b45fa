//! The connections one core keeps to one upstream.
//!
//! A connection is idle in the pool or held by one request. `max_connections` bounds both together; requests past it
//! wait in line, first come first served, each with a deadline.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Stream, Timer};

use super::{Drained, RoundRobin};
use crate::observe::{Metrics, Reason, Timeout, UpstreamFailure, UpstreamSeries};
use crate::plan::Upstream;

/// One core's connections to one upstream.
pub struct Pool {
    engine: Engine,
    upstream: Arc<Upstream>,
    metrics: Rc<Metrics>,
    series: UpstreamSeries,
    balance: RoundRobin,
    /// Idle connections by endpoint, the one used last at the back.
    idle: RefCell<Box<[VecDeque<Idle>]>>,
    idle_count: Cell<u32>,
    /// Idle, busy and connecting.
    open: Cell<u32>,
    endpoints: Box<[EndpointCounts]>,
    waiting: RefCell<VecDeque<Rc<Place>>>,
    /// No plan has it any more: it serves the requests of plans before and keeps nothing.
    retired: Cell<bool>,
}

/// What the core has of one endpoint.
#[derive(Default)]
struct EndpointCounts {
    /// Idle, busy and connecting.
    open: Cell<u32>,
    /// Exchanges that failed since the pool began.
    failures: Cell<u64>,
}

/// How one endpoint is, as one core sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointSight {
    /// Connections: idle, busy and connecting.
    pub open: u32,
    /// Those of them that are idle.
    pub idle: u32,
    /// Exchanges that failed, connects included, since the upstream's connections began with the plan that brought it.
    pub failures: u64,
}

struct Idle {
    stream: Stream,
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
    slot: Slot,
    opened: Instant,
    endpoint: usize,
    /// Whether it served another request before this one.
    pub reused: bool,
}

/// One of the `max_connections`.
struct Slot {
    pool: Rc<Pool>,
    endpoint: usize,
    connected: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.count_open(self.endpoint, -1);
        if self.connected {
            self.pool.series.closed();
        }
        self.pool.call_next();
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(engine: &Engine, upstream: &Arc<Upstream>, metrics: &Rc<Metrics>, series: UpstreamSeries) -> Rc<Self> {
        let endpoints = &upstream.endpoints;
        Rc::new(Self {
            engine: engine.clone(),
            upstream: upstream.clone(),
            metrics: metrics.clone(),
            series,
            balance: RoundRobin::new(endpoints.iter().map(|endpoint| endpoint.weight)),
            idle: RefCell::new(endpoints.iter().map(|_| VecDeque::new()).collect()),
            idle_count: Cell::new(0),
            open: Cell::new(0),
            endpoints: endpoints.iter().map(|_| EndpointCounts::default()).collect(),
            waiting: RefCell::default(),
            retired: Cell::new(false),
        })
    }

    /// What the plan says of the upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The upstream's metrics.
    pub fn series(&self) -> &UpstreamSeries {
        &self.series
    }

    /// A connection to some endpoint: an idle one, else a new one, else one that another request gives up in time.
    /// Endpoint `avoid` just failed and is passed over where there is another. `fresh` asks for a new one.
    /// `deadline` bounds all of it beside the pool's own bounds. An error is `(reason, endpoint)`.
    pub async fn acquire(
        self: &Rc<Self>,
        timer: &Timer,
        deadline: Instant,
        avoid: Option<usize>,
        fresh: bool,
    ) -> Result<Connection, (Reason, Option<usize>)> {
        let mut endpoint = self.balance.pick(avoid).ok_or((Reason::NoEndpoint, None))?;
        let give_up = (self.engine.now() + self.upstream().pool.wait).min(deadline);
        let mut was_called = false;
        loop {
            if !fresh && let Some(connection) = self.take_idle(endpoint) {
                return Ok(connection);
            }
            // An idle connection to another endpoint makes room.
            if self.open.get() < self.upstream().pool.max_connections || self.close_one_idle() {
                return self.connect(endpoint, timer, deadline).await.map_err(|reason| (reason, Some(endpoint)));
            }
            self.wait_in_line(timer, give_up, was_called).await.map_err(|reason| (reason, None))?;
            // Somebody quicker may have taken the place meanwhile: then back to the head of the line.
            was_called = true;
            if self.balance.is_drained(endpoint) {
                endpoint = self.balance.pick(avoid).ok_or((Reason::NoEndpoint, None))?;
            }
        }
    }

    /// Adds to what is open.
    fn count_open(&self, endpoint: usize, change: i32) {
        self.open.set(self.open.get().saturating_add_signed(change));
        if let Some(counts) = self.endpoints.get(endpoint) {
            counts.open.set(counts.open.get().saturating_add_signed(change));
        }
    }

    /// An exchange with this endpoint failed.
    pub fn failed(&self, endpoint: usize, kind: UpstreamFailure) {
        self.series.failed(kind);
        if let Some(counts) = self.endpoints.get(endpoint) {
            counts.failures.set(counts.failures.get() + 1);
        }
    }

    /// Takes endpoints out, and in again: no request goes to one that is drained, and its idle connections close.
    pub fn set_drained(self: &Rc<Self>, drained: &Drained) {
        for (at, endpoint) in self.upstream.endpoints.iter().enumerate() {
            let is_drained = drained.has(&self.upstream.name, &endpoint.name);
            self.balance.set_drained(at, is_drained);
        }
        self.close_idle(|endpoint, _| self.balance.is_drained(endpoint));
    }

    /// How its endpoints are, by their index.
    pub fn sight(&self) -> Vec<EndpointSight> {
        let idle = self.idle.borrow();
        let sight = |(counts, idle): (&EndpointCounts, &VecDeque<Idle>)| EndpointSight {
            open: counts.open.get(),
            idle: idle.len() as u32,
            failures: counts.failures.get(),
        };
        self.endpoints.iter().zip(idle.iter()).map(sight).collect()
    }

    /// Requests that wait for a connection now.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// An idle connection to `endpoint` that is still good.
    fn take_idle(self: &Rc<Self>, endpoint: usize) -> Option<Connection> {
        let idle = loop {
            let idle = self.idle.borrow_mut().get_mut(endpoint)?.pop_back()?;
            self.idle_count.set(self.idle_count.get() - 1);
            // Closed by the endpoint, or unasked bytes: the next request must not see it.
            if idle.stream.is_quiet() {
                break idle;
            }
            self.close(endpoint, idle);
        };
        self.series.reused();
        Some(Connection {
            stream: idle.stream,
            slot: Slot { pool: self.clone(), endpoint, connected: true },
            opened: idle.opened,
            endpoint,
            reused: true,
        })
    }

    /// Ends an idle connection and frees its place.
    fn close(self: &Rc<Self>, endpoint: usize, idle: Idle) {
        drop(idle);
        drop(Slot { pool: self.clone(), endpoint, connected: true });
    }

    /// Closes the connection that has been idle longest, for a request that needs its place. The place is not called
    /// out to the line: it is the caller's.
    fn close_one_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let Some((endpoint, line)) = idle
            .iter_mut()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .min_by_key(|(_, line)| line.front().map_or(Instant::default(), |idle| idle.since))
        else {
            return false;
        };
        let oldest = line.pop_front();
        drop(idle);
        if oldest.is_some() {
            self.idle_count.set(self.idle_count.get() - 1);
            self.count_open(endpoint, -1);
            self.series.closed();
        }
        oldest.is_some()
    }

    async fn connect(self: &Rc<Self>, endpoint: usize, timer: &Timer, deadline: Instant) -> Result<Connection, Reason> {
        let upstream = self.upstream();
        let target = upstream.endpoints.get(endpoint).ok_or(Reason::NoEndpoint)?;
        self.count_open(endpoint, 1);
        let mut slot = Slot { pool: self.clone(), endpoint, connected: false };
        let start = self.engine.now();
        let own = start + upstream.timeout.connect;
        timer.set(own.min(deadline));
        let mut connecting = pin!(self.engine.connect(target.address));
        let outcome = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => timer.poll(cx).map(|()| None),
        })
        .await;
        match outcome {
            Some(Ok(stream)) => {
                slot.connected = true;
                let now = self.engine.now();
                self.metrics.upstream_connected(&self.series, now.nanos_since(start));
                Ok(Connection { stream, slot, opened: now, endpoint, reused: false })
            }
            Some(Err(_)) => {
                self.failed(endpoint, UpstreamFailure::Connect);
                Err(Reason::UpstreamConnectFailed)
            }
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

    async fn wait_in_line(&self, timer: &Timer, give_up: Instant, at_head: bool) -> Result<(), Reason> {
        let place = InLine { pool: self, place: Rc::default() };
        {
            let mut waiting = self.waiting.borrow_mut();
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
        let next = self.waiting.borrow_mut().pop_front();
        if let Some(place) = next {
            place.called.set(true);
            let waker = place.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Closes what has been idle for too long, and what its endpoint closed.
    pub fn sweep(self: &Rc<Self>) {
        let now = self.engine.now();
        let limit = self.upstream().pool.idle;
        self.close_idle(|_, idle| now.since(idle.since) >= limit || !idle.stream.is_quiet());
    }

    /// Closes what is idle, and from now on every connection whose request is done.
    pub fn retire(self: &Rc<Self>) {
        self.retired.set(true);
        self.close_idle(|_, _| true);
    }

    fn close_idle(self: &Rc<Self>, which: impl Fn(usize, &Idle) -> bool) {
        let lines = self.idle.borrow().len();
        for endpoint in 0..lines {
            loop {
                let mut idle = self.idle.borrow_mut();
                let Some(line) = idle.get_mut(endpoint) else { break };
                let stale = line.iter().position(|idle| which(endpoint, idle));
                let Some(stale) = stale.and_then(|at| line.remove(at)) else { break };
                drop(idle);
                self.idle_count.set(self.idle_count.get() - 1);
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
        self.pool.waiting.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
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
        self.endpoint
    }

    /// Gives the connection back for the next request. It must be at the end of an exchange.
    pub fn keep(self) {
        let Self { stream, mut slot, opened, endpoint, .. } = self;
        let pool = slot.pool.clone();
        let limits = &pool.upstream().pool;
        let now = pool.engine.now();
        let is_full = pool.idle_count.get() >= limits.max_idle;
        let is_unwanted = pool.retired.get() || pool.balance.is_drained(endpoint);
        if is_unwanted || is_full || now.since(opened) >= limits.lifetime || !stream.watch() {
            return;
        }
        if let Some(line) = pool.idle.borrow_mut().get_mut(endpoint) {
            line.push_back(Idle { stream, since: now, opened });
            pool.idle_count.set(pool.idle_count.get() + 1);
            // The place stays taken, by an idle connection now.
            pool.count_open(endpoint, 1);
            slot.connected = false;
        }
    }
}
