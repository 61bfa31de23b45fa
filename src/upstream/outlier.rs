//! Outliers: an endpoint whose answers are bad is left out for a time, longer each time that it was to no avail.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::window::Window;
use crate::plan;

/// What is known of one endpoint, for as long as plans have it.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// Until when it is left out, or was the last time, in nanoseconds.
    until: AtomicU64,
    /// How often in a row it was.
    level: AtomicU32,
    /// Failures in a row.
    row: AtomicU32,
    window: Window,
    /// How long its answers take to begin, in nanoseconds, and of how many answers that is known. Where cores write at once
    /// one of them may be lost: it is a mean.
    time: AtomicU64,
    answers: AtomicU32,
    /// When that is compared with others next, in nanoseconds.
    compares: AtomicU64,
}

impl Outlier {
    /// How a request went. When the endpoint should be left out: the key of the plan that asks for it.
    pub(super) fn report(&self, plan: &plan::Outlier, failed: bool, now: Instant) -> Option<&'static str> {
        let counts = self.window.add(plan.window, failed, false, now);
        if !failed {
            if self.row.load(Ordering::Relaxed) != 0 {
                self.row.store(0, Ordering::Relaxed);
            }
            return None;
        }
        let row = self.row.fetch_add(1, Ordering::Relaxed) + 1;
        let is_bad = |ratio| counts.are_at_least(counts.failed, ratio);
        if plan.consecutive_failures.is_some_and(|most| row >= most) {
            Some("consecutive_failures")
        } else if counts.all >= u64::from(plan.min_requests) && plan.failure_ratio.is_some_and(is_bad) {
            Some("failure_ratio")
        } else {
            None
        }
    }

    /// An answer took so long to begin.
    pub(super) fn took(&self, took: Duration) {
        /// The part of an answer in the mean.
        const PART: u64 = 16;
        let (took, before) = (took.as_nanos() as u64, self.time.load(Ordering::Relaxed));
        let known = self.answers.load(Ordering::Relaxed);
        let mean = if known == 0 { took } else { before - before / PART + took / PART };
        self.time.store(mean, Ordering::Relaxed);
        self.answers.store(known.saturating_add(1), Ordering::Relaxed);
    }

    /// How long its answers take to begin, in nanoseconds, where enough of them are known.
    pub(super) fn time(&self, plan: &plan::Outlier) -> Option<u64> {
        let is_known = self.answers.load(Ordering::Relaxed) >= plan.min_requests;
        is_known.then(|| self.time.load(Ordering::Relaxed))
    }

    /// Whether its times are to be compared with others: ten times in a window, as that looks at every endpoint.
    pub(super) fn compares(&self, plan: &plan::Outlier, now: Instant) -> bool {
        let (now, due) = (now.as_nanos(), self.compares.load(Ordering::Relaxed));
        let next = now + plan.window.as_nanos() as u64 / 10;
        now >= due && self.compares.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It is left out from now on: until when.
    pub(super) fn eject(&self, plan: &plan::Outlier, now: Instant) -> Instant {
        let back = Instant::from_nanos(self.until.load(Ordering::Relaxed));
        // Each while that it was in again and well is one time forgotten.
        let forgotten = now.since(back).as_nanos() / plan.eject_for.as_nanos().max(1);
        let level = u128::from(self.level.load(Ordering::Relaxed)).saturating_sub(forgotten).min(30) as u32;
        self.level.store(level + 1, Ordering::Relaxed);
        let until = now + time(plan, level);
        self.until.store(until.as_nanos(), Ordering::Relaxed);
        until
    }

    /// Until when it is left out, if it is.
    pub(super) fn until(&self) -> Instant {
        Instant::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// It is in again, with a clean slate.
    pub(super) fn forget(&self) {
        self.window.clear();
        self.row.store(0, Ordering::Relaxed);
        self.answers.store(0, Ordering::Relaxed);
    }
}

/// How long an endpoint is left out that was so often before.
fn time(plan: &plan::Outlier, level: u32) -> Duration {
    plan.eject_for.saturating_mul(1 << level.min(30)).min(plan.max_eject_for)
}

/// How many of so many endpoints may be left out: at least one where there are others.
pub(super) fn most_ejected(plan: &plan::Outlier, endpoints: usize) -> usize {
    let part = (endpoints as u64 * u64::from(plan.max_ejected) / 1_000_000) as usize;
    if endpoints > 1 && plan.max_ejected > 0 { part.max(1) } else { part.min(endpoints.saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn failures_in_a_row_and_a_ratio_tell_an_outlier() {
        let plan = plan::Outlier { consecutive_failures: Some(3), failure_ratio: None, ..plan::Outlier::default() };
        let outlier = Outlier::default();
        let told = [true, true, false, true, true, true].map(|failed| outlier.report(&plan, failed, at(1)));
        assert_eq!(told, [None, None, None, None, None, Some("consecutive_failures")]);
        let plan = plan::Outlier { consecutive_failures: None, min_requests: 4, ..plan::Outlier::default() };
        let outlier = Outlier::default();
        let told = [true, false, true, false, true].map(|failed| outlier.report(&plan, failed, at(1)));
        assert_eq!(told, [None, None, None, None, Some("failure_ratio")]);
    }

    #[test]
    fn each_time_it_is_out_for_twice_as_long_until_it_was_well_for_a_while() {
        let (plan, outlier) = (plan::Outlier::default(), Outlier::default());
        let mut now = at(1_000);
        for seconds in [30, 60, 120, 240, 300, 300] {
            let until = outlier.eject(&plan, now);
            assert_eq!(until.since(now), Duration::from_secs(seconds));
            now = until;
        }
        // Four times thirty seconds forget four times.
        let until = outlier.eject(&plan, now + Duration::from_mins(2));
        assert_eq!(until.since(now + Duration::from_mins(2)), Duration::from_mins(2));
        let much_later = until + Duration::from_hours(1);
        assert_eq!(outlier.eject(&plan, much_later).since(much_later), Duration::from_secs(30));
    }

    #[test]
    fn only_a_part_may_be_out_and_never_the_only_one() {
        let most =
            |max_ejected, endpoints| most_ejected(&plan::Outlier { max_ejected, ..Default::default() }, endpoints);
        let found: Vec<_> = (0..6).map(|endpoints| most(500_000, endpoints)).collect();
        assert_eq!(found, [0, 0, 1, 1, 2, 2]);
        assert_eq!([most(100_000, 5), most(0, 5), most(1_000_000, 5), most(1_000_000, 1)], [1, 0, 5, 0]);
    }
}
