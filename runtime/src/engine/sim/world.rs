//! A simulated world: its machines, its scheduler and its course.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::net::Net;
use super::trace::Entry;
use super::{Clock, Core, Faults, Sim};
use crate::buffer::Pool;
use crate::clock::{Instant, Wall};
use crate::core::random::Random;
use crate::core::tasks::{Remote, Tasks};
use crate::core::timers::Wheel;
use crate::engine::{Config, Engine, Kind};
use crate::mesh::doorbell::Doorbell;
use crate::mesh::port::Inboxes;

/// What the clocks show when a world begins: one second of monotonic time, and the first second of 2026.
const BEGIN: Instant = Instant::from_nanos(1_000_000_000);
const BEGIN_WALL: Wall = Wall::from_nanos(1_767_225_600 * 1_000_000_000);
/// Virtual time one call may run, unless it is told otherwise.
const TIME_LIMIT: Duration = Duration::from_hours(1);
/// Task runs without a pause that count as a loop without end, unless told otherwise.
const RUN_LIMIT: u64 = 10_000_000;

/// Why a world stopped before it got where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// No task is ready and nothing will ever happen: a deadlock.
    Deadlock,
    /// Too much virtual time went by.
    TooLong,
    /// Tasks keep waking themselves.
    Spinning,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadlock => "no task is ready and nothing will happen any more",
            Self::TooLong => "the limit of virtual time was reached",
            Self::Spinning => "tasks keep waking themselves and nothing else happens",
        })
    }
}

impl Error for Stall {}

/// What a step of a world was.
enum Step {
    /// A task ran.
    Ran,
    /// None was ready, and the clock moved.
    Waited,
    /// What happens next is past the end.
    End,
}

/// A deterministic world: the same seed and the same program give the same course, event by event.
pub struct World {
    sim: Rc<Sim>,
    cores: RefCell<Vec<Rc<Core>>>,
    seeds: Random,
    time_limit: Cell<Duration>,
    run_limit: Cell<u64>,
}

impl World {
    /// A world without machines, on a calm network.
    pub fn new(seed: u64) -> Self {
        let seeds = Random::from_seed(seed);
        let clock = Rc::new(Clock {
            now: Cell::new(BEGIN),
            wall: Cell::new(Wall::from_nanos(BEGIN_WALL.as_nanos() - BEGIN.as_nanos())),
        });
        let sim = Rc::new(Sim {
            clock: clock.clone(),
            tasks: Tasks::new(Remote::new(Doorbell::new(|| {})), Arc::default()),
            net: RefCell::new(Net::new(clock, seeds.next())),
            turns: Cell::new(0),
            task_runs: Cell::new(0),
        });
        Self {
            sim,
            cores: RefCell::default(),
            seeds,
            time_limit: Cell::new(TIME_LIMIT),
            run_limit: Cell::new(RUN_LIMIT),
        }
    }

    /// A core of the machine called `name`. The first call makes the machine, each further one adds a core, and
    /// listeners of several cores at one address share its connections.
    pub fn node(&self, name: &str) -> io::Result<Engine> {
        self.node_with(name, &Config::default())
    }

    /// As [`World::node`], with buffers of its own number and size.
    pub fn node_with(&self, name: &str, config: &Config) -> io::Result<Engine> {
        let core = Rc::new(Core {
            sim: self.sim.clone(),
            host: self.sim.with_net(|net| net.host(name)),
            timers: RefCell::new(Wheel::new(self.now())),
            inboxes: Inboxes::default(),
            pool: Pool::new(config.buffers, config.buffer_size)?,
            locals: crate::engine::local::Locals::default(),
            random: Random::from_seed(self.seeds.next()),
            streams: Cell::new(0),
            starved: Cell::new(0),
        });
        self.cores.borrow_mut().push(core.clone());
        Ok(Engine(Kind::Sim(core)))
    }

    /// The IPv4 address of the machine called `name`, which is made when it is new.
    pub fn address(&self, name: &str) -> IpAddr {
        self.sim.with_net(|net| Net::ipv4(net.host(name))).into()
    }

    /// The IPv6 address of the machine called `name`, which is made when it is new.
    pub fn address_v6(&self, name: &str) -> IpAddr {
        self.sim.with_net(|net| Net::ipv6(net.host(name))).into()
    }

    /// The network's manners from now on. Buffer sizes hold for new connections.
    pub fn set_faults(&self, faults: Faults) {
        self.sim.with_net(|net| net.faults = faults);
    }

    /// Cuts the link between two machines: connections stay, and nothing gets through.
    pub fn partition(&self, a: &str, b: &str) {
        self.sim.with_net(|net| {
            let (a, b) = (net.host(a), net.host(b));
            net.cut(a, b);
        });
    }

    /// Ends the partition of two machines; what was sent meanwhile arrives.
    pub fn heal(&self, a: &str, b: &str) {
        self.sim.with_net(|net| {
            let (a, b) = (net.host(a), net.host(b));
            net.heal(a, b);
        });
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        self.sim.clock.now.get()
    }

    /// Sets the wall clock of every machine; it goes on from there.
    pub fn set_wall(&self, wall: Wall) {
        self.sim.clock.wall.set(Wall::from_nanos(wall.as_nanos().saturating_sub(self.now().as_nanos())));
    }

    /// Sets how much virtual time one `run` may take. An hour at first.
    pub fn set_time_limit(&self, limit: Duration) {
        self.time_limit.set(limit);
    }

    /// Sets how many tasks may run in a row with always another one ready. Ten million at first.
    pub fn set_run_limit(&self, limit: u64) {
        self.run_limit.set(limit);
    }

    /// Connections that are not quite over, those included that only the network still knows.
    pub fn connections(&self) -> usize {
        self.sim.with_net(|net| net.conns.len())
    }

    /// Tasks that are not over, of all machines.
    pub fn tasks(&self) -> usize {
        self.sim.tasks.len()
    }

    /// The latest events, at most 4096, oldest first.
    pub fn trace(&self) -> Vec<Entry> {
        self.sim.with_net(|net| net.trace.latest().copied().collect())
    }

    /// A digest of every event so far.
    pub fn digest(&self) -> u64 {
        self.sim.with_net(|net| net.trace.digest())
    }

    /// Runs `main` and every other task until `main` is done. The others keep their state.
    pub fn run<F: Future + 'static>(&self, main: F) -> Result<F::Output, Stall>
    where
        F::Output: 'static,
    {
        let output = Rc::new(RefCell::new(None));
        let slot = output.clone();
        self.sim.tasks.spawn(Box::pin(async move {
            let result = main.await;
            *slot.borrow_mut() = Some(result);
        }));
        self.run_until(|| output.borrow().is_some())?;
        output.take().ok_or(Stall::Deadlock)
    }

    /// Runs until `condition` holds; it is asked after each task run and each jump of the clock.
    pub fn run_until(&self, condition: impl Fn() -> bool) -> Result<(), Stall> {
        let end = self.now() + self.time_limit.get();
        let mut runs = 0;
        while !condition() {
            match self.step(end) {
                Ok(Step::Ran) if runs < self.run_limit.get() => runs += 1,
                Ok(Step::Ran) => return Err(Stall::Spinning),
                Ok(Step::Waited) => runs = 0,
                Ok(Step::End) => return Err(Stall::TooLong),
                // The last event may have been what was waited for.
                Err(_) if condition() => return Ok(()),
                Err(stall) => return Err(stall),
            }
        }
        Ok(())
    }

    /// Runs for `time`, whether or not anything happens.
    pub fn run_for(&self, time: Duration) -> Result<(), Stall> {
        let end = self.now() + time;
        let mut runs = 0;
        while self.now() < end {
            match self.step(end) {
                Ok(Step::Ran) if runs < self.run_limit.get() => runs += 1,
                Ok(Step::Ran) => return Err(Stall::Spinning),
                Ok(Step::Waited) => runs = 0,
                Ok(Step::End) | Err(Stall::Deadlock) => self.sim.clock.now.set(end),
                Err(stall) => return Err(stall),
            }
        }
        Ok(())
    }

    /// Lets happen what is due, then runs one ready task, or moves the clock to what happens next, but not past
    /// `end`.
    fn step(&self, end: Instant) -> Result<Step, Stall> {
        let sim = &self.sim;
        sim.turns.set(sim.turns.get() + 1);
        sim.with_net(Net::advance);
        for core in self.cores.borrow().iter() {
            core.timers.borrow_mut().advance(self.now(), |waiter| sim.tasks.wake(waiter));
            core.inboxes.deliver();
        }
        sim.tasks.take_remote();
        let picked = sim.tasks.run_picked(|count| {
            let picked = sim.net.borrow().choose(count);
            sim.net.borrow_mut().trace.note(self.now(), "run", picked as u64, count as u64);
            picked
        });
        for core in self.cores.borrow().iter() {
            core.inboxes.tell(&mut |doorbell| doorbell.ring());
        }
        let next = if picked {
            sim.task_runs.set(sim.task_runs.get() + 1);
            self.now() + sim.net.borrow().faults.turn
        } else {
            let timers = self.cores.borrow().iter().filter_map(|core| core.timers.borrow().next()).min();
            let event = sim.net.borrow().next();
            timers.into_iter().chain(event).min().ok_or(Stall::Deadlock)?
        };
        if next > end {
            return Ok(Step::End);
        }
        sim.clock.now.set(next.max(self.now()));
        Ok(if picked { Step::Ran } else { Step::Waited })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Tasks hold their engine, and the engine the tasks.
        self.sim.tasks.clear();
    }
}
