//! How many retries may be made to one upstream: a part of the requests of the last seconds, and a few in any case.
//!
//! A window slides in ten steps. In each it holds that a core's retries are at most `budget` of its requests, unless those
//! of all cores together are fewer than `budget_floor` a second; a request that finds nothing left is not tried again.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_runtime::clock::Instant;

use crate::plan::Retry;

/// Steps of a window.
const STEPS: u64 = 10;

/// The retries of all cores to one upstream.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Retries([AtomicU64; STEPS as usize]);

impl Retries {
    /// Bits of a count; what is left numbers the step.
    const BITS: u32 = 32;
    const MOST: u64 = (1 << Self::BITS) - 1;

    /// Adds to the count of a step, or takes from it.
    fn add(&self, step: u64, change: i64) {
        let number = step & Self::MOST;
        let counted = |word: u64| {
            let before = if word >> Self::BITS == number { word & Self::MOST } else { 0 };
            Some(number << Self::BITS | before.saturating_add_signed(change).min(Self::MOST))
        };
        if let Some(count) = self.0.get((step % STEPS) as usize) {
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        }
    }

    /// Those of the window that ends with this step.
    fn all(&self, step: u64) -> u64 {
        let words = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let is_recent = |word: &u64| (step & Self::MOST).wrapping_sub(word >> Self::BITS) & Self::MOST < STEPS;
        words.filter(is_recent).map(|word| word & Self::MOST).sum()
    }
}

/// The retries that one core may make to one upstream.
#[derive(Debug)]
pub struct Budget {
    /// In millionths of the requests; any number when absent.
    share: Option<u32>,
    /// In a window, of all cores.
    floor: u64,
    retries: Arc<Retries>,
    /// Nanoseconds of a step.
    step: u64,
    /// The step that is counted now.
    now: Cell<u64>,
    steps: [Counts; STEPS as usize],
    /// What the steps have together.
    all: Counts,
    /// Bytes of request bodies that are kept.
    kept: Cell<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: Cell<u64>,
    retries: Cell<u64>,
}

fn add(to: &Cell<u64>, count: u64) {
    to.set(to.get().saturating_add(count));
}

impl Budget {
    /// Nothing has been asked yet. `retries` are those of all cores.
    pub(super) fn new(retry: &Retry, retries: &Arc<Retries>) -> Self {
        let window = retry.budget_window;
        let floor = u128::from(retry.budget_floor) * window.as_nanos() / 1_000_000_000;
        Self {
            share: retry.budget,
            // A floor that is said is at least one.
            floor: (floor as u64).max(u64::from(retry.budget_floor > 0)),
            retries: retries.clone(),
            step: (window.as_nanos() as u64 / STEPS).max(1),
            now: Cell::new(0),
            steps: Default::default(),
            all: Counts::default(),
            kept: Cell::new(0),
        }
    }

    /// Forgets the steps that are past the window.
    fn turn(&self, now: Instant) {
        let step = now.as_nanos() / self.step;
        let before = self.now.get();
        if step <= before {
            return;
        }
        self.now.set(step);
        for step in before + 1..=step.min(before + STEPS) {
            let Some(counts) = self.steps.get((step % STEPS) as usize) else { return };
            for (all, own) in [(&self.all.requests, &counts.requests), (&self.all.retries, &counts.retries)] {
                all.set(all.get().saturating_sub(own.take()));
            }
        }
    }

    fn count(&self, of: impl Fn(&Counts) -> &Cell<u64>) {
        add(of(&self.all), 1);
        if let Some(counts) = self.steps.get((self.now.get() % STEPS) as usize) {
            add(of(counts), 1);
        }
    }

    /// A request comes.
    #[inline]
    pub fn asked(&self, now: Instant) {
        self.turn(now);
        self.count(|counts| &counts.requests);
    }

    /// Takes one retry, where one is left.
    pub fn take(&self, now: Instant) -> bool {
        self.turn(now);
        let is_left = self.share.is_none_or(|share| {
            let part = u128::from(self.all.requests.get()) * u128::from(share) / 1_000_000;
            u128::from(self.all.retries.get()) < part
        });
        let step = self.now.get();
        // Counted before it is looked: two cores must not both take the last one.
        self.retries.add(step, 1);
        let may = is_left || self.retries.all(step) <= self.floor;
        if may {
            self.count(|counts| &counts.retries);
        } else {
            self.retries.add(step, -1);
        }
        may
    }

    /// Makes place for so many bytes of a request body, unless all bodies then had more than `most`.
    pub fn keep(&self, bytes: usize, most: u64) -> bool {
        let kept = self.kept.get().saturating_add(bytes as u64);
        let fits = kept <= most;
        if fits {
            self.kept.set(kept);
        }
        fits
    }

    /// Gives place back.
    pub fn let_go(&self, bytes: usize) {
        self.kept.set(self.kept.get().saturating_sub(bytes as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const WINDOW: u64 = 1_000;

    fn budget(share: Option<u32>, floor: u32, window: Duration) -> Budget {
        let retry = Retry { budget: share, budget_floor: floor, budget_window: window, ..Retry::default() };
        Budget::new(&retry, &Arc::default())
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_share_of_the_requests_and_a_few_in_any_case() {
        let budget = budget(Some(200_000), 3, Duration::from_secs(1));
        let left = |budget: &Budget| (0..1_000).take_while(|_| budget.take(at(5))).count();
        assert_eq!(left(&budget), 3);
        (0..100).for_each(|_| budget.asked(at(5)));
        assert_eq!(left(&budget), 17);
        // A window later nothing of that counts.
        assert!(budget.take(at(1_200_000_000)));
    }

    #[test]
    fn the_few_in_any_case_are_those_of_all_cores_together() {
        let retry = Retry { budget: Some(100_000), budget_floor: 4, ..Retry::default() };
        let (window, all) = (retry.budget_window, Arc::default());
        let cores = [(); 3].map(|()| Budget::new(&retry, &all));
        let floor = 4 * window.as_secs();
        let taken = (0..1_000).filter(|turn| cores[turn % 3].take(at(7))).count() as u64;
        assert_eq!(taken, floor);
        // Its own part of its own requests is each core's beside that.
        (0..2_000).for_each(|_| cores[1].asked(at(8)));
        assert!(!cores[0].take(at(8)) && cores[1].take(at(8)) && !cores[2].take(at(8)));
        let later = at(0) + 2 * window;
        assert_eq!((0..1_000).filter(|turn| cores[turn % 3].take(later)).count() as u64, floor);
    }

    #[test]
    fn off_is_any_number_and_nothing_is_none() {
        let all = budget(None, 0, Duration::from_secs(1));
        assert!((0..1_000).all(|_| all.take(at(1))));
        let none = budget(Some(0), 0, Duration::from_secs(1));
        (0..100).for_each(|_| none.asked(at(1)));
        assert!(!none.take(at(1)));
    }

    #[test]
    fn bodies_are_kept_up_to_their_limit() {
        let budget = budget(None, 0, Duration::from_secs(1));
        assert!(budget.keep(60, 100) && !budget.keep(41, 100) && budget.keep(40, 100));
        budget.let_go(60);
        assert!(budget.keep(60, 100) && !budget.keep(1, 100));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_all_that_happened(
            share in 0u32..=1_000_000,
            steps in proptest::collection::vec((0u64..400, 0usize..12, 0usize..6), 0..60),
        ) {
            let budget = budget(Some(share), 0, Duration::from_nanos(WINDOW));
            let (mut now, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (pause, asked, taken) in steps {
                now += pause;
                for _ in 0..asked {
                    budget.asked(at(now));
                    requests.push(now);
                }
                for _ in 0..taken {
                    let first = (now / (WINDOW / STEPS) + 1).saturating_sub(STEPS) * (WINDOW / STEPS);
                    let recent = |all: &[u64]| all.iter().filter(|at| **at >= first).count() as u64;
                    let wanted = recent(&retries) < recent(&requests) * u64::from(share) / 1_000_000;
                    prop_assert_eq!(budget.take(at(now)), wanted);
                    if wanted {
                        retries.push(now);
                    }
                }
            }
        }
    }
}
