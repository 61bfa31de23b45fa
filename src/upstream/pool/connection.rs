//! A connection that one request holds, and what goes with it: its place among all, and its turn at the endpoint.

use std::cell::Cell;
use std::rc::Rc;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Stream;

use super::Pool;
use super::lines::Idle;
use crate::plan::{Sticky, Upstream};
use crate::upstream::breaker::Leave;
use crate::upstream::{Outcome, Picked};

/// A connection one request holds. Dropping it closes it; [`Connection::keep`] gives it back.
pub struct Connection {
    pub(super) stream: Stream,
    /// Goes before the place of the connection: whoever is called next finds both free.
    pub(super) turn: Turn,
    pub(super) slot: Slot,
    pub(super) opened: Instant,
    /// What it began with: it is only for requests that want just that.
    pub(super) preamble: Option<Rc<[u8]>>,
    /// Whether it served another request before this one.
    pub reused: bool,
}

/// A request that an endpoint was picked for, until it has ended.
pub(super) struct Turn {
    pub(super) pool: Rc<Pool>,
    pub(super) picked: Picked,
    pub(super) outcome: Cell<Outcome>,
    /// What the breaker of the upstream said, until it is told how the request went.
    pub(super) leave: Cell<Option<Leave>>,
}

impl Turn {
    pub(super) fn endpoint(&self) -> usize {
        self.picked.endpoint
    }

    /// Says how the request went.
    pub(super) fn went(&self, outcome: Outcome) {
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

/// One of the `max_connections`.
pub(super) struct Slot {
    pub(super) pool: Rc<Pool>,
    pub(super) endpoint: usize,
    pub(super) holds: Holds,
}

/// What is in a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
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
