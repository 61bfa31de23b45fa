//! The figures as tables of text, and as JSON.

use ringway_runtime::histogram::Unit;
use serde_json::{Value as Json, json};

use super::super::hdr::{show, state_name};
use super::figures::{Figures, Latency, Route};

/// By what routes are put in order, the most of it first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Sort {
    /// The 99th percentile: the slowest first.
    #[default]
    P99,
    /// Requests a second.
    Requests,
    /// The slowest single request.
    Max,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::P99 => Self::Requests,
            Self::Requests => Self::Max,
            Self::Max => Self::P99,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P99 => "p99",
            Self::Requests => "requests",
            Self::Max => "max",
        }
    }

    fn order(self, routes: &mut [&Route]) {
        routes.sort_by(|a, b| match self {
            Self::P99 => b.latency.p99.cmp(&a.latency.p99),
            Self::Requests => b.requests.total_cmp(&a.requests),
            Self::Max => b.latency.max.cmp(&a.latency.max),
        });
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Section {
    /// What its rows are and the names of its columns.
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The lines above the tables: who and how long, then what it does.
pub(super) fn summary(figures: &Figures) -> [String; 2] {
    let Figures { pid, state, uptime, interval, .. } = figures;
    let classes = figures.classes.iter().filter(|(_, rate)| *rate > 0.0);
    let classes: Vec<String> = classes.map(|(class, rate)| format!("{class} {}/s", number(*rate))).collect();
    [
        format!(
            "ringway {} · pid {pid} · up {} · last {:.1}s · {} connections, {}/s new",
            state_name(*state),
            span(uptime.as_secs()),
            interval.as_secs_f64(),
            figures.connections,
            number(figures.accepted),
        ),
        format!("{} requests/s  {}", number(figures.requests), classes.join("  ")),
    ]
}

pub(super) fn sections(figures: &Figures, sort: Sort) -> Vec<Section> {
    let mut routes: Vec<&Route> = figures.routes.iter().collect();
    sort.order(&mut routes);
    let quantiles =
        |latency: &Latency| [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(time).to_vec();
    let row = |name: &str, latency: &Latency| [vec![name.to_owned()], quantiles(latency)].concat();
    vec![
        Section {
            head: vec!["latency", "p50", "p90", "p99", "p99.9", "max"],
            rows: vec![row("request", &figures.latency), row("upstream first byte", &figures.first_byte)],
        },
        Section {
            head: vec!["core", "cpu", "busy", "requests/s", "connections", "p99", "worst stall", "heartbeat", "plan"],
            rows: figures.cores.iter().map(core_row).collect(),
        },
        Section {
            head: vec!["route", "requests/s", "p50", "p90", "p99", "p99.9", "max"],
            rows: (routes.iter())
                .map(|route| [vec![route.name.clone(), number(route.requests)], quantiles(&route.latency)].concat())
                .collect(),
        },
        Section {
            head: vec!["upstream", "open", "new/s", "reused/s", "waits/s", "retries/s", "failures/s", "failures"],
            rows: (figures.upstreams.iter())
                .map(|upstream| {
                    let rates =
                        [upstream.connects, upstream.reuses, upstream.waits, upstream.retries, upstream.failures];
                    let mut row = vec![upstream.name.clone(), upstream.open.to_string()];
                    row.extend(rates.map(number));
                    row.push(upstream.failures_total.to_string());
                    row
                })
                .collect(),
        },
        Section {
            head: vec!["held back", "no budget/s", "broken/s", "opened", "left out"],
            rows: (figures.upstreams.iter())
                .map(|upstream| {
                    let mut row = vec![upstream.name.clone()];
                    row.extend([upstream.out_of_budget, upstream.held_back].map(number));
                    row.extend([upstream.opened, upstream.taken_out].map(|count| count.to_string()));
                    row
                })
                .collect(),
        },
        Section {
            head: vec!["refusal", "side", "rate/s", "total"],
            rows: (figures.refusals.iter())
                .map(|refusal| {
                    let (rate, total) = (number(refusal.rate), refusal.total.to_string());
                    vec![refusal.reason.clone(), refusal.side.clone(), rate, total]
                })
                .collect(),
        },
    ]
}

fn core_row(core: &super::figures::Core) -> Vec<String> {
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let heartbeat = core.heartbeat.map_or_else(|| "-".to_owned(), |age| format!("{:.1}s", age.as_secs_f64()));
    vec![
        core.number.to_string(),
        percent(core.cpu),
        percent(core.busy),
        number(core.requests),
        core.connections.to_string(),
        time(core.p99),
        time(core.stall),
        heartbeat,
        core.epoch.to_string(),
    ]
}

fn time(ns: u64) -> String {
    show(Unit::Seconds, ns as f64)
}

/// Whole from a hundred on.
fn number(rate: f64) -> String {
    if rate == 0.0 || rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Times in seconds, rates a second.
pub(super) fn to_json(figures: &Figures, sort: Sort) -> Json {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let latency = |latency: &Latency| {
        let Latency { p50, p90, p99, p999, max } = *latency;
        json!({ "p50": seconds(p50), "p90": seconds(p90), "p99": seconds(p99), "p99.9": seconds(p999),
                "max": seconds(max) })
    };
    let mut routes: Vec<&Route> = figures.routes.iter().collect();
    sort.order(&mut routes);
    json!({
        "pid": figures.pid,
        "state": state_name(figures.state),
        "uptime": figures.uptime.as_secs_f64(),
        "interval": figures.interval.as_secs_f64(),
        "requests": figures.requests,
        "status": figures.classes.iter().map(|(class, rate)| (class.clone(), json!(rate)))
            .collect::<serde_json::Map<_, _>>(),
        "latency": latency(&figures.latency),
        "upstream_first_byte": latency(&figures.first_byte),
        "connections": figures.connections,
        "accepted": figures.accepted,
        "cores": figures.cores.iter().map(|core| json!({
            "core": core.number, "state": state_name(core.state), "epoch": core.epoch, "cpu": core.cpu,
            "busy": core.busy, "requests": core.requests, "connections": core.connections,
            "p99": seconds(core.p99), "worst_stall": seconds(core.stall),
            "heartbeat_age": core.heartbeat.map(|age| age.as_secs_f64()),
        })).collect::<Vec<_>>(),
        "routes": routes.iter().map(|route| json!({
            "name": route.name, "requests": route.requests, "latency": latency(&route.latency),
        })).collect::<Vec<_>>(),
        "upstreams": figures.upstreams.iter().map(|upstream| json!({
            "name": upstream.name, "open": upstream.open, "connects": upstream.connects,
            "reuses": upstream.reuses, "waits": upstream.waits, "retries": upstream.retries,
            "out_of_budget": upstream.out_of_budget, "taken_out": upstream.taken_out, "opened": upstream.opened,
            "held_back": upstream.held_back, "failures": upstream.failures, "failures_total": upstream.failures_total,
        })).collect::<Vec<_>>(),
        "refusals": figures.refusals.iter().map(|refusal| json!({
            "reason": refusal.reason, "side": refusal.side, "rate": refusal.rate, "total": refusal.total,
        })).collect::<Vec<_>>(),
    })
}
