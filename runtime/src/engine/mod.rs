//! The engine interface: tasks, timers and streams of one core, over one of three engines.
//!
//! An [`Engine`] is a cheap handle that is passed down; nothing is found through statics or thread-locals. A read yields
//! a [`Lease`]; a write goes into the stream's outbox, which the engine owns and sends by itself once flushed.

mod ring;
#[cfg(test)]
mod tests;
mod timer;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use ring::{Probe, probe};
pub use timer::Timer;

use crate::buffer::{Lease, Outbox, Pool};
use crate::clock::{Instant, Wall};

/// Which engine drives the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EngineKind {
    /// Ringway's own driver over `io_uring`.
    #[default]
    Ring,
}

/// Whether a core that has nothing to do polls before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BusyPoll {
    /// Sleeps at once.
    #[default]
    Off,
    /// Polls this long, then sleeps.
    For(Duration),
    /// Never sleeps: the lowest latency, for a CPU of its own.
    Always,
}

/// Sizes and bounds of one core's engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receive buffers.
    pub buffers: u16,
    /// Bytes of a receive buffer.
    pub buffer_size: usize,
    /// Bytes a stream may receive ahead of its reader.
    pub read_ahead: usize,
    /// Whether an idle core polls.
    pub busy_poll: BusyPoll,
    /// Entries of the ring's submission queue; the completion queue has four times as many.
    pub submission_entries: u32,
    /// Slots of the ring's table of direct descriptors; streams past it use plain ones.
    pub direct_descriptors: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            buffers: 512,
            buffer_size: 32 * 1024,
            read_ahead: 64 * 1024,
            busy_poll: BusyPoll::Off,
            submission_entries: 1024,
            direct_descriptors: 1 << 15,
        }
    }
}

/// What an engine counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns of the loop.
    pub turns: u64,
    /// Tasks run.
    pub task_runs: u64,
    /// Receives that found no free buffer and waited for one.
    pub starved: u64,
    /// Streams open now.
    pub streams: u64,
}

/// The handle on one core's engine.
#[derive(Clone)]
pub struct Engine(Kind);

#[derive(Clone)]
enum Kind {
    Ring(Rc<ring::Ring>),
}

/// How long the end of a core waits for the kernel to let go of its buffers.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);

/// Runs `main` and everything it spawns on the calling thread until `main` is done; what still runs then is dropped.
pub fn run<F: Future + 'static>(
    kind: EngineKind,
    config: &Config,
    main: impl FnOnce(Engine) -> F,
) -> io::Result<F::Output>
where
    F::Output: 'static,
{
    let output = Rc::new(RefCell::new(None));
    let slot = output.clone();
    match kind {
        EngineKind::Ring => {
            let ring = ring::Ring::new(config)?;
            let engine = Engine(Kind::Ring(ring.clone()));
            let main = main(engine.clone());
            engine.spawn(async move {
                let result = main.await;
                *slot.borrow_mut() = Some(result);
            });
            drop(engine);
            let result = ring.run(&|| output.borrow().is_some());
            ring.shut_down(SHUT_DOWN_LIMIT);
            result?;
        }
    }
    output.take().ok_or_else(|| io::Error::other("the engine ended before its main task"))
}

impl Engine {
    /// The monotonic time at the start of this turn of the loop: one clock read serves every task of the turn.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::Ring(ring) => ring.now(),
        }
    }

    /// The wall time now.
    pub fn wall(&self) -> Wall {
        match &self.0 {
            Kind::Ring(_) => Wall::now(),
        }
    }

    /// Adds a task. It ends with the engine at the latest.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        match &self.0 {
            Kind::Ring(ring) => ring.tasks.spawn(Box::pin(future)),
        }
    }

    /// A timer that is not set.
    pub fn timer(&self) -> Timer {
        Timer::new(self)
    }

    /// Waits until `deadline`, to the wheel's tick of about a millisecond.
    pub async fn sleep_until(&self, deadline: Instant) {
        let timer = self.timer();
        timer.set(deadline);
        poll_fn(|cx| timer.poll(cx)).await;
    }

    /// Waits for `time`.
    pub async fn sleep(&self, time: Duration) {
        self.sleep_until(self.now() + time).await;
    }

    /// Accepts from a listening socket, as [`crate::net::bind_for_cores`] makes them.
    pub fn listen(&self, socket: OwnedFd) -> Listener {
        match &self.0 {
            Kind::Ring(ring) => Listener(ListenerKind::Ring(ring::Listener::new(ring, socket))),
        }
    }

    /// Connects to `address`. Dropping the future abandons the attempt.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        match &self.0 {
            Kind::Ring(ring) => {
                let stream = ring::Stream::connect(ring, address)?;
                poll_fn(|cx| stream.poll_connected(cx)).await?;
                Ok(Stream(StreamKind::Ring(stream)))
            }
        }
    }

    /// The receive buffers of this core.
    pub fn pool(&self) -> &Pool {
        match &self.0 {
            Kind::Ring(ring) => ring.pool(),
        }
    }

    /// What the engine counted so far.
    pub fn stats(&self) -> Stats {
        match &self.0 {
            Kind::Ring(ring) => ring.stats(),
        }
    }
}

/// A socket that accepts. Dropping it stops accepting.
pub struct Listener(ListenerKind);

enum ListenerKind {
    Ring(ring::Listener),
}

impl Listener {
    /// The next connection and its peer's address.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection and its peer's address.
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        match &self.0 {
            ListenerKind::Ring(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream(StreamKind::Ring(stream)), peer))
            }
        }
    }
}

/// A connection. Dropping it abandons what is unsent; to end well, wait for `drained` first.
pub struct Stream(StreamKind);

enum StreamKind {
    Ring(ring::Stream),
}

impl Stream {
    /// The next bytes received, `None` at the end of the peer's bytes.
    pub async fn read(&self) -> io::Result<Option<Lease>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// The next bytes received, `None` at the end of the peer's bytes. One task reads at a time.
    pub fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        match &self.0 {
            StreamKind::Ring(stream) => stream.poll_read(cx),
        }
    }

    /// Notices the peer's end from now on, though nobody reads: what a pooled connection needs.
    pub fn watch(&self) {
        match &self.0 {
            StreamKind::Ring(stream) => stream.watch(),
        }
    }

    /// Whether the stream is open and has received nothing that was not read.
    pub fn is_quiet(&self) -> bool {
        match &self.0 {
            StreamKind::Ring(stream) => stream.is_quiet(),
        }
    }

    /// Lets `write` append to what is to be sent. Nothing is sent before [`Stream::flush`].
    pub fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        match &self.0 {
            StreamKind::Ring(stream) => stream.with_outbox(write),
        }
    }

    /// Starts to send what was written. Errors show at the next wait.
    pub fn flush(&self) {
        match &self.0 {
            StreamKind::Ring(stream) => stream.flush(),
        }
    }

    /// Bytes written and not yet taken by the kernel.
    pub fn unsent(&self) -> usize {
        match &self.0 {
            StreamKind::Ring(stream) => stream.unsent(),
        }
    }

    /// Waits until at most `bytes` are unsent, and flushes to get there. Backpressure is made of this.
    pub fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        match &self.0 {
            StreamKind::Ring(stream) => stream.poll_unsent_at_most(cx, bytes),
        }
    }

    /// Waits until the kernel has taken everything.
    pub async fn drained(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_unsent_at_most(cx, 0)).await
    }

    /// Tells the peer that no more bytes come. Everything must have been sent.
    pub fn shut_down_write(&self) -> io::Result<()> {
        match &self.0 {
            StreamKind::Ring(stream) => stream.shut_down_write(),
        }
    }

    /// Ends the connection with a reset, so that the peer cannot take what it got for the whole.
    pub fn reset(self) {
        match &self.0 {
            StreamKind::Ring(stream) => stream.reset_on_close(),
        }
    }
}
