//! Accepting: one multishot operation a listener.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, types};
use socket2::SockRef;

use super::conn::Stream;
use super::{Io, Op, Ring, user_data};
use crate::core::tasks::Waiter;
use crate::net;

/// A listening socket in the ring.
pub(super) struct Acceptor {
    socket: OwnedFd,
    generation: u32,
    armed: bool,
    /// It takes what is queued and nothing new.
    stopping: bool,
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
    pub(crate) fn new(engine: &Rc<Ring>, socket: OwnedFd) -> Self {
        let mut io = engine.io.borrow_mut();
        let generation = io.next_generation();
        let slot = io.acceptors.insert(Acceptor {
            socket,
            generation,
            armed: false,
            stopping: false,
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

    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        self.poll_accept_socket(cx).map_ok(|(socket, peer)| (Stream::adopt(&self.engine, socket), peer))
    }

    pub(crate) fn poll_accept_socket(&self, cx: &Context<'_>) -> Poll<io::Result<(OwnedFd, SocketAddr)>> {
        loop {
            let mut io = self.engine.io.borrow_mut();
            let acceptor = &mut io.acceptors[self.slot as usize];
            if let Some(socket) = acceptor.accepted.pop_front() {
                // A peer that is gone already has no address, and nobody to answer.
                let Ok(peer) = net::peer_address(&socket) else { continue };
                return Poll::Ready(Ok((socket, peer)));
            }
            if let Some(error) = acceptor.error.take() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
            }
            acceptor.waiter = self.engine.tasks.waiter(cx);
            if !acceptor.armed {
                io.arm_accept(self.slot);
            }
            return Poll::Pending;
        }
    }

    pub(crate) fn poll_queued(&self, cx: &Context<'_>) -> Poll<Option<(Stream, SocketAddr)>> {
        let mut io = self.engine.io.borrow_mut();
        let acceptor = &mut io.acceptors[self.slot as usize];
        if !acceptor.stopping {
            acceptor.stopping = true;
            net::refuse_new(&acceptor.socket);
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
                None => match net::accept_queued(&acceptor.socket) {
                    Some(socket) => socket,
                    None => return Poll::Ready(None),
                },
            };
            // A peer that is gone already has no address, and nobody to answer.
            let Ok(peer) = net::peer_address(&socket) else { continue };
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
        // From now on the kernel refuses: what it accepted until the cancellation comes through would be dropped. A
        // socket that fails to shut down is closed a turn later all the same.
        let _ = SockRef::from(&acceptor.socket).shutdown(Shutdown::Both);
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
        let acceptor = &mut self.acceptors[slot as usize];
        acceptor.armed = true;
        let entry = opcode::AcceptMulti::new(types::Fd(acceptor.socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data(Op::Accept, slot, acceptor.generation));
        // SAFETY: a multishot accept names no memory, and the slot keeps the socket open until the last completion.
        unsafe { self.driver.push(entry) };
    }

    pub(super) fn accepted(&mut self, slot: u32, generation: u32, result: i32, more: bool) -> Waiter {
        // SAFETY: a non-negative result of an accept is a new descriptor that nobody else owns.
        let socket = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
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
            None => acceptor.error = Some(-result),
        }
        acceptor.waiter.take()
    }
}
