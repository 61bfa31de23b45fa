//! A stream on a glommio core: reads go straight into a lease, writes straight from the outbox.
//!
//! Sending is tried at once; only where the kernel takes no more is a task spawned that waits for room, so that a
//! flush never needs its owner to poll.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use socket2::{MsgHdr, Socket};

use super::poller::Place;
use super::{Glommio, wake};
use crate::buffer::{Lease, Outbox};
use crate::net::{self, Address, Offered, SendKeys};

/// Slices in one vectored send.
const SLICES: usize = 16;
/// Reads that find bytes at once before the reader lets other tasks run.
const BURST: u8 = 16;

/// How receiving ended.
#[derive(Clone, Copy)]
enum End {
    Eof,
    Error(i32),
}

struct Shared {
    engine: Rc<Glommio>,
    socket: Socket,
    /// Absent where the kernel had no room for one more: such a stream has failed from the start.
    place: Option<Place>,
    state: RefCell<State>,
}

struct State {
    burst: u8,
    end: Option<End>,
    /// Written and not yet taken by the kernel.
    unsent: Option<Box<Outbox>>,
    send_error: Option<i32>,
    /// A task waits for room and sends the rest; its waker is there from its first poll on.
    sending: bool,
    sender: Option<Waker>,
    /// Who waits for fewer unsent bytes.
    writer: Option<Waker>,
}

/// The handle on a stream. Dropping it abandons the connection.
pub(crate) struct Stream(Rc<Shared>);

fn raw(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Stream {
    /// Takes a connected socket in.
    pub(crate) fn adopt(engine: &Rc<Glommio>, socket: OwnedFd) -> Self {
        let socket = Socket::from(socket);
        let (place, error) = match engine.poller.add(&socket) {
            Ok(place) => (Some(place), None),
            Err(error) => (None, Some(raw(&error))),
        };
        engine.count(|stats| stats.streams += 1);
        Self(Rc::new(Shared {
            engine: engine.clone(),
            socket,
            place,
            state: RefCell::new(State {
                burst: 0,
                end: error.map(End::Error),
                unsent: None,
                send_error: error,
                sending: false,
                sender: None,
                writer: None,
            }),
        }))
    }

    pub(crate) async fn connect(engine: &Rc<Glommio>, address: &Address) -> io::Result<Self> {
        let socket = Socket::from(net::stream_socket(address)?);
        socket.set_nonblocking(true)?;
        match socket.connect(&address.to_sock_addr()?) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let stream = Self::adopt(engine, socket.into());
        poll_fn(|cx| stream.poll_connected(cx)).await?;
        Ok(stream)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        net::local_address(&self.0.socket)
    }

    fn poll_connected(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let shared = &*self.0;
        let place = shared.place()?;
        if !place.was_writable() {
            place.wait_to_write(cx);
            return Poll::Pending;
        }
        Poll::Ready(shared.socket.take_error()?.map_or(Ok(()), Err))
    }

    #[inline(never)] // The ring's callers inline the choice of the engine, and need not save registers for this.
    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let state = &mut *self.0.state.borrow_mut();
        match state.end {
            Some(End::Eof) => return Poll::Ready(Ok(None)),
            Some(End::Error(error)) => return Poll::Ready(Err(io::Error::from_raw_os_error(error))),
            None => {}
        }
        if state.burst == BURST {
            state.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let place = self.0.place()?;
        if !place.is_readable() {
            state.burst = 0;
            place.wait_to_read(cx);
            return Poll::Pending;
        }
        let pool = &self.0.engine.pool;
        // A lease that takes one of the last buffers moves to the heap, so one is always free.
        let Some(id) = pool.take_free() else {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ENOBUFS)));
        };
        let size = pool.buffer_size();
        // SAFETY: buffer `id` is ours alone until it is leased or given back. The call receives into it and keeps no
        // reference.
        let buffer = unsafe { std::slice::from_raw_parts_mut(pool.address(id).cast::<MaybeUninit<u8>>(), size) };
        let result = self.0.socket.recv_with_flags(buffer, libc::MSG_DONTWAIT);
        if let Ok(count @ 1..) = result {
            state.burst += 1;
            // Had there been more, it would have come along: what comes later is told.
            if count < size {
                place.drained();
            }
            return Poll::Ready(Ok(Some(pool.lease(id, count))));
        }
        pool.give_back(id);
        state.burst = 0;
        match result {
            Ok(_) => {
                state.end = Some(End::Eof);
                Poll::Ready(Ok(None))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                place.drained();
                place.wait_to_read(cx);
                Poll::Pending
            }
            Err(error) => {
                state.end = Some(End::Error(raw(&error)));
                Poll::Ready(Err(error))
            }
        }
    }

    /// Whether the stream is open and nothing has come that was not asked for, as far as the last look at the sockets
    /// told. Nothing needs to be received ahead: where something may have come, a look at the socket tells.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.0.state.borrow();
        state.end.is_none() && state.send_error.is_none() && self.0.place().is_ok_and(|place| self.0.is_empty(place))
    }

    /// Nothing to start: `is_quiet` looks for itself.
    pub(crate) fn watch(&self) -> bool {
        self.is_quiet()
    }

    /// Nothing is received but when asked: nothing has to be waited for.
    pub(crate) fn poll_still(&self, _: &Context<'_>) -> Poll<bool> {
        Poll::Ready(self.unsent() == 0 && self.is_quiet())
    }

    pub(crate) fn detach(&self) -> io::Result<OwnedFd> {
        self.0.socket.as_fd().try_clone_to_owned()
    }

    pub(crate) fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        let mut state = self.0.state.borrow_mut();
        write(state.unsent.get_or_insert_with(|| self.0.engine.outboxes.borrow_mut().take()))
    }

    pub(crate) fn unsent(&self) -> usize {
        self.0.state.borrow().unsent()
    }

    pub(crate) fn flush(&self) {
        let mut state = self.0.state.borrow_mut();
        if state.sending || state.send(&self.0, &Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        state.sending = true;
        drop(state);
        let shared = Rc::downgrade(&self.0);
        self.0.engine.spawn(Box::pin(poll_fn(move |cx| match shared.upgrade() {
            Some(shared) => shared.go_on(cx),
            None => Poll::Ready(()),
        })));
    }

    pub(crate) fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        if self.unsent() > bytes {
            self.flush();
        }
        let mut state = self.0.state.borrow_mut();
        if let Some(error) = state.send_error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        if state.unsent() <= bytes {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn shut_down_write(&self) -> io::Result<()> {
        net::shut_down_write(&self.0.socket)
    }

    /// Has the kernel seal what is written from now on. Nothing may be unsent.
    pub(crate) fn offer(&self, keys: &SendKeys) -> Offered {
        net::offer(&self.0.socket, keys)
    }

    pub(crate) fn reset_on_close(&self) {
        net::reset_on_close(&self.0.socket);
    }
}

impl Shared {
    fn place(&self) -> io::Result<&Place> {
        // The stream's own error comes first; this one says no more.
        self.place.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether nothing is there to read.
    fn is_empty(&self, place: &Place) -> bool {
        if !place.is_readable() {
            return true;
        }
        let mut byte = [MaybeUninit::uninit()];
        let peeked = self.socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        let is_empty = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if is_empty {
            place.drained();
        }
        is_empty
    }

    /// Sends more when there is room again. Ready when nothing is left to send.
    fn go_on(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let done = state.send(self, cx);
        state.sending = done.is_pending();
        state.sender = done.is_pending().then(|| cx.waker().clone());
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        done
    }

    fn send_some(&self, outbox: &Outbox) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        if let Some(bytes) = outbox.contiguous() {
            return self.socket.send_with_flags(bytes, flags);
        }
        if let Some((kind, plain)) = outbox.first_record() {
            return self.send_record(kind, plain, flags);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        outbox.slices(|slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
            count < SLICES
        });
        self.socket.send_vectored_with_flags(&slices[..count], flags)
    }

    /// Sends what the kernel seals as one record of this kind. With room for it the kernel keeps nothing back of this record
    /// and of those before, which would be lost where the connection is shut down behind it.
    fn send_record(&self, kind: u8, plain: &[u8], flags: i32) -> io::Result<usize> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut asked = [PollFd::new(&self.socket, PollFlags::OUT)];
        if retry_on_intr(|| poll(&mut asked, Some(&at_once)))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (slices, control) = ([IoSlice::new(plain)], net::control(kind));
        self.socket.sendmsg(&MsgHdr::new().with_buffers(&slices).with_control(&control), flags)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.engine.count(|stats| stats.streams -= 1);
        if let Some(place) = &self.place {
            self.engine.poller.remove(&self.socket, place);
        }
        let state = self.state.get_mut();
        if let Some(outbox) = state.unsent.take() {
            self.engine.outboxes.borrow_mut().give_back(outbox);
        }
        // It finds the stream gone, and ends.
        wake(state.sender.take());
    }
}

impl State {
    fn unsent(&self) -> usize {
        self.unsent.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// Sends what the kernel takes. Ready when nothing is left to send, be it for an error.
    fn send(&mut self, shared: &Shared, cx: &Context<'_>) -> Poll<()> {
        if self.send_error.is_some() {
            return Poll::Ready(());
        }
        let Some(mut outbox) = self.unsent.take() else { return Poll::Ready(()) };
        while !outbox.is_empty() {
            match shared.send_some(&outbox) {
                Ok(count) => outbox.consume(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = Some(outbox);
                    if let Some(place) = &shared.place {
                        place.wait_to_write(cx);
                    }
                    return Poll::Pending;
                }
                Err(error) => {
                    self.send_error = Some(raw(&error));
                    break;
                }
            }
        }
        shared.engine.outboxes.borrow_mut().give_back(outbox);
        Poll::Ready(())
    }
}
