//! The port of a core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use slab::Slab;

use super::doorbell::Doorbell;
use super::links::{Links, PortStats};
use super::spsc::SendError;
use super::{Peer, Seat};
use crate::core::tasks::Waiter;
use crate::engine::Engine;

/// Messages one task may receive before the others have their turn.
const RUN: u32 = 256;

/// A core's port into the mesh: a handle that is passed down. One task receives; any may send. With the last handle
/// the port ends, and its peers are told at their next message.
pub struct Port<S, R = S>(Rc<Inner<S, R>>);

impl<S, R> Clone for Port<S, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<S, R> {
    engine: Engine,
    links: RefCell<Links<S, R>>,
    /// Who waits for a message.
    receiver: RefCell<Waiter>,
    /// Messages received since the receiver last waited.
    taken: Cell<u32>,
    /// Who waits for room in some ring, an entry for each future that has waited.
    senders: RefCell<Slab<Waiter>>,
}

/// What an engine asks of the ports on its core.
pub(crate) trait Inbox {
    /// Whether somebody left word. The core must not sleep then.
    fn has_mail(&self) -> bool;

    /// Takes the word that was left and makes those ready who wait for it. Called at the start of each turn.
    fn deliver(&self);

    /// Tells the peers of what was sent, with `ring` for those that sleep. Called at the end of each turn.
    fn tell(&self, ring: &mut dyn FnMut(&Arc<Doorbell>));
}

impl<S: Send + 'static, R: Send + 'static> Seat<S, R> {
    /// Takes the seat on the calling thread's core.
    pub fn attach(self, engine: &Engine) -> io::Result<Port<S, R>> {
        let inner = Rc::new(Inner {
            engine: engine.clone(),
            links: RefCell::new(self.links),
            receiver: RefCell::default(),
            taken: Cell::new(0),
            senders: RefCell::default(),
        });
        let inbox: Rc<dyn Inbox> = inner.clone();
        let doorbell = engine.attach(Rc::downgrade(&inbox))?;
        inner.links.borrow().set_doorbell(doorbell);
        Ok(Port(inner))
    }
}

impl<S: Send + 'static, R: Send + 'static> Port<S, R> {
    /// Whose port this is.
    pub fn own(&self) -> Peer {
        self.0.links.borrow().own()
    }

    /// The number of cores in the mesh.
    pub fn cores(&self) -> u16 {
        self.0.links.borrow().cores()
    }

    /// Messages that a ring to `peer` holds at most.
    pub fn capacity(&self, peer: Peer) -> usize {
        self.0.links.borrow().capacity(peer)
    }

    /// Whether `peer` has ended.
    pub fn is_ended(&self, peer: Peer) -> bool {
        self.0.links.borrow().is_ended(peer)
    }

    /// Sends a message, or gives it back. Messages to one peer arrive in order. One to a peer that ends meanwhile is
    /// lost; so is what it has not received by then.
    pub fn send(&self, to: Peer, message: S) -> Result<(), SendError<S>> {
        let result = self.0.links.borrow_mut().send(to, message);
        if result.is_ok() {
            self.0.sent();
        }
        result
    }

    /// Sends a message, or drops and counts it. Whether it was sent.
    pub fn send_or_drop(&self, to: Peer, message: S) -> bool {
        let sent = self.send(to, message).is_ok();
        if !sent {
            self.0.links.borrow_mut().stats.dropped += 1;
        }
        sent
    }

    /// Sends a message, and waits for room as long as there is none. Gives it back when the peer has ended. Messages of
    /// tasks that wait for the same room arrive in any order.
    pub async fn send_when_room(&self, to: Peer, message: S) -> Result<(), SendError<S>> {
        let mut waiting = Some(message);
        let place = Place { senders: &self.0.senders, key: Cell::new(None) };
        poll_fn(|cx| {
            while let Some(message) = waiting.take() {
                match self.send(to, message) {
                    Err(SendError::Full(message)) => waiting = Some(message),
                    done => return Poll::Ready(done),
                }
                if !self.0.links.borrow_mut().want_room(to) {
                    place.wait(self.0.engine.waiter(cx));
                    return Poll::Pending;
                }
            }
            // Polled again after it was done, which no async block does.
            Poll::Pending
        })
        .await
    }

    /// The next message and its sender. Peers with messages take turns, and each peer's come in order.
    pub async fn receive(&self) -> (Peer, R) {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// As [`Port::receive`]. One task receives at a time.
    pub fn poll_receive(&self, cx: &Context<'_>) -> Poll<(Peer, R)> {
        let inner = &*self.0;
        if inner.taken.get() == RUN {
            inner.taken.set(0);
            inner.engine.wake(inner.engine.waiter(cx));
            return Poll::Pending;
        }
        let received = inner.links.borrow_mut().receive();
        // A peer may have to hear of the room that there is now.
        inner.sent();
        if let Some(received) = received {
            inner.taken.set(inner.taken.get() + 1);
            return Poll::Ready(received);
        }
        inner.taken.set(0);
        *inner.receiver.borrow_mut() = inner.engine.waiter(cx);
        Poll::Pending
    }

    /// What the port counted so far.
    pub fn stats(&self) -> PortStats {
        self.0.links.borrow().stats
    }

    /// Futures that wait for room.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.senders.borrow().len()
    }
}

impl<S, R> Inner<S, R> {
    /// Tells the peers at once where the engine does not call at the end of its turns.
    fn sent(&self) {
        if !self.engine.has_turns() {
            self.links.borrow_mut().tell(|doorbell| doorbell.ring());
        }
    }
}

impl<S, R> Inbox for Inner<S, R> {
    fn has_mail(&self) -> bool {
        self.links.borrow().has_mail()
    }

    fn deliver(&self) {
        if !self.links.borrow_mut().take_mail() {
            return;
        }
        let waiter = self.receiver.borrow_mut().take();
        self.engine.wake(waiter);
        for (_, waiter) in self.senders.borrow_mut().iter_mut() {
            self.engine.wake(waiter.take());
        }
    }

    fn tell(&self, ring: &mut dyn FnMut(&Arc<Doorbell>)) {
        let mut links = self.links.borrow_mut();
        if links.has_untold() {
            links.tell(ring);
        }
    }
}

/// Where a future waits for room; gone with the future.
struct Place<'a> {
    senders: &'a RefCell<Slab<Waiter>>,
    key: Cell<Option<usize>>,
}

impl Place<'_> {
    fn wait(&self, waiter: Waiter) {
        let mut senders = self.senders.borrow_mut();
        match self.key.get().and_then(|key| senders.get_mut(key)) {
            Some(place) => *place = waiter,
            None => self.key.set(Some(senders.insert(waiter))),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.get() {
            let waiter = self.senders.borrow_mut().try_remove(key);
            drop(waiter);
        }
    }
}

/// The ports on one core.
#[derive(Default)]
pub(crate) struct Inboxes(RefCell<Vec<Weak<dyn Inbox>>>);

impl Inboxes {
    pub(crate) fn add(&self, inbox: Weak<dyn Inbox>) {
        let mut inboxes = self.0.borrow_mut();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(inbox);
    }

    pub(crate) fn has_mail(&self) -> bool {
        self.0.borrow().iter().filter_map(Weak::upgrade).any(|inbox| inbox.has_mail())
    }

    pub(crate) fn deliver(&self) {
        self.0.borrow().iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.deliver());
    }

    pub(crate) fn tell(&self, ring: &mut dyn FnMut(&Arc<Doorbell>)) {
        self.0.borrow().iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.tell(ring));
    }
}
