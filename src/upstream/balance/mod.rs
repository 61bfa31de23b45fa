//! Which endpoint is next.
//!
//! A [`Balancer`] is one core's: it is asked for an endpoint for each request ([`Balancer::pick`]) and told how the
//! exchange ended ([`Balancer::end`]). What it knows of all cores together is in [`Shared`]. Endpoints that may not be
//! used are not among those it picks from; that is looked at when a standing has changed, not for every request.
//!
//! A way to balance is a file here, a variant of [`Picker`], and a line in [`Picker::pick`].

mod adaptive;
mod groups;
mod hash;
mod least_requests;
mod maglev;
mod peak_ewma;
mod random;
mod ring_hash;
mod round_robin;
mod sticky;
mod two_choices;
mod weighted;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;

pub(crate) use groups::Groups;
use groups::{shares, weight};
use hash::Bound;
pub(crate) use hash::Table;
pub use hash::hash;
use random::{Draw, Random};
pub(crate) use sticky::Tokens;

use super::Shared;
use super::{Cause, breaker::Leave};
use crate::observe::UpstreamPick;
use crate::plan::{Balance, SlowStart, Upstream};

/// How often the weights of endpoints in their slow start are looked at, at most and in parts of the window.
const RAMP_LEAST: Duration = Duration::from_millis(100);
const RAMP_PARTS: u32 = 50;
/// A weight in thousandths, so that slow start can give a part of one.
const FINE: u64 = 1_000;
/// A failed exchange counts as a response time of so many means of the pool, so that failing fast attracts nobody.
const FAILED: f64 = 32.0;
/// The greatest response time, in means of the pool, that the mean and the models are taught: one long pause must not
/// make everything else look alike.
const LONGEST: f64 = 5.0;
/// The part of a sample in the mean of the pool.
const MEAN_STEP: f64 = 1.0 / 128.0;

/// Endpoints that one request has tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avoid {
    tried: [u32; Self::MOST],
    count: usize,
}

impl Avoid {
    /// As many as a request may have attempts.
    const MOST: usize = 10;

    /// Passes over an endpoint as well, where there is another.
    pub fn add(&mut self, endpoint: usize) {
        if let Some(place) = self.tried.get_mut(self.count) {
            *place = endpoint as u32;
            self.count += 1;
        }
    }

    fn has(&self, endpoint: u32) -> bool {
        self.tried.iter().take(self.count).any(|&tried| tried == endpoint)
    }
}

/// What a request asks a balancer for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Which subset of the upstream.
    pub subset: u16,
    /// The hash of its key, for balancers that hash. Without one it goes anywhere.
    pub hash: Option<u64>,
    /// The endpoint that its cookie names.
    pub sticky: Option<usize>,
    /// What it tried before.
    pub avoid: Avoid,
    /// It takes no place in the line for a connection.
    pub at_once: bool,
    /// It goes to none of the endpoints that it tried before.
    pub elsewhere: bool,
    /// Its client gives it little time: that this is over says nothing of an endpoint.
    pub is_hurried: bool,
    /// What its connection must begin with, or must have begun with.
    pub preamble: Option<Rc<[u8]>>,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpicked {
    /// None may be used.
    NoEndpoint,
    /// All that may be used have as many requests or connections as they may have.
    Full,
    /// The breakers of those that there are let nothing through.
    Broken,
}

/// A request's place at an endpoint, from [`Balancer::pick`] to [`Balancer::end`].
#[derive(Clone, Copy, Debug)]
pub struct Picked {
    /// The endpoint's index in the upstream.
    pub endpoint: usize,
    /// Where it was not picked in the ordinary way.
    pub special: Option<UpstreamPick>,
    group: u16,
    /// Requests that the endpoint had under way before.
    requests: u32,
    /// What its breaker said.
    pub(super) leave: Leave,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer of this status; so long after the request was sent it began.
    Answered(u16, Duration),
    /// The endpoint failed, after so long.
    Failed(Duration),
    /// With none after so long, when somebody else's answer was there: it is slow, no more can be said.
    Abandoned(Duration),
    /// Nothing is to be said of the endpoint: the client left, or no time came to try it.
    Unknown,
}

impl Outcome {
    /// Whether the endpoint failed, where that can be said.
    pub(super) fn has_failed(self) -> Option<bool> {
        match self {
            Self::Answered(status, _) => Some(status >= 500),
            Self::Failed(_) => Some(true),
            Self::Abandoned(_) | Self::Unknown => None,
        }
    }
}

/// How one core picks the endpoints of one upstream.
#[derive(Debug)]
pub struct Balancer {
    upstream: Arc<Upstream>,
    shared: Arc<Shared>,
    seat: u32,
    random: Random,
    layouts: RefCell<Box<[Layout]>>,
    /// [`Shared::changes`] that the layouts are made of.
    seen: Cell<u64>,
    /// When weights in slow start are looked at again.
    ramps: Cell<Option<Instant>>,
    locals: Box<[Rc<Local>]>,
    /// The mean response time of all endpoints, in nanoseconds; the unit of the models.
    mean: Cell<f64>,
    /// How fast peaks are forgotten, in nanoseconds.
    decay: f64,
    counts_requests: bool,
    has_limits: bool,
    has_breakers: bool,
}

/// What one core knows of one endpoint. It stays known for as long as plans have the endpoint.
#[derive(Debug, Default)]
struct Local {
    requests: Cell<u32>,
    /// It has as many connections as it may, all busy.
    is_full: Cell<bool>,
    /// Its weight now, in thousandths.
    weight: Cell<u32>,
    model: Model,
}

/// What one core has learned of one endpoint's response times.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Model {
    peak: peak_ewma::PeakEwma,
    learned: adaptive::Model,
}

/// The groups of one subset, as they may be used now.
#[derive(Debug)]
struct Layout {
    /// By endpoint.
    eligible: Box<[bool]>,
    /// Too few are available: those that are not well are among the eligible.
    panics: bool,
    groups: Box<[Usable]>,
}

/// A group as it may be used now.
#[derive(Debug)]
struct Usable {
    /// Its number among all groups.
    number: usize,
    /// Up to here requests are its own; the first number past it is the next group's.
    takes: u64,
    members: Box<[u32]>,
    /// The weights of those.
    weight: u64,
    picker: Picker,
}

/// The ways to pick one of a group.
#[derive(Debug)]
enum Picker {
    Nobody,
    RoundRobin(round_robin::RoundRobin),
    Weighted(weighted::Weighted),
    Random(Draw),
    TwoChoices(Draw),
    LeastRequests(Draw, u32),
    PeakEwma(Draw),
    Adaptive(Draw, adaptive::Explorer, Duration),
    /// By the group's table, which is the same for all cores.
    Table,
}

impl Picker {
    /// For endpoints and their weights, in thousandths.
    fn new(balance: &Balance, members: &[(u32, u32)], seat: usize) -> Self {
        let Some((_, first)) = members.first() else { return Self::Nobody };
        match balance {
            Balance::RoundRobin if members.iter().all(|(_, weight)| weight == first) => {
                Self::RoundRobin(round_robin::RoundRobin::new(members, seat))
            }
            Balance::RoundRobin => Self::Weighted(weighted::Weighted::new(&reduced(members), seat)),
            Balance::Random => Self::Random(Draw::new(members)),
            Balance::TwoChoices => Self::TwoChoices(Draw::new(members)),
            Balance::LeastRequests { choices } => Self::LeastRequests(Draw::new(members), *choices),
            Balance::PeakEwma { .. } => Self::PeakEwma(Draw::new(members)),
            Balance::Adaptive { explore, .. } => {
                Self::Adaptive(Draw::new(members), adaptive::Explorer::new(members), *explore)
            }
            Balance::RingHash { .. } | Balance::Maglev { .. } => Self::Table,
        }
    }

    fn pick(&self, hash: u64, group: &Usable, view: &View<'_>) -> Option<u32> {
        let decay = view.balancer.decay;
        match self {
            Self::Nobody => None,
            Self::RoundRobin(robin) => robin.pick(view),
            Self::Weighted(weighted) => weighted.pick(view),
            Self::Random(draw) => draw.draw_usable(view.random(), |at| view.is_usable(at)),
            Self::TwoChoices(draw) => two_choices::pick(draw, view),
            Self::LeastRequests(draw, choices) => least_requests::pick(draw, *choices, view),
            Self::PeakEwma(draw) => peak_ewma::pick(draw, decay, view),
            Self::Adaptive(draw, explorer, explore) => adaptive::pick(draw, explorer, decay, *explore, view),
            Self::Table => view.balancer.shared.tables.get(group.number)?.pick(hash, &group.members, view),
        }
    }
}

/// The same shares in the least whole numbers, so that a round is no longer than it must be.
fn reduced(members: &[(u32, u32)]) -> Vec<(u32, u32)> {
    fn common(one: u32, other: u32) -> u32 {
        if other == 0 { one } else { common(other, one % other) }
    }
    let by = members.iter().fold(0, |by, (_, weight)| common(by, *weight)).max(1);
    members.iter().map(|&(at, weight)| (at, weight / by)).collect()
}

/// What a picker sees.
struct View<'a> {
    balancer: &'a Balancer,
    layout: &'a Layout,
    group: &'a Usable,
    avoid: &'a Avoid,
    now: Instant,
}

impl View<'_> {
    fn local(&self, endpoint: u32) -> Option<&Local> {
        self.balancer.locals.get(endpoint as usize).map(|local| &**local)
    }

    /// Whether this request may go there, as far as limits and what it tried before go.
    fn is_usable(&self, endpoint: u32) -> bool {
        let has_room = || {
            let most = self.balancer.upstream.endpoints.get(endpoint as usize).and_then(|at| at.max_requests);
            most.is_none_or(|most| self.requests(endpoint) < most)
                && self.local(endpoint).is_some_and(|local| !local.is_full.get())
        };
        let has_leave = || self.balancer.shared.would_leave_at(endpoint as usize, self.now);
        !self.avoid.has(endpoint)
            && (!self.balancer.has_limits || has_room())
            && (!self.balancer.has_breakers || has_leave())
    }

    /// Whether it may be used at all. Pickers other than tables have only those that may.
    fn is_eligible(&self, endpoint: u32) -> bool {
        self.layout.eligible.get(endpoint as usize).is_some_and(|eligible| *eligible)
    }

    /// Requests of all cores under way.
    fn requests(&self, endpoint: u32) -> u32 {
        self.balancer.shared.requests(endpoint as usize)
    }

    /// Requests of this core under way.
    fn own_requests(&self, endpoint: u32) -> u32 {
        self.local(endpoint).map_or(0, |local| local.requests.get())
    }

    /// Its weight now.
    fn weight(&self, endpoint: u32) -> u32 {
        self.local(endpoint).map_or(1, |local| local.weight.get().max(1))
    }

    /// Its weight in the plan.
    fn plan_weight(&self, endpoint: u32) -> u32 {
        weight(&self.balancer.upstream, endpoint) as u32
    }

    fn model(&self, endpoint: u32) -> Option<&Model> {
        self.local(endpoint).map(|local| &local.model)
    }

    /// The mean response time of all endpoints, in nanoseconds.
    fn mean(&self) -> f64 {
        self.balancer.mean.get()
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn random(&self) -> &Random {
        &self.balancer.random
    }

    fn bound(&self) -> Bound {
        match self.balancer.upstream.balance.max_load() {
            Some(max_load) => Bound::new(max_load, self.balancer.shared.in_group(self.group.number), self.group.weight),
            None => Bound::NONE,
        }
    }
}

impl Balancer {
    /// For one core. `seed` is for its draws. What the one `before` knows of endpoints that stay is known.
    pub fn new(shared: &Arc<Shared>, seed: u64, now: Instant, before: Option<&Self>) -> Self {
        let upstream = shared.upstream().clone();
        let local = |stays: Option<usize>| stays.and_then(|at| before?.locals.get(at).cloned()).unwrap_or_default();
        let random = Random::from_seed(seed);
        // Where sets come one after the other their turns must not all begin at the same endpoint.
        let seat = if before.is_some() { random.next() as u32 } else { shared.take_seat() };
        let has_limits = upstream.endpoints.iter().any(|at| at.max_requests.is_some() || at.max_connections.is_some());
        let counts_requests = match &upstream.balance {
            Balance::RoundRobin | Balance::Random => false,
            Balance::RingHash { max_load, .. } | Balance::Maglev { max_load, .. } => max_load.is_some(),
            _ => true,
        };
        let decay = match &upstream.balance {
            Balance::PeakEwma { decay } | Balance::Adaptive { decay, .. } => decay.as_nanos() as f64,
            _ => 1e10,
        };
        let balancer = Self {
            locals: shared.stays(before.map(|before| &*before.upstream)).into_iter().map(local).collect(),
            upstream,
            shared: shared.clone(),
            seat,
            random,
            layouts: RefCell::default(),
            seen: Cell::new(u64::MAX),
            ramps: Cell::new(None),
            mean: Cell::new(before.map_or(0.0, |before| before.mean.get())),
            decay,
            counts_requests: counts_requests || has_limits,
            has_limits,
            has_breakers: shared.has_breakers(),
        };
        balancer.refresh(now);
        balancer
    }

    /// What it has in common with the other cores.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Requests of this core that an endpoint has under way.
    pub fn requests(&self, endpoint: usize) -> u32 {
        self.locals.get(endpoint).map_or(0, |local| local.requests.get())
    }

    /// Whether an endpoint has as many connections of this core as it may, all of them busy.
    pub fn set_full(&self, endpoint: usize, is_full: bool) {
        if let Some(local) = self.locals.get(endpoint) {
            local.is_full.set(is_full);
        }
    }

    /// An endpoint for one request, which is under way there from now on.
    pub fn pick(&self, asked: &Asked, now: Instant) -> Result<Picked, Unpicked> {
        self.refresh(now);
        let layouts = self.layouts.borrow();
        let layout = layouts.get(usize::from(asked.subset)).ok_or(Unpicked::NoEndpoint)?;
        if let Some(picked) = asked.sticky.and_then(|at| self.pick_sticky(at as u32, asked, layout, now)) {
            return Ok(Picked { special: Some(UpstreamPick::Sticky), ..picked });
        }
        let (hash, first) = match &*layout.groups {
            [_] if self.upstream.balance.key().is_none() => (0, 0),
            groups => {
                let hash = asked.hash.unwrap_or_else(|| self.random.next());
                // Not the part of the hash that the tables are looked up with.
                let spread = random::mix(hash ^ 0x67_726f_7570) >> 32;
                (hash, groups.iter().position(|group| spread < group.takes).unwrap_or(0))
            }
        };
        let mut avoid = asked.avoid;
        loop {
            // The other groups have what the first one cannot take.
            for at in (first..layout.groups.len()).chain(0..first) {
                let Some(group) = layout.groups.get(at) else { continue };
                let view = View { balancer: self, layout, group, avoid: &avoid, now };
                // Another core may have taken the last place meanwhile.
                for _ in 0..4 {
                    let Some(endpoint) = group.picker.pick(hash, group, &view) else { break };
                    if let Some(picked) = self.begin(endpoint, group.number, now) {
                        let special = match at {
                            _ if layout.panics => Some(UpstreamPick::Panic),
                            0 => None,
                            _ => Some(UpstreamPick::Spilled),
                        };
                        return Ok(Picked { special, ..picked });
                    }
                }
            }
            if avoid.count == 0 || asked.elsewhere {
                break;
            }
            // What failed before has to do where there is nothing else.
            avoid = Avoid::default();
        }
        Err(self.unpicked(layout, usize::from(asked.subset), now))
    }

    /// Why nothing could be picked.
    fn unpicked(&self, layout: &Layout, subset: usize, now: Instant) -> Unpicked {
        let mut members = layout.groups.iter().flat_map(|group| &*group.members);
        if members.any(|&at| self.shared.would_leave_at(at as usize, now)) {
            return Unpicked::Full;
        }
        let is_broken = |at: u32| {
            let standing = self.shared.standing(at as usize);
            !standing.has(Cause::Drained) && !self.shared.would_leave_at(at as usize, now)
        };
        let mut all = self.shared.groups.subsets().nth(subset).into_iter().flatten();
        let is_broken = all.any(|group| group.members.iter().any(|&at| is_broken(at)));
        if is_broken { Unpicked::Broken } else { Unpicked::NoEndpoint }
    }

    fn pick_sticky(&self, at: u32, asked: &Asked, layout: &Layout, now: Instant) -> Option<Picked> {
        let is_in = |group: &&Usable| group.members.contains(&at);
        let group = layout.groups.iter().find(is_in)?;
        let view = View { balancer: self, layout, group, avoid: &asked.avoid, now };
        if view.is_eligible(at) && view.is_usable(at) { self.begin(at, group.number, now) } else { None }
    }

    /// Counts a request, unless the endpoint has as many as it may.
    fn begin(&self, endpoint: u32, group: usize, now: Instant) -> Option<Picked> {
        let at = endpoint as usize;
        let local = self.locals.get(at)?;
        let mut requests = 0;
        if self.counts_requests {
            requests = self.shared.requests(at);
            let most = self.upstream.endpoints.get(at).and_then(|endpoint| endpoint.max_requests);
            if !self.shared.begin(at, most) {
                return None;
            }
            if self.upstream.balance.max_load().is_some() {
                self.shared.count_in_group(group, true);
            }
        }
        let Some(leave) = self.shared.leave_at(at, now) else {
            self.uncount(at, group);
            return None;
        };
        local.model.learned.begins(local.requests.get() == 0, now);
        local.requests.set(local.requests.get() + 1);
        Some(Picked { endpoint: at, special: None, group: group as u16, requests, leave })
    }

    /// A number that is no secret, for whoever draws by chance.
    pub fn random(&self) -> u64 {
        self.random.next()
    }

    fn uncount(&self, endpoint: usize, group: usize) {
        if self.counts_requests {
            self.shared.end(endpoint);
            if self.upstream.balance.max_load().is_some() {
                self.shared.count_in_group(group, false);
            }
        }
    }

    /// The request that was picked for has ended.
    pub fn end(&self, picked: Picked, outcome: Outcome, now: Instant) {
        let Picked { endpoint, group, requests, .. } = picked;
        self.uncount(endpoint, usize::from(group));
        let Some(local) = self.locals.get(endpoint) else { return };
        local.requests.set(local.requests.get().saturating_sub(1));
        if matches!(self.upstream.balance, Balance::PeakEwma { .. } | Balance::Adaptive { .. }) {
            self.learn(&local.model, requests, outcome, now);
        }
    }

    fn learn(&self, model: &Model, requests: u32, outcome: Outcome, now: Instant) {
        let mean = self.mean.get();
        let (took, taught) = match outcome {
            Outcome::Unknown => return,
            Outcome::Answered(..500, took) | Outcome::Abandoned(took) => {
                let took = took.as_nanos() as f64;
                let bounded = if mean > 0.0 { took.min(mean * LONGEST) } else { took };
                self.mean.set(if mean > 0.0 { mean + (bounded - mean) * MEAN_STEP } else { took });
                (took, bounded)
            }
            Outcome::Answered(_, took) | Outcome::Failed(took) => {
                let took = (took.as_nanos() as f64).max(mean * FAILED);
                (took, mean * FAILED)
            }
        };
        let left = model.peak.left(now, self.decay);
        model.peak.add(took, now, left);
        if matches!(self.upstream.balance, Balance::Adaptive { .. }) {
            let has_failed = outcome.has_failed() == Some(true);
            model.learned.learn(taught / self.mean.get().max(1.0), requests, has_failed, now, left);
        }
    }

    /// Makes the layouts anew where a standing has changed, or a slow start goes on.
    fn refresh(&self, now: Instant) {
        let changes = self.shared.changes();
        if self.seen.get() != changes || self.ramps.get().is_some_and(|ramps| now >= ramps) {
            self.seen.set(changes);
            self.rebuild(now);
        }
    }

    fn rebuild(&self, now: Instant) {
        let mut is_ramping = false;
        for (at, local) in self.locals.iter().enumerate() {
            let (weight, ramps) = self.weight_now(at, now);
            local.weight.set(weight);
            is_ramping |= ramps;
        }
        let window = self.upstream.slow_start.map_or(Duration::ZERO, |slow| slow.window);
        self.ramps.set(is_ramping.then(|| now + (window / RAMP_PARTS).max(RAMP_LEAST)));
        let mut number = 0;
        let layouts = self.shared.groups.subsets().map(|groups| self.layout(groups, &mut number)).collect();
        *self.layouts.borrow_mut() = layouts;
    }

    /// What an endpoint weighs now, in thousandths, and whether that grows.
    fn weight_now(&self, endpoint: usize, now: Instant) -> (u32, bool) {
        let whole = weight(&self.upstream, endpoint as u32) * FINE;
        let since = self.shared.since(endpoint, now);
        let hashes = self.upstream.balance.key().is_some();
        let Some(SlowStart { window, from }) = self.upstream.slow_start.filter(|_| !hashes) else {
            return (whole as u32, false);
        };
        let gone = now.since(since);
        if since == Instant::default() || gone >= window {
            return (whole as u32, false);
        }
        let part = (gone.as_secs_f64() / window.as_secs_f64()).max(f64::from(from) / 100.0);
        (((whole as f64 * part) as u32).max(1), true)
    }

    fn layout(&self, groups: &[groups::Group], number: &mut usize) -> Layout {
        let upstream = &*self.upstream;
        let standing = |at: u32| self.shared.standing(at as usize);
        let members = || groups.iter().flat_map(|group| group.members.iter().copied());
        let sum =
            |may: &dyn Fn(u32) -> bool| -> u64 { members().filter(|&at| may(at)).map(|at| weight(upstream, at)).sum() };
        let (well, all) = (sum(&|at| standing(at).is_available()), sum(&|at| standing(at).is_usable_in_panic()));
        let panics = u128::from(well) * 1_000_000 < u128::from(all) * u128::from(upstream.failover.panic);
        let mut eligible = vec![false; upstream.endpoints.len()];
        for at in members() {
            let may = if panics { standing(at).is_usable_in_panic() } else { standing(at).is_available() };
            if let Some(eligible) = eligible.get_mut(at as usize) {
                *eligible = may;
            }
        }
        let may_be_used = |at: u32| eligible.get(at as usize).is_some_and(|may| *may);
        let available: Vec<f64> = groups.iter().map(|group| group.available(upstream, may_be_used)).collect();
        let takes = shares(&available, &upstream.failover);
        let usable = groups.iter().zip(&takes).map(|(group, &takes)| {
            let members: Vec<(u32, u32)> = group
                .members
                .iter()
                .filter(|&&at| may_be_used(at))
                .map(|&at| (at, self.locals.get(at as usize).map_or(1, |local| local.weight.get().max(1))))
                .collect();
            let usable = Usable {
                number: *number,
                takes,
                weight: members.iter().map(|&(at, _)| weight(upstream, at)).sum(),
                picker: Picker::new(&upstream.balance, &members, self.seat as usize),
                members: members.into_iter().map(|(at, _)| at).collect(),
            };
            *number += 1;
            usable
        });
        let groups = usable.collect();
        Layout { eligible: eligible.into(), panics, groups }
    }
}
