//! The timer a task holds.

use std::cell::RefCell;
use std::task::{Context, Poll};

use super::{Engine, Kind};
use crate::clock::Instant;
use crate::core::timers::{TimerKey, Wheel};

/// A deadline that can be moved at the cost of a store. It belongs to one task.
pub struct Timer {
    engine: Engine,
    key: TimerKey,
}

impl Timer {
    pub(super) fn new(engine: &Engine) -> Self {
        let key = wheel(engine).borrow_mut().add();
        Self { engine: engine.clone(), key }
    }

    /// Sets or moves the deadline.
    pub fn set(&self, deadline: Instant) {
        wheel(&self.engine).borrow_mut().set(self.key, Some(deadline));
    }

    /// Sets no deadline.
    pub fn clear(&self) {
        wheel(&self.engine).borrow_mut().set(self.key, None);
    }

    /// Ready once the deadline has passed; it stays so until moved.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        each!(Kind, &self.engine.0, engine => {
            engine.timers().borrow_mut().poll(self.key, engine.now(), cx, || engine.waiter(cx))
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        wheel(&self.engine).borrow_mut().remove(self.key);
    }
}

fn wheel(engine: &Engine) -> &RefCell<Wheel> {
    each!(Kind, &engine.0, engine => engine.timers())
}
