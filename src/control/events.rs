//! What control waits for: the words of its cores, and what its other threads tell it.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use ringway_runtime::clock::Instant;

use super::build::{Built, NotBuilt};
use super::certificates;
use super::command::{Answer, Command};
use super::cores::Cores;
use super::discovery;
use super::log::Told;
use super::sights::{Sight, Status};
use super::upgrade;
use super::watchdog::Stall;
use crate::core::{Ended, FromCore};

/// Something that control deals with.
pub(super) enum Event {
    /// A core said this, over the mesh. All else comes from control's own threads.
    Core(usize, FromCore),
    /// The thread of a core has ended.
    Ended(usize, Result<Ended, String>),
    Signal(i32),
    Command(Command, Sender<Answer>),
    Status(Sender<Status>),
    Look(Sender<Sight>),
    Built(Result<Built, NotBuilt>),
    /// A file of the config may have changed.
    FileChanged,
    Discovery(discovery::Event),
    Certificates(certificates::Event),
    Stalled(Stall),
    /// A line for the log.
    Told(Told),
    Upgrade(upgrade::Event),
}

/// There is no control any more.
#[derive(Debug)]
pub(super) struct NoControl;

/// The way to control from its other threads.
#[derive(Clone, Debug)]
pub(super) struct Events {
    queue: Sender<Event>,
    /// The thread that is control, once it waits.
    control: Arc<OnceLock<Thread>>,
}

impl Events {
    /// Tells control.
    pub(super) fn send(&self, event: Event) -> Result<(), NoControl> {
        self.queue.send(event).map_err(|_| NoControl)?;
        // Control looks into the queue before it first waits.
        if let Some(control) = self.control.get() {
            control.unpark();
        }
        Ok(())
    }
}

/// What comes by [`Events`], before control has cores.
pub(super) struct Queue {
    queue: Receiver<Event>,
    control: Arc<OnceLock<Thread>>,
}

/// A queue for control.
pub(super) fn queue() -> (Events, Queue) {
    let (send, receive) = channel();
    let control = Arc::<OnceLock<Thread>>::default();
    (Events { queue: send, control: control.clone() }, Queue { queue: receive, control })
}

impl Queue {
    /// What comes next, or nothing once the deadline has passed.
    pub(super) fn next(&self, deadline: Instant) -> Option<Event> {
        self.queue.recv_timeout(deadline.since(Instant::now())).ok()
    }

    /// Beside the words of these cores. The calling thread is the one that waits.
    pub(super) fn with(self, cores: Rc<Cores>) -> Inlet {
        // Nobody else sets it.
        let _ = self.control.set(thread::current());
        Inlet { queue: self.queue, cores, next: None }
    }
}

/// All that control hears, one after the other.
pub(super) struct Inlet {
    queue: Receiver<Event>,
    cores: Rc<Cores>,
    /// Taken from the queue already.
    next: Option<Event>,
}

impl Inlet {
    /// What comes next, or nothing once the deadline has passed.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Option<Event> {
        loop {
            // What a core said before its thread ended comes before that.
            let next = self.next.take().or_else(|| self.queue.try_recv().ok());
            if let Some((core, message)) = self.cores.hear() {
                self.next = next;
                return Some(Event::Core(core, message));
            }
            if next.is_some() {
                return next;
            }
            let left = deadline.map(|deadline| deadline.since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            self.cores.wait(left);
        }
    }

    /// What has come and is not dealt with any more.
    pub(super) fn rest(mut self) -> impl Iterator<Item = Event> {
        self.next.take().into_iter().chain(std::iter::from_fn(move || self.queue.try_recv().ok()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_runtime::mesh::Peer;

    use super::*;
    use crate::core::lines;

    #[test]
    fn control_hears_its_threads_and_its_cores_and_a_core_to_its_end() {
        let (events, queue) = queue();
        events.send(Event::Signal(1)).expect("control is there");
        let mut lines = lines(1);
        let mut inlet = queue.with(Rc::new(Cores::new(lines.control)));
        assert!(matches!(inlet.next(None), Some(Event::Signal(1))));
        assert!(inlet.next(Some(Instant::now())).is_none());
        let seat = lines.cores.remove(0);
        let told = events.clone();
        let core = thread::spawn(move || {
            let mut core = seat.into_control();
            for epoch in 0..100 {
                core.send(Peer::Control, FromCore::Runs(epoch)).expect("room");
            }
            drop(core);
            told.send(Event::Ended(0, Ok(Ended { cut: 0 }))).is_ok()
        });
        for epoch in 0..100 {
            let next = inlet.next(Some(Instant::now() + Duration::from_mins(1)));
            assert!(matches!(next, Some(Event::Core(0, FromCore::Runs(found))) if found == epoch));
        }
        assert!(matches!(inlet.next(None), Some(Event::Ended(0, Ok(_)))));
        assert!(core.join().is_ok_and(|is_told| is_told));
        events.send(Event::FileChanged).expect("control is there");
        assert!(matches!(inlet.rest().collect::<Vec<_>>()[..], [Event::FileChanged]));
        assert!(events.send(Event::FileChanged).is_err());
    }
}
