//! Peak-EWMA: of two endpoints drawn by weight, the one whose recent response time, times what it has under way, is
//! less. The mean rises with every peak at once and falls slowly, so that an endpoint which turns slow is left early.

use std::cell::Cell;

use ringway_runtime::clock::Instant;

use super::random::Draw;
use super::{View, two_choices};

/// The mean of one endpoint's response times, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct PeakEwma {
    mean: Cell<f64>,
    /// When it was last told of an answer.
    at: Cell<Instant>,
}

/// What is left of a mean after so long: *e^(−nanos/decay)*, to seven digits where it is asked for soon, which is nearly
/// always.
fn fade(nanos: u64, decay: f64) -> f64 {
    const SOON: f64 = 0.005;
    let age = nanos as f64 / decay;
    if age < SOON { 1.0 - age + age * age / 2.0 } else { (-age).exp() }
}

impl PeakEwma {
    /// Takes an answer that took so many nanoseconds, where so much is left of the one before.
    pub(super) fn add(&self, took: f64, now: Instant, left: f64) {
        let mean = self.mean.get();
        self.mean.set(if took > mean { took } else { mean * left + took * (1.0 - left) });
        self.at.set(now);
    }

    /// What is left by now of what the last answer said.
    pub(super) fn left(&self, now: Instant, decay: f64) -> f64 {
        fade(now.nanos_since(self.at.get()), decay)
    }

    /// The mean where so much of it is left: what was not heard of for long is forgotten, and so tried again.
    pub(super) fn faded(&self, left: f64) -> f64 {
        self.mean.get() * left
    }

    /// The mean now.
    pub(super) fn now(&self, now: Instant, decay: f64) -> f64 {
        self.faded(self.left(now, decay))
    }

    /// When it was last told of an answer; the start of time where it never was.
    pub(super) fn at(&self) -> Instant {
        self.at.get()
    }

    /// What it makes of the next answer.
    pub(super) fn expects(&self, view: &View<'_>, decay: f64) -> f64 {
        // Of one that has not answered yet it is known only that it has something to do.
        if self.at.get() == Instant::default() { view.mean() } else { self.now(view.now(), decay) }
    }
}

pub(super) fn pick(draw: &Draw, decay: f64, view: &View<'_>) -> Option<u32> {
    let (first, second) = two_choices::pair(draw, view)?;
    let cost = |at: u32| {
        let requests = view.requests(at);
        // One that was never asked is asked once.
        let Some(model) = view.model(at) else { return f64::INFINITY };
        if model.peak.at() == Instant::default() && requests == 0 {
            return 0.0;
        }
        model.peak.expects(view, decay) * (f64::from(requests) + 1.0)
    };
    Some(if cost(second) < cost(first) { second } else { first })
}
