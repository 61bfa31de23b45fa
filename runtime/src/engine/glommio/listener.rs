//! Accepting: plain calls, as many as there are connections.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::Socket;

use super::poller::Place;
use super::{Glommio, Stream};
use crate::net::Remote;

/// Connections taken in a row before others come to run.
const BURST: u32 = 16;

/// The handle on a listening socket. Dropping it stops accepting.
pub(crate) struct Listener {
    engine: Rc<Glommio>,
    socket: Socket,
    place: Place,
    /// Connections taken in a row.
    burst: Cell<u32>,
    /// Another process listens on the socket, too.
    shared: Cell<bool>,
}

impl Listener {
    pub(crate) fn new(engine: &Rc<Glommio>, socket: OwnedFd, shared: bool) -> io::Result<Self> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        let place = engine.poller.add(&socket)?;
        Ok(Self { engine: engine.clone(), socket, place, burst: Cell::new(0), shared: Cell::new(shared) })
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        crate::net::local_address(&self.socket)
    }

    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, Remote)>> {
        self.poll_accept_socket(cx).map_ok(|(socket, peer)| (Stream::adopt(&self.engine, socket), peer))
    }

    pub(crate) fn poll_accept_socket(&self, cx: &Context<'_>) -> Poll<io::Result<(OwnedFd, Remote)>> {
        // Those that have to go for a new one, and everybody else, must come to run.
        if self.burst.get() == BURST {
            self.burst.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    // A peer that is gone already has no address, and nobody to answer.
                    let Ok(peer) = Remote::known(&peer, &socket) else { continue };
                    self.burst.set(self.burst.get() + 1);
                    return Poll::Ready(Ok((socket.into(), peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.burst.set(0);
                    self.place.wait_to_read(cx);
                    return Poll::Pending;
                }
                // The peer went away in the queue; the others are still there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Another core, which shares the socket, has shut it down: nobody connects any more.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && crate::net::is_unix(&self.socket) => {
                    self.burst.set(0);
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// What it has accepted was given away at once: there is nothing left to give.
    pub(crate) fn let_go(&self) {
        self.shared.set(true);
    }

    pub(crate) fn next_queued(&self) -> Option<(Stream, Remote)> {
        self.shared.set(false);
        crate::net::refuse_new(&self.socket);
        loop {
            let socket = crate::net::accept_queued(&self.socket)?;
            // A peer that is gone already has no address, and nobody to answer.
            if let Ok(peer) = Remote::of(&socket) {
                return Some((Stream::adopt(&self.engine, socket), peer));
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.engine.poller.remove(&self.socket, &self.place);
        // Whoever holds a duplicate of the socket must not go on to queue connections for nobody. A socket that fails to
        // shut down is closed then all the same.
        if !self.shared.get() {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}
