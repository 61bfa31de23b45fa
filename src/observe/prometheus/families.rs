//! Metrics of one name together, bounded, with what the files say beside them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ringway_runtime::histogram::{Distribution, Metric, Snapshot, Unit, Value};

use super::{Beside, help};

/// Classic buckets end below these powers of two, in nanoseconds or whatever the unit is: 2^12 ns is 4 us, 2^36 ns is
/// 69 s. Every histogram file cuts there, whatever its precision, so the counts are exact.
const FIRST_EDGE: u32 = 12;
const LAST_EDGE: u32 = 36;
/// The lines of one histogram: its buckets, the one without an end, the sum and the count.
pub(super) const HISTOGRAM_SERIES: usize = (LAST_EDGE - FIRST_EDGE) as usize + 1 + 3;

/// All metrics of one name.
#[derive(Debug)]
pub(super) struct Family<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) samples: Vec<Sample<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) number: Number<'a>,
}

#[derive(Debug)]
pub(super) enum Number<'a> {
    Counter(u64),
    Gauge(i64),
    Histogram(&'a Distribution),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

impl Family<'_> {
    fn new(name: Cow<'_, str>, kind: Kind, unit: Unit) -> Family<'_> {
        Family { name, help: String::new(), kind, unit, samples: Vec::new() }
    }
}

/// The families of a snapshot in the order of its schema. A metric whose lines would go beyond `max_series` is left
/// out whole, and counted.
pub(super) fn families<'a>(snapshot: &'a Snapshot, beside: &'a [Beside], max_series: usize) -> Vec<Family<'a>> {
    let mut families: Vec<Family<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut left = max_series;
    let mut dropped = 0;
    for metric in &snapshot.metrics {
        let (kind, number, series) = match &metric.value {
            Value::Counter(value) => (Kind::Counter, Number::Counter(*value), 1),
            Value::Gauge(value) => (Kind::Gauge, Number::Gauge(*value), 1),
            Value::Histogram(values) => (Kind::Histogram, Number::Histogram(values), HISTOGRAM_SERIES),
        };
        let place = *places.entry(&metric.name).or_insert_with(|| {
            families.push(Family::new(Cow::Borrowed(&metric.name), kind, metric.unit));
            families.len() - 1
        });
        match families.get_mut(place) {
            // One name is one kind; a file that breaks that was forged.
            Some(family) if family.kind == kind && series <= left => {
                left -= series;
                family.samples.push(Sample { labels: labels(metric), number });
            }
            _ => dropped += series,
        }
    }
    for Beside { name, samples } in beside {
        let kind = if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
        let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::None };
        let mut family = Family::new(Cow::Borrowed(*name), kind, unit);
        for (labels, value) in samples.iter().take(left) {
            let number = match kind {
                Kind::Counter => Number::Counter(*value),
                _ => Number::Gauge(i64::try_from(*value).unwrap_or(i64::MAX)),
            };
            let labels = labels.iter().map(|(name, value)| (*name, Cow::Borrowed(&**value))).collect();
            family.samples.push(Sample { labels, number });
        }
        dropped += samples.len() - family.samples.len();
        left -= family.samples.len();
        families.push(family);
    }
    families.extend(of_the_processes(snapshot));
    let mut family = Family::new("ringway_metrics_series_dropped".into(), Kind::Gauge, Unit::None);
    family.samples.push(Sample { labels: Vec::new(), number: Number::Gauge(dropped as i64) });
    families.push(family);
    families.retain(|family| !family.samples.is_empty());
    let mut texts = help::texts();
    for family in &mut families {
        family.help = texts.remove(&*family.name).unwrap_or_default();
    }
    families
}

fn labels(metric: &Metric) -> Vec<(&str, Cow<'_, str>)> {
    metric.labels.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str()))).collect()
}

/// What the headers of the files tell.
fn of_the_processes(snapshot: &Snapshot) -> impl Iterator<Item = Family<'_>> {
    let mut build = Family::new("ringway_build_info".into(), Kind::Gauge, Unit::None);
    let version = ("version", Cow::Borrowed(env!("CARGO_PKG_VERSION")));
    build.samples.push(Sample { labels: vec![version], number: Number::Gauge(1) });
    let mut start = Family::new("process_start_time_seconds".into(), Kind::Gauge, Unit::Seconds);
    let earliest = snapshot.cores.iter().map(|process| process.wall_ns).min();
    let number = |ns: u64| Number::Gauge(i64::try_from(ns).unwrap_or(i64::MAX));
    start.samples.extend(earliest.map(|ns| Sample { labels: Vec::new(), number: number(ns) }));
    let mut epoch = Family::new("ringway_core_plan_epoch".into(), Kind::Gauge, Unit::None);
    let mut alive = Family::new("ringway_core_heartbeat_timestamp_seconds".into(), Kind::Gauge, Unit::Seconds);
    let mut seen = HashSet::new();
    for process in snapshot.cores.iter().filter(|process| seen.insert(process.core)) {
        let labels = || vec![("core", Cow::Owned(process.core.to_string()))];
        epoch.samples.push(Sample { labels: labels(), number: number(process.epoch) });
        // Zero is a core that has not said anything yet.
        if let Some(age) = process.heartbeat_mono_ns.checked_sub(process.mono_ns) {
            alive.samples.push(Sample { labels: labels(), number: number(process.wall_ns.saturating_add(age)) });
        }
    }
    [build, start, epoch, alive].into_iter()
}

/// The highest value of each classic bucket but the last, which has no end, and how many values are not above it.
/// Ascending; the counts are exact and never go down.
pub(super) fn classic(values: &Distribution) -> Vec<(u64, u64)> {
    let mut buckets = values.buckets().peekable();
    let mut seen = 0_u64;
    (FIRST_EDGE..=LAST_EDGE)
        .map(|power| {
            let edge = (1_u64 << power) - 1;
            while let Some(&(_, high, count)) = buckets.peek()
                && high <= edge
            {
                seen = seen.saturating_add(count);
                buckets.next();
            }
            (edge, seen)
        })
        .collect()
}
