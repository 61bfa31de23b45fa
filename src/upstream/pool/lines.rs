//! What a core has of an upstream and of each of its endpoints: the connections that are open, and the idle ones.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Stream;

use super::Pool;
use super::acquire::Place;
use super::connection::{Holds, Slot};
use crate::upstream::http2::Mux;

/// What the core has of one upstream, for as long as plans have one of its name: its pools share it.
#[derive(Default)]
pub(super) struct Whole {
    /// Idle, busy and connecting.
    pub(super) open: Cell<u32>,
    pub(super) idle: Cell<u32>,
    /// Copies of requests that are on their way to it.
    pub(super) copies: Cell<u32>,
    /// An endpoint may have only so many connections, in one of the pools.
    pub(super) has_limits: Cell<bool>,
    pub(super) waiting: RefCell<VecDeque<Rc<Place>>>,
}

/// What the core has of one endpoint, for as long as plans have it: its pools share it.
#[derive(Default)]
pub(super) struct Line {
    /// Idle, busy and connecting.
    pub(super) open: Cell<u32>,
    /// Exchanges that failed since a plan brought it.
    pub(super) failures: Cell<u64>,
    /// Idle connections, the one used last at the back.
    pub(super) idle: RefCell<VecDeque<Idle>>,
    /// No plan has it any more.
    pub(super) is_gone: Cell<bool>,
    /// When it is asked next how it is.
    pub(super) next_check: Cell<Instant>,
    /// Connections that requests share.
    pub(super) mux: Mux,
}

pub(super) struct Idle {
    pub(super) stream: Stream,
    /// What it began with.
    pub(super) preamble: Option<Rc<[u8]>>,
    pub(super) since: Instant,
    pub(super) opened: Instant,
}

impl Pool {
    /// Adds to what is open.
    pub(super) fn count_open(&self, endpoint: usize, change: i32) {
        self.whole.open.set(self.whole.open.get().saturating_add_signed(change));
        if let Some(line) = self.lines.get(endpoint) {
            line.open.set(line.open.get().saturating_add_signed(change));
            self.note_room(endpoint);
        }
    }

    /// Connections that this core may have to one endpoint.
    pub(super) fn most_at(&self, endpoint: usize) -> Option<u32> {
        self.upstream.endpoints.get(endpoint)?.max_connections
    }

    /// Tells the balancer whether there is room at an endpoint that may have only so many connections.
    pub(super) fn note_room(&self, endpoint: usize) {
        if !self.whole.has_limits.get() {
            return;
        }
        if let Some(line) = self.lines.get(endpoint) {
            let is_full = |most: u32| line.open.get() >= most && line.idle.borrow().is_empty();
            self.balancer.set_full(endpoint, self.most_at(endpoint).is_some_and(is_full));
        }
    }

    /// Makes room for a new connection to an endpoint that may have only so many, of which one must be idle then.
    pub(super) fn keep_within(self: &Rc<Self>, endpoint: usize) {
        let Some(most) = self.most_at(endpoint) else { return };
        let Some(line) = self.lines.get(endpoint) else { return };
        while line.open.get() >= most {
            let oldest = line.idle.borrow_mut().pop_front();
            let Some(oldest) = oldest else { return };
            self.whole.idle.set(self.whole.idle.get() - 1);
            self.close(endpoint, oldest);
        }
    }

    /// An idle connection to `endpoint` that is still good.
    pub(super) fn take_idle(self: &Rc<Self>, endpoint: usize, preamble: Option<&Rc<[u8]>>) -> Option<(Idle, Slot)> {
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
    pub(super) fn close(self: &Rc<Self>, endpoint: usize, idle: Idle) {
        drop(idle);
        drop(Slot { pool: self.clone(), endpoint, holds: Holds::Connection });
    }

    /// Closes the connection that has been idle longest, for a request that needs its place. The place is not called
    /// out to the line: it is the caller's.
    pub(super) fn close_one_idle(&self) -> bool {
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

    /// Closes those idle connections of an endpoint that `which` names.
    pub(super) fn close_idle(self: &Rc<Self>, which: impl Fn(usize, &Idle) -> bool) {
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
