//! Control's end of the lines to the cores.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use ringway_runtime::mesh::{ControlPort, Peer, Seat, SendError};

use crate::core::{FromCore, ToCore};

/// The lines to all cores, on control's thread. Nothing that is told is lost: what a core has no room for is kept and
/// sent when it has some.
///
/// That stays little. Whoever wants something new of the cores asks [`Cores::deaf`] first, and refuses it where there is
/// a core that has not even taken what fits into its ring. What is told without asking follows from something that a
/// core was told before (a plan is committed or withdrawn), or comes once or twice in the life of a process (a drain).
pub(super) struct Cores(RefCell<Inner>);

struct Inner {
    port: ControlPort<ToCore, FromCore>,
    /// For each core what it had no room for.
    kept: Vec<VecDeque<ToCore>>,
}

impl Cores {
    /// For the calling thread, which is the one that waits.
    pub(super) fn new(seat: Seat<ToCore, FromCore>) -> Self {
        let port = seat.into_control();
        let kept = (0..port.cores()).map(|_| VecDeque::new()).collect();
        Self(RefCell::new(Inner { port, kept }))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().kept.len()
    }

    /// A core that does not take what control tells it.
    pub(super) fn deaf(&self) -> Option<usize> {
        self.0.borrow().kept.iter().position(|kept| !kept.is_empty())
    }

    /// Whether a core takes what control tells it.
    pub(super) fn listens(&self, core: usize) -> bool {
        self.0.borrow().kept.get(core).is_some_and(VecDeque::is_empty)
    }

    /// Tells one core. One that has ended hears nothing any more.
    pub(super) fn tell(&self, core: usize, message: ToCore) {
        let mut inner = self.0.borrow_mut();
        if let Some(kept) = inner.kept.get_mut(core) {
            kept.push_back(message);
            inner.send_kept(core);
        }
    }

    /// Tells every core.
    pub(super) fn tell_all(&self, message: impl Fn() -> ToCore) {
        for core in 0..self.count() {
            self.tell(core, message());
        }
    }

    /// What some core says, and which one. Each core's words come in order.
    pub(super) fn hear(&self) -> Option<(usize, FromCore)> {
        let mut inner = self.0.borrow_mut();
        for core in 0..inner.kept.len() {
            inner.send_kept(core);
        }
        match inner.port.try_receive()? {
            (Peer::Core(core), message) => Some((usize::from(core), message)),
            // Control says nothing to itself.
            (Peer::Control, _) => None,
        }
    }

    /// Waits until a core says something or takes what was kept, somebody unparks the thread, or the time is up.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        self.0.borrow().port.wait(timeout);
    }
}

impl Inner {
    fn send_kept(&mut self, core: usize) {
        let Some(kept) = self.kept.get_mut(core) else { return };
        let to = Peer::Core(core as u16);
        while let Some(message) = kept.pop_front() {
            if let Err(SendError::Full(message)) = self.port.send(to, message) {
                kept.push_front(message);
                if !self.port.want_room(to) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lines;

    #[test]
    fn what_a_core_has_no_room_for_is_kept_in_order_and_sent_when_it_has_some() {
        let mut lines = lines(2);
        let cores = Cores::new(lines.control);
        let mut listening = lines.cores.remove(0).into_control();
        let mut stuck = lines.cores.remove(0).into_control();
        let mut heard = 0;
        for epoch in 0..100 {
            cores.tell_all(|| ToCore::Commit(epoch));
            while let Some((_, ToCore::Commit(_))) = listening.try_receive() {
                heard += 1;
            }
            assert_eq!(cores.deaf(), (epoch >= 16).then_some(1));
        }
        assert!(cores.listens(0) && !cores.listens(1));
        assert_eq!(heard, 100);
        // It is awake again: control is woken as it takes, and each wait ends.
        for epoch in 0..100 {
            let next = loop {
                if let Some((_, next)) = stuck.try_receive() {
                    break next;
                }
                cores.wait(None);
                assert!(cores.hear().is_none());
            };
            assert!(matches!(next, ToCore::Commit(found) if found == epoch), "{next:?}");
        }
        assert_eq!(cores.deaf(), None);
    }

    #[test]
    fn a_core_that_has_ended_has_nothing_kept_for_it() {
        let mut lines = lines(1);
        let cores = Cores::new(lines.control);
        let seat = lines.cores.remove(0);
        for epoch in 0..20 {
            cores.tell(0, ToCore::Commit(epoch));
        }
        assert_eq!(cores.deaf(), Some(0));
        drop(seat);
        assert!(cores.hear().is_none());
        assert_eq!(cores.deaf(), None);
    }
}
