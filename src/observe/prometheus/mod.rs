//! The metrics as Prometheus reads them: the text format 0.0.4, `OpenMetrics` 1.0, and the protobuf format, which alone
//! carries native histograms. Bytes out; who serves them is another matter.

mod families;
mod help;
mod negotiate;
mod protobuf;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ringway_runtime::histogram::Snapshot;

use families::families;

/// Series in one exposition unless the caller says otherwise. A histogram counts with all of its lines.
pub const DEFAULT_MAX_SERIES: usize = 10_000;

/// What a reader of metrics can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus text format 0.0.4, with classic histograms.
    Text,
    /// `OpenMetrics` 1.0 text, with classic histograms.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages, with classic and native histograms.
    Protobuf,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The format that the value of an `Accept` field likes best; text where it likes none of them, as a person with
    /// a browser does.
    pub fn negotiate(accept: Option<&str>) -> Format {
        negotiate::negotiate(accept.unwrap_or_default())
    }
}

/// What tells the metrics of one name apart: the names of labels and their values.
pub type Labels = Vec<(&'static str, Arc<str>)>;

/// Metrics of one name that no core counts: what control knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The whole name; that of a counter ends in `_total`, that of a time in `_seconds`.
    pub name: &'static str,
    /// Each with its number; nanoseconds where it is a time.
    pub samples: Vec<(Labels, u64)>,
}

/// Renders the metrics of one or more cores. At most `max_series` of them are in it, in the order of the schema;
/// `ringway_metrics_series_dropped` says how many are not.
pub fn render(snapshot: &Snapshot, format: Format, max_series: usize) -> Vec<u8> {
    render_with(snapshot, &[], format, max_series)
}

/// The same with what nobody but control knows.
pub fn render_with(snapshot: &Snapshot, beside: &[Beside], format: Format, max_series: usize) -> Vec<u8> {
    let families = families(snapshot, beside, max_series);
    match format {
        Format::Text => text::render(&families, false).into_bytes(),
        Format::OpenMetrics => text::render(&families, true).into_bytes(),
        Format::Protobuf => protobuf::render(&families),
    }
}
