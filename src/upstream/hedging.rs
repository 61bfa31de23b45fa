//! When a request that has no answer yet is sent to another endpoint as well, and how often that may be: what one core
//! knows of one upstream.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::Budget;
use crate::plan::{Hedge, HedgeAfter, Retry};

/// What one core needs for the hedges of one upstream.
#[derive(Debug)]
pub struct Hedging {
    plan: Hedge,
    budget: Budget,
    times: Times,
}

impl Hedging {
    /// For an upstream that is hedged.
    pub(super) fn new(retry: &Retry) -> Option<Self> {
        let plan = retry.hedge?;
        let budget = Budget::new(&Retry { budget: Some(plan.budget), budget_floor: 0, ..*retry }, &Arc::default());
        Some(Self { plan, budget, times: Times::default() })
    }

    /// What the plan says.
    pub fn plan(&self) -> &Hedge {
        &self.plan
    }

    /// A request comes that may be hedged: how long after it was sent, where that is known.
    pub fn ask(&self, now: Instant) -> Option<Duration> {
        self.budget.asked(now);
        match self.plan.after {
            HedgeAfter::Time(after) => Some(after),
            HedgeAfter::Quantile(part) => {
                self.times.quantile(part, self.plan.samples).map(|after| after.max(self.plan.at_least))
            }
        }
    }

    /// Takes one hedge, where one is left.
    pub fn take(&self, now: Instant) -> bool {
        self.budget.take(now)
    }

    /// An answer took so long, or had not come after so long.
    pub(super) fn took(&self, took: Duration) {
        self.times.add(took);
    }
}

/// Parts of each doubling: a time is known to an eighth.
const PARTS: usize = 8;
/// Of the shortest time that is told from shorter ones, in bits of nanoseconds: 16 us.
const FIRST: u32 = 14;
/// Doublings: up to more than a minute.
const DOUBLINGS: usize = 22;
/// With so many all counts are halved, so that what was long ago counts for less and less.
const MOST: u32 = 2_048;
/// A quantile is found anew after so many.
const FRESH: u32 = 16;

/// The recent response times of one upstream: counts by size, of bounded memory.
#[derive(Debug)]
struct Times {
    counts: [Cell<u16>; PARTS * DOUBLINGS],
    all: Cell<u32>,
    /// What was found last, and how many times came since.
    found: Cell<Option<Duration>>,
    since: Cell<u32>,
}

impl Default for Times {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| Cell::new(0));
        Self { counts, all: Cell::new(0), found: Cell::new(None), since: Cell::new(0) }
    }
}

/// Where a time is counted.
fn place(nanos: u64) -> usize {
    let nanos = nanos.max(1 << FIRST);
    let bits = nanos.ilog2();
    let part = (nanos >> (bits - 3)) as usize % PARTS;
    ((bits - FIRST) as usize * PARTS + part).min(PARTS * DOUBLINGS - 1)
}

/// The end of a place: no time in it is longer, but in the last.
fn end(place: usize) -> u64 {
    let (doubling, part) = (place / PARTS, place % PARTS);
    ((PARTS + part + 1) as u64) << (FIRST as usize + doubling - 3)
}

impl Times {
    fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(place(nanos)) {
            count.set(count.get() + 1);
        }
        self.all.set(self.all.get() + 1);
        self.since.set(self.since.get() + 1);
        if self.all.get() >= MOST {
            let halved = |count: &Cell<u16>| {
                count.set(count.get() / 2);
                u32::from(count.get())
            };
            self.all.set(self.counts.iter().map(halved).sum());
        }
    }

    /// The time that so many thousandths of the answers do not exceed, once there are enough of them.
    fn quantile(&self, part: u16, samples: u32) -> Option<Duration> {
        if self.all.get() < samples.min(MOST / 2 - PARTS as u32 * DOUBLINGS as u32) {
            return None;
        }
        if self.found.get().is_none() || self.since.get() >= FRESH {
            let wanted = (u64::from(self.all.get()) * u64::from(part)).div_ceil(1_000);
            let mut sum = 0;
            let at = self.counts.iter().position(|count| {
                sum += u64::from(count.get());
                sum >= wanted
            });
            self.found.set(at.map(|at| Duration::from_nanos(end(at))));
            self.since.set(0);
        }
        self.found.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hedging(after: HedgeAfter, budget: u32) -> Hedging {
        let hedge = Hedge { after, budget, samples: 10, ..Hedge::default() };
        Hedging::new(&Retry { hedge: Some(hedge), ..Retry::default() }).unwrap()
    }

    #[test]
    fn nothing_is_known_before_there_are_enough_answers() {
        let hedging = hedging(HedgeAfter::Quantile(950), 100_000);
        let now = Instant::from_nanos(1);
        for _ in 0..9 {
            hedging.took(Duration::from_millis(10));
            assert_eq!(hedging.ask(now), None);
        }
        hedging.took(Duration::from_millis(10));
        let after = hedging.ask(now).unwrap();
        assert!((Duration::from_millis(10)..Duration::from_millis(12)).contains(&after), "{after:?}");
    }

    #[test]
    fn quick_answers_do_not_make_it_quicker_than_it_may_be() {
        let hedging = hedging(HedgeAfter::Quantile(500), 100_000);
        (0..100).for_each(|_| hedging.took(Duration::from_micros(20)));
        assert_eq!(hedging.ask(Instant::from_nanos(1)), Some(Hedge::default().at_least));
    }

    #[test]
    fn hedges_are_a_part_of_the_requests() {
        let hedging = hedging(HedgeAfter::Time(Duration::from_millis(1)), 100_000);
        let now = Instant::from_nanos(1);
        (0..100).for_each(|_| assert!(hedging.ask(now).is_some()));
        assert_eq!((0..100).filter(|_| hedging.take(now)).count(), 10);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let times = Times::default();
        (0..5_000).for_each(|_| times.add(Duration::from_secs(1)));
        (0..20_000).for_each(|_| times.add(Duration::from_millis(1)));
        assert!(times.quantile(990, 100).unwrap() < Duration::from_millis(2));
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_above_that_of_a_sorted_list(
            times in proptest::collection::vec(1u64 << FIRST..1 << 35, 200..1_000),
            part in 1u16..=999,
        ) {
            let counted = Times::default();
            for nanos in &times {
                counted.add(Duration::from_nanos(*nanos));
            }
            let mut sorted = times;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * usize::from(part)).div_ceil(1_000) - 1];
            let found = counted.quantile(part, 100).unwrap().as_nanos() as u64;
            prop_assert!(found > exact && found <= exact + exact / 8 + 1, "{found} {exact}");
        }

        #[test]
        fn every_time_has_a_place(nanos: u64) {
            let at = place(nanos);
            prop_assert!(at < PARTS * DOUBLINGS);
            prop_assert!(nanos < end(at) || at == PARTS * DOUBLINGS - 1);
        }
    }
}
