//! Accepting: plain calls, and glommio to wait for the next one.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use socket2::Socket;

use super::{Glommio, Stream};

/// The handle on a listening socket. Dropping it stops accepting.
///
/// Glommio's own accept loses the descriptor of a connection that arrives while it is cancelled, so it only waits
/// here. It waits for nothing but streams, hence a stream over a duplicate of the socket: the poll that it arms at
/// birth ends when a connection is there. The read that follows fails, and is not wanted.
pub(crate) struct Listener {
    engine: Rc<Glommio>,
    socket: Socket,
    waiting: RefCell<Option<TcpStream>>,
    /// Another process listens on the socket, too.
    shared: Cell<bool>,
}

impl Listener {
    pub(crate) fn new(engine: &Rc<Glommio>, socket: OwnedFd, shared: bool) -> io::Result<Self> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { engine: engine.clone(), socket, waiting: RefCell::new(None), shared: Cell::new(shared) })
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        crate::net::local_address(&self.socket)
    }

    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        self.poll_accept_socket(cx).map_ok(|(socket, peer)| (Stream::adopt(&self.engine, socket), peer))
    }

    pub(crate) fn poll_accept_socket(&self, cx: &Context<'_>) -> Poll<io::Result<(OwnedFd, SocketAddr)>> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    // A peer that is gone already has no address, and nobody to answer.
                    let Some(peer) = peer.as_socket() else { continue };
                    return Poll::Ready(Ok((socket.into(), peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer went away in the queue; the others are still there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let stream = match &mut *waiting {
                Some(stream) => stream,
                none => none.insert(readiness(&self.socket)?),
            };
            if Pin::new(stream).poll_read(&mut Context::from_waker(cx.waker()), &mut []).is_pending() {
                return Poll::Pending;
            }
            *waiting = None;
        }
    }

    /// What it has accepted was given away at once: there is nothing left to give.
    pub(crate) fn let_go(&self) {
        self.shared.set(true);
    }

    pub(crate) fn next_queued(&self) -> Option<(Stream, SocketAddr)> {
        self.shared.set(false);
        crate::net::refuse_new(&self.socket);
        loop {
            let socket = crate::net::accept_queued(&self.socket)?;
            // A peer that is gone already has no address, and nobody to answer.
            if let Ok(peer) = crate::net::peer_address(&socket) {
                return Some((Stream::adopt(&self.engine, socket), peer));
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The poll holds a duplicate of the socket, which would go on to queue connections until glommio lets go of it.
        // A socket that fails to shut down is closed then all the same.
        if !self.shared.get() {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

fn readiness(socket: &Socket) -> io::Result<TcpStream> {
    let duplicate = socket.try_clone()?;
    // SAFETY: the descriptor is open and given away here.
    Ok(unsafe { TcpStream::from_raw_fd(duplicate.into_raw_fd()) })
}
