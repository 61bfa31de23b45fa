//! What a metrics file holds: the list of its metrics, and the place of each.

use std::collections::HashSet;
use std::fmt;

use super::buckets::Shape;
use super::layout;

/// The most metrics in one file.
pub const MAX_METRICS: usize = 65_536;
/// The largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 20;
/// The most labels on one metric.
pub const MAX_LABELS: usize = 8;
/// The longest name, label name or label value, in bytes.
pub const MAX_TEXT_BYTES: usize = 255;

/// What the numbers of a metric count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Things: requests, connections.
    None,
    /// Time. The file holds nanoseconds; the name of the metric ends in `_seconds`.
    Seconds,
    /// Bytes.
    Bytes,
}

/// A counter's place in the file of the schema that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterId {
    pub(super) word: u32,
}

/// A gauge's place in the file of the schema that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GaugeId {
    pub(super) word: u32,
}

/// A histogram's place in the file of the schema that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistogramId {
    pub(super) word: u32,
    pub(super) shape: Shape,
}

/// Counters of one name that differ in their labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterSet {
    first: u32,
    len: u32,
}

/// Gauges of one name that differ in their labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GaugeSet {
    first: u32,
    len: u32,
}

/// Histograms of one name that differ in their labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistogramSet {
    first: u32,
    len: u32,
    shape: Shape,
}

impl CounterSet {
    /// The counter of the labels at `index`.
    #[inline]
    pub fn get(self, index: usize) -> Option<CounterId> {
        (index < self.len as usize).then(|| CounterId { word: self.first + index as u32 })
    }
}

impl GaugeSet {
    /// The gauge of the labels at `index`.
    #[inline]
    pub fn get(self, index: usize) -> Option<GaugeId> {
        (index < self.len as usize).then(|| GaugeId { word: self.first + index as u32 })
    }
}

impl HistogramSet {
    /// The histogram of the labels at `index`.
    #[inline]
    pub fn get(self, index: usize) -> Option<HistogramId> {
        let words = layout::histogram_words(self.shape) as u32;
        (index < self.len as usize).then(|| HistogramId { word: self.first + index as u32 * words, shape: self.shape })
    }
}

/// Why a list of metrics cannot become a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SchemaError {
    /// A metric or label name is not `[a-zA-Z_][a-zA-Z0-9_]*` or longer than [`MAX_TEXT_BYTES`].
    Name(String),
    /// A label value has control characters or is longer than [`MAX_TEXT_BYTES`]. Holds the metric and the label.
    LabelValue(String, String),
    /// A metric has more than [`MAX_LABELS`] labels, or the same label twice.
    Labels(String),
    /// Two metrics have the same name and labels.
    Duplicate(String),
    /// More than [`MAX_METRICS`] metrics or [`MAX_FILE_BYTES`] bytes.
    TooLarge,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::Name(name) => write!(f, "{name:?} is no name for a metric or label"),
            SchemaError::LabelValue(metric, label) => {
                write!(f, "the value of label {label} of {metric} is too long or has control characters")
            }
            SchemaError::Labels(metric) => write!(f, "{metric} has too many labels or one of them twice"),
            SchemaError::Duplicate(metric) => write!(f, "{metric} is there twice with the same labels"),
            SchemaError::TooLarge => {
                write!(f, "the metrics need more than {MAX_METRICS} entries or {MAX_FILE_BYTES} bytes a core")
            }
        }
    }
}

impl std::error::Error for SchemaError {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram(Shape),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    /// The first word, counted from the start of the values.
    pub(super) word: usize,
}

impl Entry {
    pub(super) fn words(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(shape) => layout::histogram_words(shape),
        }
    }

    fn check(&self) -> Result<(), SchemaError> {
        for name in std::iter::once(&self.name).chain(self.labels.iter().map(|(label, _)| label)) {
            if !is_name(name) {
                return Err(SchemaError::Name(name.clone()));
            }
        }
        for (at, (label, value)) in self.labels.iter().enumerate() {
            if !is_label_value(value) {
                return Err(SchemaError::LabelValue(self.name.clone(), label.clone()));
            }
            if at >= MAX_LABELS || self.labels.iter().skip(at + 1).any(|(other, _)| other == label) {
                return Err(SchemaError::Labels(self.name.clone()));
            }
        }
        Ok(())
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_TEXT_BYTES
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
}

/// A checked list of metrics. Every core of a process writes the same one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    pub(super) entries: Vec<Entry>,
    /// The words of all values together.
    pub(super) words: usize,
}

impl Schema {
    /// The size of a file of this schema, in bytes.
    pub fn file_bytes(&self) -> usize {
        layout::values_offset(&self.entries) + self.words * 8
    }
}

/// Collects metrics and hands out their ids. What is added together lies together in memory.
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    entries: Vec<Entry>,
    words: usize,
}

impl SchemaBuilder {
    /// No metrics yet.
    pub fn new() -> SchemaBuilder {
        SchemaBuilder::default()
    }

    /// Adds a number that only grows.
    pub fn counter(&mut self, name: &str, unit: Unit, labels: &[(&str, &str)]) -> CounterId {
        CounterId { word: self.push(name, Kind::Counter, unit, labels) }
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &str, unit: Unit, labels: &[(&str, &str)]) -> GaugeId {
        GaugeId { word: self.push(name, Kind::Gauge, unit, labels) }
    }

    /// Adds a distribution of values; times are recorded in nanoseconds.
    pub fn histogram(&mut self, name: &str, unit: Unit, shape: Shape, labels: &[(&str, &str)]) -> HistogramId {
        HistogramId { word: self.push(name, Kind::Histogram(shape), unit, labels), shape }
    }

    /// Adds one counter for each set of labels, such as one for each upstream.
    pub fn counters<'a, L: AsRef<[(&'a str, &'a str)]>>(
        &mut self,
        name: &str,
        unit: Unit,
        labels: impl IntoIterator<Item = L>,
    ) -> CounterSet {
        let (first, len) = self.push_set(name, Kind::Counter, unit, labels);
        CounterSet { first, len }
    }

    /// Adds one gauge for each set of labels.
    pub fn gauges<'a, L: AsRef<[(&'a str, &'a str)]>>(
        &mut self,
        name: &str,
        unit: Unit,
        labels: impl IntoIterator<Item = L>,
    ) -> GaugeSet {
        let (first, len) = self.push_set(name, Kind::Gauge, unit, labels);
        GaugeSet { first, len }
    }

    /// Adds one histogram for each set of labels.
    pub fn histograms<'a, L: AsRef<[(&'a str, &'a str)]>>(
        &mut self,
        name: &str,
        unit: Unit,
        shape: Shape,
        labels: impl IntoIterator<Item = L>,
    ) -> HistogramSet {
        let (first, len) = self.push_set(name, Kind::Histogram(shape), unit, labels);
        HistogramSet { first, len, shape }
    }

    /// Checks names, labels and bounds.
    pub fn build(self) -> Result<Schema, SchemaError> {
        if self.entries.len() > MAX_METRICS || self.words * 8 > MAX_FILE_BYTES {
            return Err(SchemaError::TooLarge);
        }
        let mut seen = HashSet::new();
        for entry in &self.entries {
            entry.check()?;
            if !seen.insert((&entry.name, &entry.labels)) {
                return Err(SchemaError::Duplicate(entry.name.clone()));
            }
        }
        let schema = Schema { entries: self.entries, words: self.words };
        if schema.file_bytes() > MAX_FILE_BYTES {
            return Err(SchemaError::TooLarge);
        }
        Ok(schema)
    }

    fn push_set<'a, L: AsRef<[(&'a str, &'a str)]>>(
        &mut self,
        name: &str,
        kind: Kind,
        unit: Unit,
        labels: impl IntoIterator<Item = L>,
    ) -> (u32, u32) {
        let first = self.words as u32;
        let mut len = 0;
        for labels in labels {
            self.push(name, kind, unit, labels.as_ref());
            len += 1;
        }
        (first, len)
    }

    fn push(&mut self, name: &str, kind: Kind, unit: Unit, labels: &[(&str, &str)]) -> u32 {
        let word = self.words;
        let labels = labels.iter().map(|&(label, value)| (label.to_owned(), value.to_owned())).collect();
        let entry = Entry { name: name.to_owned(), labels, kind, unit, word };
        self.words += entry.words();
        self.entries.push(entry);
        // Past u32 the schema is over MAX_FILE_BYTES, which build() refuses, so no such id is ever used.
        word as u32
    }
}
