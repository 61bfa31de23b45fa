//! Adaptive: for each endpoint a model that learns its response time while it works, corrected by peak-EWMA.
//! `docs/balancing.md` has the equations and says why they are these.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::random::Draw;
use super::{View, two_choices};

/// Endpoints that one pick looks at.
const CHOICES: usize = 4;
/// Answers before a model is asked.
const YOUNG: u32 = 8;
/// What an older sample counts for beside the next one.
const FORGET: f64 = 0.99;
/// How fast the errors of the predictions, and the level of an endpoint, are forgotten: a sample's part in them.
const STEP: f64 = 1.0 / 32.0;
/// The time before an endpoint that fails is tried again is doubled so often.
const MOST_DOUBLED: u32 = 4;
/// An error, or a difference, of this part of the response time is as good as none.
const RIGHT: f64 = 0.1;
/// The part of a sample in the recent response time: of one that is slower, and of one that is not.
const SLOWER_STEP: f64 = 0.5;
const FASTER_STEP: f64 = 0.25;

/// Recursive least squares over three features.
#[derive(Clone, Copy, Debug)]
struct Squares {
    weights: [f64; 3],
    covariance: [[f64; 3]; 3],
}

impl Default for Squares {
    fn default() -> Self {
        const START: f64 = 10.0;
        Self { weights: [0.0; 3], covariance: [[START, 0.0, 0.0], [0.0, START, 0.0], [0.0, 0.0, START]] }
    }
}

impl Squares {
    fn predict(&self, x: [f64; 3]) -> f64 {
        dot(self.weights, x)
    }

    fn learn(&mut self, x: [f64; 3], y: f64) {
        /// Past this a feature that does not vary would make the next sample count for too much.
        const MOST_SPREAD: f64 = 1e3;
        let spread = self.covariance.map(|row| dot(row, x));
        let gain = spread.map(|part| part / (FORGET + dot(spread, x)));
        let error = y - self.predict(x);
        let trace: f64 = (0..3).map(|at| self.covariance[at][at]).sum();
        let forget = if trace < MOST_SPREAD { FORGET } else { 1.0 };
        for ((weight, row), gain) in self.weights.iter_mut().zip(&mut self.covariance).zip(gain) {
            *weight += gain * error;
            for (part, spread) in row.iter_mut().zip(spread) {
                *part = (*part - gain * spread) / forget;
            }
        }
        // Rounding may bend it over a long time; then it begins anew with what it has learned.
        if (0..3).any(|at| !self.covariance[at][at].is_finite() || self.covariance[at][at] < 0.0) {
            self.covariance = Self::default().covariance;
        }
        if self.weights.iter().any(|weight| !weight.is_finite()) {
            *self = Self::default();
        }
    }
}

fn dot(one: [f64; 3], other: [f64; 3]) -> f64 {
    one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
}

/// What is known of one endpoint. Times are in means of the pool.
#[derive(Debug, Default)]
pub(super) struct Model {
    squares: RefCell<Squares>,
    samples: Cell<u32>,
    /// The response time of late, and over a longer time.
    recent: Cell<f64>,
    level: Cell<f64>,
    /// When it last answered, or was asked while it had nothing to do.
    heard: Cell<Instant>,
    /// When it last answered.
    answered: Cell<Instant>,
    /// How often in a row it has failed.
    failures: Cell<u32>,
    /// Mean errors of the model, and of taking the recent time for the next one.
    error: Cell<f64>,
    plain_error: Cell<f64>,
}

impl Model {
    /// `left` is what is left by now of what the last answer said.
    fn features(&self, requests: u32, left: f64) -> [f64; 3] {
        let recent = self.level.get() + (self.recent.get() - self.level.get()) * left;
        [1.0, f64::from(requests.min(1_000)) / 8.0, recent]
    }

    /// A request goes to the endpoint. `is_first` where it has no other of this core's.
    pub(super) fn begins(&self, is_first: bool, now: Instant) {
        if is_first {
            self.heard.set(now);
        }
    }

    /// An answer took `took` pool means; `requests` were under way when it was asked, and `left` is what was left of the
    /// answer before it.
    pub(super) fn learn(&self, took: f64, requests: u32, has_failed: bool, now: Instant, left: f64) {
        self.failures.set(if has_failed { self.failures.get().saturating_add(1) } else { 0 });
        let samples = self.samples.get();
        let features = self.features(requests, left);
        if samples == 0 {
            self.recent.set(took);
            self.level.set(took);
        }
        let mut squares = self.squares.borrow_mut();
        // Judged before it has seen the answer.
        let judge = |mean: &Cell<f64>, error: f64| mean.set(mean.get() + (error.abs() - mean.get()) * STEP);
        judge(&self.error, took - squares.predict(features));
        judge(&self.plain_error, took - features[2]);
        squares.learn(features, took);
        let recent = self.recent.get();
        self.recent.set(recent + (took - recent) * if took > recent { SLOWER_STEP } else { FASTER_STEP });
        self.level.set(self.level.get() + (took - self.level.get()) * STEP);
        self.samples.set(samples.saturating_add(1));
        self.heard.set(now);
        self.answered.set(now);
    }

    /// How far the model is to be believed, from 0 to 1: whole where its error is no more than the plain one's, none
    /// where it is half more. What is small beside the response time itself is no error.
    fn trust(&self) -> f64 {
        if self.samples.get() < YOUNG {
            return 0.0;
        }
        let plain = self.plain_error.get().max(self.level.get() * RIGHT).max(1e-9);
        ((1.5 - self.error.get() / plain) * 2.0).clamp(0.0, 1.0)
    }

    /// Nothing was heard for so long. To find out that one still fails costs a request each time, so it is tried less and
    /// less often.
    fn is_stale(&self, now: Instant, explore: Duration) -> bool {
        now.since(self.answered.get()) >= explore.saturating_mul(1 << self.failures.get().min(MOST_DOUBLED))
    }
}

/// The state of one group's picks.
#[derive(Debug)]
pub(super) struct Explorer {
    /// Who is looked at next.
    next: Cell<usize>,
    /// The mean weight of the group's endpoints.
    weight: f64,
}

impl Explorer {
    /// Of endpoints and their weights.
    pub(super) fn new(members: &[(u32, u32)]) -> Self {
        let all: f64 = members.iter().map(|(_, weight)| f64::from(*weight)).sum();
        Self { next: Cell::new(0), weight: all / members.len().max(1) as f64 }
    }

    /// An endpoint that has not answered for too long and has nothing to do. One endpoint a pick is looked at.
    fn stale(&self, draw: &Draw, explore: Duration, view: &View<'_>) -> Option<u32> {
        let at = self.next.get();
        self.next.set(if at + 1 < draw.count() { at + 1 } else { 0 });
        let endpoint = draw.nth(at)?;
        let model = view.model(endpoint)?;
        let is_due = view.own_requests(endpoint) == 0 && model.learned.is_stale(view.now(), explore);
        (is_due && view.is_usable(endpoint)).then_some(endpoint)
    }

    /// What one more request would meet, in pool means; none where the model has no part in that.
    fn cost(&self, at: u32, decay: f64, view: &View<'_>) -> Option<f64> {
        let model = view.model(at)?;
        let trust = model.learned.trust();
        if trust == 0.0 {
            return None;
        }
        let requests = view.requests(at);
        let mean = view.mean().max(1.0);
        // It has answered, so both tell of the same moment.
        let left = model.peak.left(view.now(), decay);
        let peak = model.peak.faded(left) / mean;
        let features = model.learned.features(requests, left);
        let said = model.learned.squares.borrow().predict(features);
        // Of what was seen once a few times over: a model must not make an endpoint look free.
        let level = model.learned.level.get().max(1e-9);
        let said = said.clamp(level / 4.0, level.max(features[2]) * 4.0);
        // One of twice the weight has twice as much to do before it has as much as others.
        let load = f64::from(requests) * self.weight / f64::from(view.weight(at)) + 1.0;
        let cost = (trust * said + (1.0 - trust) * peak) * load;
        if view.own_requests(at) == 0 {
            return Some(cost);
        }
        // While it has something to do and says nothing for longer than an answer takes, each moment makes it later.
        let silence = view.now().nanos_since(model.learned.heard.get()) as f64 / mean;
        Some(if silence > said { cost * (1.0 + silence / said) } else { cost })
    }
}

/// Whether an endpoint failed, or was as slow as if it had, a short while ago.
fn has_failed(at: u32, decay: f64, view: &View<'_>) -> bool {
    view.model(at).is_some_and(|model| model.peak.now(view.now(), decay) > view.mean() * super::FAILED / 2.0)
}

pub(super) fn pick(draw: &Draw, explorer: &Explorer, decay: f64, explore: Duration, view: &View<'_>) -> Option<u32> {
    if let Some(stale) = explorer.stale(draw, explore, view) {
        return Some(stale);
    }
    let (first, second) = two_choices::pair(draw, view)?;
    let costs = (explorer.cost(first, decay, view), explorer.cost(second, decay, view));
    // A model that is young or wrong has no say: then this is the power of two choices, between two of which neither has
    // just failed.
    let (Some(mut least), Some(other)) = costs else {
        let is_second = match (has_failed(first, decay, view), has_failed(second, decay, view)) {
            (one, other) if one != other => one,
            _ => two_choices::is_less(view, second, first),
        };
        return Some(if is_second { second } else { first });
    };
    // What is hardly better is no better: of endpoints that do equally well, the draw decides, and so their weights.
    let is_better = |cost: f64, least: f64| cost < least * (1.0 - RIGHT);
    let mut best = first;
    if is_better(other, least) {
        (best, least) = (second, other);
    }
    let mut seen = [first, second, second, second];
    for place in 2..CHOICES {
        let drawn = (0..2).find_map(|_| draw.draw(view.random()).filter(|at| !seen.contains(at)));
        let Some(more) = drawn.filter(|&at| view.is_usable(at)) else { continue };
        seen[place] = more;
        if let Some(cost) = explorer.cost(more, decay, view)
            && is_better(cost, least)
        {
            (best, least) = (more, cost);
        }
    }
    Some(best)
}
