//! What other threads may see of a core at work: whether its loop turns, and what it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// One core's signs of life: two words on a cache line of their own, written with plain stores by the core alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Pulse {
    /// Odd while the core works, even while it waits for events; another number for each turn of its loop.
    turn: AtomicU64,
    /// The label of the task that ran last.
    label: AtomicU64,
}

/// A look at a core from outside. The two were read one after the other, so the label may be of the next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Names the turn that the core is at: one that is the same at a later look has not ended since. Nothing while the
    /// core waits for events.
    pub turn: Option<u64>,
    /// The label of the task that runs, see [`crate::engine::Engine::label`].
    pub label: u64,
}

impl Pulse {
    /// What the core is doing now.
    pub fn look(&self) -> Look {
        let turn = self.turn.load(Ordering::Relaxed);
        Look { turn: (turn % 2 == 1).then_some(turn), label: self.label.load(Ordering::Relaxed) }
    }

    /// Another turn begins.
    #[inline]
    pub(crate) fn turn(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed).wrapping_add(2) | 1, Ordering::Relaxed);
    }

    /// The core waits for events.
    #[inline]
    pub(crate) fn rest(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed).wrapping_add(1) & !1, Ordering::Relaxed);
    }

    /// A task of this label runs.
    #[inline]
    pub(crate) fn run(&self, label: u64) {
        self.label.store(label, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_a_name_of_its_own_and_rest_has_none() {
        let pulse = Pulse::default();
        assert_eq!(pulse.look(), Look { turn: None, label: 0 });
        let mut seen = Vec::new();
        for step in [true, true, false, false, true, false, true] {
            let act = if step { Pulse::turn } else { Pulse::rest };
            act(&pulse);
            let turn = pulse.look().turn;
            assert_eq!(turn.is_some(), step);
            seen.extend(turn);
        }
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "no turn looks like the one before: {seen:?}");
        pulse.run(7);
        assert_eq!(pulse.look().label, 7);
    }
}
