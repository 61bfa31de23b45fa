//! Breakers: what fails too often is not asked for a time, then by a few requests, then as before.
//!
//! ```text
//!            too many failures                 its time has passed
//!   closed ---------------------> open ------------------------------> half-open
//!      ^                           ^  one probe failed: open for longer   |  |
//!      |                           '--------------------------------------'  |
//!      '---------------------------------------------------------------------'
//!                               all probes went well
//! ```
//!
//! One word says all of a breaker's state, so each change of it is one compare-and-swap, whichever core makes it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::Outcome;
use super::window::Window;
use crate::plan;

/// How a breaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go through.
    #[default]
    Closed,
    /// None goes through.
    Open,
    /// A few go through, to see how they fare.
    HalfOpen,
    /// None goes through until somebody closes it.
    HeldOpen,
}

impl BreakerState {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::HeldOpen => "held open",
        }
    }
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// As any other.
    Plain,
    /// As one of the probes of the round that ends then.
    Probe(u64),
    /// As the first of them after the breaker was open: with it the breaker is half-open.
    First(u64),
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    pub(super) from: BreakerState,
    pub(super) to: BreakerState,
    /// The key of the plan that asks for it, or what came of the probes.
    pub(super) why: &'static str,
}

/// The state, in 64 bits: until when in milliseconds, times it opened without closing, probes sent and probes that
/// went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    until: u64,
    kind: BreakerState,
    level: u8,
    sent: u8,
    well: u8,
}

const MOST_LEVEL: u8 = 31;

impl State {
    fn of(word: u64) -> Self {
        let kind = match word >> 21 & 3 {
            0 => BreakerState::Closed,
            1 => BreakerState::Open,
            2 => BreakerState::HalfOpen,
            _ => BreakerState::HeldOpen,
        };
        Self { until: word >> 23, kind, level: (word >> 16 & 31) as u8, sent: (word >> 8) as u8, well: word as u8 }
    }

    fn word(self) -> u64 {
        self.until << 23
            | (self.kind as u64) << 21
            | u64::from(self.level & MOST_LEVEL) << 16
            | u64::from(self.sent) << 8
            | u64::from(self.well)
    }

    /// Open once more. `random` picks how much longer than it must.
    fn opened(self, plan: &plan::Breaker, random: u64, now: u64) -> Self {
        let grown = plan.open_for.saturating_mul(1 << self.level.min(MOST_LEVEL - 1)).min(plan.max_open_for);
        let chance = (u128::from(plan.jitter) * u128::from(random as u32)) >> 32;
        let longer = u128::from(millis(grown)) * chance / 1_000_000;
        let until = now + millis(grown).max(1) + longer as u64;
        Self { until, kind: BreakerState::Open, level: (self.level + 1).min(MOST_LEVEL), sent: 0, well: 0 }
    }

    /// After what time brings.
    fn at(self, plan: &plan::Breaker, now: u64) -> Self {
        match self.kind {
            // Probes that nothing is heard of for so long are sent anew.
            BreakerState::Open | BreakerState::HalfOpen if now >= self.until => {
                let until = now + millis(plan.open_for).max(1);
                Self { until, kind: BreakerState::HalfOpen, sent: 0, well: 0, ..self }
            }
            _ => self,
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// A breaker, for as long as plans have it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Breaker {
    word: AtomicU64,
    /// Failures in a row.
    row: AtomicU32,
    window: Window,
}

impl Breaker {
    fn load(&self) -> State {
        State::of(self.word.load(Ordering::Relaxed))
    }

    /// Replaces the state by what `change` makes of it: the state before and the one after, or nothing where `change`
    /// wants none.
    fn change(&self, change: impl Fn(State) -> Option<State>) -> Option<(State, State)> {
        let update = |word| change(State::of(word)).map(State::word);
        let before = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok()?;
        Some((State::of(before), change(State::of(before))?))
    }

    /// How it is now.
    pub(super) fn state(&self, plan: &plan::Breaker, now: Instant) -> BreakerState {
        self.load().at(plan, now.as_nanos() / 1_000_000).kind
    }

    /// Until when it is open or half-open, where that ends by itself.
    pub(super) fn until(&self) -> Option<Instant> {
        let state = self.load();
        matches!(state.kind, BreakerState::Open | BreakerState::HalfOpen)
            .then(|| Instant::from_nanos(state.until.saturating_mul(1_000_000)))
    }

    /// Whether [`Self::leave`] would give leave.
    pub(super) fn would_leave(&self, plan: &plan::Breaker, now: Instant) -> bool {
        let state = self.load();
        if state.kind == BreakerState::Closed {
            return true;
        }
        let state = state.at(plan, now.as_nanos() / 1_000_000);
        state.kind == BreakerState::HalfOpen && u32::from(state.sent) < plan.probes
    }

    /// Leave to send a request, which must be told of with [`Self::report`].
    pub(super) fn leave(&self, plan: &plan::Breaker, now: Instant) -> Option<Leave> {
        if self.load().kind == BreakerState::Closed {
            return Some(Leave::Plain);
        }
        let now = now.as_nanos() / 1_000_000;
        let (before, after) = self.change(|state| {
            let state = state.at(plan, now);
            match state.kind {
                BreakerState::Closed => Some(state),
                BreakerState::HalfOpen if u32::from(state.sent) < plan.probes => {
                    Some(State { sent: state.sent + 1, ..state })
                }
                _ => None,
            }
        })?;
        Some(match (before.kind, after.kind) {
            (_, BreakerState::Closed) => Leave::Plain,
            (BreakerState::Open, _) => Leave::First(after.until),
            _ => Leave::Probe(after.until),
        })
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
        let millis = now.as_nanos() / 1_000_000;
        if let Leave::Probe(round) | Leave::First(round) = leave {
            return self.probed(plan, round, outcome, random, millis);
        }
        let slow = matches!((outcome, plan.slow), (Outcome::Answered(_, took), Some(slow)) if took > slow);
        let failed = outcome.has_failed()?;
        // What was sent before it opened says nothing of how things are since.
        if self.load().kind != BreakerState::Closed {
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
        self.change(|state| (state.kind == BreakerState::Closed).then(|| state.opened(plan, random, millis)))?;
        self.forget();
        Some(Turned { from: BreakerState::Closed, to: BreakerState::Open, why })
    }

    fn probed(&self, plan: &plan::Breaker, round: u64, outcome: Outcome, random: u64, now: u64) -> Option<Turned> {
        let is_of_round = |state: State| state.kind == BreakerState::HalfOpen && state.until == round;
        let slow = matches!((outcome, plan.slow), (Outcome::Answered(_, took), Some(slow)) if took > slow);
        let (_, after) = self.change(|state| {
            is_of_round(state).then(|| match outcome.has_failed() {
                // Another may go in its place.
                None => State { sent: state.sent.saturating_sub(1), ..state },
                Some(failed) if failed || slow => state.opened(plan, random, now),
                Some(_) if u32::from(state.well) + 1 >= plan.probes => State::default(),
                Some(_) => State { well: state.well + 1, ..state },
            })
        })?;
        match after.kind {
            BreakerState::Open => {
                Some(Turned { from: BreakerState::HalfOpen, to: BreakerState::Open, why: "probe_failed" })
            }
            BreakerState::Closed => {
                self.forget();
                Some(Turned { from: BreakerState::HalfOpen, to: BreakerState::Closed, why: "probes_passed" })
            }
            _ => None,
        }
    }

    /// Opens it until it is closed by hand, or closes it. True when that changed something.
    pub(super) fn hold(&self, is_open: bool) -> bool {
        let kind = if is_open { BreakerState::HeldOpen } else { BreakerState::Closed };
        let before = State::of(self.word.swap(State { kind, ..State::default() }.word(), Ordering::Relaxed));
        self.forget();
        before.kind != kind
    }

    /// Closes it, for good. How it was, unless it was closed.
    pub(super) fn close(&self) -> Option<BreakerState> {
        if self.load().kind == BreakerState::Closed {
            return None;
        }
        let before = State::of(self.word.swap(State::default().word(), Ordering::Relaxed));
        self.forget();
        (before.kind != BreakerState::Closed).then_some(before.kind)
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

    #[test]
    fn chance_makes_it_longer_by_no_more_than_its_part() {
        let plan = plan::Breaker { jitter: 200_000, ..plan() };
        let times =
            [0, u64::from(u32::MAX) / 2, u64::MAX].map(|random| State::default().opened(&plan, random, 0).until);
        assert_eq!(times, [30_000, 32_999, 35_999]);
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_written(until in 0u64..1 << 41, kind in 0usize..4, level in 0u8..32, sent: u8, well: u8) {
            let kind = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen, BreakerState::HeldOpen][kind];
            let state = State { until, kind, level, sent, well };
            prop_assert_eq!(State::of(state.word()), state);
        }

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
