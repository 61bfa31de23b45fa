//! Which sockets are ready: one epoll set with all of them, which glommio waits for as for a single socket.
//!
//! Glommio's own streams arm a poll in its ring for every read. Each that completes while the core is at work interrupts
//! it, as glommio sets its rings up without `COOP_TASKRUN`, and on a virtual machine an interrupt from another core costs
//! more than the read (docs/decisions/001-own-ring-driver.md). Here one poll at most is armed, once the core has nothing to
//! do.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use rustix::event::{Timespec, epoll};
use slab::Slab;

use super::wake;

/// Sockets told of by one look; the rest are told of by the next.
const EVENTS: usize = 256;
/// Tasks run before the sockets are looked at again, however many are left to run.
const RUNS_PER_LOOK: u32 = 256;

/// What became of a socket. One task at most waits for either side of it.
#[derive(Default)]
pub(super) struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// The peer has closed its side, or the socket failed: no event will tell of it again.
    ended: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Readiness {
    /// Whether there may be something to read; a socket that is new is to be tried.
    pub(super) fn is_readable(&self) -> bool {
        self.readable.get()
    }

    /// All that was there has been read.
    pub(super) fn drained(&self) {
        self.readable.set(self.ended.get());
    }

    /// Whether the socket has ever taken bytes, or failed to.
    pub(super) fn was_writable(&self) -> bool {
        self.writable.get()
    }

    /// Wakes the task when there is something to read.
    pub(super) fn wait_to_read(&self, cx: &Context<'_>) {
        self.reader.set(Some(cx.waker().clone()));
    }

    /// Wakes the task when there is room again.
    pub(super) fn wait_to_write(&self, cx: &Context<'_>) {
        self.writer.set(Some(cx.waker().clone()));
    }

    fn tell(&self, events: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let failed = events.intersects(Flags::HUP | Flags::ERR);
        if failed || events.intersects(Flags::IN | Flags::RDHUP) {
            self.readable.set(true);
            self.ended.set(self.ended.get() || failed || events.contains(Flags::RDHUP));
            wake(self.reader.take());
        }
        if failed || events.contains(Flags::OUT) {
            self.writable.set(true);
            wake(self.writer.take());
        }
    }
}

/// A socket's place in the set.
pub(super) struct Place {
    key: usize,
    readiness: Rc<Readiness>,
}

impl std::ops::Deref for Place {
    type Target = Readiness;

    fn deref(&self) -> &Readiness {
        &self.readiness
    }
}

/// All sockets of one core.
pub(super) struct Poller {
    epoll: OwnedFd,
    sockets: RefCell<Slab<Rc<Readiness>>>,
    events: RefCell<Vec<epoll::Event>>,
    /// The task that looks, while it waits.
    looker: Cell<Option<Waker>>,
    /// Somebody wants it to look, whether or not anything came.
    wanted: Cell<bool>,
    /// Tasks that have run since it looked.
    runs: Cell<u32>,
    /// What glommio waits with, see [`Poller::poll_wait`].
    waiting: RefCell<Option<TcpStream>>,
    /// A duplicate of the set for the next wait, so that the core always has as many descriptors.
    spare: Cell<Option<OwnedFd>>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let spare = Cell::new(Some(epoll.try_clone()?));
        Ok(Self {
            epoll,
            spare,
            sockets: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS)),
            looker: Cell::default(),
            wanted: Cell::default(),
            runs: Cell::default(),
            waiting: RefCell::default(),
        })
    }

    /// Takes a socket in. Each change of it is told once: whoever waits has tried before.
    pub(super) fn add(&self, socket: &impl AsFd) -> io::Result<Place> {
        let readiness = Rc::new(Readiness::default());
        readiness.readable.set(true);
        let key = self.sockets.borrow_mut().insert(readiness.clone());
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, socket, epoll::EventData::new_u64(key as u64), flags) {
            self.sockets.borrow_mut().remove(key);
            return Err(error.into());
        }
        Ok(Place { key, readiness })
    }

    /// Lets go of a socket, before it is closed: a duplicate of it, here or in another process, would keep it in the set.
    pub(super) fn remove(&self, socket: &impl AsFd, place: &Place) {
        // It is in the set, so this cannot fail.
        let _ = epoll::delete(&self.epoll, socket);
        self.sockets.borrow_mut().remove(place.key);
    }

    /// Tells who waits for what has come. True when something has.
    pub(super) fn look(&self) -> io::Result<bool> {
        self.runs.set(0);
        self.wanted.set(false);
        let mut events = self.events.borrow_mut();
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let sockets = self.sockets.borrow();
        for event in events.iter() {
            let data = event.data;
            if let Some(readiness) = sockets.get(data.u64() as usize) {
                readiness.tell(event.flags);
            }
        }
        Ok(!events.is_empty())
    }

    /// A task has run: from time to time that makes it time to look.
    pub(super) fn ran(&self) {
        self.runs.set(self.runs.get() + 1);
        if self.runs.get() >= RUNS_PER_LOOK {
            self.want_look();
        }
    }

    /// Makes the task that waits look.
    pub(super) fn want_look(&self) {
        self.wanted.set(true);
        wake(self.looker.take());
    }

    /// Ready when something has come or a look is wanted.
    ///
    /// Glommio waits for nothing but streams, hence a stream over a duplicate of the set: the poll that it arms at birth
    /// ends when something has come. The read that follows fails, and is not wanted.
    pub(super) fn poll_wait(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.wanted.get() {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.waiting.borrow_mut();
        let stream = match &mut *waiting {
            Some(stream) => stream,
            none => {
                let duplicate = self.spare.take().map_or_else(|| self.epoll.try_clone(), Ok)?;
                // SAFETY: the descriptor is open and given away here.
                none.insert(unsafe { TcpStream::from_raw_fd(duplicate.into_raw_fd()) })
            }
        };
        if Pin::new(stream).poll_read(&mut Context::from_waker(cx.waker()), &mut []).is_pending() {
            self.looker.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        self.spare.set(Some(self.epoll.try_clone()?));
        *waiting = None;
        Poll::Ready(Ok(()))
    }

    /// Gives back what glommio holds, before its executor ends.
    pub(super) fn end(&self) {
        self.waiting.take();
        self.looker.take();
    }
}
