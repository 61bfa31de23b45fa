//! The ring engine: one io_uring a core, driven by its one thread (`SINGLE_ISSUER`, `DEFER_TASKRUN`).
//!
//! The loop: reap every completion, run every ready task and, for a few rounds, those they wake, then one enter that
//! submits and waits. A completion only notes what happened and who must run; the work is done by tasks.

mod conn;
mod driver;
mod listener;
mod probe;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use slab::Slab;

pub(crate) use conn::Stream;
pub(crate) use listener::Listener;
pub use probe::{Probe, probe};

use self::conn::Conn;
use self::driver::{Completion, Driver, Setup};
use self::listener::Acceptor;
use super::local::Locals;
use super::{BusyPoll, Config, Stats, TurnObserver};
use crate::buffer::{Outboxes, Pool};
use crate::clock::{Instant, Wall, thread_cpu_nanos};
use crate::core::random::Random;
use crate::core::tasks::{Remote, Tasks, Waiter};
use crate::core::timers::Wheel;
use crate::core::{Pulse, cpus};
use crate::mesh::doorbell::{Doorbell, clear_eventfd, eventfd, write_eventfd};
use crate::mesh::port::{Inbox, Inboxes};

/// What an entry in flight is for, kept in the top byte of its user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Op {
    Receive = 1,
    Send = 2,
    Connect = 3,
    Accept = 4,
    Doorbell = 5,
    Cancel = 6,
    /// A message posted to another ring, on the side that posts it.
    Ring = 7,
    /// The same on the side that gets it. It only ends the wait.
    Rung = 8,
}

/// User data: the operation, 24 bits of the slot's generation, the slot.
fn user_data(op: Op, slot: u32, generation: u32) -> u64 {
    (op as u64) << 56 | u64::from(generation & 0x00ff_ffff) << 32 | u64::from(slot)
}

/// Rounds of ready tasks before the ring is entered: what tasks of this core tell each other needs no kernel, and what
/// they send goes out together.
const ROUNDS: u32 = 4;

/// Turns of the busy-poll loop between two looks at the clock.
const SPINS_PER_LOOK: u32 = 16;

/// One core's engine. Everything it holds belongs to its thread.
pub(crate) struct Ring {
    tasks: Tasks,
    timers: RefCell<Wheel>,
    now: Cell<Instant>,
    io: RefCell<Io>,
    pool: Pool,
    locals: Locals,
    remote: Arc<Remote>,
    inboxes: Inboxes,
    random: Random,
    busy_poll: BusyPoll,
    stats: Cell<Stats>,
    pulse: Arc<Pulse>,
    /// Since when the loop has worked without waiting.
    turn: Cell<Option<Instant>>,
    observer: OnceCell<TurnObserver>,
}

/// What completions act upon.
struct Io {
    driver: Driver,
    conns: Slab<Conn>,
    acceptors: Slab<Acceptor>,
    outboxes: Outboxes,
    /// Spare headers for vectored sends.
    #[expect(clippy::vec_box, reason = "the kernel reads the header where it is, so it must not move")]
    vectors: Vec<Box<conn::Vectors>>,
    /// Streams that begin to send at the end of this turn: first those that were accepted, then those to elsewhere. A peer
    /// on this machine sleeps between two sends to it unless they come one behind the other, and waking it is a part of
    /// the send.
    to_send: [Vec<u32>; 2],
    /// Streams whose receive found no free buffer.
    starved: Vec<u32>,
    generation: u32,
    /// Slots in the table of direct descriptors.
    files: u32,
    read_ahead: usize,
    /// Whether the kernel ends a multishot receive by itself after so many bytes (Linux 6.17).
    receive_cap: bool,
    doorbell: OwnedFd,
    /// Peers that were rung by a message to their ring; they stay open as long as one may be under way.
    rung: Vec<Arc<Doorbell>>,
    /// Whether the kernel carries messages between rings like this one.
    message_ring: bool,
    /// What the streams may have at most.
    descriptors: u64,
    stats: Stats,
}

impl Ring {
    pub(crate) fn new(config: &Config) -> io::Result<Rc<Self>> {
        let pool = Pool::new(config.buffers, config.buffer_size)?;
        // The kernel refuses a table larger than the process's limit on open files.
        let files = config.direct_descriptors.min(cpus::open_files()?.min(1 << 15) as u32).max(1);
        let setup = Setup {
            submission_entries: config.submission_entries,
            completion_entries: config.submission_entries.saturating_mul(4),
            files,
        };
        let driver = Driver::new(&setup, &pool)?;
        let doorbell = eventfd()?;
        let bell = doorbell.try_clone()?;
        let remote = Remote::new(Doorbell::with_ring(move || write_eventfd(bell.as_fd()), driver.duplicate()?));
        let now = Instant::now();
        let this = Rc::new(Self {
            tasks: Tasks::new(remote.clone(), config.pulse.clone()),
            timers: RefCell::new(Wheel::new(now)),
            now: Cell::new(now),
            io: RefCell::new(Io {
                driver,
                conns: Slab::new(),
                acceptors: Slab::new(),
                outboxes: Outboxes::default(),
                vectors: Vec::new(),
                to_send: Default::default(),
                starved: Vec::new(),
                generation: 0,
                files,
                descriptors: config.descriptors,
                read_ahead: config.read_ahead.max(1),
                receive_cap: probe::receive_cap(),
                doorbell,
                rung: Vec::new(),
                message_ring: probe::message_ring(),
                stats: Stats::default(),
            }),
            pool,
            locals: Locals::default(),
            remote,
            inboxes: Inboxes::default(),
            random: Random::from_kernel(),
            busy_poll: config.busy_poll,
            stats: Cell::default(),
            pulse: config.pulse.clone(),
            turn: Cell::new(None),
            observer: OnceCell::new(),
        });
        this.io.borrow_mut().arm_doorbell();
        Ok(this)
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn wall(&self) -> Wall {
        Wall::now()
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        self.tasks.spawn(future);
    }

    pub(crate) fn timers(&self) -> &RefCell<Wheel> {
        &self.timers
    }

    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        self.tasks.waiter(cx)
    }

    pub(crate) fn wake(&self, waiter: Waiter) {
        self.tasks.wake(waiter);
    }

    pub(crate) fn attach(&self, inbox: Weak<dyn Inbox>) -> Arc<Doorbell> {
        self.inboxes.add(inbox);
        self.remote.doorbell().clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { cpu_ns: thread_cpu_nanos(), ..self.stats.get() }
    }

    pub(crate) fn descriptors(&self) -> (u64, u64) {
        let io = self.io.borrow();
        (io.descriptors, io.descriptors_left())
    }

    pub(crate) fn label(&self, label: u64) {
        self.tasks.label(label);
    }

    pub(crate) fn observe_turns(&self, observer: TurnObserver) {
        // The first one stays: nobody asks twice.
        let _ = self.observer.set(observer);
    }

    /// The loop has come to the end of a turn.
    fn end_turn(&self, now: Instant) {
        if let Some(began) = self.turn.take()
            && let Some(observe) = self.observer.get()
        {
            observe(now.nanos_since(began));
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Runs tasks until `done` says so.
    pub(crate) fn run(&self, done: &dyn Fn() -> bool) -> io::Result<()> {
        let mut completions = Vec::with_capacity(256);
        loop {
            let now = Instant::now();
            self.now.set(now);
            self.end_turn(now);
            self.turn.set(Some(now));
            self.pulse.turn();
            self.complete_all(&mut completions);
            self.timers.borrow_mut().advance(self.now.get(), |waiter| self.tasks.wake(waiter));
            self.tasks.take_remote();
            self.inboxes.deliver();
            let mut ran = self.tasks.run();
            for _ in 1..ROUNDS {
                if !self.tasks.has_ready() || done() {
                    break;
                }
                // Tasks that are woken through a `std` waker get as many turns as the others.
                self.tasks.take_remote();
                ran += self.tasks.run();
            }
            let mut io = self.io.borrow_mut();
            io.stats.turns += 1;
            io.stats.task_runs += ran as u64;
            self.stats.set(io.stats);
            io.start_sends();
            if done() {
                return Ok(());
            }
            self.inboxes.tell(&mut |doorbell| io.ring(doorbell));
            io.revive_starved(&self.pool);
            if self.tasks.has_ready() {
                io.driver.enter(&self.pool, 0, None)?;
                continue;
            }
            if !self.spin(&mut io)? {
                self.sleep(&mut io)?;
            }
        }
    }

    /// Polls for events as long as the config says. True when something came.
    fn spin(&self, io: &mut Io) -> io::Result<bool> {
        let limit = match self.busy_poll {
            BusyPoll::Off => return Ok(false),
            BusyPoll::For(limit) => Some(limit),
            BusyPoll::Always => None,
        };
        if io.driver.has_unsubmitted() {
            io.driver.enter(&self.pool, 0, None)?;
        }
        let start = Instant::now();
        self.end_turn(start);
        self.pulse.rest();
        let due = self.timers.borrow().next();
        loop {
            for _ in 0..SPINS_PER_LOOK {
                if io.driver.has_events() {
                    io.driver.enter(&self.pool, 0, None)?;
                    return Ok(true);
                }
                std::hint::spin_loop();
            }
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) || self.tasks.has_remote() || self.inboxes.has_mail() {
                return Ok(true);
            }
            if limit.is_some_and(|limit| now.since(start) >= limit) {
                return Ok(false);
            }
        }
    }

    fn sleep(&self, io: &mut Io) -> io::Result<()> {
        if !self.remote.may_sleep(|| self.inboxes.has_mail()) {
            return io.driver.enter(&self.pool, 0, None);
        }
        let timeout = self.timers.borrow().next().map(|due| {
            let now = Instant::now();
            self.end_turn(now);
            due.since(now)
        });
        self.turn.set(None);
        self.pulse.rest();
        let result = io.driver.enter(&self.pool, 1, timeout);
        self.remote.awake();
        result
    }

    /// Acts upon every completion that is there. `scratch` is empty before and after.
    fn complete_all(&self, scratch: &mut Vec<Completion>) {
        let mut foreign = Vec::new();
        let mut io = self.io.borrow_mut();
        io.driver.reap(scratch);
        for completion in scratch.drain(..) {
            match io.complete(&self.pool, &completion) {
                Waiter::Nobody => {}
                Waiter::Task(id) => self.tasks.make_ready(id),
                Waiter::Foreign(waker) => foreign.push(waker),
            }
        }
        drop(io);
        // A foreign waker may run code that comes back here.
        foreign.into_iter().for_each(Waker::wake);
    }

    /// Ends every task and stream and waits until the kernel holds no buffer, at most for `limit`.
    pub(crate) fn shut_down(&self, limit: Duration) {
        self.tasks.clear();
        self.remote.doorbell().let_go_of_ring();
        let start = Instant::now();
        let mut completions = Vec::new();
        loop {
            let mut io = self.io.borrow_mut();
            if io.conns.is_empty() && io.acceptors.is_empty() {
                return;
            }
            let waited = Instant::now().since(start);
            if waited >= limit || io.driver.enter(&self.pool, 1, Some(limit.saturating_sub(waited))).is_err() {
                break;
            }
            drop(io);
            self.complete_all(&mut completions);
        }
        // The kernel may still write to the buffers: leaking them is the only safe end.
        std::mem::forget(self.pool.clone());
        for (_, conn) in &mut self.io.borrow_mut().conns {
            conn.leak();
        }
    }
}

impl Io {
    /// Acts upon one completion and tells who waits for it.
    #[inline]
    fn complete(&mut self, pool: &Pool, completion: &Completion) -> Waiter {
        let slot = completion.user_data as u32;
        let generation = (completion.user_data >> 32) as u32 & 0x00ff_ffff;
        let op = (completion.user_data >> 56) as u8;
        let more = cqueue::more(completion.flags);
        if op == Op::Receive as u8 {
            let buffer = cqueue::buffer_select(completion.flags);
            return self.received(pool, slot, generation, completion.result, buffer, more);
        }
        if op == Op::Send as u8 {
            return self.sent(slot, generation, completion.result);
        }
        if op == Op::Connect as u8 {
            return self.connected(slot, generation, completion.result);
        }
        if op == Op::Accept as u8 {
            return self.accepted(slot, generation, completion.result, more);
        }
        if op == Op::Doorbell as u8 {
            self.answer_doorbell(more);
        } else if op == Op::Ring as u8 {
            self.ring_again(slot);
        }
        Waiter::Nobody
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = (self.generation + 1) & 0x00ff_ffff;
        self.generation
    }

    fn arm_doorbell(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.doorbell.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(user_data(Op::Doorbell, 0, 0));
        // SAFETY: a poll names no memory, and the eventfd is open as long as the ring.
        unsafe { self.driver.push(entry) };
    }

    /// Empties the doorbell, so that it rings again, and arms its poll where that ended.
    fn answer_doorbell(&mut self, more: bool) {
        clear_eventfd(self.doorbell.as_fd());
        if !more {
            self.arm_doorbell();
        }
    }

    /// Wakes a peer that sleeps: by a message to its ring, which goes out with the next enter, where it has one.
    fn ring(&mut self, doorbell: &Arc<Doorbell>) {
        let Some(target) = doorbell.ring_descriptor().filter(|_| self.message_ring) else {
            doorbell.ring();
            return;
        };
        let known = self.rung.iter().position(|rung| Arc::ptr_eq(rung, doorbell));
        let peer = known.unwrap_or_else(|| {
            self.rung.push(doorbell.clone());
            self.rung.len() - 1
        });
        let entry = opcode::MsgRingData::new(types::Fd(target), 0, user_data(Op::Rung, 0, 0), None)
            .build()
            .flags(io_uring::squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(Op::Ring, peer as u32, 0));
        // SAFETY: a message names no memory, and `rung` keeps the target's descriptor open.
        unsafe { self.driver.push(entry) };
    }

    /// The message to a peer's ring failed: the peer has ended, or its completion queue is full.
    fn ring_again(&mut self, peer: u32) {
        if let Some(doorbell) = self.rung.get(peer as usize) {
            doorbell.ring();
        }
    }

    fn cancel(&mut self, target: u64) {
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .flags(io_uring::squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(Op::Cancel, 0, 0));
        // SAFETY: a cancellation names no memory.
        unsafe { self.driver.push(entry) };
    }
}
