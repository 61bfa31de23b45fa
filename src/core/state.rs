//! What one core owns. It is passed down; nothing reaches it any other way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Stats};
use slab::Slab;

use super::DateCache;
use crate::flow::Exchange;
use crate::observe::Metrics;
use crate::plan::Plan;
use crate::upstream::Pool;

/// Spare exchanges a core keeps: more requests at once allocate theirs.
const SPARE_EXCHANGES: usize = 1024;

/// Everything one core owns.
pub struct CoreState {
    /// The core's engine.
    pub engine: Engine,
    /// What it runs.
    pub plan: Arc<Plan>,
    /// Its counters and histograms.
    pub metrics: Rc<Metrics>,
    /// One pool an upstream, by the upstream's index.
    pub pools: Box<[Rc<Pool>]>,
    date: RefCell<DateCache>,
    #[expect(clippy::vec_box, reason = "a request holds the box: moving it would copy the whole exchange")]
    spare: RefCell<Vec<Box<Exchange>>>,
    /// Client connections, each with the waker of its task: a drain wakes them all.
    present: RefCell<Slab<Option<Waker>>>,
    /// Client connections alone; `present` also has the accept loops.
    connections: Cell<usize>,
    draining: Cell<bool>,
    last_gone: RefCell<Option<Waker>>,
    next_id: Cell<u64>,
    reported: Cell<Stats>,
}

/// Marks a task that a drain must wake, as long as it lives.
pub struct Presence {
    state: Rc<CoreState>,
    key: usize,
    is_connection: bool,
}

impl CoreState {
    /// The state of a core that has served nothing yet.
    pub fn new(engine: Engine, plan: Arc<Plan>, metrics: Metrics) -> Self {
        metrics.set_epoch(plan.epoch);
        let metrics = Rc::new(metrics);
        let pools = (0..plan.upstreams.len()).map(|at| Pool::new(&engine, &plan, at, &metrics)).collect();
        let next_id = Cell::new(engine.random());
        Self {
            engine,
            plan,
            metrics,
            pools,
            date: RefCell::default(),
            spare: RefCell::default(),
            present: RefCell::default(),
            connections: Cell::new(0),
            draining: Cell::new(false),
            last_gone: RefCell::default(),
            next_id,
            reported: Cell::default(),
        }
    }

    /// A request's storage, used before or new.
    pub fn take_exchange(&self) -> Box<Exchange> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a request's storage for the next one.
    pub fn give_back(&self, mut exchange: Box<Exchange>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_EXCHANGES {
            exchange.clear();
            spare.push(exchange);
        }
    }

    /// Appends the current date as IMF-fixdate.
    pub fn write_date(&self, out: &mut Vec<u8>) {
        let mut date = self.date.borrow_mut();
        out.extend_from_slice(date.get(self.engine.now(), || self.engine.wall()));
    }

    /// A new correlation id (splitmix64 over a counter: Steele, Lea and Flood, 2014).
    pub fn new_id(&self) -> u64 {
        let counter = self.next_id.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.next_id.set(counter);
        let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether the core has been told to end.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Client connections open now.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Enters a task that a drain must wake.
    pub fn enter(self: &Rc<Self>, is_connection: bool) -> Presence {
        let key = self.present.borrow_mut().insert(None);
        if is_connection {
            self.connections.set(self.connections.get() + 1);
            self.metrics.connection_accepted();
        }
        Presence { state: self.clone(), key, is_connection }
    }

    /// Tells every task that the core is to end.
    pub fn begin_drain(&self) {
        self.draining.set(true);
        let wakers: Vec<Waker> = self.present.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits until no connection is left, or the deadline has passed, and returns how many are left.
    pub async fn drained(&self, deadline: Instant) -> usize {
        let timer = self.engine.timer();
        timer.set(deadline);
        poll_fn(|cx| {
            if self.connections() == 0 || timer.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            *self.last_gone.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.connections()
    }

    /// Copies what the engine counted into the metrics.
    pub fn report_engine(&self) {
        let stats = self.engine.stats();
        let before = self.reported.replace(stats);
        self.metrics.looped(stats.turns - before.turns, self.engine.now().as_nanos());
        self.metrics.receive_buffers_exhausted(stats.starved - before.starved);
    }
}

impl Presence {
    /// Ready once the core drains; until then the task of `cx` is woken when it does.
    pub fn poll_drain(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.is_draining() {
            return Poll::Ready(());
        }
        if let Some(slot) = self.state.present.borrow_mut().get_mut(self.key) {
            match slot {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => *slot = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.state.present.borrow_mut().remove(self.key);
        if self.is_connection {
            self.state.metrics.connection_closed();
            self.state.connections.set(self.state.connections.get() - 1);
            if self.state.connections.get() == 0
                && let Some(waker) = self.state.last_gone.borrow_mut().take()
            {
                waker.wake();
            }
        }
    }
}
