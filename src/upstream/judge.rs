//! What the ends of exchanges say of endpoints, and who may be asked next.

use std::sync::atomic::Ordering;

use ringway_runtime::clock::Instant;

use super::breaker::{Leave, Turned};
use super::health::Known;
use super::news::{BY_PLAN, Change};
use super::outlier::most_ejected;
use super::shared::Endpoint;
use super::{BreakerState, Cause, Checked, Outcome, Shared};
use crate::plan;

/// What is known of the health of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthSight {
    /// How its last check ended.
    pub checked: Checked,
    /// Its breaker.
    pub breaker: BreakerState,
}

impl Shared {
    /// The breakers of endpoints, where they have some.
    fn of_endpoints(&self) -> Option<&plan::Breaker> {
        self.upstream().breaker.as_ref().filter(|plan| plan.of_endpoints)
    }

    /// The breaker of the upstream, where it has one.
    fn of_upstream(&self) -> Option<&plan::Breaker> {
        self.upstream().breaker.as_ref().filter(|plan| plan.of_upstream)
    }

    /// Whether anybody wants to know how requests went.
    pub(super) fn judges(&self) -> bool {
        self.upstream().breaker.is_some() || self.upstream().outlier.is_some()
    }

    pub(super) fn has_breakers(&self) -> bool {
        self.of_endpoints().is_some()
    }

    /// Whether [`Self::leave_at`] would give leave.
    pub(super) fn would_leave_at(&self, endpoint: usize, now: Instant) -> bool {
        let Some(plan) = self.of_endpoints() else { return true };
        self.endpoints.get(endpoint).is_some_and(|endpoint| endpoint.breaker.would_leave(plan, now))
    }

    /// Leave to send one request to an endpoint.
    pub(super) fn leave_at(&self, endpoint: usize, now: Instant) -> Option<Leave> {
        let Some(plan) = self.of_endpoints() else { return Some(Leave::Plain) };
        self.endpoints.get(endpoint)?.breaker.leave(plan, now)
    }

    /// Leave to send one request to the upstream.
    pub(super) fn leave(&self, now: Instant) -> Option<Leave> {
        let Some(plan) = self.of_upstream() else { return Some(Leave::Plain) };
        self.breaker.leave(plan, now)
    }

    /// When a breaker that is open lets some through, as far as that is known.
    pub(super) fn opens(&self) -> Option<Instant> {
        let of_upstream = self.of_upstream().and_then(|_| self.breaker.until());
        let of_endpoints = self.endpoints.iter().filter_map(|endpoint| endpoint.breaker.until());
        of_upstream.or_else(|| of_endpoints.min())
    }

    /// How a request went that had leave to go to the upstream.
    pub(super) fn report(&self, leave: Leave, outcome: Outcome, random: u64, now: Instant) -> Option<Change> {
        let Turned { from, to, why } = self.breaker.report(self.of_upstream()?, leave, outcome, random, now)?;
        Some(Change::breaker(None, from, to, why))
    }

    /// How a request went that had leave to go to an endpoint.
    pub(super) fn report_at(
        &self,
        at: usize,
        leave: Leave,
        outcome: Outcome,
        random: u64,
        now: Instant,
    ) -> [Option<Change>; 2] {
        let Some(endpoint) = self.endpoints.get(at) else { return [None, None] };
        let turned = self.of_endpoints().and_then(|plan| endpoint.breaker.report(plan, leave, outcome, random, now));
        let mut ejected = None;
        if let Some(plan) = &self.upstream().outlier
            && let Some(why) = self.is_outlier(at, endpoint, plan, outcome, now)
            && self.eject(at, plan, now)
        {
            ejected = Some(Change::ejection(at, true, why));
        }
        let turned = turned.map(|Turned { from, to, why }| {
            let is_open = to == BreakerState::Open;
            self.set_standing(at, Cause::Broken, is_open, now);
            if is_open {
                self.is_due(endpoint.breaker.until().unwrap_or(now));
            }
            Change::breaker(Some(at), from, to, why)
        });
        [ejected, turned]
    }

    /// When an endpoint should be left out after a request that went so: the key of the plan that asks for it.
    fn is_outlier(
        &self,
        at: usize,
        endpoint: &Endpoint,
        plan: &plan::Outlier,
        outcome: Outcome,
        now: Instant,
    ) -> Option<&'static str> {
        if let Some(why) = outcome.has_failed().and_then(|failed| endpoint.outlier.report(plan, failed, now)) {
            return Some(why);
        }
        let factor = plan.slow_factor?;
        if let Outcome::Answered(..500, took) | Outcome::Abandoned(took) = outcome {
            endpoint.outlier.took(took);
        }
        let own = endpoint.outlier.time(plan).filter(|_| endpoint.outlier.compares(plan, now))?;
        let is_other = |&(other, _): &(usize, _)| other != at && !self.standing(other).has(Cause::Ejected);
        let others = self.endpoints.iter().enumerate().filter(is_other);
        let (mut known, mut faster) = (0, 0);
        for time in others.filter_map(|(_, other)| other.outlier.time(plan)) {
            known += 1;
            faster += usize::from(time.saturating_mul(u64::from(factor)) <= own);
        }
        (faster > 0 && faster * 2 >= known).then_some("slow_factor")
    }

    /// Leaves an endpoint out for its time, unless too many are.
    fn eject(&self, at: usize, plan: &plan::Outlier, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get(at) else { return false };
        let ejected = || (0..self.endpoints.len()).filter(|&at| self.standing(at).has(Cause::Ejected)).count();
        let most = most_ejected(plan, self.endpoints.len());
        if ejected() >= most || !self.set_standing(at, Cause::Ejected, true, now) {
            return false;
        }
        // Another core may have done so to another one meanwhile.
        if ejected() > most {
            self.set_standing(at, Cause::Ejected, false, now);
            return false;
        }
        self.is_due(endpoint.outlier.eject(plan, now));
        true
    }

    /// Something is to be looked at then.
    fn is_due(&self, at: Instant) {
        self.due.fetch_min(at.as_nanos(), Ordering::AcqRel);
    }

    /// Lets in again who was out for long enough, and tells of it. Most times that is one comparison.
    pub(super) fn look_at_time(&self, now: Instant, mut tell: impl FnMut(Change)) {
        if now.as_nanos() < self.due.load(Ordering::Relaxed) {
            return;
        }
        self.due.swap(u64::MAX, Ordering::AcqRel);
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let standing = self.standing(at);
            if standing.has(Cause::Ejected) {
                let until = endpoint.outlier.until();
                if now >= until {
                    endpoint.outlier.forget();
                    if self.set_standing(at, Cause::Ejected, false, now) {
                        tell(Change::ejection(at, false, "eject_for"));
                    }
                } else {
                    self.is_due(until);
                }
            }
            // What is held open has no end.
            if let (true, Some(until)) = (standing.has(Cause::Broken), endpoint.breaker.until()) {
                if now >= until {
                    // The breaker lets a few through.
                    self.set_standing(at, Cause::Broken, false, now);
                } else {
                    self.is_due(until);
                }
            }
        }
    }

    /// What its plan does not ask for speaks against no endpoint.
    pub(super) fn settle(&self, now: Instant, mut tell: impl FnMut(Change)) {
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            if self.upstream().health.is_none() && self.set_standing(at, Cause::Unhealthy, false, now) {
                tell(Change::health(at, true, BY_PLAN));
            }
            if self.upstream().outlier.is_none() && self.set_standing(at, Cause::Ejected, false, now) {
                endpoint.outlier.forget();
                tell(Change::ejection(at, false, BY_PLAN));
            }
            if self.of_endpoints().is_none() {
                self.set_standing(at, Cause::Broken, false, now);
                if let Some(old) = endpoint.breaker.close() {
                    tell(Change::breaker(Some(at), old, BreakerState::Closed, BY_PLAN));
                }
            }
        }
        if self.of_upstream().is_none()
            && let Some(old) = self.breaker.close()
        {
            tell(Change::breaker(None, old, BreakerState::Closed, BY_PLAN));
        }
        self.due.store(0, Ordering::Release);
    }

    /// Opens the breaker of the upstream, or of an endpoint, until it is closed by hand; or closes it. The error says why
    /// that cannot be.
    pub fn hold_breaker(&self, endpoint: Option<usize>, is_open: bool, now: Instant) -> Result<(), &'static str> {
        let Some(at) = endpoint else {
            self.of_upstream().ok_or("the upstream has no breaker of its own: `breaker.of` does not say so")?;
            self.breaker.hold(is_open);
            return Ok(());
        };
        self.of_endpoints().ok_or("the endpoints of the upstream have no breakers")?;
        if let Some(endpoint) = self.endpoints.get(at) {
            endpoint.breaker.hold(is_open);
            self.set_standing(at, Cause::Broken, is_open, now);
        }
        Ok(())
    }

    /// What the checks of an endpoint said.
    pub(super) fn health(&self, endpoint: usize) -> Option<&Known> {
        Some(&self.endpoints.get(endpoint)?.health)
    }

    /// What is known of the health of an endpoint.
    pub fn health_sight(&self, at: usize, now: Instant) -> HealthSight {
        let Some(endpoint) = self.endpoints.get(at) else { return HealthSight::default() };
        let breaker = self.of_endpoints().map(|plan| endpoint.breaker.state(plan, now)).unwrap_or_default();
        HealthSight { checked: endpoint.health.last(), breaker }
    }

    /// The breaker of the upstream, where it has one.
    pub fn breaker(&self, now: Instant) -> Option<BreakerState> {
        self.of_upstream().map(|plan| self.breaker.state(plan, now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// Shared state of four endpoints, with this outlier ejection.
    fn shared(outlier: &str) -> Arc<Shared> {
        let text = format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\n\
             endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\", \"10.0.0.3:1\", \"10.0.0.4:1\"]\noutlier = {{ {outlier} }}\n\
             [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n"
        );
        let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
        let plan = crate::config::compile("test", &text, 1, &mut resolve);
        Shared::new(&plan.unwrap_or_else(|report| panic!("{report}")).0.upstreams[0], None)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    /// Answers of all endpoints in turn, each in its time: who is ejected, and when.
    fn ejected(shared: &Shared, millis: [u64; 4], turns: u64) -> Vec<(usize, u64)> {
        let mut ejected = Vec::new();
        for turn in 0..turns {
            for (endpoint, took) in millis.into_iter().enumerate() {
                let outcome = Outcome::Answered(200, Duration::from_millis(took));
                let [change, _] = shared.report_at(endpoint, Leave::Plain, outcome, 0, at(turn * 10));
                if let Some(change) = change {
                    assert_eq!((change.new, change.reason), ("ejected", "slow_factor"));
                    ejected.push((endpoint, turn));
                }
            }
        }
        ejected
    }

    #[test]
    fn who_is_much_slower_than_half_of_the_others_is_left_out() {
        let slow = "slow_factor = 3, min_requests = 30, window = \"1s\"";
        // As soon as enough is known of the others as well.
        let [(2, turn)] = ejected(&shared(slow), [10, 12, 40, 11], 100)[..] else { panic!("the third") };
        assert!((29..=40).contains(&turn), "{turn}");
        // Not so much slower, or as all are.
        assert_eq!(ejected(&shared(slow), [10, 12, 25, 11], 100), []);
        assert_eq!(ejected(&shared(slow), [40, 40, 40, 10], 100), []);
        // Two of four may be out, no more.
        assert_eq!(ejected(&shared(slow), [10, 50, 40, 11], 100).len(), 2);
        // Nobody asked for that.
        assert_eq!(ejected(&shared(""), [1, 1, 1_000, 1], 100), []);
        // Too few answers say nothing.
        assert_eq!(ejected(&shared(slow), [10, 12, 40, 11], 29), []);
    }

    #[test]
    fn who_is_in_again_has_a_clean_slate() {
        let shared = shared("slow_factor = 3, min_requests = 20, window = \"1s\", eject_for = \"1s\"");
        assert_eq!(ejected(&shared, [10, 10, 90, 10], 40).len(), 1);
        let mut told = 0;
        shared.look_at_time(at(5_000), |_| told += 1);
        assert_eq!((told, shared.standing(2).has(Cause::Ejected)), (1, false));
        assert_eq!(ejected(&shared, [10, 10, 10, 10], 100), []);
    }
}
