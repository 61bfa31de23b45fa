//! What a reader sees: plain numbers, detached from any file.

use std::collections::HashMap;
use std::fmt;

use super::buckets::Shape;
use super::schema::Unit;

/// What became of the process that wrote a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs. Seen from another pid namespace it looks dead.
    Running,
    /// It closed the file.
    Closed,
    /// It is gone without having closed the file.
    Died,
}

/// Who wrote a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// The process.
    pub pid: u32,
    /// When the process started, in clock ticks since boot; tells it from a later one with the same pid.
    pub start_ticks: u64,
    /// The core.
    pub core: u32,
    /// How many processes handed the run over, one to the next, before this one.
    pub generation: u32,
    /// When the file was made: nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// When the file was made: `CLOCK_MONOTONIC`, nanoseconds.
    pub mono_ns: u64,
    /// The plan that the core ran last.
    pub epoch: u64,
    /// When the core last said that it was alive: `CLOCK_MONOTONIC`, nanoseconds; 0 for never.
    pub heartbeat_mono_ns: u64,
    /// What became of it.
    pub state: State,
}

impl Process {
    /// Whether both files were written by one process.
    pub fn is_same_process(&self, other: &Process) -> bool {
        (self.pid, self.start_ticks) == (other.pid, other.start_ticks)
    }

    /// Whether both are of one run, which one process may have handed over to another.
    pub fn is_same_run(&self, other: &Process) -> bool {
        (self.wall_ns, self.mono_ns) == (other.wall_ns, other.mono_ns)
    }
}

/// One metric of one or more cores.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its labels, in the order of the schema.
    pub labels: Vec<(String, String)>,
    /// What its numbers count.
    pub unit: Unit,
    /// The numbers.
    pub value: Value,
}

/// The numbers of a metric.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(i64),
    /// Many values; times in nanoseconds.
    Histogram(Distribution),
}

/// The metrics of one core, or of several merged.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// The cores that are in it.
    pub cores: Vec<Process>,
    /// The metrics, in the order of the schema.
    pub metrics: Vec<Metric>,
}

/// Two files give different shapes to the histogram of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeError(pub String);

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not the same kind of metric in every file", self.0)
    }
}

impl std::error::Error for MergeError {}

impl Snapshot {
    /// Adds the metrics of other cores: counters, gauges and buckets are summed. A metric that only one side has is
    /// kept as it is. On an error `self` holds part of `other` and is of no more use.
    pub fn merge(&mut self, other: Snapshot) -> Result<(), MergeError> {
        let places: HashMap<_, _> = (self.metrics.iter().enumerate())
            .map(|(at, metric)| ((metric.name.clone(), metric.labels.clone()), at))
            .collect();
        for metric in other.metrics {
            let key = (metric.name, metric.labels);
            let mine = places.get(&key).and_then(|&at| self.metrics.get_mut(at));
            let (name, labels) = key;
            match mine {
                None => self.metrics.push(Metric { name, labels, unit: metric.unit, value: metric.value }),
                Some(mine) => mine.value.merge(&metric.value).ok_or(MergeError(name))?,
            }
        }
        self.cores.extend(other.cores);
        Ok(())
    }

    /// Adds what a process counted that handed its run over to the one of this snapshot: counters and buckets, and gauges
    /// as long as it lives. What has another shape there than here is left out: another release may count otherwise.
    pub fn add_earlier(&mut self, earlier: Snapshot) {
        let lives = earlier.cores.iter().any(|process| process.state == State::Running);
        let places: HashMap<_, _> = (self.metrics.iter().enumerate())
            .map(|(at, metric)| ((metric.name.clone(), metric.labels.clone()), at))
            .collect();
        for metric in earlier.metrics {
            if !lives && matches!(metric.value, Value::Gauge(_)) {
                continue;
            }
            let key = (metric.name, metric.labels);
            let mine = places.get(&key).and_then(|&at| self.metrics.get_mut(at));
            let (name, labels) = key;
            match mine {
                None => self.metrics.push(Metric { name, labels, unit: metric.unit, value: metric.value }),
                Some(mine) => drop(mine.value.merge(&metric.value)),
            }
        }
    }

    /// Adds what another file of the same core holds, unless another run wrote it.
    pub(super) fn add_segment(&mut self, segment: Snapshot) {
        let is_ours = |(mine, theirs): (&Process, &Process)| mine.is_same_process(theirs);
        if self.cores.first().zip(segment.cores.first()).is_some_and(is_ours) {
            self.metrics.extend(segment.metrics);
        }
    }

    /// What was counted since `earlier`, a snapshot of the same cores: counters and histograms less what they were
    /// then, gauges as they are. A metric that was not there then counts from zero.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let before: HashMap<_, _> =
            earlier.metrics.iter().map(|metric| ((&metric.name, &metric.labels), &metric.value)).collect();
        let metrics = (self.metrics.iter())
            .map(|metric| {
                let value = match before.get(&(&metric.name, &metric.labels)) {
                    Some(before) => metric.value.since(before),
                    None => metric.value.clone(),
                };
                Metric { name: metric.name.clone(), labels: metric.labels.clone(), unit: metric.unit, value }
            })
            .collect();
        Snapshot { cores: self.cores.clone(), metrics }
    }

    /// The counter of a name and labels.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        match self.find(name, labels)? {
            Value::Counter(value) => Some(*value),
            _ => None,
        }
    }

    /// The gauge of a name and labels.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
        match self.find(name, labels)? {
            Value::Gauge(value) => Some(*value),
            _ => None,
        }
    }

    /// The histogram of a name and labels.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Distribution> {
        match self.find(name, labels)? {
            Value::Histogram(value) => Some(value),
            _ => None,
        }
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Value> {
        let has_labels = |metric: &&Metric| {
            metric.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).eq(labels.iter().copied())
        };
        self.metrics.iter().filter(|metric| metric.name == name).find(has_labels).map(|metric| &metric.value)
    }
}

impl Value {
    /// A value of another kind than it was counts from zero.
    fn since(&self, earlier: &Value) -> Value {
        match (self, earlier) {
            (Value::Counter(now), Value::Counter(then)) => Value::Counter(now.wrapping_sub(*then)),
            (Value::Histogram(now), Value::Histogram(then)) => Value::Histogram(now.since(then)),
            _ => self.clone(),
        }
    }

    fn merge(&mut self, other: &Value) -> Option<()> {
        match (self, other) {
            (Value::Counter(mine), Value::Counter(theirs)) => *mine = mine.wrapping_add(*theirs),
            (Value::Gauge(mine), Value::Gauge(theirs)) => *mine = mine.wrapping_add(*theirs),
            (Value::Histogram(mine), Value::Histogram(theirs)) => return mine.merge(theirs),
            _ => return None,
        }
        Some(())
    }
}

/// Many recorded values, as counts in buckets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribution {
    shape: Shape,
    max: u64,
    buckets: Vec<u64>,
}

impl Distribution {
    pub(super) fn new(shape: Shape, recorded_max: u64, buckets: Vec<u64>) -> Distribution {
        let highest = buckets.iter().rposition(|&count| count > 0);
        // A reader can meet the maximum and the bucket of one record apart. The buckets are what is true: the
        // maximum has to lie in the highest one in use, the last of which has no upper end.
        let max = highest.map_or(0, |at| {
            let end = if at + 1 == shape.buckets() { u64::MAX } else { shape.highest(at) };
            recorded_max.clamp(shape.lowest(at), end)
        });
        Distribution { shape, max, buckets }
    }

    /// How it cuts its range into buckets.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The buckets in use, in ascending order: the lowest value, the highest, and how many values fell in between. The
    /// highest is never above the maximum, so that of the last bucket, which has no upper end, is the maximum.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let last = self.shape.buckets() - 1;
        let in_use = self.buckets.iter().enumerate().filter(|&(_, &count)| count > 0);
        in_use.map(move |(at, &count)| {
            let highest = if at == last { self.max } else { self.shape.highest(at).min(self.max) };
            (self.shape.lowest(at), highest, count)
        })
    }

    /// What was recorded since `earlier`, or everything where that has another shape. The maximum is exact only where
    /// it was reached since; otherwise it is the upper end of its bucket.
    #[must_use]
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        if self.shape != earlier.shape {
            return self.clone();
        }
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now.saturating_sub(*then)).collect();
        Distribution::new(self.shape, self.max, buckets)
    }

    /// How many values fell into each bucket, in ascending order.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().copied()
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The largest value, exact; 0 where there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The lower end of the lowest bucket in use; 0 where there is none.
    pub fn min(&self) -> u64 {
        self.buckets.iter().position(|&count| count > 0).map_or(0, |at| self.shape.lowest(at))
    }

    /// The mean, taking every value for the middle of its bucket: off by at most half a bucket's width, 0.4 % with
    /// [`Shape::FINE`]. 0 where there is no value.
    pub fn mean(&self) -> f64 {
        // Counted in floats as the sum is: a damaged file can hold counts whose whole sum saturates.
        let count: f64 = self.buckets.iter().map(|&count| count as f64).sum();
        if count > 0.0 { self.sum() / count } else { 0.0 }
    }

    /// The sum of all values, as near as the mean.
    pub fn sum(&self) -> f64 {
        let last = self.shape.buckets() - 1;
        let in_use = self.buckets.iter().enumerate().filter(|&(_, &count)| count > 0);
        in_use
            .map(|(at, &count)| {
                // What is past the range lies anywhere up to the maximum; the middle is the best guess there too.
                let highest = if at == last { self.max } else { self.shape.highest(at) };
                let middle = f64::midpoint(self.shape.lowest(at) as f64, highest as f64);
                middle * count as f64
            })
            .sum()
    }

    /// The value that the share `quantile` (0 to 1) of all values do not exceed: the upper end of its bucket, but
    /// never above the maximum. 0 where there is no value.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let count = self.count();
        // The smallest rank that covers the share. 0.07 * 100 is a little over 7: without the slack it would be rank 8.
        let share = quantile.clamp(0.0, 1.0) * count as f64;
        let rank = ((share * (1.0 - f64::EPSILON)).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0_u64;
        for (at, &in_bucket) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(in_bucket);
            if in_bucket > 0 && seen >= rank {
                let last = at + 1 == self.shape.buckets();
                return if last { self.max } else { self.shape.highest(at).min(self.max) };
            }
        }
        self.max
    }

    fn merge(&mut self, other: &Distribution) -> Option<()> {
        if self.shape != other.shape {
            return None;
        }
        self.max = self.max.max(other.max);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
        Some(())
    }
}
