//! The glommio engine: the same interface over the published executor, for comparison and as a second opinion.
//!
//! Tasks run on glommio's local executor, which waits in its rings for one thing beside its timers: an epoll set with
//! the core's sockets. A task of its own looks at that set once a turn. Glommio 0.9.0 can park with work queued, so a
//! timer of a millisecond keeps it awake; it makes that task look, which drives our wheel, too.

mod doorbell;
mod listener;
mod poller;
mod stream;
mod tasks;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

pub(crate) use listener::Listener;
pub(crate) use stream::Stream;

use self::poller::Poller;
use self::tasks::Tasks;
use super::local::Locals;
use super::{BusyPoll, Config, Stats, TurnObserver};
use crate::buffer::{Outboxes, Pool};
use crate::clock::{Instant, Wall, thread_cpu_nanos};
use crate::core::random::Random;
use crate::core::tasks::Waiter;
use crate::core::timers::Wheel;
use crate::core::{Pulse, cpus};

/// How often the wheel is advanced: a tick of it, near enough.
const TICK: Duration = Duration::from_millis(1);
/// Memory glommio registers for file reads and writes, which streams do not use: the least it takes.
const IO_MEMORY: usize = 64 * 1024;
/// Fewer entries leave glommio no room beside its own timers and event.
const LEAST_ENTRIES: usize = 16;

/// One core's engine. Everything it holds belongs to its thread.
pub(crate) struct Glommio {
    tasks: Tasks,
    poller: Poller,
    timers: RefCell<Wheel>,
    pool: Pool,
    locals: Locals,
    outboxes: RefCell<Outboxes>,
    random: Random,
    /// What the streams may have at most.
    descriptors: u64,
    stats: Cell<Stats>,
    pulse: Arc<Pulse>,
    /// When the wheel was advanced last.
    ticked: Cell<Instant>,
    observer: OnceCell<TurnObserver>,
}

/// Runs `main` on the calling thread until it is done, and ends what it spawned.
pub(crate) fn run<F: Future>(config: &Config, main: impl FnOnce(Rc<Glommio>) -> F) -> io::Result<F::Output> {
    let spin = match config.busy_poll {
        BusyPoll::Off => None,
        BusyPoll::For(time) => Some(time),
        BusyPoll::Always => Some(Duration::MAX),
    };
    // Glommio spins on a core that it has pinned itself; any other it leaves as it is.
    let placement = match (spin, cpus::allowed()?.as_slice()) {
        (Some(_), &[cpu]) => Placement::Fixed(cpu),
        _ => Placement::Unbound,
    };
    let executor = LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY)
        .ring_depth((config.submission_entries as usize).max(LEAST_ENTRIES))
        .spin_before_park(spin.unwrap_or_default())
        .make()
        .map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("cannot set up the glommio engine: {error}"))
        })?;
    let engine = Rc::new(Glommio {
        tasks: Tasks::default(),
        poller: Poller::new()?,
        timers: RefCell::new(Wheel::new(Instant::now())),
        pool: Pool::new(config.buffers, config.buffer_size)?,
        locals: Locals::default(),
        outboxes: RefCell::default(),
        random: Random::from_kernel(),
        descriptors: config.descriptors,
        stats: Cell::default(),
        pulse: config.pulse.clone(),
        ticked: Cell::new(Instant::now()),
        observer: OnceCell::new(),
    });
    executor.run(async move {
        let ticks = engine.clone();
        let ticker = glommio::spawn_local(async move {
            loop {
                glommio::timer::sleep(TICK).await;
                ticks.poller.want_look();
            }
        });
        let turns = engine.clone();
        let mut looker = glommio::spawn_local(async move { turns.turn_on().await });
        let mut main = pin!(main(engine.clone()));
        let output = poll_fn(|cx| match main.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut looker).poll(cx).map(Err),
        })
        .await;
        engine.tasks.end().await;
        ticker.cancel().await;
        looker.cancel().await;
        engine.poller.end();
        output
    })
}

impl Glommio {
    /// Tasks run between two looks at the sockets, too, so this reads the clock.
    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn wall(&self) -> Wall {
        Wall::now()
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn spawn(self: &Rc<Self>, future: Pin<Box<dyn Future<Output = ()>>>) {
        let key = self.tasks.add(future);
        let this = self.clone();
        glommio::spawn_local(poll_fn(move |cx| {
            this.count(|stats| stats.task_runs += 1);
            this.pulse.turn();
            let poll = this.tasks.poll(key, &this.pulse, cx);
            this.pulse.rest();
            this.poller.ran();
            poll
        }))
        .detach();
    }

    pub(crate) fn timers(&self) -> &RefCell<Wheel> {
        &self.timers
    }

    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        Waiter::Foreign(cx.waker().clone())
    }

    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn wake(&self, waiter: Waiter) {
        if let Waiter::Foreign(waker) = waiter {
            waker.wake();
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { cpu_ns: thread_cpu_nanos(), ..self.stats.get() }
    }

    pub(crate) fn descriptors(&self) -> (u64, u64) {
        (self.descriptors, self.descriptors.saturating_sub(self.stats.get().streams))
    }

    pub(crate) fn label(&self, label: u64) {
        self.tasks.label(label, &self.pulse);
    }

    pub(crate) fn observe_turns(&self, observer: TurnObserver) {
        // The first one stays: nobody asks twice.
        let _ = self.observer.set(observer);
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// Turns until it fails, and returns why.
    async fn turn_on(&self) -> io::Error {
        loop {
            let waited = match self.turn() {
                Ok(true) => {
                    yield_now().await;
                    continue;
                }
                Ok(false) => poll_fn(|cx| self.poller.poll_wait(cx)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = waited {
                return error;
            }
        }
    }

    /// Wakes the tasks for which something has come, and those whose time has. True when something has come.
    fn turn(&self) -> io::Result<bool> {
        self.count(|stats| stats.turns += 1);
        let came = self.poller.look()?;
        let now = Instant::now();
        if now.since(self.ticked.get()) >= TICK {
            self.tick(now);
        }
        Ok(came)
    }

    fn tick(&self, now: Instant) {
        let before = self.ticked.replace(now);
        if let Some(observe) = self.observer.get() {
            observe(now.nanos_since(before + TICK));
        }
        self.timers.borrow_mut().advance(now, |waiter| self.wake(waiter));
    }
}

/// Lets the other tasks run once.
fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Wakes whoever is left in `slot`.
fn wake(slot: Option<Waker>) {
    if let Some(waker) = slot {
        waker.wake();
    }
}
