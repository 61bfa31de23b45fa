//! A stream over glommio: reads go straight into a lease, writes straight from the outbox.
//!
//! Sending is tried at once; only where the kernel takes no more is a task spawned that waits for room, so that a
//! flush never needs its owner to poll.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use socket2::SockRef;

use super::{Glommio, wake};
use crate::buffer::{Lease, Outbox};
use crate::net;

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
    state: RefCell<State>,
}

struct State {
    socket: TcpStream,
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
        // SAFETY: the descriptor is open and given away here.
        Self::new(engine, unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) })
    }

    fn new(engine: &Rc<Glommio>, socket: TcpStream) -> Self {
        engine.count(|stats| stats.streams += 1);
        Self(Rc::new(Shared {
            engine: engine.clone(),
            state: RefCell::new(State {
                socket,
                burst: 0,
                end: None,
                unsent: None,
                send_error: None,
                sending: false,
                sender: None,
                writer: None,
            }),
        }))
    }

    pub(crate) async fn connect(engine: &Rc<Glommio>, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self::new(engine, socket))
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
        let pool = &self.0.engine.pool;
        // A lease that takes one of the last buffers moves to the heap, so one is always free.
        let Some(id) = pool.take_free() else {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ENOBUFS)));
        };
        // SAFETY: buffer `id` is ours alone until it is leased or given back, and its pages are zeroed at first.
        // Glommio receives into it within the call and keeps no reference.
        let buffer = unsafe { std::slice::from_raw_parts_mut(pool.address(id), pool.buffer_size()) };
        let result = Pin::new(&mut state.socket).poll_read(&mut Context::from_waker(cx.waker()), buffer);
        if let Poll::Ready(Ok(count @ 1..)) = result {
            state.burst += 1;
            return Poll::Ready(Ok(Some(pool.lease(id, count))));
        }
        pool.give_back(id);
        state.burst = 0;
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => {
                state.end = Some(End::Eof);
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) => {
                state.end = Some(End::Error(raw(&error)));
                Poll::Ready(Err(error))
            }
        }
    }

    /// Whether the stream is open and nothing has come that was not asked for. A look at the socket tells, so that
    /// nothing needs to be received ahead.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.0.state.borrow();
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(&state.descriptor()).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        state.end.is_none()
            && state.send_error.is_none()
            && peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Nothing to start: `is_quiet` looks for itself.
    pub(crate) fn watch(&self) -> bool {
        self.is_quiet()
    }

    /// Glommio receives only when asked, and only polls ahead: nothing has to be waited for.
    pub(crate) fn poll_still(&self, _: &Context<'_>) -> Poll<bool> {
        Poll::Ready(self.unsent() == 0 && self.is_quiet())
    }

    pub(crate) fn detach(&self) -> io::Result<OwnedFd> {
        self.0.state.borrow().descriptor().try_clone_to_owned()
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
        if state.sending || state.send(&self.0.engine, &mut Context::from_waker(Waker::noop())).is_ready() {
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
        net::shut_down_write(&self.0.state.borrow().descriptor())
    }

    pub(crate) fn reset_on_close(&self) {
        net::reset_on_close(&self.0.state.borrow().descriptor());
    }
}

impl Shared {
    /// Sends more when there is room again. Ready when nothing is left to send.
    fn go_on(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let done = state.send(&self.engine, cx);
        state.sending = done.is_pending();
        state.sender = done.is_pending().then(|| cx.waker().clone());
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        done
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.engine.count(|stats| stats.streams -= 1);
        let state = self.state.get_mut();
        if let Some(outbox) = state.unsent.take() {
            self.engine.outboxes.borrow_mut().give_back(outbox);
        }
        // It finds the stream gone, and ends.
        wake(state.sender.take());
    }
}

impl State {
    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as this state, from which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }

    fn unsent(&self) -> usize {
        self.unsent.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// Sends what the kernel takes. Ready when nothing is left to send, be it for an error.
    fn send(&mut self, engine: &Glommio, cx: &mut Context<'_>) -> Poll<()> {
        if self.send_error.is_some() {
            return Poll::Ready(());
        }
        let Some(mut outbox) = self.unsent.take() else { return Poll::Ready(()) };
        while !outbox.is_empty() {
            match self.send_some(&outbox, cx) {
                Poll::Ready(Ok(count)) => outbox.consume(count),
                Poll::Ready(Err(error)) => {
                    self.send_error = Some(raw(&error));
                    break;
                }
                Poll::Pending => {
                    self.unsent = Some(outbox);
                    return Poll::Pending;
                }
            }
        }
        engine.outboxes.borrow_mut().give_back(outbox);
        Poll::Ready(())
    }

    fn send_some(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(bytes) = outbox.contiguous() {
            return Pin::new(&mut self.socket).poll_write(cx, bytes);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        outbox.slices(|slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
            count < SLICES
        });
        // Glommio sends one slice a call; it is asked only to wait.
        match SockRef::from(&self.descriptor())
            .send_vectored_with_flags(&slices[..count], libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Pin::new(&mut self.socket).poll_write(cx, &slices[0])
            }
            result => Poll::Ready(result),
        }
    }
}
