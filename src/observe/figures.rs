//! The figures of an interval: what two looks at the metrics files differ in.

use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::histogram::{Distribution, Metric, Process, Snapshot, State, Value};

use serde_json::{Map, Value as Json, json};

use super::{Run, UpstreamEvent};

/// What happened in an interval, and how things stand at its end.
#[derive(Debug)]
pub struct Figures {
    /// The process.
    pub pid: u32,
    /// When its run began: nanoseconds since the Unix epoch. It may have taken the run over.
    pub started_ns: u64,
    /// Whether it lives.
    pub state: State,
    /// How long the run is or was.
    pub uptime: Duration,
    /// What rates are over; all of the run at the first look.
    pub interval: Duration,
    /// Requests a second.
    pub requests: f64,
    /// Answers by class, `1xx` to `5xx`.
    pub classes: Vec<(String, f64)>,
    /// Of whole requests.
    pub latency: Latency,
    /// From the request sent to an upstream to the first byte of its answer.
    pub first_byte: Latency,
    /// Client connections open at the end.
    pub connections: i64,
    /// Client connections a second.
    pub accepted: f64,
    /// Each core.
    pub cores: Vec<Core>,
    /// Those that had requests.
    pub routes: Vec<Route>,
    /// Each upstream.
    pub upstreams: Vec<Upstream>,
    /// Those that ever happened.
    pub refusals: Vec<Refusal>,
}

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// Of the slowest tenth the fastest.
    pub p90: u64,
    /// Of the slowest hundredth the fastest.
    pub p99: u64,
    /// Of the slowest thousandth the fastest.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// One core.
#[derive(Debug)]
pub struct Core {
    /// Its number.
    pub number: u32,
    /// Whether it lives.
    pub state: State,
    /// The plan that it runs.
    pub epoch: u64,
    /// Share of the interval that the thread had the CPU: all of it where the core polls.
    pub cpu: f64,
    /// Share of the interval that the loop was neither waiting nor polling.
    pub busy: f64,
    /// Requests a second.
    pub requests: f64,
    /// Client connections open at the end.
    pub connections: i64,
    /// Of whole requests.
    pub p99: u64,
    /// The longest turn of its loop.
    pub stall: u64,
    /// How long ago it said that it was alive.
    pub heartbeat: Option<Duration>,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Requests a second.
    pub requests: f64,
    /// Of whole requests.
    pub latency: Latency,
}

/// One upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Connections open at the end.
    pub open: i64,
    /// New connections a second.
    pub connects: f64,
    /// Requests a second that took a pooled connection.
    pub reuses: f64,
    /// Requests a second that had to wait for a connection.
    pub waits: f64,
    /// Requests a second that were tried once more.
    pub retries: f64,
    /// Retries a second that the budget held back.
    pub out_of_budget: f64,
    /// Endpoints left out since the start, by checks or for their answers.
    pub taken_out: u64,
    /// Times since the start that a breaker opened.
    pub opened: u64,
    /// Requests a second that found nothing but open breakers.
    pub held_back: f64,
    /// Exchanges a second that failed.
    pub failures: f64,
    /// All that failed since the start.
    pub failures_total: u64,
}

/// One reason why requests were refused.
#[derive(Debug)]
pub struct Refusal {
    /// The reason's code.
    pub reason: String,
    /// Whose doing it is.
    pub side: String,
    /// Refusals a second.
    pub rate: f64,
    /// All since the start.
    pub total: u64,
}

impl Latency {
    /// Times in seconds.
    fn to_json(self) -> Json {
        let seconds = |ns: u64| ns as f64 / 1e9;
        json!({
            "p50": seconds(self.p50), "p90": seconds(self.p90), "p99": seconds(self.p99),
            "p99.9": seconds(self.p999), "max": seconds(self.max),
        })
    }

    fn of(values: Option<&Distribution>) -> Self {
        values.map_or_else(Self::default, |values| Self {
            p50: values.quantile(0.5),
            p90: values.quantile(0.9),
            p99: values.quantile(0.99),
            p999: values.quantile(0.999),
            max: values.max(),
        })
    }
}

impl Core {
    fn to_json(&self) -> Json {
        let Self { number, epoch, cpu, busy, requests, connections, p99, stall, heartbeat, .. } = self;
        json!({
            "core": number, "epoch": epoch, "cpu": cpu, "busy": busy, "requests": requests,
            "connections": connections, "p99": *p99 as f64 / 1e9, "worst_stall": *stall as f64 / 1e9,
            "heartbeat_age": heartbeat.map(|age| age.as_secs_f64()),
        })
    }
}

impl Route {
    fn to_json(&self) -> Json {
        json!({ "name": self.name, "requests": self.requests, "latency": self.latency.to_json() })
    }
}

impl Upstream {
    fn to_json(&self) -> Json {
        let Self { name, open, connects, reuses, waits, retries, out_of_budget, failures, failures_total, .. } = self;
        let Self { taken_out, opened, held_back, .. } = self;
        json!({
            "name": name, "open": open, "connects": connects, "reuses": reuses, "waits": waits,
            "retries": retries, "out_of_budget": out_of_budget, "taken_out": taken_out, "opened": opened,
            "held_back": held_back, "failures": failures, "failures_total": failures_total,
        })
    }
}

impl Refusal {
    fn to_json(&self) -> Json {
        json!({ "reason": self.reason, "side": self.side, "rate": self.rate, "total": self.total })
    }
}

impl Figures {
    /// Times in seconds, rates a second.
    pub fn to_json(&self) -> Json {
        let status: Map<_, _> = self.classes.iter().map(|(class, rate)| (class.clone(), json!(rate))).collect();
        let all = |list: Vec<Json>| Json::Array(list);
        json!({
            "uptime": self.uptime.as_secs_f64(),
            "interval": self.interval.as_secs_f64(),
            "requests": self.requests,
            "status": status,
            "latency": self.latency.to_json(),
            "upstream_first_byte": self.first_byte.to_json(),
            "connections": self.connections,
            "accepted": self.accepted,
            "cores": all(self.cores.iter().map(Core::to_json).collect()),
            "routes": all(self.routes.iter().map(Route::to_json).collect()),
            "upstreams": all(self.upstreams.iter().map(Upstream::to_json).collect()),
            "refusals": all(self.refusals.iter().map(Refusal::to_json).collect()),
        })
    }

    /// Whether they are of this run.
    pub fn is_of(&self, run: &Run) -> bool {
        run.newest().is_some_and(|newest| newest.wall_ns == self.started_ns)
    }

    /// What happened since `before`, which was read at its time; since the start of the run where there was no such
    /// look, or one at another run. `now` is when `run` was read.
    pub fn between(before: Option<&(Instant, Run)>, now: Instant, run: &Run) -> Option<Figures> {
        let newest = run.newest()?;
        let before = before.filter(|(_, before)| before.is_of(newest));
        let start = Instant::from_nanos(newest.mono_ns);
        // A run that is over lasted to its last sign of life.
        let last = run.cores.iter().flat_map(|core| &core.cores).map(|process| process.heartbeat_mono_ns).max();
        let end = if run.state() == State::Running { now } else { Instant::from_nanos(last.unwrap_or(0)) };
        let since = before.map_or(start, |(at, _)| *at);
        let interval = if before.is_some() { now.since(since) } else { end.since(start) };
        let moved: Vec<Snapshot> = run.cores.iter().map(|core| moved(before.map(|(_, before)| before), core)).collect();
        // Files of one run fit together; of one that was forged there are no figures.
        let totals = run.merged().ok()?;
        let all = match before {
            Some((_, before)) => totals.since(&before.merged().ok()?),
            None => totals.clone(),
        };
        let rates = Rates(interval.as_secs_f64());
        Some(Figures {
            pid: newest.pid,
            started_ns: newest.wall_ns,
            state: run.state(),
            uptime: end.since(start),
            interval,
            requests: rates.of(&all, "ringway_requests_total"),
            classes: (named(&all, "ringway_requests_total"))
                .map(|metric| (label(metric, "status"), rates.rate(count(metric))))
                .collect(),
            latency: Latency::of(all.histogram("ringway_request_duration_seconds", &[])),
            first_byte: Latency::of(all.histogram("ringway_upstream_first_byte_seconds", &[])),
            connections: all.gauge("ringway_connections_open", &[]).unwrap_or(0),
            accepted: rates.of(&all, "ringway_connections_accepted_total"),
            cores: (moved.iter().zip(&run.cores))
                .filter_map(|(moved, core)| Some(core_row(moved, core.cores.first()?, now, rates)))
                .collect(),
            routes: routes(&all, rates),
            upstreams: upstreams(&all, &totals, rates),
            refusals: refusals(&all, &totals, rates),
        })
    }
}

/// Counts per second over an interval.
#[derive(Clone, Copy)]
struct Rates(f64);

impl Rates {
    fn rate(self, count: u64) -> f64 {
        if self.0 > 0.0 { count as f64 / self.0 } else { 0.0 }
    }

    /// Of all metrics of a name together.
    fn of(self, found: &Snapshot, name: &str) -> f64 {
        self.rate(named(found, name).map(count).sum())
    }

    /// Of the one that also has this label.
    fn with(self, found: &Snapshot, name: &str, wanted: (&str, &str)) -> f64 {
        let has = |metric: &&Metric| metric.labels.iter().any(|(label, value)| (&**label, &**value) == wanted);
        self.rate(named(found, name).filter(has).map(count).sum())
    }
}

fn moved(before: Option<&Run>, core: &Snapshot) -> Snapshot {
    // Of a process that has taken the run over meanwhile all is new.
    let is_same = |earlier: &&Snapshot| match (earlier.cores.first(), core.cores.first()) {
        (Some(earlier), Some(core)) => earlier.core == core.core && earlier.is_same_process(core),
        _ => false,
    };
    let earlier = before.and_then(|run| run.cores.iter().find(is_same));
    earlier.map_or_else(|| core.clone(), |earlier| core.since(earlier))
}

fn named<'a>(found: &'a Snapshot, name: &'a str) -> impl Iterator<Item = &'a Metric> {
    found.metrics.iter().filter(move |metric| metric.name == name)
}

fn count(metric: &Metric) -> u64 {
    match &metric.value {
        Value::Counter(count) => *count,
        _ => 0,
    }
}

fn label(metric: &Metric, wanted: &str) -> String {
    let value = metric.labels.iter().find(|(label, _)| label == wanted);
    value.map_or_else(String::new, |(_, value)| value.clone())
}

fn core_row(moved: &Snapshot, process: &Process, now: Instant, rates: Rates) -> Core {
    let share = |ns: f64| if rates.0 > 0.0 { (ns / 1e9 / rates.0).min(1.0) } else { 0.0 };
    let turns = moved.histogram("ringway_loop_stall_seconds", &[]);
    let alive = Some(process.heartbeat_mono_ns).filter(|&ns| ns > 0).map(Instant::from_nanos);
    Core {
        number: process.core,
        state: process.state,
        epoch: process.epoch,
        cpu: share(moved.counter("ringway_core_cpu_seconds_total", &[]).unwrap_or(0) as f64),
        busy: share(turns.map_or(0.0, Distribution::sum)),
        requests: rates.of(moved, "ringway_requests_total"),
        connections: moved.gauge("ringway_connections_open", &[]).unwrap_or(0),
        p99: Latency::of(moved.histogram("ringway_request_duration_seconds", &[])).p99,
        stall: turns.map_or(0, Distribution::max),
        heartbeat: alive.map(|alive| now.since(alive)),
    }
}

fn routes(all: &Snapshot, rates: Rates) -> Vec<Route> {
    let histograms = named(all, "ringway_route_request_duration_seconds").filter_map(|metric| match &metric.value {
        Value::Histogram(values) if values.count() > 0 => Some((metric, values)),
        _ => None,
    });
    histograms
        .map(|(metric, values)| Route {
            name: label(metric, "route"),
            requests: rates.rate(values.count()),
            latency: Latency::of(Some(values)),
        })
        .collect()
}

fn upstreams(all: &Snapshot, totals: &Snapshot, rates: Rates) -> Vec<Upstream> {
    let gauges = named(all, "ringway_upstream_connections_open");
    gauges
        .map(|metric| {
            let name = label(metric, "upstream");
            let rate = |of: &str| rates.with(all, of, ("upstream", &name));
            let failures = named(totals, "ringway_upstream_failures_total");
            let events = |from, wanted: &[UpstreamEvent]| -> u64 {
                let is_wanted = |metric: &&Metric| {
                    let event = label(metric, "event");
                    label(metric, "upstream") == name && wanted.iter().any(|wanted| wanted.name() == event)
                };
                named(from, "ringway_upstream_events_total").filter(is_wanted).map(count).sum()
            };
            Upstream {
                open: if let Value::Gauge(open) = metric.value { open } else { 0 },
                connects: rate("ringway_upstream_connects_total"),
                reuses: rate("ringway_upstream_reuses_total"),
                waits: rate("ringway_upstream_pool_waits_total"),
                retries: rate("ringway_upstream_retries_total"),
                out_of_budget: rate("ringway_upstream_retries_out_of_budget_total"),
                taken_out: events(totals, &[UpstreamEvent::Ejected, UpstreamEvent::Unhealthy]),
                opened: events(totals, &[UpstreamEvent::BreakerOpened, UpstreamEvent::EndpointBreakerOpened]),
                held_back: rates.rate(events(all, &[UpstreamEvent::BreakerRefused])),
                failures: rate("ringway_upstream_failures_total"),
                failures_total: failures.filter(|metric| label(metric, "upstream") == name).map(count).sum(),
                name,
            }
        })
        .collect()
}

fn refusals(all: &Snapshot, totals: &Snapshot, rates: Rates) -> Vec<Refusal> {
    let name = "ringway_refusals_total";
    let mut refusals: Vec<Refusal> = (named(totals, name).filter(|metric| count(metric) > 0))
        .map(|metric| {
            let reason = label(metric, "reason");
            let rate = rates.with(all, name, ("reason", &reason));
            Refusal { side: label(metric, "side"), rate, total: count(metric), reason }
        })
        .collect();
    refusals.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.total.cmp(&a.total)));
    refusals
}
