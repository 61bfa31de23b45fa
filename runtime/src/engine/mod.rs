//! The engine interface: tasks, timers and streams of one core, over one of three engines.
//!
//! An [`Engine`] is a cheap handle that is passed down; nothing is found through statics or thread-locals. A read yields
//! a [`Lease`]; a write goes into the stream's outbox, which the engine owns and sends by itself once flushed.

/// Calls the same method of whichever engine it is.
macro_rules! each {
    ($kind:ident, $value:expr, $one:ident => $call:expr) => {
        match $value {
            $kind::Ring($one) => $call,
            #[cfg(feature = "glommio")]
            $kind::Glommio($one) => $call,
            #[cfg(any(test, feature = "sim"))]
            $kind::Sim($one) => $call,
        }
    };
}

/// The same of a stream, which may also have a layer, or be one end of a pair.
macro_rules! each_stream {
    ($value:expr, $one:ident => $call:expr) => {
        match $value {
            StreamKind::Ring($one) => $call,
            #[cfg(feature = "glommio")]
            StreamKind::Glommio($one) => $call,
            #[cfg(any(test, feature = "sim"))]
            StreamKind::Sim($one) => $call,
            StreamKind::Layered($one) => $call,
            StreamKind::Local($one) => $call,
        }
    };
}

#[cfg(feature = "glommio")]
mod glommio;
mod layer;
mod local;
mod ring;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
mod timer;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use layer::{Layer, LayerRoom, Received};
pub use ring::{Probe, probe};
pub use timer::Timer;

use crate::buffer::{Lease, Outbox, Pool};
use crate::clock::{Instant, Wall};
use crate::core::tasks::Waiter;
use crate::core::{Pulse, Ready};
use crate::mesh::doorbell::Doorbell;
use crate::mesh::port::Inbox;
use crate::net::{Address, ListenSpec, Offered, Placement, Remote, SendKeys, bind_for_cores};

/// Which engine drives the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EngineKind {
    /// Ringway's own driver over `io_uring`.
    #[default]
    Ring,
    /// The published glommio executor.
    Glommio,
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
    /// Descriptors that the core's streams may have, which the whole process shares in the end. Near to that many the
    /// ring accepts one connection at a time.
    pub descriptors: u64,
    /// What other threads may see of the core.
    pub pulse: Arc<Pulse>,
}

/// Told how long each turn of the loop took, in nanoseconds.
type TurnObserver = Box<dyn Fn(u64)>;

impl Default for Config {
    fn default() -> Self {
        Self {
            buffers: 256,
            buffer_size: 64 * 1024,
            read_ahead: 64 * 1024,
            busy_poll: BusyPoll::Off,
            submission_entries: 1024,
            direct_descriptors: 1 << 15,
            descriptors: u64::MAX,
            pulse: Arc::default(),
        }
    }
}

/// What an engine counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns of the loop; looks at the sockets with glommio.
    pub turns: u64,
    /// Tasks run.
    pub task_runs: u64,
    /// Receives that found no free buffer and waited for one.
    pub starved: u64,
    /// Streams open now.
    pub streams: u64,
    /// CPU time of the core's thread in nanoseconds, user and system; 0 in simulation.
    pub cpu_ns: u64,
}

/// The handle on one core's engine.
#[derive(Clone)]
pub struct Engine(Kind);

#[derive(Clone)]
enum Kind {
    Ring(Rc<ring::Ring>),
    #[cfg(feature = "glommio")]
    Glommio(Rc<glommio::Glommio>),
    #[cfg(any(test, feature = "sim"))]
    Sim(Rc<sim::Core>),
}

/// How long the end of a core waits for the kernel to let go of its buffers.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);
/// Connections the kernel queues for a listener that was given by its address.
const BACKLOG: i32 = 1024;

/// Runs `main` and everything it spawns on the calling thread until `main` is done; what still runs then is dropped.
pub fn run<F: Future + 'static>(
    kind: EngineKind,
    config: &Config,
    main: impl FnOnce(Engine) -> F,
) -> io::Result<F::Output>
where
    F::Output: 'static,
{
    match kind {
        EngineKind::Ring => run_ring(config, main),
        #[cfg(feature = "glommio")]
        EngineKind::Glommio => glommio::run(config, |engine| main(Engine(Kind::Glommio(engine)))),
        #[cfg(not(feature = "glommio"))]
        EngineKind::Glommio => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this build has no glommio engine; choose engine = \"ring\"",
        )),
    }
}

fn run_ring<F: Future + 'static>(config: &Config, main: impl FnOnce(Engine) -> F) -> io::Result<F::Output>
where
    F::Output: 'static,
{
    let output = Rc::new(RefCell::new(None));
    let slot = output.clone();
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
    output.take().ok_or_else(|| io::Error::other("the engine ended before its main task"))
}

/// What a listener accepts from.
#[derive(Debug)]
pub enum ListenSource {
    /// A listening socket, as [`crate::net::bind_for_cores`] makes one for each core.
    Socket(OwnedFd),
    /// A listening socket that another process listens on, too: that the listener goes does not shut it down, unless
    /// [`Listener::poll_queued`] said that nobody waits there any more.
    Shared(OwnedFd),
    /// An address of its own. Port 0 picks a free one, which [`Listener::local_address`] tells.
    Address(SocketAddr),
}

impl From<OwnedFd> for ListenSource {
    fn from(socket: OwnedFd) -> Self {
        Self::Socket(socket)
    }
}

impl From<SocketAddr> for ListenSource {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl ListenSource {
    /// A socket of the machine, bound now where only the address was given, and whether it is shared.
    fn into_socket(self) -> io::Result<(OwnedFd, bool)> {
        match self {
            Self::Socket(socket) => Ok((socket, false)),
            Self::Shared(socket) => Ok((socket, true)),
            Self::Address(address) => {
                let spec = ListenSpec { address, backlog: BACKLOG, placement: Placement::Kernel };
                let (_, sockets) = bind_for_cores(&spec, &[0])?;
                let socket = sockets.into_iter().next().ok_or_else(|| io::Error::other("no socket was bound"))?;
                Ok((socket, false))
            }
        }
    }
}

impl Engine {
    /// The monotonic time at the start of this turn of the loop: one clock read serves every task of the turn.
    pub fn now(&self) -> Instant {
        each!(Kind, &self.0, engine => engine.now())
    }

    /// The wall time now.
    pub fn wall(&self) -> Wall {
        each!(Kind, &self.0, engine => engine.wall())
    }

    /// A random number, uniform over all of `u64`. It is no secret: whoever sees some can tell the next.
    pub fn random(&self) -> u64 {
        each!(Kind, &self.0, engine => engine.random())
    }

    /// Adds a task. It ends with the engine at the latest.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        each!(Kind, &self.0, engine => engine.spawn(Box::pin(future)));
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

    /// Accepts from a listening socket or at an address.
    pub fn listen(&self, source: impl Into<ListenSource>) -> io::Result<Listener> {
        let source = source.into();
        Ok(Listener(match &self.0 {
            Kind::Ring(ring) => {
                let (socket, shared) = source.into_socket()?;
                ListenerKind::Ring(ring::Listener::new(ring, socket, shared))
            }
            #[cfg(feature = "glommio")]
            Kind::Glommio(engine) => {
                let (socket, shared) = source.into_socket()?;
                ListenerKind::Glommio(glommio::Listener::new(engine, socket, shared)?)
            }
            #[cfg(any(test, feature = "sim"))]
            Kind::Sim(core) => ListenerKind::Sim(sim::Listener::new(core, &source)?),
        }))
    }

    /// Connects to `address`. Dropping the future abandons the attempt.
    pub async fn connect(&self, address: impl Into<Address>) -> io::Result<Stream> {
        let address = &address.into();
        Ok(Stream(match &self.0 {
            Kind::Ring(ring) => {
                let stream = ring::Stream::connect(ring, address)?;
                poll_fn(|cx| stream.poll_connected(cx)).await?;
                StreamKind::Ring(stream)
            }
            #[cfg(feature = "glommio")]
            Kind::Glommio(engine) => StreamKind::Glommio(glommio::Stream::connect(engine, address).await?),
            #[cfg(any(test, feature = "sim"))]
            Kind::Sim(core) => StreamKind::Sim(sim::Stream::connect(core, address).await?),
        }))
    }

    /// Takes in a connection that another core let go of. A real engine cannot take one of a simulated world, nor one
    /// world that of another.
    pub fn adopt(&self, detached: Detached) -> io::Result<Stream> {
        #[cfg(any(test, feature = "sim"))]
        let stranger = || io::Error::new(io::ErrorKind::Unsupported, "the connection is of another kind of engine");
        Ok(Stream(match (&self.0, detached.0) {
            (Kind::Ring(ring), DetachedKind::Socket(socket)) => StreamKind::Ring(ring::Stream::adopt(ring, socket)),
            #[cfg(feature = "glommio")]
            (Kind::Glommio(engine), DetachedKind::Socket(socket)) => {
                StreamKind::Glommio(glommio::Stream::adopt(engine, socket))
            }
            #[cfg(any(test, feature = "sim"))]
            (Kind::Sim(core), DetachedKind::Sim(transit)) => {
                StreamKind::Sim(sim::Stream::adopt(core, &transit).ok_or_else(stranger)?)
            }
            #[cfg(any(test, feature = "sim"))]
            _ => return Err(stranger()),
        }))
    }

    /// Two streams that are each other's peers, for two tasks of this core that speak a protocol with each other. The
    /// bytes never leave the core; large ones are read from where they are. `limit` is how many bytes each way count as
    /// sent before they are read; `address` is what [`Stream::local_address`] says. Such a stream cannot be let go of ([`Stream::poll_still`]), is no descriptor, and
    /// allocates little once there were others.
    pub fn pair(&self, limit: usize, address: Option<SocketAddr>) -> (Stream, Stream) {
        let (one, other) = local::pair(self, limit, address);
        (Stream(StreamKind::Local(one)), Stream(StreamKind::Local(other)))
    }

    /// What this core keeps for its pairs.
    fn locals(&self) -> &local::Locals {
        each!(Kind, &self.0, engine => engine.locals())
    }

    /// The receive buffers of this core.
    pub fn pool(&self) -> &Pool {
        each!(Kind, &self.0, engine => engine.pool())
    }

    /// What the engine counted so far.
    pub fn stats(&self) -> Stats {
        each!(Kind, &self.0, engine => engine.stats())
    }

    /// The descriptors that the core's streams may have, and how many of those are left. It asks nobody.
    pub fn descriptors(&self) -> (u64, u64) {
        each!(Kind, &self.0, engine => engine.descriptors())
    }

    /// Looks for messages in `inbox` from now on, and returns how others wake this core.
    pub(crate) fn attach(&self, inbox: Weak<dyn Inbox>) -> io::Result<Arc<Doorbell>> {
        match &self.0 {
            Kind::Ring(ring) => Ok(ring.attach(inbox)),
            #[cfg(feature = "glommio")]
            Kind::Glommio(engine) => engine.attach(inbox),
            #[cfg(any(test, feature = "sim"))]
            Kind::Sim(core) => Ok(core.attach(inbox)),
        }
    }

    /// Whether the engine lets inboxes tell their peers at the end of each turn.
    pub(crate) fn has_turns(&self) -> bool {
        match &self.0 {
            Kind::Ring(_) => true,
            #[cfg(feature = "glommio")]
            Kind::Glommio(_) => false,
            #[cfg(any(test, feature = "sim"))]
            Kind::Sim(_) => true,
        }
    }

    /// Who waits when `cx` is told to.
    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        each!(Kind, &self.0, engine => engine.waiter(cx))
    }

    /// Makes whoever waits ready.
    pub(crate) fn wake(&self, waiter: Waiter) {
        each!(Kind, &self.0, engine => engine.wake(waiter));
    }

    /// Says what the running task does, for those who watch the core's [`Pulse`]. It holds until the task says
    /// something else; a task that said nothing has 0.
    #[inline]
    pub fn label(&self, label: u64) {
        each!(Kind, &self.0, engine => engine.label(label));
    }

    /// Has `observe` told how long the core was away from its loop at each turn, in nanoseconds: from the events of a
    /// wait to the next wait or look for events. Glommio tells no waits: there it is how late a tick of a
    /// millisecond came. The first observer stays.
    pub fn observe_turns(&self, observe: impl Fn(u64) + 'static) {
        each!(Kind, &self.0, engine => engine.observe_turns(Box::new(observe)));
    }
}

/// A socket that accepts. Dropping it stops accepting.
pub struct Listener(ListenerKind);

enum ListenerKind {
    Ring(ring::Listener),
    #[cfg(feature = "glommio")]
    Glommio(glommio::Listener),
    #[cfg(any(test, feature = "sim"))]
    Sim(sim::Listener),
}

impl Listener {
    /// The next connection and who is at its other end.
    pub async fn accept(&self) -> io::Result<(Stream, Remote)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection and who is at its other end.
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, Remote)>> {
        match &self.0 {
            ListenerKind::Ring(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream(StreamKind::Ring(stream)), peer))
            }
            #[cfg(feature = "glommio")]
            ListenerKind::Glommio(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream(StreamKind::Glommio(stream)), peer))
            }
            #[cfg(any(test, feature = "sim"))]
            ListenerKind::Sim(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream(StreamKind::Sim(stream)), peer))
            }
        }
    }

    /// As [`Listener::poll_accept`], for whoever chooses the core that is to have the connection: [`Engine::adopt`]
    /// makes a stream of it there.
    pub fn poll_accept_detached(&self, cx: &Context<'_>) -> Poll<io::Result<(Detached, Remote)>> {
        let of_socket = |(socket, peer)| (Detached(DetachedKind::Socket(socket)), peer);
        match &self.0 {
            ListenerKind::Ring(listener) => listener.poll_accept_socket(cx).map_ok(of_socket),
            #[cfg(feature = "glommio")]
            ListenerKind::Glommio(listener) => listener.poll_accept_socket(cx).map_ok(of_socket),
            #[cfg(any(test, feature = "sim"))]
            ListenerKind::Sim(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Detached(DetachedKind::Sim(stream.detach())), peer))
            }
        }
    }

    /// The next of the connections that were waiting when this was first called, and `None` when there is none left:
    /// then the listener can be dropped without a reset for anybody. What comes later finds nobody listening.
    pub fn poll_queued(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Remote)>> {
        let adopt = |stream, peer| (Stream(stream), peer);
        match &self.0 {
            ListenerKind::Ring(listener) => {
                listener.poll_queued(cx).map(|next| next.map(|(stream, peer)| adopt(StreamKind::Ring(stream), peer)))
            }
            #[cfg(feature = "glommio")]
            ListenerKind::Glommio(listener) => {
                Poll::Ready(listener.next_queued().map(|(stream, peer)| adopt(StreamKind::Glommio(stream), peer)))
            }
            #[cfg(any(test, feature = "sim"))]
            ListenerKind::Sim(listener) => {
                Poll::Ready(listener.next_queued().map(|(stream, peer)| adopt(StreamKind::Sim(stream), peer)))
            }
        }
    }

    /// The next of the connections that this listener has taken from its socket already, or that woke it and nobody else,
    /// and `None` when there is none left: then the listener can be dropped, and whoever else has the socket goes on with it.
    pub fn poll_let_go(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Remote)>> {
        match &self.0 {
            ListenerKind::Ring(listener) => {
                listener.poll_let_go(cx).map(|next| next.map(|(stream, peer)| (Stream(StreamKind::Ring(stream)), peer)))
            }
            #[cfg(feature = "glommio")]
            ListenerKind::Glommio(listener) => {
                listener.let_go();
                Poll::Ready(None)
            }
            // A simulated listener is of one machine, which is one process.
            #[cfg(any(test, feature = "sim"))]
            ListenerKind::Sim(_) => Poll::Ready(None),
        }
    }

    /// The address it accepts at.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        each!(ListenerKind, &self.0, listener => listener.local_address())
    }
}

/// A connection on its way from one core to another. Dropping it closes the connection.
#[derive(Debug)]
pub struct Detached(DetachedKind);

#[derive(Debug)]
enum DetachedKind {
    Socket(OwnedFd),
    #[cfg(any(test, feature = "sim"))]
    Sim(sim::Transit),
}

/// A connection. Dropping it abandons what is unsent; to end well, wait for `drained` first.
pub struct Stream(StreamKind);

enum StreamKind {
    Ring(ring::Stream),
    #[cfg(feature = "glommio")]
    Glommio(glommio::Stream),
    #[cfg(any(test, feature = "sim"))]
    Sim(sim::Stream),
    Layered(Box<layer::Layered>),
    Local(local::Stream),
}

impl Stream {
    /// Puts a layer over the stream: from now on what is written and read goes through it. `room` is that of the core;
    /// `early` was read from the stream already, and is for the layer.
    #[must_use]
    pub fn layered(self, layer: Box<dyn Layer>, room: &LayerRoom, early: Option<Lease>) -> Self {
        Self(StreamKind::Layered(Box::new(layer::Layered::new(self, layer, room, early))))
    }

    /// The stream without its layer: what the layer had not sent yet is lost.
    #[must_use]
    pub fn peeled(self) -> Self {
        match self.0 {
            StreamKind::Layered(layered) => layered.into_below(),
            _ => self,
        }
    }

    /// Waits until the stream carries what is written: at once where it has no layer, else once the layer of the other
    /// side has agreed.
    pub fn poll_established(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            StreamKind::Layered(layered) => layered.poll_established(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The next bytes received, `None` at the end of the peer's bytes.
    pub async fn read(&self) -> io::Result<Option<Lease>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// The next bytes received, `None` at the end of the peer's bytes. One task reads at a time.
    pub fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        each_stream!(&self.0, stream => stream.poll_read(cx))
    }

    /// The address and port of this end. A Unix socket has none, which is an error, and a pair the one it was given.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        each_stream!(&self.0, stream => stream.local_address())
    }

    /// Notices the peer's end from now on, though nobody reads: what a pooled connection needs. False when the stream
    /// is not quiet as it is.
    pub fn watch(&self) -> bool {
        each_stream!(&self.0, stream => stream.watch())
    }

    /// Whether the stream is open and has received nothing that was not read.
    pub fn is_quiet(&self) -> bool {
        each_stream!(&self.0, stream => stream.is_quiet())
    }

    /// Lets `write` append to what is to be sent. Nothing is sent before [`Stream::flush`].
    pub fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        each_stream!(&self.0, stream => stream.with_outbox(write))
    }

    /// Starts to send what was written. Errors show at the next wait.
    pub fn flush(&self) {
        each_stream!(&self.0, stream => stream.flush());
    }

    /// Bytes written and not yet taken by the kernel.
    pub fn unsent(&self) -> usize {
        each_stream!(&self.0, stream => stream.unsent())
    }

    /// Waits until at most `bytes` are unsent, and flushes to get there. Backpressure is made of this.
    pub fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        each_stream!(&self.0, stream => stream.poll_unsent_at_most(cx, bytes))
    }

    /// Waits until the kernel has taken everything.
    pub async fn drained(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_unsent_at_most(cx, 0)).await
    }

    /// Nothing is written from now on: [`Stream::shut_down_write`] is to follow as soon as everything was sent. So what is
    /// sent last, what a layer has to say behind it, and the end may go out as one packet.
    pub fn say_end(&self) {
        match &self.0 {
            StreamKind::Ring(stream) => stream.say_end(),
            StreamKind::Layered(layered) => layered.say_end(),
            #[cfg(feature = "glommio")]
            // It has sent what was flushed.
            StreamKind::Glommio(_) => {}
            #[cfg(any(test, feature = "sim"))]
            StreamKind::Sim(_) => {}
            StreamKind::Local(_) => {}
        }
    }

    /// Tells the peer that no more bytes come. Everything must have been sent.
    pub fn shut_down_write(&self) -> io::Result<()> {
        each_stream!(&self.0, stream => stream.shut_down_write())
    }

    /// Stops receiving, so that the stream can be let go of. True when it can: all that was received was read, all that
    /// was written was sent, and neither has ended; what comes from now on waits in the kernel. The next read goes on
    /// receiving. One task waits for this at a time, and does not read meanwhile. A stream with a layer cannot be let go of.
    pub fn poll_still(&self, cx: &Context<'_>) -> Poll<bool> {
        match &self.0 {
            StreamKind::Ring(stream) => stream.poll_still(cx),
            #[cfg(feature = "glommio")]
            StreamKind::Glommio(stream) => stream.poll_still(cx),
            #[cfg(any(test, feature = "sim"))]
            StreamKind::Sim(stream) => stream.poll_still(cx),
            StreamKind::Layered(_) | StreamKind::Local(_) => Poll::Ready(false),
        }
    }

    /// Lets go of the connection, for another core to take: drop the stream then. [`Stream::poll_still`] must have said
    /// that it can be; otherwise bytes are lost. After an error it is as it was.
    pub fn detach(&self) -> io::Result<Detached> {
        Ok(Detached(match &self.0 {
            StreamKind::Ring(stream) => DetachedKind::Socket(stream.detach()?),
            #[cfg(feature = "glommio")]
            StreamKind::Glommio(stream) => DetachedKind::Socket(stream.detach()?),
            #[cfg(any(test, feature = "sim"))]
            StreamKind::Sim(stream) => DetachedKind::Sim(stream.detach()),
            StreamKind::Layered(_) | StreamKind::Local(_) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "the stream stays with its core"));
            }
        }))
    }

    /// Makes the coming drop say that nothing was done for what the peer sent: it reads
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused). Only one end of a pair can say so; of any other stream it
    /// is a reset.
    pub fn refuse_on_drop(&self) {
        match &self.0 {
            StreamKind::Local(stream) => stream.refuse_on_close(),
            _ => self.reset_on_drop(),
        }
    }

    /// Has `key` added to `ready` whenever the task that waits for something of this end of a pair is woken for it.
    /// Streams of other kinds add nothing.
    pub fn note_in(&self, ready: &Rc<Ready>, key: usize) {
        if let StreamKind::Local(stream) = &self.0 {
            stream.note_in(ready, key);
        }
    }

    /// Has the kernel seal what is written from now on. Nothing may be unsent.
    fn offer(&self, keys: &SendKeys) -> Offered {
        match &self.0 {
            StreamKind::Ring(stream) => stream.offer(keys),
            #[cfg(feature = "glommio")]
            StreamKind::Glommio(stream) => stream.offer(keys),
            #[cfg(any(test, feature = "sim"))]
            StreamKind::Sim(_) => Offered::Refused,
            StreamKind::Layered(_) | StreamKind::Local(_) => Offered::Refused,
        }
    }

    /// Makes the coming drop a reset, so that the peer cannot take what it got for the whole.
    pub fn reset_on_drop(&self) {
        each_stream!(&self.0, stream => stream.reset_on_close());
    }
}
