//! Two streams of one core that are each other's peers. Their bytes never leave the core: what one writes, the other reads
//! under leases, from where it is.
//!
//! Bytes wait where they were written until the reader comes for them, so that small ones gather. Up to the limit of the
//! pair they count as sent, as if a kernel had them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Engine;
use crate::buffer::{Chunks, Lease, Outbox, Outboxes};
use crate::core::Ready;
use crate::core::tasks::Waiter;

/// What a core keeps for its pairs.
#[derive(Default)]
pub(crate) struct Locals {
    outboxes: RefCell<Outboxes>,
    chunks: Rc<Chunks>,
}

/// One end. Dropping it ends the pair: the peer still reads what was flushed.
pub(crate) struct Stream {
    pair: Rc<Pair>,
    side: usize,
}

/// Where a task finds that it was woken for an end, and by which key.
type Note = (Rc<Ready>, usize);

struct Pair {
    engine: Engine,
    limit: usize,
    address: Option<SocketAddr>,
    ways: RefCell<[Way; 2]>,
    /// Where each end's task finds that it was woken for it.
    noted: RefCell<[Option<Note>; 2]>,
}

/// How a writer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Eof,
    Reset,
    /// Nothing was done for what it was sent.
    Refused,
}

/// The bytes that one end writes, up to where the other one reads them.
#[derive(Default)]
struct Way {
    /// Written and not looked at by the reader. What was flushed may be.
    written: Option<Box<Outbox>>,
    is_flushed: bool,
    /// The reader came for these.
    queue: VecDeque<Lease>,
    queued: usize,
    end: Option<End>,
    reader: Waiter,
    /// Who waits for at most so many unsent bytes.
    writer: Waiter,
    wanted: usize,
    /// The reader is gone, and whether bytes were lost with it.
    is_broken: bool,
    is_lost: bool,
    /// What the drop of the writer says.
    drops_as: Option<End>,
}

impl Way {
    fn written(&self) -> usize {
        self.written.as_ref().map_or(0, |outbox| outbox.len())
    }

    fn unsent(&self, limit: usize) -> usize {
        if self.is_flushed {
            (self.queued + self.written()).saturating_sub(limit)
        } else {
            self.written() + self.queued.saturating_sub(limit)
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_flushed
    }

    fn read(&mut self, locals: &Locals) -> Option<Lease> {
        if self.queue.is_empty()
            && self.is_flushed
            && let Some(mut written) = self.written.take()
        {
            self.is_flushed = false;
            self.queued += written.len();
            written.hand_over(&locals.chunks, |lease| self.queue.push_back(lease));
            locals.outboxes.borrow_mut().give_back(written);
        }
        let lease = self.queue.pop_front()?;
        self.queued -= lease.len();
        Some(lease)
    }

    /// The reader is gone.
    fn break_off(&mut self, locals: &Locals) {
        self.is_broken = true;
        self.is_lost |= self.queued + self.written() > 0;
        self.queue = VecDeque::new();
        (self.queued, self.is_flushed) = (0, false);
        self.forget(locals);
    }

    fn forget(&mut self, locals: &Locals) {
        if let Some(written) = self.written.take() {
            locals.outboxes.borrow_mut().give_back(written);
        }
    }
}

/// Two streams between which up to `limit` bytes each way count as sent.
pub(crate) fn pair(engine: &Engine, limit: usize, address: Option<SocketAddr>) -> (Stream, Stream) {
    let pair =
        Rc::new(Pair { engine: engine.clone(), limit, address, ways: RefCell::default(), noted: RefCell::default() });
    (Stream { pair: pair.clone(), side: 0 }, Stream { pair, side: 1 })
}

impl Stream {
    /// Acts upon what this end writes.
    fn outgoing<R>(&self, act: impl FnOnce(&mut Way) -> R) -> R {
        let [first, second] = &mut *self.pair.ways.borrow_mut();
        act(if self.side == 0 { first } else { second })
    }

    /// Acts upon what this end reads.
    fn incoming<R>(&self, act: impl FnOnce(&mut Way) -> R) -> R {
        let [first, second] = &mut *self.pair.ways.borrow_mut();
        act(if self.side == 0 { second } else { first })
    }

    fn locals(&self) -> &Locals {
        self.pair.engine.locals()
    }

    pub(crate) fn note_in(&self, ready: &Rc<Ready>, key: usize) {
        if let Some(noted) = self.pair.noted.borrow_mut().get_mut(self.side) {
            match noted {
                // The same list, as a rule.
                Some((list, known)) if Rc::ptr_eq(list, ready) => *known = key,
                _ => *noted = Some((ready.clone(), key)),
            }
        }
    }

    /// Wakes who waits at the other end.
    fn wake_peer(&self, waiter: Waiter) {
        if matches!(waiter, Waiter::Nobody) {
            return;
        }
        if let Some(Some((ready, key))) = self.pair.noted.borrow().get(1 - self.side) {
            ready.add(*key);
        }
        self.pair.engine.wake(waiter);
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.pair.address.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    #[inline(never)] // The callers of the other engines need not save registers for this.
    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let (read, writer) = self.incoming(|way| {
            if let Some(lease) = way.read(self.locals()) {
                let has_room = way.unsent(self.pair.limit) <= way.wanted;
                let writer = if has_room { way.writer.take() } else { Waiter::Nobody };
                return (Poll::Ready(Ok(Some(lease))), writer);
            }
            let read = match way.end {
                Some(End::Eof) => Poll::Ready(Ok(None)),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Some(End::Refused) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                None => {
                    way.reader = self.pair.engine.waiter(cx);
                    Poll::Pending
                }
            };
            (read, Waiter::Nobody)
        });
        self.wake_peer(writer);
        read
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.incoming(|way| way.is_empty() && way.end.is_none()) && self.outgoing(|way| !way.is_broken)
    }

    /// The peer's end shows without a reader.
    pub(crate) fn watch(&self) -> bool {
        self.incoming(|way| way.reader = Waiter::Nobody);
        self.is_quiet()
    }

    pub(crate) fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        let locals = self.locals();
        self.outgoing(|way| write(way.written.get_or_insert_with(|| locals.outboxes.borrow_mut().take())))
    }

    pub(crate) fn unsent(&self) -> usize {
        let limit = self.pair.limit;
        self.outgoing(|way| way.unsent(limit))
    }

    pub(crate) fn flush(&self) {
        let reader = self.outgoing(|way| {
            if way.written() == 0 {
                return Waiter::Nobody;
            }
            if way.is_broken {
                way.is_lost = true;
                way.forget(self.locals());
                return Waiter::Nobody;
            }
            way.is_flushed = true;
            way.reader.take()
        });
        self.wake_peer(reader);
    }

    pub(crate) fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        if self.unsent() > bytes {
            self.flush();
        }
        let limit = self.pair.limit;
        self.outgoing(|way| {
            if way.is_lost {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if way.unsent(limit) <= bytes {
                return Poll::Ready(Ok(()));
            }
            (way.writer, way.wanted) = (self.pair.engine.waiter(cx), bytes);
            Poll::Pending
        })
    }

    pub(crate) fn shut_down_write(&self) -> io::Result<()> {
        self.flush();
        self.end(End::Eof);
        if self.outgoing(|way| way.is_lost) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// The peer learns that no more bytes come.
    fn end(&self, how: End) {
        let reader = self.outgoing(|way| {
            way.end.get_or_insert(how);
            way.reader.take()
        });
        self.wake_peer(reader);
    }

    pub(crate) fn reset_on_close(&self) {
        self.outgoing(|way| way.drops_as = Some(End::Reset));
    }

    pub(crate) fn refuse_on_close(&self) {
        self.outgoing(|way| way.drops_as = Some(End::Refused));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let locals = self.locals();
        let drops_as = self.outgoing(|way| {
            if !way.is_flushed {
                way.forget(locals);
            }
            if way.drops_as.is_some() {
                // Also where it said before that no more comes: the peer must not take what it has for the whole.
                way.end = None;
            }
            way.writer = Waiter::Nobody;
            way.drops_as
        });
        let writer = self.incoming(|way| {
            way.break_off(locals);
            way.reader = Waiter::Nobody;
            way.writer.take()
        });
        self.wake_peer(writer);
        self.end(drops_as.unwrap_or(End::Eof));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for way in self.ways.get_mut() {
            way.forget(self.engine.locals());
        }
    }
}
