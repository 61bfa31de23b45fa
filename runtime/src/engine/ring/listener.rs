//! Accepting: one multishot operation a listener, or one connection at a time where descriptors are few.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, types};
use socket2::SockRef;

use super::conn::Stream;
use super::{Io, Op, Ring, user_data};
use crate::core::tasks::Waiter;
use crate::net::{self, Remote};

/// A multishot accept takes all that is queued before anybody can look: as many as the completion queue holds. With fewer
/// descriptors left than that, it could take the last.
const BURST: u64 = 4096;

/// A listening socket in the ring.
pub(super) struct Acceptor {
    socket: OwnedFd,
    generation: u32,
    armed: bool,
    /// What is armed accepts until it is cancelled.
    multishot: bool,
    /// It takes what is queued and nothing new.
    stopping: bool,
    /// Another process listens on the socket, too.
    shared: bool,
    /// Another core, which shares the socket, has shut it down: nobody connects any more.
    is_over: bool,
    /// Its handle is gone; the slot goes with the last completion.
    closed: bool,
    accepted: VecDeque<OwnedFd>,
    error: Option<i32>,
    waiter: Waiter,
}

/// The handle on a listening socket. Dropping it stops accepting.
pub(crate) struct Listener {
    engine: Rc<Ring>,
    slot: u32,
}

impl Listener {
    pub(crate) fn new(engine: &Rc<Ring>, socket: OwnedFd, shared: bool) -> Self {
        let mut io = engine.io.borrow_mut();
        let generation = io.next_generation();
        let slot = io.acceptors.insert(Acceptor {
            socket,
            generation,
            armed: false,
            multishot: false,
            stopping: false,
            shared,
            is_over: false,
            closed: false,
            accepted: VecDeque::new(),
            error: None,
            waiter: Waiter::Nobody,
        }) as u32;
        io.arm_accept(slot);
        Self { engine: engine.clone(), slot }
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        net::local_address(&self.engine.io.borrow().acceptors[self.slot as usize].socket)
    }

    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, Remote)>> {
        self.poll_accept_socket(cx).map_ok(|(socket, peer)| (Stream::adopt(&self.engine, socket), peer))
    }

    pub(crate) fn poll_accept_socket(&self, cx: &Context<'_>) -> Poll<io::Result<(OwnedFd, Remote)>> {
        loop {
            let mut io = self.engine.io.borrow_mut();
            let acceptor = &mut io.acceptors[self.slot as usize];
            if let Some(socket) = acceptor.accepted.pop_front() {
                // A peer that is gone already has no address, and nobody to answer.
                let Ok(peer) = Remote::of(&socket) else { continue };
                return Poll::Ready(Ok((socket, peer)));
            }
            if let Some(error) = acceptor.error.take() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            acceptor.waiter = self.engine.tasks.waiter(cx);
            if !acceptor.armed && !acceptor.is_over {
                io.arm_accept(self.slot);
            }
            return Poll::Pending;
        }
    }

    pub(crate) fn poll_queued(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Remote)>> {
        self.poll_last(cx, false)
    }

    pub(crate) fn poll_let_go(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Remote)>> {
        self.poll_last(cx, true)
    }

    /// Ends accepting, with all that waits at the socket. Where that does not go on elsewhere, nobody new gets there.
    fn poll_last(&self, cx: &Context<'_>, goes_on: bool) -> Poll<Option<(Stream, Remote)>> {
        let mut io = self.engine.io.borrow_mut();
        let acceptor = &mut io.acceptors[self.slot as usize];
        if !acceptor.stopping {
            (acceptor.stopping, acceptor.shared) = (true, goes_on);
            if !goes_on {
                net::refuse_new(&acceptor.socket);
            }
            if acceptor.armed {
                let target = user_data(Op::Accept, self.slot, acceptor.generation);
                io.cancel(target);
            }
        }
        loop {
            let acceptor = &mut io.acceptors[self.slot as usize];
            let socket = match acceptor.accepted.pop_front() {
                Some(socket) => socket,
                // Until the cancellation is through, the ring may accept more.
                None if acceptor.armed => {
                    acceptor.waiter = self.engine.tasks.waiter(cx);
                    return Poll::Pending;
                }
                // What waits now may have woken this accept and nobody else, as the kernel wakes one of those who wait. So it
                // is taken even where the socket goes on elsewhere, where nobody would look before the next one comes.
                None => match net::accept_queued(&acceptor.socket) {
                    Some(socket) => socket,
                    None => return Poll::Ready(None),
                },
            };
            // A peer that is gone already has no address, and nobody to answer.
            let Ok(peer) = Remote::of(&socket) else { continue };
            drop(io);
            return Poll::Ready(Some((Stream::adopt(&self.engine, socket), peer)));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut io = self.engine.io.borrow_mut();
        let acceptor = &mut io.acceptors[self.slot as usize];
        acceptor.closed = true;
        if !acceptor.shared {
            // From now on the kernel refuses: what it accepted until the cancellation comes through would be dropped. A
            // socket that fails to shut down is closed a turn later all the same.
            let _ = SockRef::from(&acceptor.socket).shutdown(Shutdown::Both);
        }
        if acceptor.armed {
            let target = user_data(Op::Accept, self.slot, acceptor.generation);
            io.cancel(target);
        } else {
            io.acceptors.remove(self.slot as usize);
        }
    }
}

impl Io {
    fn arm_accept(&mut self, slot: u32) {
        let multishot = self.descriptors_left() >= BURST;
        let acceptor = &mut self.acceptors[slot as usize];
        (acceptor.armed, acceptor.multishot) = (true, multishot);
        let socket = types::Fd(acceptor.socket.as_raw_fd());
        let entry = if multishot {
            opcode::AcceptMulti::new(socket).flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::Accept::new(socket, ptr::null_mut(), ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
        };
        let entry = entry.user_data(user_data(Op::Accept, slot, acceptor.generation));
        // SAFETY: the accept names no memory, and the slot keeps the socket open until the last completion.
        unsafe { self.driver.push(entry) };
    }

    /// Descriptors that the streams may still have.
    pub(super) fn descriptors_left(&self) -> u64 {
        self.descriptors.saturating_sub(self.stats.streams)
    }

    pub(super) fn accepted(&mut self, slot: u32, generation: u32, result: i32, more: bool) -> Waiter {
        // SAFETY: a non-negative result of an accept is a new descriptor that nobody else owns.
        let socket = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let is_near = self.descriptors_left() < BURST;
        let Some(acceptor) = self.acceptors.get_mut(slot as usize) else { return Waiter::Nobody };
        if acceptor.generation != generation {
            return Waiter::Nobody;
        }
        if !more {
            acceptor.armed = false;
        }
        if acceptor.closed {
            if !more {
                self.acceptors.remove(slot as usize);
            }
            return Waiter::Nobody;
        }
        match socket {
            Some(socket) => acceptor.accepted.push_back(socket),
            // The peer went away in the queue; the others are still there.
            None if result == -libc::ECONNABORTED || result == -libc::EAGAIN => {}
            // From now on one at a time.
            None if result == -libc::ECANCELED => {}
            None if result == -libc::EINVAL && net::is_unix(&acceptor.socket) => acceptor.is_over = true,
            None => acceptor.error = Some(-result),
        }
        let waiter = acceptor.waiter.take();
        if more && acceptor.multishot && is_near {
            // Once is enough, though more may come until the cancellation is through.
            acceptor.multishot = false;
            self.cancel(user_data(Op::Accept, slot, generation));
        }
        waiter
    }
}
