//! The port of control, a thread without an engine.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::doorbell::Doorbell;
use super::links::{Links, PortStats};
use super::spsc::SendError;
use super::{Peer, Seat};
use crate::clock::Instant;

/// Control's port into the mesh, on the thread that made it. It sends `S` and receives `R`.
///
/// What wakes it is [`thread::Thread::unpark`]: a peer that has sent something does so, and so may anybody else for whom
/// the thread waits as well.
pub struct ControlPort<S, R = S> {
    links: Links<S, R>,
    doorbell: Arc<Doorbell>,
}

impl<S: Send, R: Send> Seat<S, R> {
    /// Takes the seat for the calling thread, which has no engine and is the one that waits.
    pub fn into_control(self) -> ControlPort<S, R> {
        let thread = thread::current();
        let doorbell = Arc::new(Doorbell::new(move || thread.unpark()));
        self.links.set_doorbell(doorbell.clone());
        ControlPort { links: self.links, doorbell }
    }
}

impl<S: Send, R: Send> ControlPort<S, R> {
    /// The number of cores in the mesh.
    pub fn cores(&self) -> u16 {
        self.links.cores()
    }

    /// Whether `peer` has ended.
    pub fn is_ended(&self, peer: Peer) -> bool {
        self.links.is_ended(peer)
    }

    /// Sends a message, or gives it back. Messages to one peer arrive in order.
    pub fn send(&mut self, to: Peer, message: S) -> Result<(), SendError<S>> {
        let result = self.links.send(to, message);
        self.links.tell(|doorbell| doorbell.ring());
        result
    }

    /// Sends a message, or drops and counts it. Whether it was sent.
    pub fn send_or_drop(&mut self, to: Peer, message: S) -> bool {
        let sent = self.send(to, message).is_ok();
        if !sent {
            self.links.stats.dropped += 1;
        }
        sent
    }

    /// Has [`ControlPort::wait`] end once there is room for messages to `peer`. True when there is room by now, or the
    /// peer has ended: then do not wait for it.
    pub fn want_room(&mut self, peer: Peer) -> bool {
        self.links.want_room(peer)
    }

    /// The next message and its sender, if there is one now.
    pub fn try_receive(&mut self) -> Option<(Peer, R)> {
        let received = self.links.receive();
        // A peer may have to hear of the room that there is now.
        self.links.tell(|doorbell| doorbell.ring());
        received
    }

    /// The next message and its sender. Waits for one, at most for `timeout` where there is one, and then returns
    /// `None`.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Option<(Peer, R)> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(received) = self.try_receive() {
                return Some(received);
            }
            let left = deadline.map(|deadline| deadline.since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            self.wait(left);
        }
    }

    /// Waits until there may be a message or room, somebody unparks the thread, or the time is up; it may end for
    /// nothing. Call it when [`ControlPort::try_receive`] has nothing.
    pub fn wait(&self, timeout: Option<Duration>) {
        let sleep = self.doorbell.sleep();
        if sleep.may_sleep(|| self.links.has_mail()) {
            match timeout {
                Some(timeout) => thread::park_timeout(timeout),
                None => thread::park(),
            }
            // Whatever ended the wait: peers need not ring any more.
            sleep.awake();
        }
    }

    /// Raises the flag of its sleep, as [`ControlPort::wait`] does.
    #[cfg(test)]
    pub(super) fn is_about_to_sleep(&self) -> bool {
        self.doorbell.sleep().may_sleep(|| self.links.has_mail())
    }

    /// What the port counted so far.
    pub fn stats(&self) -> PortStats {
        self.links.stats
    }
}
