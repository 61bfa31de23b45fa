//! A stream of the simulated network.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Core;
use super::conn::{CLIENT, ConnId, End, Phase, ReadEnd};
use crate::buffer::{Lease, Outbox};
use crate::core::tasks::Waiter;
use crate::net::Address;

/// The handle on one end of a connection. Dropping it abandons the connection.
pub(crate) struct Stream {
    core: Rc<Core>,
    id: ConnId,
    side: usize,
    reset: Cell<bool>,
    /// The connection is on its way to another core.
    detached: Cell<bool>,
}

/// A connection on its way from one core to another. It may go by way of anything that takes what is `Send`, so it
/// holds no handle on the world, which looks for those that were dropped.
#[derive(Debug)]
pub(crate) struct Transit {
    id: ConnId,
    side: usize,
    _carried: Arc<()>,
}

fn raw(error: i32) -> io::Error {
    io::Error::from_raw_os_error(error)
}

impl Stream {
    pub(super) fn new(core: &Rc<Core>, id: ConnId, side: usize) -> Self {
        core.streams.set(core.streams.get() + 1);
        Self { core: core.clone(), id, side, reset: Cell::new(false), detached: Cell::new(false) }
    }

    /// `None` when the connection is of another world, or of another machine.
    pub(crate) fn adopt(core: &Rc<Core>, transit: &Transit) -> Option<Self> {
        core.sim
            .with_net(|net| net.arrived(transit.id, transit.side, core.host))
            .then(|| Self::new(core, transit.id, transit.side))
    }

    /// The network delivers whether or not somebody reads, and keeps it for whoever reads next.
    pub(crate) fn poll_still(&self, _: &Context<'_>) -> Poll<bool> {
        Poll::Ready(self.unsent() == 0 && self.is_quiet())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the engines' methods are called alike")]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.with_end(|end| end.address))
    }

    pub(crate) fn detach(&self) -> Transit {
        let carried = Arc::new(());
        self.detached.set(true);
        self.core.sim.with_net(|net| net.depart(self.id, self.side, Arc::downgrade(&carried)));
        Transit { id: self.id, side: self.side, _carried: carried }
    }

    pub(crate) async fn connect(core: &Rc<Core>, address: &Address) -> io::Result<Self> {
        let Some(address) = address.socket_addr() else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated machine has no Unix sockets"));
        };
        let id = core.sim.with_net(|net| net.connect(core.host, address));
        let this = Self::new(core, id, CLIENT);
        poll_fn(|cx| {
            this.with_end(|end| match end.phase {
                Phase::Failed(error) => Poll::Ready(Err(raw(error))),
                Phase::Connecting => {
                    end.writer = core.waiter(cx);
                    Poll::Pending
                }
                Phase::Open | Phase::Closed => Poll::Ready(Ok(())),
            })
        })
        .await?;
        Ok(this)
    }

    fn with_end<R>(&self, act: impl FnOnce(&mut End) -> R) -> R {
        self.core.sim.with_net(|net| act(&mut net.conns[self.id.slot].ends[self.side]))
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let pool = &self.core.pool;
        let lease = self.core.sim.with_net(|net| {
            let end = &net.conns[self.id.slot].ends[self.side];
            if end.inbox.is_empty() {
                match end.ended {
                    Some(ReadEnd::Eof) => return Poll::Ready(Ok(None)),
                    Some(ReadEnd::Error(error)) => return Poll::Ready(Err(raw(error))),
                    None => {}
                }
            }
            let Some(count) = net.readable(self.id, self.side, pool.buffer_size()) else { return Poll::Pending };
            let buffer = pool.take_free();
            if net.starves(self.id, self.side, buffer.is_some()) {
                buffer.inspect(|&id| pool.give_back(id));
                self.core.starved.set(self.core.starved.get() + 1);
                return Poll::Pending;
            }
            let Some(id) = buffer else { return Poll::Pending };
            // SAFETY: buffer `id` is ours alone until it is leased, `count` bytes fit, and its pages are zeroed at first.
            let bytes = unsafe { std::slice::from_raw_parts_mut(pool.address(id), count) };
            net.read(self.id, self.side, bytes);
            Poll::Ready(Ok(Some((id, count))))
        });
        if lease.is_pending() {
            let waiter = self.core.waiter(cx);
            self.with_end(|end| end.reader = waiter);
        }
        lease.map_ok(|filled| filled.map(|(id, count)| pool.lease(id, count)))
    }

    /// Whether the stream is open and nothing has come that was not asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.with_end(|end| end.inbox.is_empty() && end.ended.is_none() && end.send_error.is_none())
    }

    /// The network delivers whether or not somebody reads.
    pub(crate) fn watch(&self) -> bool {
        self.with_end(|end| end.reader = Waiter::Nobody);
        self.is_quiet()
    }

    pub(crate) fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        self.core.sim.with_net(|net| {
            let end = &mut net.conns[self.id.slot].ends[self.side];
            write(end.outbox.get_or_insert_with(|| net.outboxes.take()))
        })
    }

    pub(crate) fn unsent(&self) -> usize {
        self.with_end(|end| end.unsent())
    }

    pub(crate) fn flush(&self) {
        self.core.sim.with_net(|net| net.flush(self.id, self.side));
    }

    pub(crate) fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        if self.unsent() > bytes {
            self.flush();
        }
        let waiter = self.core.waiter(cx);
        self.with_end(|end| match end.send_error {
            Some(error) => Poll::Ready(Err(raw(error))),
            None if end.unsent() <= bytes => Poll::Ready(Ok(())),
            None => {
                end.writer = waiter;
                Poll::Pending
            }
        })
    }

    pub(crate) fn shut_down_write(&self) -> io::Result<()> {
        self.core.sim.with_net(|net| net.finish(self.id, self.side))
    }

    pub(crate) fn reset_on_close(&self) {
        self.reset.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.core.streams.set(self.core.streams.get() - 1);
        if !self.detached.get() {
            self.core.sim.with_net(|net| net.close(self.id, self.side, self.reset.get()));
        }
    }
}
