//! A layer over a stream, such as TLS: what a task writes and reads is not what the wire carries.
//!
//! A [`Layer`] is bytes in and bytes out. [`Layered`] feeds it from the stream below and sends what it makes, so that
//! whoever has the [`Stream`] above need not know of it. What is written is turned into bytes of the wire at each flush,
//! straight into the outbox of the stream below; so backpressure counts what is really unsent.
//!
//! A layer of TLS may leave the sealing of what is sent to the kernel. From then on what is written is moved into the outbox
//! below as it is, and what the layer itself has to say goes there as records by themselves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use super::Stream;
use crate::buffer::{Lease, Outbox, Outboxes};
use crate::net::{Offered, SendKeys};

/// Bytes that are waited for before the kernel is to seal: a record of TLS. With less there is nothing to gain.
const WORTH_KERNEL: usize = 1 << 14;
/// Bytes of the header of such a record: its kind, its version and its length.
const HEADER: usize = 5;

/// What becomes of bytes between a task and the wire, on one side of one connection.
pub trait Layer {
    /// What is to be sent before anything has been received.
    fn start(&mut self, send: &mut Vec<u8>) -> io::Result<()>;

    /// Takes bytes of the wire, which it may change in place. What came of them goes into `out`, an error included: what
    /// is in `out.send` then is still sent, to tell the peer why.
    fn receive(&mut self, bytes: Lease, out: &mut Received) -> io::Result<()>;

    /// The wire ended. An error where the peer did not say that it would: then bytes may be missing.
    fn ended(&mut self) -> io::Result<()>;

    /// Whether both sides have agreed, so that [`Layer::send`] may be called.
    fn is_established(&self) -> bool;

    /// Turns all of `plain` into bytes of the wire, and appends them to `send`.
    fn send(&mut self, plain: &Outbox, send: &mut Vec<u8>) -> io::Result<()>;

    /// Appends what tells the peer that nothing more is sent.
    fn finish(&mut self, send: &mut Vec<u8>);

    /// What the kernel can go on sealing with in place of [`Layer::send`], where it is to. All that was sealed until now is
    /// sent. [`Layer::offered`] tells what became of it.
    fn offer(&mut self) -> Option<SendKeys> {
        None
    }

    /// Whether the kernel seals from now on. Then [`Layer::pass`] is called instead of [`Layer::send`], and whatever the layer
    /// gives to be sent is to be records that are not sealed: headers as on the wire, and plaintext.
    fn offered(&mut self, _is_taken: bool) {}

    /// The kernel is about to seal `plain`. An error where it may not: then what is in `send` is sent instead.
    fn pass(&mut self, _plain: &Outbox, _send: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

/// What came of received bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// For the task that reads, in order. A layer appends to it.
    pub plain: VecDeque<Lease>,
    /// For the peer: handshakes, acknowledgements, alerts.
    pub send: Vec<u8>,
    /// The peer said that nothing follows.
    pub ended: bool,
}

/// What the layered streams of one core share: spare memory, and what is known of the kernel.
#[derive(Clone, Default)]
pub struct LayerRoom(Rc<Room>);

#[derive(Default)]
struct Room {
    spare: RefCell<Outboxes>,
    /// The kernel has no TLS: it is not asked again.
    lacks_tls: Cell<bool>,
}

impl fmt::Debug for LayerRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerRoom").finish_non_exhaustive()
    }
}

/// A stream with a layer over it.
pub(super) struct Layered {
    below: Stream,
    room: LayerRoom,
    state: RefCell<State>,
}

struct State {
    layer: Box<dyn Layer>,
    /// What came of what was read from the wire. The task has not read its plaintext yet.
    received: Received,
    /// Written, and not yet turned into bytes of the wire.
    unsent: Option<Box<Outbox>>,
    /// The kernel seals what is sent.
    by_kernel: bool,
    /// Nothing follows.
    ended: bool,
    /// The layer has said that nothing is sent any more.
    said_end: bool,
    failure: Option<Failure>,
    /// The stream below is to tell its peer of the end once everything was sent.
    finishing: bool,
}

/// An error that every later call gets, too.
#[derive(Clone, Debug)]
struct Failure(Arc<io::Error>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<&Failure> for io::Error {
    fn from(failure: &Failure) -> Self {
        match failure.0.raw_os_error() {
            Some(code) => Self::from_raw_os_error(code),
            None => Self::new(failure.0.kind(), failure.clone()),
        }
    }
}

impl Layered {
    pub(super) fn new(below: Stream, layer: Box<dyn Layer>, room: &LayerRoom, early: Option<Lease>) -> Self {
        let received = Received::default();
        let mut state = State {
            layer,
            received,
            unsent: None,
            by_kernel: false,
            ended: false,
            said_end: false,
            failure: None,
            finishing: false,
        };
        let started = below.with_outbox(|outbox| outbox.write(|send| state.layer.start(send)));
        state.failure = started.err().map(Failure::from);
        below.flush();
        let this = Self { below, room: room.clone(), state: RefCell::new(state) };
        if early.is_some() {
            let state = &mut *this.state.borrow_mut();
            if state.failure.is_none() {
                this.take_in(state, Ok(early));
            }
        }
        this
    }

    pub(super) fn into_below(self) -> Stream {
        self.below
    }

    /// Has the layer take what came. False when the stream has nothing more to give for now.
    fn take_in(&self, state: &mut State, read: io::Result<Option<Lease>>) {
        let lease = match read {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                state.ended = true;
                state.failure = state.layer.ended().err().map(Failure::from);
                return;
            }
            Err(error) => {
                state.failure = Some(error.into());
                return;
            }
        };
        let taken = state.layer.receive(lease, &mut state.received);
        if !state.received.send.is_empty() {
            let made = std::mem::take(&mut state.received.send);
            self.say(state.by_kernel, |send| send.extend_from_slice(&made));
            self.below.flush();
        }
        state.ended |= state.received.ended;
        if let Err(error) = taken {
            state.failure = Some(error.into());
        } else if state.unsent.is_some() {
            self.seal(state);
        }
    }

    /// Turns all that was written into bytes of the wire, if the layer can do that yet.
    fn seal(&self, state: &mut State) {
        if state.failure.is_some() || !state.layer.is_established() {
            return;
        }
        let Some(mut outbox) = state.unsent.take() else { return };
        if outbox.len() >= WORTH_KERNEL && !state.by_kernel && self.below.unsent() == 0 {
            self.offer(state);
        }
        let State { layer, failure, by_kernel, .. } = state;
        let sealed = if *by_kernel {
            self.say(true, |send| layer.pass(&outbox, send))
                .map(|()| self.below.with_outbox(|below| below.append(&mut outbox)))
        } else {
            self.say(false, |send| layer.send(&outbox, send))
        };
        *failure = sealed.err().map(Failure::from);
        self.room.0.spare.borrow_mut().give_back(outbox);
        self.below.flush();
    }

    /// Offers the kernel what it can seal with, where the layer has it.
    #[cold]
    fn offer(&self, state: &mut State) {
        let Some(keys) = state.layer.offer() else { return };
        let offered = if self.room.0.lacks_tls.get() { Offered::Unknown } else { self.below.offer(&keys) };
        self.room.0.lacks_tls.set(offered == Offered::Unknown);
        state.by_kernel = offered == Offered::Taken;
        state.layer.offered(state.by_kernel);
    }

    /// Appends what the layer makes to what is sent: bytes of the wire, or records that the kernel seals.
    fn say<R>(&self, by_kernel: bool, make: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if !by_kernel {
            return self.below.with_outbox(|outbox| outbox.write(make));
        }
        let mut records = Vec::new();
        let result = make(&mut records);
        let mut rest = &records[..];
        while let Some((&[kind, _, _, high, low], behind)) = rest.split_first_chunk::<HEADER>() {
            let (plain, next) = behind.split_at(usize::from(u16::from_be_bytes([high, low])).min(behind.len()));
            self.below.with_outbox(|outbox| outbox.push_record(kind, plain));
            rest = next;
        }
        result
    }

    /// Tells the peer of the end below once everything was sent.
    fn finish_below(&self, state: &mut State, cx: &Context<'_>) {
        if state.finishing && self.below.poll_unsent_at_most(cx, 0).is_ready() {
            state.finishing = false;
            // What reads finds out where it is broken.
            let _ = self.below.shut_down_write();
        }
    }

    #[inline(never)] // Streams without a layer need not make room for this.
    pub(super) fn poll_established(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            if let Some(failure) = &state.failure {
                return Poll::Ready(Err(failure.into()));
            }
            if state.layer.is_established() {
                return Poll::Ready(Ok(()));
            }
            if state.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            match self.below.poll_read(cx) {
                Poll::Ready(read) => self.take_in(state, read),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    #[inline(never)]
    pub(super) fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            if let Some(lease) = state.received.plain.pop_front() {
                return Poll::Ready(Ok(Some(lease)));
            }
            if let Some(failure) = &state.failure {
                return Poll::Ready(Err(failure.into()));
            }
            if state.finishing {
                self.finish_below(state, cx);
            }
            if state.ended {
                return Poll::Ready(Ok(None));
            }
            match self.below.poll_read(cx) {
                Poll::Ready(read) => self.take_in(state, read),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether nothing has come for the task. What came for the layer alone, such as a ticket, is dealt with.
    fn is_quiet_after(&self, look: impl Fn(&Stream) -> bool) -> bool {
        let state = &mut *self.state.borrow_mut();
        loop {
            if !state.received.plain.is_empty() || state.ended || state.failure.is_some() {
                return false;
            }
            if look(&self.below) {
                return true;
            }
            match self.below.poll_read(&Context::from_waker(Waker::noop())) {
                Poll::Ready(read) => self.take_in(state, read),
                Poll::Pending => return false,
            }
        }
    }

    pub(super) fn watch(&self) -> bool {
        self.is_quiet_after(Stream::watch)
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet_after(Stream::is_quiet)
    }

    pub(super) fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        let state = &mut *self.state.borrow_mut();
        write(state.unsent.get_or_insert_with(|| self.room.0.spare.borrow_mut().take()))
    }

    #[inline(never)]
    pub(super) fn flush(&self) {
        self.seal(&mut self.state.borrow_mut());
    }

    pub(super) fn unsent(&self) -> usize {
        self.below.unsent() + self.state.borrow().unsent.as_ref().map_or(0, |outbox| outbox.len())
    }

    #[inline(never)]
    pub(super) fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        let state = &mut *self.state.borrow_mut();
        self.seal(state);
        if let Some(failure) = &state.failure {
            return Poll::Ready(Err(failure.into()));
        }
        // What is written before the layer is established waits for that, which is for a reader to bring about.
        let waiting = state.unsent.as_ref().map_or(0, |outbox| outbox.len());
        match bytes.checked_sub(waiting) {
            Some(rest) => self.below.poll_unsent_at_most(cx, rest),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Has the layer say that nothing is sent any more, once.
    fn say_end_with(&self, state: &mut State) {
        if state.failure.is_none() && !std::mem::replace(&mut state.said_end, true) {
            self.seal(state);
            self.say(state.by_kernel, |send| state.layer.finish(send));
            self.below.flush();
        }
    }

    #[inline(never)]
    pub(super) fn say_end(&self) {
        let state = &mut *self.state.borrow_mut();
        self.say_end_with(state);
        // The kernel would keep a record that it seals open for more.
        if !state.by_kernel {
            self.below.say_end();
        }
    }

    pub(super) fn shut_down_write(&self) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        if let Some(failure) = &state.failure {
            return Err(failure.into());
        }
        self.say_end_with(state);
        state.finishing = true;
        self.finish_below(state, &Context::from_waker(Waker::noop()));
        Ok(())
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.below.local_address()
    }

    pub(super) fn reset_on_close(&self) {
        self.below.reset_on_drop();
    }
}

#[cfg(test)]
mod tests;
