//! The text formats: Prometheus 0.0.4 and `OpenMetrics` 1.0, which differ in the names of counters, in units and in the
//! end.

use std::borrow::Cow;
use std::fmt::Write as _;

use ringway_runtime::histogram::{Distribution, Unit};

use super::families::{Family, Kind, Number, classic};

pub(super) fn render(families: &[Family<'_>], open_metrics: bool) -> String {
    let mut out = String::new();
    for family in families {
        let name = match family.kind {
            Kind::Counter if open_metrics => family.name.strip_suffix("_total").unwrap_or(&family.name),
            _ => &*family.name,
        };
        if !family.help.is_empty() {
            let _ = writeln!(out, "# HELP {name} {}", escaped(&family.help, open_metrics));
        }
        let _ = writeln!(out, "# TYPE {name} {}", family.kind.name());
        if open_metrics && let Some(unit) = unit(family) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        for sample in &family.samples {
            let labels = labels(&sample.labels);
            match sample.number {
                Number::Counter(value) => line(&mut out, &family.name, "", &labels, &scaled(value, family.unit)),
                Number::Gauge(value) => {
                    let sign = if value < 0 { "-" } else { "" };
                    let value = scaled(value.unsigned_abs(), family.unit);
                    line(&mut out, &family.name, "", &labels, &format!("{sign}{value}"));
                }
                Number::Histogram(values) => histogram(&mut out, family, &labels, values),
            }
        }
    }
    if open_metrics {
        out.push_str("# EOF\n");
    }
    out
}

/// The unit where the name ends with it, as `OpenMetrics` wants it.
pub(super) fn unit(family: &Family<'_>) -> Option<&'static str> {
    let unit = match family.unit {
        Unit::None => return None,
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
    };
    let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')).then_some(unit)
}

fn histogram(out: &mut String, family: &Family<'_>, labels: &str, values: &Distribution) {
    let bucket = |out: &mut String, edge: &str, count: u64| {
        let comma = if labels.is_empty() { "" } else { "," };
        line(out, &family.name, "_bucket", &format!("{labels}{comma}le=\"{edge}\""), &count.to_string());
    };
    for (edge, count) in classic(values) {
        bucket(out, &scaled(edge, family.unit), count);
    }
    let count = values.count();
    bucket(out, "+Inf", count);
    let sum = if family.unit == Unit::Seconds { values.sum() / 1e9 } else { values.sum() };
    line(out, &family.name, "_sum", labels, &sum.to_string());
    line(out, &family.name, "_count", labels, &count.to_string());
}

fn line(out: &mut String, name: &str, suffix: &str, labels: &str, value: &str) {
    let _ = if labels.is_empty() {
        writeln!(out, "{name}{suffix} {value}")
    } else {
        writeln!(out, "{name}{suffix}{{{labels}}} {value}")
    };
}

fn labels(labels: &[(&str, Cow<'_, str>)]) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true))).collect();
    labels.join(",")
}

/// Escaped as label values are; in help texts of the old format a quote stands for itself.
fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(char),
        }
    }
    out
}

/// A number in base units, exact: nanoseconds become seconds.
fn scaled(value: u64, unit: Unit) -> String {
    if unit != Unit::Seconds {
        return value.to_string();
    }
    let (seconds, nanos) = (value / 1_000_000_000, value % 1_000_000_000);
    let text = format!("{seconds}.{nanos:09}");
    let short = text.trim_end_matches('0');
    // `1.0` and not `1.`: the canonical form of a whole number in OpenMetrics.
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}
