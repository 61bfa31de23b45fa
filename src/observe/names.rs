//! Metrics of single routes, upstreams, policies and checks. Their names come with plans, and what has a name keeps it: counters go on
//! when a plan is replaced, and when a name comes back.
//!
//! Control owns the one [`Names`] and says for each plan where the metrics of its names are ([`Slots`]).
//! New names of a plan come in one more [`Segment`], a file for each core that is made before the core hears of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ringway_runtime::histogram::{
    CounterSet, CreateError, GaugeSet, HistogramSet, Problem, Schema, SchemaBuilder, SchemaError, Shape, Snapshot,
    Start, Unit, Writer,
};

use super::labels::{HealthResult, PolicyEvent, ShadowOutcome, UpstreamEvent, UpstreamFailure, UpstreamPick};
use super::twice::{Hedged, Mirrored};
use crate::plan::Plan;

/// Routes with a histogram of their own (9.5 KiB each, a core); those past it share the label value `(other)`.
pub const MAX_ROUTES: usize = 1024;
/// Upstreams with counters of their own; those past it share the label value `(other)`.
pub const MAX_UPSTREAMS: usize = 1024;
/// Policies with counters of their own; those past it share the label value `(other)`.
pub const MAX_POLICIES: usize = 1024;
/// Checks of services of type `health` with metrics of their own; those past it share the label value `(other)`.
pub const MAX_CHECKS: usize = 1024;
/// Kinds of names: routes, upstreams, policies and checks.
pub const NAMED: usize = 4;
/// Files a core may have for them: one for each plan that brought new names, and those for `(other)`.
pub const MAX_SEGMENTS: usize = 256;

pub(super) const OTHER: &str = "(other)";

/// Where the metrics of one name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    segment: u32,
    index: u32,
}

/// The names of one plan that become label values, each list in the order of its ids.
#[derive(Clone, Debug, Default)]
pub struct PlanNames<'a> {
    /// Of its routes.
    pub routes: Vec<&'a str>,
    /// Of its upstreams.
    pub upstreams: Vec<&'a str>,
    /// Of its policies.
    pub policies: Vec<&'a str>,
    /// Of the checks of its services of type `health`.
    pub checks: Vec<&'a str>,
}

impl<'a> From<&'a Plan> for PlanNames<'a> {
    fn from(plan: &'a Plan) -> Self {
        Self {
            routes: plan.routes.iter().map(|route| &*route.name).collect(),
            upstreams: plan.upstreams.iter().map(|upstream| &*upstream.name).collect(),
            policies: plan.policies.iter().map(|name| &**name).collect(),
            checks: plan.aggregates.iter().flat_map(|all| &all.checks).map(|check| &*check.label).collect(),
        }
    }
}

/// Where the metrics of a plan's routes, upstreams, policies and checks are, by their ids.
#[derive(Debug, Default)]
pub struct Slots {
    routes: Box<[Slot]>,
    upstreams: Box<[Slot]>,
    policies: Box<[Slot]>,
    checks: Box<[Slot]>,
    /// How many of each kind share `(other)`.
    in_other: [usize; NAMED],
}

impl Slots {
    /// How many routes, upstreams, policies and checks share `(other)`.
    pub fn in_other(&self) -> [usize; NAMED] {
        self.in_other
    }
}

/// The names of one kind.
#[derive(Clone, Debug, Default)]
struct Kind {
    known: HashMap<Box<str>, Slot>,
    other: Option<Slot>,
}

/// Every name that has had metrics since the process started.
#[derive(Clone, Debug, Default)]
pub struct Names {
    routes: Kind,
    upstreams: Kind,
    policies: Kind,
    checks: Kind,
    segments: usize,
}

/// What the new names of a plan need on each core.
#[derive(Clone, Debug)]
pub struct NewNames {
    number: u32,
    schema: Schema,
    ids: Ids,
}

impl Names {
    /// Finds a place for the metrics of each name of a plan. Where there are new names, each core needs a
    /// segment for them before it runs the plan. On an error nothing has changed.
    pub fn take_up(&mut self, names: &PlanNames<'_>) -> Result<(Slots, Option<NewNames>), SchemaError> {
        let mut after = self.clone();
        let segment = self.segments as u32 + 1;
        // A segment stays for each `(other)`.
        let is_open = self.segments + NAMED < MAX_SEGMENTS;
        let most = |most| if is_open { most } else { 0 };
        let (routes, new_routes) = after.routes.take_up(&names.routes, segment, most(MAX_ROUTES));
        let (upstreams, new_upstreams) = after.upstreams.take_up(&names.upstreams, segment, most(MAX_UPSTREAMS));
        let (policies, new_policies) = after.policies.take_up(&names.policies, segment, most(MAX_POLICIES));
        let (checks, new_checks) = after.checks.take_up(&names.checks, segment, most(MAX_CHECKS));
        let in_other = |kind: &Kind, slots: &[Slot]| slots.iter().filter(|&&slot| Some(slot) == kind.other).count();
        let in_other = [
            in_other(&after.routes, &routes),
            in_other(&after.upstreams, &upstreams),
            in_other(&after.policies, &policies),
            in_other(&after.checks, &checks),
        ];
        let slots = Slots { routes, upstreams, policies, checks, in_other };
        let new =
            PlanNames { routes: new_routes, upstreams: new_upstreams, policies: new_policies, checks: new_checks };
        if [&new.routes, &new.upstreams, &new.policies, &new.checks].iter().all(|names| names.is_empty()) {
            return Ok((slots, None));
        }
        let (schema, ids) = schema(&new)?;
        after.segments += 1;
        *self = after;
        Ok((slots, Some(NewNames { number: segment, schema, ids })))
    }
}

impl Kind {
    /// The slot of each name, and the names that are new to `segment`, in the order of their slots.
    fn take_up<'a>(&mut self, names: &[&'a str], segment: u32, max: usize) -> (Box<[Slot]>, Vec<&'a str>) {
        let mut new = Vec::new();
        let slots = names.iter().map(|&name| {
            if let Some(&slot) = self.known.get(name) {
                return slot;
            }
            let is_full = self.known.len() >= max;
            if let (true, Some(other)) = (is_full, self.other) {
                return other;
            }
            let slot = Slot { segment, index: new.len() as u32 };
            if is_full {
                self.other = Some(slot);
                new.push(OTHER);
            } else {
                self.known.insert(name.into(), slot);
                new.push(name);
            }
            slot
        });
        (slots.collect(), new)
    }
}

impl NewNames {
    /// Opens the file of a core, or private memory and a warning where there can be no file.
    pub fn open(&self, dir: &Path, start: &Start) -> (Segment, Option<CreateError>) {
        let start = Start { segment: self.number, ..*start };
        let (writer, warning) = Writer::create_or_in_memory(dir, &start, &self.schema);
        (Segment { number: self.number, writer, ids: self.ids }, warning)
    }

    /// The same in private memory.
    pub fn in_memory(&self) -> Segment {
        Segment { number: self.number, writer: Writer::in_memory(&self.schema), ids: self.ids }
    }
}

/// The metrics of the names that came with one plan, on one core.
#[derive(Debug)]
pub struct Segment {
    /// From 1; 0 is the file of the core itself.
    number: u32,
    writer: Writer,
    ids: Ids,
}

#[derive(Clone, Copy, Debug)]
struct Ids {
    upstream_reuses: CounterSet,
    upstream_connects: CounterSet,
    upstream_open: GaugeSet,
    pool_waits: CounterSet,
    upstream_retries: CounterSet,
    out_of_budget: CounterSet,
    upstream_failures: CounterSet,
    /// By [`UpstreamPick`].
    upstream_picks: CounterSet,
    upstream_events: CounterSet,
    /// By [`Hedged`].
    hedges: CounterSet,
    /// By [`Mirrored`].
    mirrored: CounterSet,
    /// By [`PolicyEvent`].
    policies: [CounterSet; 3],
    policy_shadow: CounterSet,
    check_state: GaugeSet,
    check_results: CounterSet,
    route_duration: HistogramSet,
}

/// What every request touches comes first.
fn schema(names: &PlanNames<'_>) -> Result<(Schema, Ids), SchemaError> {
    use Unit::{None, Seconds};
    let PlanNames { routes, upstreams, policies, checks } = names;
    let mut build = SchemaBuilder::new();
    let each_policy = || policies.iter().map(|&name| [("policy", name)]);
    let each_upstream = || upstreams.iter().map(|&name| [("upstream", name)]);
    let ids = Ids {
        upstream_reuses: build.counters("ringway_upstream_reuses_total", None, each_upstream()),
        upstream_connects: build.counters("ringway_upstream_connects_total", None, each_upstream()),
        upstream_open: build.gauges("ringway_upstream_connections_open", None, each_upstream()),
        pool_waits: build.counters("ringway_upstream_pool_waits_total", None, each_upstream()),
        upstream_retries: build.counters("ringway_upstream_retries_total", None, each_upstream()),
        out_of_budget: build.counters("ringway_upstream_retries_out_of_budget_total", None, each_upstream()),
        upstream_failures: build.counters(
            "ringway_upstream_failures_total",
            None,
            upstreams.iter().flat_map(|&name| {
                UpstreamFailure::VALUES.iter().map(move |&kind| [("upstream", name), ("kind", kind)])
            }),
        ),
        upstream_picks: build.counters(
            "ringway_upstream_special_picks_total",
            None,
            upstreams
                .iter()
                .flat_map(|&name| UpstreamPick::VALUES.iter().map(move |&kind| [("upstream", name), ("kind", kind)])),
        ),
        upstream_events: build.counters(
            "ringway_upstream_events_total",
            None,
            upstreams.iter().flat_map(|&name| {
                UpstreamEvent::VALUES.iter().map(move |&event| [("upstream", name), ("event", event)])
            }),
        ),
        hedges: build.counters(
            "ringway_upstream_hedges_total",
            None,
            upstreams
                .iter()
                .flat_map(|&name| Hedged::VALUES.iter().map(move |&kind| [("upstream", name), ("outcome", kind)])),
        ),
        mirrored: build.counters(
            "ringway_upstream_mirrored_total",
            None,
            upstreams
                .iter()
                .flat_map(|&name| Mirrored::VALUES.iter().map(move |&kind| [("upstream", name), ("outcome", kind)])),
        ),
        policies: [
            build.counters("ringway_policy_evaluations_total", None, each_policy()),
            build.counters("ringway_policy_replies_total", None, each_policy()),
            build.counters("ringway_policy_errors_total", None, each_policy()),
        ],
        policy_shadow: build.counters(
            "ringway_policy_shadow_total",
            None,
            policies.iter().flat_map(|&name| {
                ShadowOutcome::VALUES.iter().map(move |&outcome| [("policy", name), ("outcome", outcome)])
            }),
        ),
        check_state: build.gauges("ringway_health_check_state", None, checks.iter().map(|&name| [("check", name)])),
        check_results: build.counters(
            "ringway_health_check_results_total",
            None,
            checks.iter().flat_map(|&name| {
                HealthResult::VALUES.iter().map(move |&result| [("check", name), ("result", result)])
            }),
        ),
        route_duration: build.histograms(
            "ringway_route_request_duration_seconds",
            Seconds,
            Shape::COARSE,
            routes.iter().map(|&name| [("route", name)]),
        ),
    };
    Ok((build.build()?, ids))
}

impl Segment {
    #[inline]
    fn count(&self, set: CounterSet, index: usize) {
        if let Some(id) = set.get(index) {
            self.writer.counter(id).add(1);
        }
    }
}

/// The segments of one core, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Segments(RefCell<Vec<Option<Rc<Segment>>>>);

impl Segments {
    pub(super) fn add(&self, segment: Segment) {
        let mut all = self.0.borrow_mut();
        let at = segment.number as usize;
        let len = all.len().max(at + 1);
        all.resize(len, None);
        if let Some(place) = all.get_mut(at) {
            *place = Some(Rc::new(segment));
        }
    }

    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>, Problem> {
        self.0.borrow().iter().flatten().map(|segment| segment.writer.snapshot()).collect()
    }

    pub(super) fn of_plan(&self, slots: Arc<Slots>) -> Series {
        Series { segments: self.0.borrow().as_slice().into(), slots }
    }
}

/// The metrics of the names of one plan, on one core.
#[derive(Debug)]
pub struct Series {
    segments: Box<[Option<Rc<Segment>>]>,
    slots: Arc<Slots>,
}

impl Series {
    /// A request of a route, given by its index in the plan, is answered.
    #[inline]
    pub fn request_done(&self, route: usize, duration_ns: u64) {
        if let Some(slot) = self.slots.routes.get(route)
            && let Some(Some(segment)) = self.segments.get(slot.segment as usize)
            && let Some(id) = segment.ids.route_duration.get(slot.index as usize)
        {
            segment.writer.record(id, duration_ns);
        }
    }

    /// A policy, given by its index in the plan, did something.
    #[inline]
    pub fn policy(&self, policy: usize, event: PolicyEvent) {
        if let Some((segment, index)) = self.of_policy(policy)
            && let Some(set) = segment.ids.policies.get(event as usize)
        {
            segment.count(*set, index);
        }
    }

    /// A policy in shadow, given by its index in the plan, would have done something.
    #[inline]
    pub fn policy_shadow(&self, policy: usize, outcome: ShadowOutcome) {
        if let Some((segment, index)) = self.of_policy(policy) {
            segment.count(segment.ids.policy_shadow, index * ShadowOutcome::VALUES.len() + outcome as usize);
        }
    }

    #[inline]
    fn of_policy(&self, policy: usize) -> Option<(&Segment, usize)> {
        let slot = self.slots.policies.get(policy)?;
        Some((self.segments.get(slot.segment as usize)?.as_deref()?, slot.index as usize))
    }

    /// The metrics of an upstream, given by its index in the plan.
    pub fn upstream(&self, upstream: usize) -> UpstreamSeries {
        UpstreamSeries { place: self.place(self.slots.upstreams.get(upstream)) }
    }

    /// The metrics of a check, given by its index among those of all services of type `health` of the plan.
    pub fn health(&self, check: usize) -> HealthSeries {
        HealthSeries { place: self.place(self.slots.checks.get(check)) }
    }

    fn place(&self, slot: Option<&Slot>) -> Option<(Rc<Segment>, usize)> {
        let slot = slot?;
        Some((self.segments.get(slot.segment as usize)?.clone()?, slot.index as usize))
    }
}

/// The metrics of one check of a service of type `health`.
#[derive(Debug)]
pub struct HealthSeries {
    place: Option<(Rc<Segment>, usize)>,
}

impl HealthSeries {
    /// How the check is: 0 unknown, 1 healthy, 2 degraded, 3 down.
    pub fn set_state(&self, state: u8) {
        if let Some((segment, index)) = &self.place
            && let Some(id) = segment.ids.check_state.get(*index)
        {
            segment.writer.gauge(id).set(i64::from(state));
        }
    }

    /// It has asked once.
    pub fn checked(&self, result: HealthResult) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.check_results, index * HealthResult::VALUES.len() + result as usize);
        }
    }
}

/// The metrics of one upstream. An upstream that is in several plans has the same ones in each.
#[derive(Debug)]
pub struct UpstreamSeries {
    place: Option<(Rc<Segment>, usize)>,
}

impl UpstreamSeries {
    #[inline]
    fn count(&self, set: impl FnOnce(&Ids) -> CounterSet) {
        if let Some((segment, index)) = &self.place {
            segment.count(set(&segment.ids), *index);
        }
    }

    #[inline]
    fn add_open(&self, delta: i64) {
        if let Some((segment, index)) = &self.place
            && let Some(id) = segment.ids.upstream_open.get(*index)
        {
            segment.writer.gauge(id).add(delta);
        }
    }

    /// A new connection is up.
    #[inline]
    pub(super) fn connected(&self) {
        self.count(|ids| ids.upstream_connects);
        self.add_open(1);
    }

    /// A connection that was up is gone.
    #[inline]
    pub fn closed(&self) {
        self.add_open(-1);
    }

    /// A request takes a pooled connection.
    #[inline]
    pub fn reused(&self) {
        self.count(|ids| ids.upstream_reuses);
    }

    /// An exchange failed; it may still be tried again.
    #[inline]
    pub fn failed(&self, failure: UpstreamFailure) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.upstream_failures, index * UpstreamFailure::VALUES.len() + failure as usize);
        }
    }

    /// An endpoint was picked in other than the ordinary way.
    #[inline]
    pub fn picked(&self, pick: UpstreamPick) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.upstream_picks, index * UpstreamPick::VALUES.len() + pick as usize);
        }
    }

    /// Something was learned of its health.
    #[inline]
    pub fn event(&self, event: UpstreamEvent) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.upstream_events, index * UpstreamEvent::VALUES.len() + event as usize);
        }
    }

    /// Something became of a copy of a request, for the upstream that gets it.
    #[cold]
    pub fn mirrored(&self, mirrored: Mirrored) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.mirrored, index * Mirrored::VALUES.len() + mirrored as usize);
        }
    }

    /// Something became of a hedge.
    #[cold]
    pub fn hedged(&self, hedged: Hedged) {
        if let Some((segment, index)) = &self.place {
            segment.count(segment.ids.hedges, index * Hedged::VALUES.len() + hedged as usize);
        }
    }

    /// A request is tried once more.
    #[inline]
    pub fn retried(&self) {
        self.count(|ids| ids.upstream_retries);
    }

    /// A request is not tried once more because its upstream has no retries left.
    #[inline]
    pub fn out_of_budget(&self) {
        self.count(|ids| ids.out_of_budget);
    }

    /// A request has to wait for a connection.
    #[inline]
    pub fn waited(&self) {
        self.count(|ids| ids.pool_waits);
    }
}

#[cfg(test)]
mod tests {
    use ringway_runtime::histogram::{Distribution, Metric, Snapshot, Value};

    use super::*;
    use crate::observe::Metrics;

    /// What control and one core do with each plan.
    struct Core {
        names: Names,
        metrics: Metrics,
    }

    impl Core {
        fn new() -> Self {
            Self { names: Names::default(), metrics: Metrics::in_memory().expect("a sound schema") }
        }

        fn run(&mut self, routes: &[&str], upstreams: &[&str]) -> Series {
            self.run_with(&named(routes, upstreams))
        }

        fn run_with(&mut self, names: &PlanNames<'_>) -> Series {
            let (slots, new) = self.names.take_up(names).expect("sound names");
            if let Some(new) = new {
                self.metrics.add_segment(new.in_memory());
            }
            self.metrics.series(&Arc::new(slots))
        }

        fn read(&self) -> Snapshot {
            self.metrics.snapshot().expect("a readable image")
        }
    }

    fn named<'a>(routes: &[&'a str], upstreams: &[&'a str]) -> PlanNames<'a> {
        PlanNames { routes: routes.to_vec(), upstreams: upstreams.to_vec(), ..PlanNames::default() }
    }

    fn requests(found: &Snapshot, route: &str) -> Option<u64> {
        found.histogram("ringway_route_request_duration_seconds", &[("route", route)]).map(Distribution::count)
    }

    #[test]
    fn what_has_a_name_goes_on_counting_whatever_plans_come() {
        let mut core = Core::new();
        let first = core.run(&["users", "orders"], &["a"]);
        first.request_done(0, 5);
        first.upstream(0).reused();
        let second = core.run(&["new", "users"], &["b"]);
        second.request_done(1, 5);
        second.request_done(0, 5);
        // A request of the first plan ends.
        first.request_done(1, 5);
        let third = core.run(&["orders"], &["b", "a"]);
        third.request_done(0, 5);
        third.upstream(1).reused();
        let found = core.read();
        assert_eq!(["users", "orders", "new"].map(|route| requests(&found, route)), [Some(2), Some(2), Some(1)]);
        assert_eq!(found.counter("ringway_upstream_reuses_total", &[("upstream", "a")]), Some(2));
        assert_eq!(found.counter("ringway_upstream_reuses_total", &[("upstream", "b")]), Some(0));
    }

    #[test]
    fn a_plan_without_new_names_needs_no_segment() {
        let mut names = Names::default();
        assert!(names.take_up(&named(&["users"], &["a"])).expect("sound names").1.is_some());
        assert!(names.take_up(&named(&["users"], &[])).expect("sound names").1.is_none());
        assert!(names.take_up(&named(&[], &[])).expect("sound names").1.is_none());
        assert!(names.take_up(&named(&[], &["users"])).expect("sound names").1.is_some(), "an upstream is no route");
    }

    #[test]
    fn a_name_that_cannot_be_told_changes_nothing() {
        let mut names = Names::default();
        names.take_up(&named(&["users"], &[])).expect("sound names");
        assert!(names.take_up(&named(&["orders", "line\nbreak"], &[])).is_err());
        let (_, new) = names.take_up(&named(&["orders"], &[])).expect("sound names");
        assert_eq!(new.map(|new| new.number), Some(2), "no number is left out, and orders is still new");
    }

    #[test]
    fn routes_and_upstreams_past_the_bound_share_one_label() {
        let all: Vec<String> = (0..MAX_ROUTES + 5).map(|route| format!("r{route}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut core = Core::new();
        core.run(&all[..MAX_ROUTES], &all[..MAX_UPSTREAMS]);
        let series = core.run(&all, &all);
        assert_eq!(series.slots.in_other, [5, 5, 0, 0]);
        for index in [MAX_ROUTES - 1, MAX_ROUTES, MAX_ROUTES + 4] {
            series.request_done(index, 5);
            series.upstream(index).reused();
            series.upstream(index).failed(UpstreamFailure::Truncated);
        }
        series.request_done(usize::MAX, 5);
        let found = core.read();
        assert_eq!((requests(&found, OTHER), requests(&found, "r1023")), (Some(2), Some(1)));
        assert_eq!(found.counter("ringway_upstream_reuses_total", &[("upstream", OTHER)]), Some(2));
        let labels = [("upstream", OTHER), ("kind", "truncated")];
        assert_eq!(found.counter("ringway_upstream_failures_total", &labels), Some(2));
        let count =
            |metrics: &[Metric]| metrics.iter().filter(|metric| matches!(metric.value, Value::Gauge(_))).count();
        let before = count(&found.metrics);
        core.run(&["even", "more"], &["of", "them"]);
        assert_eq!(count(&core.read().metrics), before, "nothing past the bound gets metrics");
    }

    #[test]
    fn policies_count_by_name_and_past_the_bound_together() {
        let all: Vec<String> = (0..MAX_POLICIES + 2).map(|policy| format!("p{policy}")).collect();
        let names = PlanNames { policies: all.iter().map(String::as_str).collect(), ..PlanNames::default() };
        let mut core = Core::new();
        core.run_with(&PlanNames { policies: names.policies[..MAX_POLICIES].to_vec(), ..PlanNames::default() });
        let series = core.run_with(&names);
        assert_eq!(series.slots.in_other, [0, 0, 2, 0]);
        for index in [0, MAX_POLICIES, MAX_POLICIES + 1, usize::MAX] {
            series.policy(index, PolicyEvent::Reply);
            series.policy_shadow(index, ShadowOutcome::Wait);
        }
        // The same name in another plan.
        let names = PlanNames { policies: vec!["p9", "p0"], ..PlanNames::default() };
        core.run_with(&names).policy(1, PolicyEvent::Reply);
        let found = core.read();
        let replies = |policy| found.counter("ringway_policy_replies_total", &[("policy", policy)]);
        assert_eq!((replies("p0"), replies("p9"), replies(OTHER)), (Some(2), Some(0), Some(2)));
        let labels = [("policy", OTHER), ("outcome", "wait")];
        assert_eq!(found.counter("ringway_policy_shadow_total", &labels), Some(2));
    }

    #[test]
    fn segments_are_bounded_and_other_always_finds_a_place() {
        let mut core = Core::new();
        let mut last = 0;
        for plan in 0..MAX_SEGMENTS * 2 {
            let series = core.run(&[&format!("r{plan}")], &[]);
            series.request_done(0, 5);
            last = series.segments.iter().flatten().count();
        }
        core.run(&[], &["late"]).upstream(0).reused();
        assert_eq!(last, MAX_SEGMENTS - NAMED + 1);
        let found = core.read();
        assert_eq!(requests(&found, OTHER), Some((MAX_SEGMENTS * 2 - (MAX_SEGMENTS - NAMED)) as u64));
        assert_eq!(found.counter("ringway_upstream_reuses_total", &[("upstream", OTHER)]), Some(1));
    }
}
