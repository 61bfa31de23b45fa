//! How late the machine alone makes a loop that does nothing but look at the clock.
//!
//! A virtual machine is stopped by its host, a kernel handles interrupts, a neighbour takes the CPU: no generator can send
//! in such a moment. What a schedule would suffer from that is told by one that nothing is sent for.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::histogram;
use crate::clock::{Clock, nanoseconds};

/// Nanoseconds between two moments of the schedule that nothing is sent for.
const EVERY_NS: u64 = 10_000;

/// A schedule that nothing is sent for, and how late it was kept.
#[derive(Debug)]
pub(crate) struct Pauses {
    due: u64,
    lateness: Histogram<u64>,
}

impl Pauses {
    pub(crate) fn new(now: u64) -> Self {
        Self { due: now + EVERY_NS, lateness: histogram() }
    }

    /// Since the last call nothing was done but to look: what has become due meanwhile is the machine's lateness.
    pub(crate) fn idled(&mut self, now: u64) {
        while self.due <= now {
            self.lateness.saturating_record(now - self.due);
            self.due += EVERY_NS;
        }
    }

    /// Since the last call something was done: what has become due meanwhile says nothing.
    pub(crate) fn worked(&mut self, now: u64) {
        if self.due <= now {
            self.due += ((now - self.due) / EVERY_NS + 1) * EVERY_NS;
        }
    }

    /// How late each moment was, in nanoseconds.
    pub(crate) fn lateness(&self) -> &Histogram<u64> {
        &self.lateness
    }
}

/// Looks at the clock and does nothing else, for `duration`.
pub(crate) fn watch(duration: Duration) -> Pauses {
    let clock = Clock::start();
    let mut pauses = Pauses::new(clock.now());
    loop {
        let now = clock.now();
        pauses.idled(now);
        if now >= nanoseconds(duration) {
            return pauses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_makes_late_whatever_falls_into_it_and_work_does_not() {
        let mut pauses = Pauses::new(0);
        pauses.idled(9_999);
        assert!(pauses.lateness().is_empty());
        pauses.idled(10_000);
        pauses.worked(45_000);
        // Due at 50,000, 60,000 and 70,000.
        pauses.idled(75_000);
        let late: Vec<u64> = pauses.lateness().iter_recorded().map(|value| value.value_iterated_to() / 1000).collect();
        assert_eq!((pauses.lateness().len(), late), (4, vec![0, 5, 15, 25]));
    }
}
