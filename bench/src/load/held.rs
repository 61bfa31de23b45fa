//! Times in which the machine did not let the generator go on: which part of a late send was not its own.
//!
//! Two things show them. Between two looks at the clock with nothing but a poll in between, everything beyond what a poll
//! takes is somebody else's: the host has stopped the virtual machine, an interrupt came, another task had the CPU. In a
//! piece of work that took unusually long the kernel says how much of it this thread was ready to run and had to wait for
//! its CPU; what the host took from a piece of work nobody tells, and that stays with the generator.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// A look takes less.
const LOOK_NS: u64 = 2000;
/// A piece of work takes less, unless something happened.
const WORK_NS: u64 = 20_000;
/// Of the latest times so many are kept: a send that is late for more of them is late by its own.
const KEPT: usize = 8;

#[derive(Clone, Copy)]
struct Time {
    start: u64,
    end: u64,
    /// How much of it was not ours.
    ns: u64,
}

pub(super) struct Held {
    times: VecDeque<Time>,
    /// What the kernel says of this thread, where it does, and how long it had waited when that was read last.
    waits: Option<File>,
    waited: u64,
}

impl Held {
    /// For the thread that calls.
    pub(super) fn new() -> Self {
        let mut held = Self {
            times: VecDeque::with_capacity(KEPT),
            waits: File::open("/proc/thread-self/schedstat").ok(),
            waited: 0,
        };
        held.waited = held.wait().unwrap_or(0);
        held
    }

    /// How long this thread has waited for its CPU altogether, in nanoseconds.
    fn wait(&self) -> Option<u64> {
        let mut text = [0; 64];
        let count = self.waits.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(text.get(..count)?).ok()?.split(' ').nth(1)?.parse().ok()
    }

    fn keep(&mut self, start: u64, end: u64, ns: u64) {
        if self.times.len() == KEPT {
            self.times.pop_front();
        }
        self.times.push_back(Time { start, end, ns });
    }

    /// There was nothing but a look between these two moments.
    pub(super) fn looked(&mut self, start: u64, end: u64) {
        let took = end.saturating_sub(start);
        if took > LOOK_NS {
            self.keep(start, end, took - LOOK_NS);
        }
    }

    /// There was a piece of work between these two moments.
    pub(super) fn worked(&mut self, start: u64, end: u64) {
        if end.saturating_sub(start) <= WORK_NS {
            return;
        }
        let Some(waited) = self.wait() else { return };
        let ns = waited.saturating_sub(self.waited);
        self.waited = waited;
        if ns > 0 {
            self.keep(start, end, ns);
        }
    }

    /// How much of the time between these two moments was not ours.
    pub(super) fn between(&self, start: u64, end: u64) -> u64 {
        let part = |time: &Time| {
            let overlap = time.end.min(end).saturating_sub(time.start.max(start));
            overlap.min(time.ns)
        };
        self.times.iter().map(part).sum::<u64>().min(end.saturating_sub(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_look_is_not_ours_and_a_short_one_is() {
        let mut held = Held::new();
        held.looked(1000, 1000 + LOOK_NS);
        assert_eq!(held.between(0, 100_000), 0);
        held.looked(10_000, 50_000);
        assert_eq!(held.between(0, 100_000), 40_000 - LOOK_NS);
        assert_eq!(held.between(45_000, 60_000), 5_000, "only from the moment on at which it was due");
        assert_eq!(held.between(50_000, 60_000), 0);
        held.looked(50_000, 60_000);
        assert_eq!(held.between(30_000, 60_000), 20_000 + 10_000 - LOOK_NS, "one behind the other");
    }

    #[test]
    fn work_that_nobody_held_up_is_ours() {
        let mut held = Held { times: VecDeque::new(), waits: None, waited: 0 };
        held.worked(0, 1_000_000);
        assert_eq!(held.between(0, 1_000_000), 0);
    }

    #[test]
    fn the_kernel_says_how_long_this_thread_has_waited() {
        let held = Held::new();
        assert!(held.waits.is_none() || held.wait().is_some());
    }
}
