//! The port of control, a thread without an engine.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::doorbell::{Doorbell, clear_eventfd, eventfd_doorbell};
use super::links::{Links, PortStats};
use super::spsc::SendError;
use super::{Peer, Seat};
use crate::clock::Instant;

/// Control's port into the mesh. It receives by blocking, or beside other things that an event loop waits for: its
/// descriptor ([`AsFd`]) is readable when there may be messages, provided that [`ControlPort::prepare_to_wait`] said so.
pub struct ControlPort<M> {
    links: Links<M>,
    doorbell: Arc<Doorbell>,
    eventfd: OwnedFd,
}

impl<M: Send> Seat<M> {
    /// Takes the seat for a thread without an engine.
    pub fn into_control(self) -> io::Result<ControlPort<M>> {
        let (doorbell, eventfd) = eventfd_doorbell()?;
        let doorbell = Arc::new(doorbell);
        self.links.set_doorbell(doorbell.clone());
        Ok(ControlPort { links: self.links, doorbell, eventfd })
    }
}

impl<M: Send> ControlPort<M> {
    /// The number of cores in the mesh.
    pub fn cores(&self) -> u16 {
        self.links.cores()
    }

    /// Whether `peer` has ended.
    pub fn is_ended(&self, peer: Peer) -> bool {
        self.links.is_ended(peer)
    }

    /// Sends a message, or gives it back. Messages to one peer arrive in order.
    pub fn send(&mut self, to: Peer, message: M) -> Result<(), SendError<M>> {
        let result = self.links.send(to, message);
        self.links.tell(|doorbell| doorbell.ring());
        result
    }

    /// Sends a message, or drops and counts it. Whether it was sent.
    pub fn send_or_drop(&mut self, to: Peer, message: M) -> bool {
        let sent = self.send(to, message).is_ok();
        if !sent {
            self.links.stats.dropped += 1;
        }
        sent
    }

    /// The next message and its sender, if there is one now.
    pub fn try_receive(&mut self) -> Option<(Peer, M)> {
        let received = self.links.receive();
        // A peer may have to hear of the room that there is now.
        self.links.tell(|doorbell| doorbell.ring());
        received
    }

    /// The next message and its sender. Waits for one, at most for `timeout` where there is one, and then returns
    /// `None`.
    pub fn receive(&mut self, timeout: Option<Duration>) -> io::Result<Option<(Peer, M)>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(received) = self.try_receive() {
                return Ok(Some(received));
            }
            let left = deadline.map(|deadline| deadline.since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if self.prepare_to_wait() {
                let waited = wait(self.eventfd.as_fd(), left);
                self.waited();
                waited?;
            }
        }
    }

    /// Call it when [`ControlPort::try_receive`] has nothing, before waiting for the descriptor to be readable. False:
    /// there is word by now; receive instead. After the wait, and before receiving, call [`ControlPort::waited`].
    pub fn prepare_to_wait(&self) -> bool {
        self.doorbell.sleep().may_sleep(|| self.links.has_mail())
    }

    /// The wait is over, whatever ended it: peers need not ring any more.
    pub fn waited(&self) {
        self.doorbell.sleep().awake();
        clear_eventfd(self.eventfd.as_fd());
    }

    /// What the port counted so far.
    pub fn stats(&self) -> PortStats {
        self.links.stats
    }
}

impl<M> AsFd for ControlPort<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// Waits until the descriptor is readable, a signal comes or the time is up.
fn wait(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, or the last fraction of a millisecond would be spent spinning.
    let timeout = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32);
    // SAFETY: `poll` is one writable entry, and one is passed.
    if unsafe { libc::poll(&raw mut poll, 1, timeout) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}
