//! A listening socket of the simulated network.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::conn::{CLIENT, SERVER};
use super::{Core, Stream};
use crate::engine::ListenSource;
use crate::net::Remote;

/// The handle on a listening socket. Dropping it stops accepting and resets what waits.
pub(crate) struct Listener {
    core: Rc<Core>,
    key: usize,
}

impl Listener {
    pub(crate) fn new(core: &Rc<Core>, source: &ListenSource) -> io::Result<Self> {
        let ListenSource::Address(address) = source else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated machine has no sockets of the real one: listen at an address",
            ));
        };
        let key = core.sim.with_net(|net| net.listen(core.host, *address))?;
        Ok(Self { core: core.clone(), key })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the engines' methods are called alike")]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.core.sim.with_net(|net| net.acceptors[self.key].address))
    }

    pub(crate) fn next_queued(&self) -> Option<(Stream, Remote)> {
        let (id, peer) = self.core.sim.with_net(|net| {
            let id = net.acceptors[self.key].queue.pop_front()?;
            Some((id, Remote::Ip(net.conns[id.slot].ends[CLIENT].address)))
        })?;
        Some((Stream::new(&self.core, id, SERVER), peer))
    }

    pub(crate) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Stream, Remote)>> {
        let waiter = self.core.waiter(cx);
        if let Some(accepted) = self.next_queued() {
            return Poll::Ready(Ok(accepted));
        }
        self.core.sim.with_net(|net| net.acceptors[self.key].waiter = waiter);
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.core.sim.with_net(|net| net.stop_listening(self.key));
    }
}
