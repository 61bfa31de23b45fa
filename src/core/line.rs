//! A core's side of the line to control: what they tell each other goes over the mesh.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use ringway_runtime::engine::Engine;
use ringway_runtime::mesh::{Peer, Port, PortStats, Seat, SendError, Spokes};

use super::{FromCore, ToCore};
use crate::observe::{MeshPeer, Metrics};

/// Messages to a core that wait for it. Control offers one plan at a time, so a few are all there ever are.
const TO_CORE: usize = 16;
/// Messages of a core that wait for control.
const FROM_CORE: usize = 256;

/// One end of each line: control's, and those of the cores.
pub type Lines = Spokes<ToCore, FromCore>;

/// The lines between control and so many cores.
pub fn lines(cores: usize) -> Lines {
    Spokes::new(u16::try_from(cores).unwrap_or(u16::MAX), TO_CORE, FROM_CORE)
}

/// A core's end.
pub struct Line {
    engine: Engine,
    port: Port<FromCore, ToCore>,
    /// What control must hear and had no room for.
    kept: RefCell<VecDeque<FromCore>>,
    /// A task sends what is kept.
    is_sending: Cell<bool>,
    /// What the metrics have of the port's counts.
    reported: Cell<PortStats>,
}

impl Line {
    /// Takes the core's end.
    pub fn attach(seat: Seat<FromCore, ToCore>, engine: &Engine) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            engine: engine.clone(),
            port: seat.attach(engine)?,
            kept: RefCell::default(),
            is_sending: Cell::new(false),
            reported: Cell::default(),
        }))
    }

    /// What control says next. For one task at a time.
    pub(super) async fn next(&self) -> ToCore {
        self.port.receive().await.1
    }

    /// Tells control. What is only news is dropped and counted where control has not taken what came before; all else
    /// is kept until it has, in order. Without control there is nobody to tell.
    pub(super) fn tell(self: &Rc<Self>, message: FromCore) {
        if message.is_news() {
            self.port.send_or_drop(Peer::Control, message);
            return;
        }
        if self.is_sending.get() {
            self.kept.borrow_mut().push_back(message);
        } else if let Err(SendError::Full(message)) = self.port.send(Peer::Control, message) {
            self.is_sending.set(true);
            self.kept.borrow_mut().push_back(message);
            self.engine.spawn(send_kept(self.clone()));
        }
    }

    /// Copies what the port counted into the metrics.
    pub(super) fn report(&self, metrics: &Metrics) {
        let now = self.port.stats();
        metrics.mesh(MeshPeer::Control, &now, &self.reported.replace(now));
    }
}

/// Sends what control had no room for as it makes room.
async fn send_kept(line: Rc<Line>) {
    loop {
        let next = line.kept.borrow_mut().pop_front();
        let Some(message) = next else { break };
        if line.port.send_when_room(Peer::Control, message).await.is_err() {
            line.kept.borrow_mut().clear();
        }
    }
    line.is_sending.set(false);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_runtime::engine::sim::World;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    /// Epochs that control hears of, and the news between them.
    fn heard(message: FromCore) -> Option<u64> {
        match message {
            FromCore::Released(epoch) => Some(epoch),
            FromCore::Beat => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_control_must_hear_is_kept_for_it_in_order_and_news_are_dropped_and_counted() {
        let world = World::new(1);
        let engine = world.node("gateway").unwrap();
        let mut lines = lines(1);
        let mut control = lines.control.into_control();
        let line = Line::attach(lines.cores.remove(0), &engine).unwrap();
        let all = FROM_CORE as u64 * 3;
        for epoch in 0..all {
            line.tell(FromCore::Released(epoch));
            line.tell(FromCore::Beat);
        }
        // The ring is full by half with either; of the news none is kept.
        assert_eq!(line.kept.borrow().len(), all as usize - FROM_CORE / 2);
        assert_eq!(line.port.stats().dropped, all - FROM_CORE as u64 / 2);
        let mut epochs = Vec::new();
        while epochs.len() < all as usize {
            world.run_for(MOMENT).unwrap();
            while let Some((_, message)) = control.try_receive() {
                epochs.extend(heard(message));
            }
        }
        assert_eq!(epochs, (0..all).collect::<Vec<_>>());
        assert!(!line.is_sending.get(), "and what comes next goes at once");
        line.tell(FromCore::LetGo);
        world.run_for(MOMENT).unwrap();
        assert!(matches!(control.try_receive(), Some((Peer::Core(0), FromCore::LetGo))));
    }

    #[test]
    fn without_control_nothing_is_kept() {
        let world = World::new(1);
        let engine = world.node("gateway").unwrap();
        let mut lines = lines(1);
        let line = Line::attach(lines.cores.remove(0), &engine).unwrap();
        for epoch in 0..FROM_CORE as u64 + 2 {
            line.tell(FromCore::Released(epoch));
        }
        assert_eq!(line.kept.borrow().len(), 2);
        drop(lines.control);
        world.run_for(MOMENT).unwrap();
        line.tell(FromCore::LetGo);
        assert!(line.kept.borrow().is_empty() && !line.is_sending.get());
    }
}
