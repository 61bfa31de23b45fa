//! `type = "fault"`: delays and refuses a share of the requests, to see what that does to whoever calls.

use std::cell::Cell;
use std::time::Duration;

use super::Kind;
use crate::config::{DelaySection, Distribution, FaultSection};
use crate::flow::{Refusal, Request, Verdict};
use crate::observe::Reason;
use crate::plan::{Predicate, Templates};

/// A million is every request.
const WHOLE: u32 = 1_000_000;

/// What happens to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// All must hold for a request to be looked at.
    headers: Box<[Predicate]>,
    delay: Option<Delay>,
    abort: Option<Abort>,
    /// Requests one core delays at once.
    max_active: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Delay {
    /// Of a million requests.
    share: u32,
    time: DelaySection,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Abort {
    share: u32,
    status: u16,
}

/// The requests a core delays now.
#[derive(Default)]
pub(crate) struct Active(Cell<u32>);

/// One of them.
struct Place<'a>(&'a Active);

impl Active {
    fn enter(&self) -> Place<'_> {
        self.0.set(self.0.get() + 1);
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// Whether a random number is among the first `share` of a million.
fn falls_in(share: u32, random: u64) -> bool {
    share == WHOLE || (u128::from(random) * u128::from(WHOLE)) >> 64 < u128::from(share)
}

/// The time that a random number stands for.
fn drawn(delay: &DelaySection, random: u64) -> Duration {
    let time = match delay.distribution {
        Distribution::Fixed => delay.time,
        Distribution::Uniform => delay.time.mul_f64(2.0 * unit(random)),
        // Below 1, so that its logarithm is finite; 53 bits make at most 37 times the mean.
        Distribution::Exponential => delay.time.mul_f64(-(1.0 - unit(random)).ln()),
    };
    time.min(delay.max)
}

/// From 0 up to and without 1.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

impl Fault {
    fn abort(&self, request: &Request<'_>) -> Verdict<'_> {
        match &self.abort {
            Some(abort) if falls_in(abort.share, request.random()) => {
                Verdict::Refuse(Refusal::from(Reason::FaultInjected).with_status(abort.status))
            }
            _ => Verdict::Continue,
        }
    }
}

impl Kind for Fault {
    type Section = FaultSection;
    type State = Active;

    fn compile(section: &FaultSection, _templates: &Templates<'_>) -> Option<Self> {
        Some(Self {
            headers: section.headers.clone().into(),
            delay: section.delay.map(|(share, time)| Delay { share, time }),
            abort: section.abort.map(|(share, status)| Abort { share, status }),
            max_active: section.max_active,
        })
    }

    fn core_state(&self) -> Active {
        Active::default()
    }

    fn request(&self, active: &Active, request: &mut Request<'_>) -> Verdict<'_> {
        let fields = request.exchange().fields();
        if !self.headers.iter().all(|predicate| predicate.holds_in(&fields)) {
            return Verdict::Continue;
        }
        match &self.delay {
            Some(delay) if active.0.get() < self.max_active && falls_in(delay.share, request.random()) => Verdict::Wait,
            _ => self.abort(request),
        }
    }

    async fn wait(&self, active: &Active, request: &mut Request<'_>) -> Verdict<'_> {
        if let Some(delay) = &self.delay {
            let _place = active.enter();
            request.sleep(drawn(&delay.time, request.random())).await;
        }
        self.abort(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn shares_are_kept() {
        let mut random = 1u64;
        let mut hits = 0;
        for _ in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            hits += u32::from(falls_in(250_000, random));
        }
        assert!((24_000..26_000).contains(&hits), "{hits} of 100,000");
        assert!(falls_in(WHOLE, u64::MAX) && !falls_in(0, 0) && falls_in(1, 0));
    }

    #[test]
    fn every_distribution_has_its_mean() {
        for distribution in [Distribution::Fixed, Distribution::Uniform, Distribution::Exponential] {
            let delay = DelaySection { time: 10 * MS, distribution, max: 1000 * MS };
            let steps = 100_000u64;
            let sum: f64 = (0..steps).map(|at| drawn(&delay, at * (u64::MAX / steps)).as_secs_f64()).sum();
            let mean = sum / steps as f64;
            assert!((0.0099..0.0101).contains(&mean), "{distribution:?}: {mean} s");
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_in_its_bounds(random: u64, time in 0u64..1000, max in 0u64..1000) {
            let (time, max) = (Duration::from_micros(time), Duration::from_micros(max));
            let drawn = |distribution| drawn(&DelaySection { time, distribution, max }, random);
            prop_assert_eq!(drawn(Distribution::Fixed), time.min(max));
            prop_assert!(drawn(Distribution::Uniform) <= max.min(2 * time));
            prop_assert!(drawn(Distribution::Exponential) <= max);
        }

        #[test]
        fn places_are_given_back(count in 0usize..20) {
            let active = Active::default();
            let places: Vec<_> = (0..count).map(|_| active.enter()).collect();
            prop_assert_eq!(active.0.get() as usize, count);
            drop(places);
            prop_assert_eq!(active.0.get(), 0);
        }
    }
}
