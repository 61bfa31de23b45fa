//! The simulated engine: any number of machines in one thread, with a clock and a network that follow from a seed.
//!
//! A [`World`] owns the time, the network, its faults, and one scheduler for the tasks of every machine. Nothing in it
//! asks the real machine for time or randomness, so a seed names one run exactly: [`explore`] tries many, and one that
//! fails prints itself and can be replayed.
//!
//! The network carries TCP's behavior, not its bytes: connections, ordered bytes in segments, windows, bounded socket
//! buffers, half-closed streams, resets, silence.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use ringway_runtime::engine::sim::{Faults, explore};
//!
//! // In every one of a hundred worlds a greeting crosses a rough network.
//! explore(0..100, |world| {
//!     world.set_faults(Faults::rough());
//!     let (server, client) = (world.node("server").unwrap(), world.node("client").unwrap());
//!     let address = SocketAddr::new(world.address("server"), 80);
//!     let listener = server.listen(address).unwrap();
//!     server.spawn(async move {
//!         let (stream, _peer) = listener.accept().await.unwrap();
//!         stream.with_outbox(|out| out.write(|bytes| bytes.extend_from_slice(b"hello")));
//!         stream.drained().await.unwrap();
//!     });
//!     let greeting = world.run(async move {
//!         let stream = client.connect(address).await.unwrap();
//!         let mut greeting = Vec::new();
//!         while let Some(lease) = stream.read().await.unwrap() {
//!             greeting.extend_from_slice(&lease);
//!         }
//!         greeting
//!     });
//!     assert_eq!(greeting.unwrap(), b"hello");
//! });
//! ```

mod conn;
mod explore;
mod faults;
mod listener;
mod net;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Context;

pub use explore::explore;
pub use faults::Faults;
pub(crate) use listener::Listener;
pub(crate) use stream::{Stream, Transit};
pub use trace::Entry;
pub use world::{Stall, World};

use self::net::Net;
use super::local::Locals;
use super::{Stats, TurnObserver};
use crate::buffer::Pool;
use crate::clock::{Instant, Wall};
use crate::core::random::Random;
use crate::core::tasks::{Tasks, Waiter};
use crate::core::timers::Wheel;
use crate::mesh::doorbell::Doorbell;
use crate::mesh::port::{Inbox, Inboxes};

/// The time of a world.
struct Clock {
    now: Cell<Instant>,
    /// What the wall clock shows at the monotonic clock's zero.
    wall: Cell<Wall>,
}

/// What the machines of a world share.
struct Sim {
    clock: Rc<Clock>,
    tasks: Tasks,
    net: RefCell<Net>,
    turns: Cell<u64>,
    task_runs: Cell<u64>,
}

impl Sim {
    /// Lets `change` act on the network, and then makes those ready who wait for what came of it.
    fn with_net<R>(&self, change: impl FnOnce(&mut Net) -> R) -> R {
        let mut net = self.net.borrow_mut();
        let result = change(&mut net);
        let wakes = std::mem::take(&mut net.wakes);
        drop(net);
        for waiter in wakes {
            self.tasks.wake(waiter);
        }
        result
    }
}

/// One core of a machine of the world.
pub(crate) struct Core {
    sim: Rc<Sim>,
    host: usize,
    timers: RefCell<Wheel>,
    inboxes: Inboxes,
    pool: Pool,
    locals: Locals,
    random: Random,
    streams: Cell<u64>,
    starved: Cell<u64>,
}

impl Core {
    pub(crate) fn now(&self) -> Instant {
        self.sim.clock.now.get()
    }

    pub(crate) fn wall(&self) -> Wall {
        let clock = &self.sim.clock;
        Wall::from_nanos(clock.wall.get().as_nanos().saturating_add(clock.now.get().as_nanos()))
    }

    /// A world has no descriptors.
    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn descriptors(&self) -> (u64, u64) {
        (u64::MAX, u64::MAX)
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        self.sim.tasks.spawn(future);
    }

    pub(crate) fn timers(&self) -> &RefCell<Wheel> {
        &self.timers
    }

    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        self.sim.tasks.waiter(cx)
    }

    pub(crate) fn wake(&self, waiter: Waiter) {
        self.sim.tasks.wake(waiter);
    }

    /// The world looks for messages at each of its steps, so nobody has to ring.
    pub(crate) fn attach(&self, inbox: Weak<dyn Inbox>) -> Arc<Doorbell> {
        self.inboxes.add(inbox);
        Arc::new(Doorbell::new(|| {}))
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Turns and runs are those of the whole world: it has one scheduler.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            turns: self.sim.turns.get(),
            task_runs: self.sim.task_runs.get(),
            starved: self.starved.get(),
            streams: self.streams.get(),
            cpu_ns: 0,
        }
    }

    pub(crate) fn label(&self, label: u64) {
        self.sim.tasks.label(label);
    }

    /// A turn takes no time here.
    #[expect(clippy::unused_self, reason = "the engines' methods are called alike")]
    pub(crate) fn observe_turns(&self, _observer: TurnObserver) {}
}
