//! Breakers: what fails too often is not asked for a time, then by a few requests, then as before.
//!
//! What requests make of it is decided here; the state itself is one word, a [`Gate`], which all cores share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringway_runtime::clock::Instant;
pub(super) use ringway_runtime::mesh::gate::Leave;
use ringway_runtime::mesh::gate::{Change, Gate, Probed, Rule};

use super::window::Window;
use super::{BreakerState, Outcome};
use crate::plan;

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) from: BreakerState,
    pub(super) to: BreakerState,
    /// The key of the plan that asks for it, or what came of the probes.
    pub(super) why: &'static str,
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn rule(plan: &plan::Breaker) -> Rule {
    Rule {
        open_for: millis(plan.open_for),
        max_open_for: millis(plan.max_open_for),
        jitter: plan.jitter,
        probes: plan.probes,
    }
}

fn at(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000
}

/// A breaker, for as long as plans have it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Breaker {
    gate: Gate,
    /// Failures in a row.
    row: AtomicU32,
    window: Window,
}

impl Breaker {
    /// How it is now.
    pub(super) fn state(&self, plan: &plan::Breaker, now: Instant) -> BreakerState {
        self.gate.state(&rule(plan), at(now))
    }

    /// Until when it is open or half-open, where that ends by itself.
    pub(super) fn until(&self) -> Option<Instant> {
        self.gate.until().map(|until| Instant::from_nanos(until.saturating_mul(1_000_000)))
    }

    /// Whether [`Self::leave`] would give leave.
    pub(super) fn would_leave(&self, plan: &plan::Breaker, now: Instant) -> bool {
        self.gate.would_leave(&rule(plan), at(now))
    }

    /// Leave to send a request, which must be told of with [`Self::report`].
    pub(super) fn leave(&self, plan: &plan::Breaker, now: Instant) -> Option<Leave> {
        self.gate.leave(&rule(plan), at(now))
    }

    /// How a request went that had leave.
    pub(super) fn report(
        &self,
        plan: &plan::Breaker,
        leave: Leave,
        outcome: Outcome,
        random: u64,
        now: Instant,
    ) -> Option<Turned> {
        let slow = matches!((outcome, plan.slow), (Outcome::Answered(_, took), Some(slow)) if took > slow);
        if let Leave::Probe(round) | Leave::First(round) = leave {
            let how = match outcome.has_failed() {
                None => Probed::Nothing,
                Some(failed) if failed || slow => Probed::Failed,
                Some(_) => Probed::Well,
            };
            return Some(match self.gate.probed(&rule(plan), round, how, random, at(now))? {
                Change::Opened => Turned { from: BreakerState::HalfOpen, to: BreakerState::Open, why: "probe_failed" },
                Change::Closed => {
                    self.forget();
                    Turned { from: BreakerState::HalfOpen, to: BreakerState::Closed, why: "probes_passed" }
                }
            });
        }
        let failed = outcome.has_failed()?;
        // What was sent before it opened says nothing of how things are since.
        if !self.gate.is_closed() {
            return None;
        }
        let counts = self.window.add(plan.window, failed, slow, now);
        // A write for each good answer would be one too many.
        let row = if failed {
            self.row.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            if self.row.load(Ordering::Relaxed) != 0 {
                self.row.store(0, Ordering::Relaxed);
            }
            0
        };
        let is_enough = counts.all >= u64::from(plan.min_requests);
        let why = if failed && plan.consecutive_failures.is_some_and(|most| row >= most) {
            "consecutive_failures"
        } else if is_enough
            && failed
            && plan.failure_ratio.is_some_and(|ratio| counts.are_at_least(counts.failed, ratio))
        {
            "failure_ratio"
        } else if is_enough && slow && counts.are_at_least(counts.slow, plan.slow_ratio) {
            "slow_ratio"
        } else {
            return None;
        };
        if !self.gate.trip(&rule(plan), random, at(now)) {
            return None;
        }
        self.forget();
        Some(Turned { from: BreakerState::Closed, to: BreakerState::Open, why })
    }

    /// Opens it until it is closed by hand, or closes it. True when that changed something.
    pub(super) fn hold(&self, is_open: bool) -> bool {
        let has_changed = self.gate.hold(is_open);
        self.forget();
        has_changed
    }

    /// Closes it, for good. How it was, unless it was closed.
    pub(super) fn close(&self) -> Option<BreakerState> {
        if self.gate.is_closed() {
            return None;
        }
        let before = self.gate.close();
        self.forget();
        (before != BreakerState::Closed).then_some(before)
    }

    fn forget(&self) {
        self.window.clear();
        self.row.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan() -> plan::Breaker {
        plan::Breaker { min_requests: 4, jitter: 0, ..plan::Breaker::default() }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered(status, Duration::from_millis(1))
    }

    /// It was closed, and opened for that.
    fn opened(why: &'static str) -> Turned {
        Turned { from: BreakerState::Closed, to: BreakerState::Open, why }
    }

    /// Sends one request at a time, where it gets leave.
    fn send(breaker: &Breaker, plan: &plan::Breaker, status: u16, millis: u64) -> (bool, Option<Turned>) {
        let Some(leave) = breaker.leave(plan, at(millis)) else { return (false, None) };
        (true, breaker.report(plan, leave, answered(status), 0, at(millis)))
    }

    #[test]
    fn it_opens_at_its_ratio_once_there_are_requests_enough() {
        let (breaker, plan) = (Breaker::default(), plan());
        let changes: Vec<_> = [500, 500, 200, 503].map(|status| send(&breaker, &plan, status, 5)).into();
        assert_eq!(changes, [(true, None), (true, None), (true, None), (true, Some(opened("failure_ratio")))]);
        assert_eq!(breaker.state(&plan, at(6)), BreakerState::Open);
        assert_eq!(send(&breaker, &plan, 200, 30_004), (false, None));
        // Few failures among many do not open it.
        let breaker = Breaker::default();
        for request in 0..100 {
            assert_eq!(send(&breaker, &plan, if request % 3 == 1 { 500 } else { 200 }, 5), (true, None), "{request}");
        }
    }

    #[test]
    fn failures_that_are_long_past_do_not_count() {
        let (breaker, plan) = (Breaker::default(), plan());
        for request in 0..100 {
            let now = request * 4_000;
            assert_eq!(send(&breaker, &plan, 500, now), (true, None), "{request}");
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_slow_answers_do() {
        let in_a_row = plan::Breaker { failure_ratio: None, consecutive_failures: Some(3), ..plan() };
        let breaker = Breaker::default();
        for status in [500, 500, 200, 500, 500] {
            assert_eq!(send(&breaker, &in_a_row, status, 5), (true, None));
        }
        assert_eq!(send(&breaker, &in_a_row, 500, 5), (true, Some(opened("consecutive_failures"))));
        let slow = plan::Breaker { slow: Some(Duration::from_millis(100)), ..plan() };
        let breaker = Breaker::default();
        let answer = |took| {
            let leave = breaker.leave(&slow, at(1)).unwrap();
            breaker.report(&slow, leave, Outcome::Answered(200, Duration::from_millis(took)), 0, at(1))
        };
        assert_eq!(
            [answer(90), answer(101), answer(100), answer(3_000)],
            [None, None, None, Some(opened("slow_ratio"))]
        );
    }

    #[test]
    fn half_open_it_lets_so_many_through_and_closes_when_all_go_well() {
        let (breaker, plan) = (Breaker::default(), plan());
        for _ in 0..4 {
            send(&breaker, &plan, 500, 0);
        }
        let leaves: Vec<_> = (0..10).filter_map(|_| breaker.leave(&plan, at(30_000))).collect();
        let is_first = leaves.iter().map(|leave| matches!(leave, Leave::First(_))).collect::<Vec<_>>();
        assert_eq!(is_first, [true, false, false], "the first one tells that it is half-open");
        assert_eq!(leaves.len(), 3);
        // Who has nothing to tell gives its place back.
        assert_eq!(breaker.report(&plan, leaves[0], Outcome::Unknown, 0, at(30_001)), None);
        let again = breaker.leave(&plan, at(30_001)).unwrap();
        assert_eq!(breaker.leave(&plan, at(30_001)), None);
        let all = [leaves[1], leaves[2], again].map(|leave| breaker.report(&plan, leave, answered(200), 0, at(30_002)));
        let closed = Turned { from: BreakerState::HalfOpen, to: BreakerState::Closed, why: "probes_passed" };
        assert_eq!(all, [None, None, Some(closed)]);
        // What failed before is forgotten.
        assert_eq!(send(&breaker, &plan, 500, 30_003), (true, None));
    }

    #[test]
    fn each_failed_probe_makes_it_stay_open_for_longer_up_to_the_most() {
        let (breaker, plan) = (Breaker::default(), plan());
        for _ in 0..4 {
            send(&breaker, &plan, 500, 0);
        }
        let mut now = 30_000;
        for seconds in [60, 120, 240, 300, 300] {
            let (is_sent, turned) = send(&breaker, &plan, 500, now);
            assert!(is_sent && turned.is_some_and(|turned| turned.to == BreakerState::Open));
            let until = breaker.until().unwrap();
            assert_eq!(until.since(at(now)), Duration::from_secs(seconds));
            now = until.as_nanos() / 1_000_000;
        }
    }

    #[test]
    fn probes_that_are_never_heard_of_are_sent_anew_and_come_too_late() {
        let (breaker, plan) = (Breaker::default(), plan());
        for _ in 0..4 {
            send(&breaker, &plan, 500, 0);
        }
        let lost = breaker.leave(&plan, at(30_000)).unwrap();
        for _ in 0..2 {
            breaker.leave(&plan, at(30_000)).unwrap();
        }
        assert_eq!(breaker.leave(&plan, at(59_999)), None);
        assert!(breaker.leave(&plan, at(60_000)).is_some());
        assert_eq!(breaker.report(&plan, lost, answered(500), 0, at(60_001)), None);
        assert_eq!(breaker.state(&plan, at(60_001)), BreakerState::HalfOpen);
    }

    #[test]
    fn by_hand_it_is_open_until_it_is_closed_by_hand() {
        let (breaker, plan) = (Breaker::default(), plan());
        let before = breaker.leave(&plan, at(0)).unwrap();
        assert!(breaker.hold(true) && !breaker.hold(true));
        assert_eq!(breaker.report(&plan, before, answered(200), 0, at(1)), None);
        assert_eq!((breaker.leave(&plan, at(u64::MAX >> 30)), breaker.until()), (None, None));
        assert_eq!(breaker.state(&plan, at(1)), BreakerState::HeldOpen);
        assert!(breaker.hold(false));
        assert_eq!(send(&breaker, &plan, 200, 2), (true, None));
    }

    proptest! {
        /// Whatever happens, no more are under way in a round than its probes, and the breaker never stays stuck.
        #[test]
        fn no_round_sends_more_than_its_probes(steps in prop::collection::vec((0u8..4, 0u64..20_000, any::<u64>()), 1..300)) {
            let (breaker, plan) = (Breaker::default(), plan());
            let (mut now, mut under_way, mut of_round) = (0, Vec::new(), std::collections::HashMap::new());
            for (step, gone, random) in steps {
                now += gone;
                match step {
                    0 | 1 => {
                        let would = breaker.would_leave(&plan, at(now));
                        let leave = breaker.leave(&plan, at(now));
                        prop_assert_eq!(would, leave.is_some());
                        if let Some(Leave::Probe(round) | Leave::First(round)) = leave {
                            *of_round.entry(round).or_insert(0u32) += 1;
                            prop_assert!(of_round[&round] <= plan.probes);
                        }
                        under_way.extend(leave);
                    }
                    _ if under_way.is_empty() => {}
                    _ => {
                        let leave = under_way.swap_remove(random as usize % under_way.len());
                        let outcome = [answered(200), answered(500), answered(503), Outcome::Unknown][random as usize / 7 % 4];
                        breaker.report(&plan, leave, outcome, random, at(now));
                        if let (Leave::Probe(round) | Leave::First(round), Outcome::Unknown) = (leave, outcome) {
                            *of_round.entry(round).or_insert(0) -= 1;
                        }
                    }
                }
            }
            // After the longest time it may be open, it takes requests, and good ones close it.
            now += 1_000_000;
            for _ in 0..plan.probes {
                prop_assert!(send(&breaker, &plan, 200, now).0);
            }
            prop_assert_eq!(breaker.state(&plan, at(now)), BreakerState::Closed);
        }
    }
}
