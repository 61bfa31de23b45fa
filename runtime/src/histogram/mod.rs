//! Counters, gauges and latency histograms of one core, in a file that other processes can read.
//!
//! Each core owns one file, `core-N.metrics`, mapped into memory and written with plain 64-bit stores: no lock, no
//! locked instruction, no system call. Metrics that come later go into further files, `core-N.1.metrics` and so on. A
//! reader opens the file by itself, live or long after the writer is gone;
//! the file describes its own metrics. `docs/metrics-files.md` gives the layout byte by byte.
//!
//! What a reader may rely on: every word is written whole, a counter and a bucket never go down, and the count of a
//! histogram is the sum of its buckets, so it can never disagree with them. A snapshot of a live file holds every
//! record that was finished before the snapshot began and none that began after it ended. Killing the writer at any
//! instruction loses at most the one record it was making.
//!
//! ```
//! use ringway_runtime::histogram::{SchemaBuilder, Shape, Unit, Writer};
//!
//! let mut schema = SchemaBuilder::new();
//! let requests = schema.counter("requests_total", Unit::None, &[]);
//! let duration = schema.histogram("duration_seconds", Unit::Seconds, Shape::FINE, &[]);
//! let writer = Writer::in_memory(&schema.build()?);
//! writer.counter(requests).add(1);
//! writer.record(duration, 42_000);
//! assert_eq!(writer.snapshot()?.histogram("duration_seconds", &[]).map(|found| found.count()), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buckets;
mod file;
mod fold;
mod layout;
mod reader;
mod schema;
mod snapshot;
mod writer;

#[cfg(test)]
mod tests;

pub use buckets::Shape;
pub use file::{CreateError, file_name, publish, remove_half_made, remove_stale};
pub use fold::{FoldError, Found, fold, read_all};
pub use layout::{LAYOUT_VERSION, MAGIC};
pub use reader::{Problem, ReadError, Reader, read_dir};
pub use schema::{
    CounterId, CounterSet, GaugeId, GaugeSet, HistogramId, HistogramSet, MAX_FILE_BYTES, MAX_LABELS, MAX_METRICS,
    MAX_TEXT_BYTES, Schema, SchemaBuilder, SchemaError, Unit,
};
pub use snapshot::{Distribution, MergeError, Metric, Process, Snapshot, State, Value};
pub use writer::{Counter, Gauge, Start, Writer};
