//! The tables of `ringway hdr`.

use std::fmt::Write as _;

use ringway_runtime::histogram::{Distribution, Metric, Snapshot, State, Unit, Value};

use super::{QUANTILES, state_name};

pub(super) fn to_text(found: &Snapshot, state: State, all: bool) -> String {
    let mut text = String::new();
    if let Some(first) = found.cores.first() {
        let cores: Vec<String> = found.cores.iter().map(|process| process.core.to_string()).collect();
        let (pid, state) = (first.pid, state_name(state));
        let _ = writeln!(text, "pid {pid} ({state}), cores {}, plan epoch {}\n", cores.join(","), first.epoch);
    }
    let mut histograms = vec![["histogram", "count", "mean"].map(str::to_owned).to_vec()];
    if let Some(head) = histograms.first_mut() {
        head.extend(QUANTILES.iter().map(|(name, _)| (*name).to_owned()).chain(["max".to_owned()]));
    }
    let mut numbers = vec![vec!["counter or gauge".to_owned(), "value".to_owned()]];
    let mut hidden = 0;
    for metric in &found.metrics {
        match &metric.value {
            value if !all && is_zero(value) => hidden += 1,
            Value::Histogram(values) => histograms.push(histogram_row(metric, values)),
            Value::Counter(value) if metric.unit == Unit::Seconds => {
                numbers.push(vec![full_name(metric), show(metric.unit, *value as f64)]);
            }
            Value::Counter(value) => numbers.push(vec![full_name(metric), value.to_string()]),
            Value::Gauge(value) => numbers.push(vec![full_name(metric), value.to_string()]),
        }
    }
    push_table(&mut text, &histograms);
    text.push('\n');
    push_table(&mut text, &numbers);
    if hidden > 0 {
        let _ = writeln!(text, "\n{hidden} more are zero (--all shows them)");
    }
    text
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Counter(value) => *value == 0,
        Value::Gauge(value) => *value == 0,
        Value::Histogram(values) => values.count() == 0,
    }
}

fn histogram_row(metric: &Metric, values: &Distribution) -> Vec<String> {
    let mut row = vec![full_name(metric), values.count().to_string(), show(metric.unit, values.mean())];
    let quantiles = QUANTILES.iter().map(|&(_, quantile)| values.quantile(quantile));
    row.extend(quantiles.chain([values.max()]).map(|value| show(metric.unit, value as f64)));
    row
}

fn full_name(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    if labels.is_empty() { metric.name.clone() } else { format!("{}{{{}}}", metric.name, labels.join(",")) }
}

/// Three or four digits and a unit.
pub(in crate::cli) fn show(unit: Unit, value: f64) -> String {
    let (steps, names): (&[f64], &[&str]) = match unit {
        Unit::Seconds => (&[1e3, 1e6, 1e9], &["ns", "us", "ms", "s"]),
        Unit::Bytes => (&[1024.0, 1_048_576.0, 1_073_741_824.0], &["B", "KiB", "MiB", "GiB"]),
        Unit::None => (&[], &[""]),
    };
    let step = steps.iter().filter(|&&step| value >= step).count();
    let scaled = value / step.checked_sub(1).and_then(|at| steps.get(at)).unwrap_or(&1.0);
    let is_whole = scaled.fract() == 0.0 && step == 0;
    let decimals = if is_whole { 0 } else { 2_usize.saturating_sub(scaled.max(1.0).log10() as usize) };
    format!("{scaled:.decimals$}{}", names.get(step).unwrap_or(&""))
}

/// The first column to the left, the others to the right.
pub(in crate::cli) fn push_table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if at == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
}
