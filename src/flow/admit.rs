//! Admit: who is served when a core has more to do than it should.
//!
//! A core sheds requests by priority, the least important first, as its fill rises: that of requests in flight against
//! `limits.requests`, and that of the process's memory against `limits.memory`. What was shed once is shed until the
//! fill has fallen a little further, so that it does not flap.

use std::cell::Cell;

use crate::observe::Cause;
use crate::plan::{Cores, Priority};

/// From how many hundredths of a limit on requests of a priority are shed, and below how many no more; never where
/// there is no number.
const SHED_FROM: [Option<(u32, u32)>; Priority::ALL.len()] = [Some((80, 75)), Some((90, 85)), Some((100, 95)), None];

/// The requests that one core has in flight, and which priorities it sheds.
#[derive(Debug)]
pub struct Admission {
    in_flight: Cell<u32>,
    /// For each priority, as many requests in flight are too many.
    most: [Cell<u32>; Priority::ALL.len()],
    /// The priorities that are shed because of requests in flight, one bit each.
    crowded: Cell<u8>,
    /// The same because of memory.
    swollen: Cell<u8>,
    limit: Cell<u32>,
}

/// A request in flight.
pub(super) struct InFlight<'a>(&'a Admission);

impl Default for Admission {
    fn default() -> Self {
        let most = [const { Cell::new(u32::MAX) }; Priority::ALL.len()];
        let (crowded, swollen) = (Cell::new(0), Cell::new(0));
        Self { in_flight: Cell::new(0), most, crowded, swollen, limit: Cell::new(u32::MAX) }
    }
}

/// So many hundredths of a limit, at least 1.
fn part(limit: u64, hundredths: u32) -> u64 {
    (limit.saturating_mul(u64::from(hundredths)) / 100).max(1)
}

impl Admission {
    /// Takes over the limits of a plan.
    pub(crate) fn limit(&self, cores: &Cores) {
        self.limit.set(cores.requests);
        self.crowded.set(0);
        self.settle();
    }

    /// Requests in flight now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Takes note of the memory that is in use.
    pub(crate) fn memory(&self, used: u64, limit: Option<u64>) {
        let mut shed = 0;
        for (at, from) in SHED_FROM.iter().enumerate() {
            if let (Some((on, off)), Some(limit)) = (from, limit) {
                let is_shed = self.swollen.get() & 1 << at != 0;
                shed |= u8::from(used >= part(limit, if is_shed { *off } else { *on })) << at;
            }
        }
        if shed != self.swollen.replace(shed) {
            self.settle();
        }
    }

    /// What there is too much of where requests of this priority are shed.
    pub(super) fn cause(&self, priority: Priority) -> Cause {
        if self.swollen.get() & 1 << priority as u8 != 0 { Cause::Memory } else { Cause::Requests }
    }

    /// Whether a request of this priority may be served now.
    #[inline]
    pub(crate) fn admits(&self, priority: Priority) -> bool {
        self.most.get(priority as usize).is_none_or(|most| self.in_flight.get() < most.get()) || self.shed(priority)
    }

    /// A request is in flight until what is returned is dropped.
    #[inline]
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self)
    }

    /// Notes that requests of this priority are shed from now on.
    #[cold]
    fn shed(&self, priority: Priority) -> bool {
        let bit = 1 << priority as u8;
        if self.swollen.get() & bit == 0 && self.crowded.get() & bit == 0 {
            self.crowded.set(self.crowded.get() | bit);
            self.settle();
        }
        false
    }

    #[cold]
    fn relax(&self) {
        let mut crowded = self.crowded.get();
        for (at, from) in SHED_FROM.iter().enumerate() {
            if let Some((_, off)) = from
                && u64::from(self.in_flight.get()) < part(u64::from(self.limit.get()), *off)
            {
                crowded &= !(1 << at);
            }
        }
        if crowded != self.crowded.replace(crowded) {
            self.settle();
        }
    }

    /// Works out what a request is compared with.
    fn settle(&self) {
        for (at, (most, from)) in self.most.iter().zip(SHED_FROM).enumerate() {
            let is = |bits: &Cell<u8>| bits.get() & 1 << at != 0;
            most.set(match from {
                None => u32::MAX,
                Some(_) if is(&self.swollen) => 0,
                Some((on, off)) => part(u64::from(self.limit.get()), if is(&self.crowded) { off } else { on }) as u32,
            });
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if self.0.crowded.get() != 0 {
            self.0.relax();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limited(requests: u32) -> Admission {
        let admission = Admission::default();
        admission.limit(&Cores { requests, ..Cores::default() });
        admission
    }

    fn admitted(admission: &Admission) -> Vec<Priority> {
        Priority::ALL.into_iter().filter(|&priority| admission.admits(priority)).collect()
    }

    use Priority::{Critical, High, Low, Normal};

    #[test]
    fn the_least_important_go_first_and_the_critical_never() {
        let admission = limited(100);
        let mut inside = Vec::new();
        for (count, expected) in [
            (79, &[Low, Normal, High, Critical][..]),
            (80, &[Normal, High, Critical]),
            (90, &[High, Critical]),
            (100, &[Critical]),
            (200, &[Critical]),
        ] {
            inside.resize_with(count, || admission.enter());
            assert_eq!(admitted(&admission), expected, "{count} in flight");
        }
    }

    #[test]
    fn what_is_shed_comes_back_a_little_later() {
        let admission = limited(100);
        let mut inside: Vec<_> = (0..80).map(|_| admission.enter()).collect();
        assert!(!admission.admits(Low));
        inside.truncate(75);
        assert!(!admission.admits(Low), "at the mark it is still shed");
        inside.truncate(74);
        assert!(admission.admits(Low));
        inside.resize_with(79, || admission.enter());
        assert!(admission.admits(Low), "once it is back, it stays until the upper mark");
    }

    #[test]
    fn memory_sheds_in_the_same_order() {
        let admission = limited(100);
        for (used, expected) in [
            (79, &[Low, Normal, High, Critical][..]),
            (85, &[Normal, High, Critical]),
            (76, &[Normal, High, Critical]),
            (74, &[Low, Normal, High, Critical]),
            (150, &[Critical]),
            (96, &[Critical]),
            (94, &[High, Critical]),
        ] {
            admission.memory(used, Some(100));
            assert_eq!(admitted(&admission), expected, "{used} used");
        }
        admission.memory(150, None);
        assert_eq!(admitted(&admission), Priority::ALL);
    }

    #[test]
    fn a_new_limit_holds_at_once() {
        let admission = limited(10);
        let inside: Vec<_> = (0..10).map(|_| admission.enter()).collect();
        assert_eq!(admitted(&admission), [Critical]);
        admission.limit(&Cores { requests: 100, ..Cores::default() });
        assert_eq!(admitted(&admission), Priority::ALL);
        admission.limit(&Cores { requests: 1, ..Cores::default() });
        assert_eq!(admitted(&admission), [Critical]);
        drop(inside);
        assert_eq!(admitted(&admission), Priority::ALL, "a limit of one still lets one in");
    }

    proptest! {
        /// The slow way: a state for each priority.
        #[test]
        fn it_is_a_switch_with_two_marks_for_each_priority(
            limit in 1u32..300,
            steps in proptest::collection::vec((0usize..4, 0usize..350), 0..60),
        ) {
            let admission = limited(limit);
            let mut inside = Vec::new();
            let mut shed = [false; 4];
            for (priority, count) in steps {
                // One at a time, as requests end.
                while inside.len() > count {
                    inside.pop();
                    for (shed, from) in shed.iter_mut().zip(SHED_FROM) {
                        let off = from.map_or(0, |(_, off)| part(u64::from(limit), off));
                        *shed &= inside.len() as u64 >= off;
                    }
                }
                inside.resize_with(count, || admission.enter());
                let Some(from) = SHED_FROM[priority] else {
                    prop_assert!(admission.admits(Priority::ALL[priority]));
                    continue;
                };
                let mark = part(u64::from(limit), if shed[priority] { from.1 } else { from.0 });
                let expected = (count as u64) < mark;
                shed[priority] |= !expected;
                prop_assert_eq!(admission.admits(Priority::ALL[priority]), expected);
            }
        }
    }
}
