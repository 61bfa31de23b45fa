//! What other tools for HDR histograms read: the interval log (V2, compressed) and the percentile file.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use ringway_runtime::clock::Wall;
use ringway_runtime::histogram::{Distribution, Metric, Snapshot, State, Unit, Value};

use super::super::Exit;
use crate::observe::{Run, read_run};

/// The readers divide by it to show a maximum in milliseconds.
const NS_PER_MS: f64 = 1e6;
/// Two digits have 128 buckets in each power of two from 256 on, and one for each value below: the shape of our finest.
const DIGITS: u8 = 2;
/// Steps between two halvings of what is left to 100 %; what the reference tool uses.
const TICKS_PER_HALF: u32 = 5;

/// One line for each histogram, from the start of the run to now or to its last sign of life.
pub(super) fn whole(found: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let start = started(found);
    let alive = found.cores.iter().map(|process| process.heartbeat_mono_ns.saturating_sub(process.mono_ns)).max();
    let length = if found.cores.iter().any(|process| process.state == State::Running) {
        Wall::now().as_nanos().saturating_sub(start)
    } else {
        alive.unwrap_or(0)
    };
    let mut serializer = V2DeflateSerializer::new();
    let mut log = begin(start).begin_log_with(out, &mut serializer)?;
    lines(found, Duration::ZERO, Duration::from_nanos(length), &mut |histogram, start, length, tag| {
        log.write_histogram(histogram, start, length, tag).map_err(io::Error::other)
    })
}

/// One line for each histogram that moved and each interval, until the gateway is gone.
pub(super) fn intervals(
    dir: &Path,
    every: Duration,
    run: &Run,
    found: &Snapshot,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<Exit>> {
    let start = started(found);
    let mut serializer = V2DeflateSerializer::new();
    // Flushed after each interval, so that the log can be followed.
    let mut text = Vec::new();
    let mut before = found.clone();
    let mut state = run.state();
    let mut at = Wall::now().as_nanos().saturating_sub(start);
    drop(begin(start).begin_log_with(&mut text, &mut serializer)?);
    out.write_all(&text)?;
    out.flush()?;
    while state == State::Running {
        std::thread::sleep(every);
        let now = match read_run(dir) {
            Ok(run) if !before.cores.iter().any(|process| run.is_of(process)) => {
                writeln!(err, "warning: another run has begun; the log ends")?;
                return Ok(None);
            }
            Ok(run) => run,
            Err(none) => {
                writeln!(err, "error: {none}")?;
                return Ok(Some(Exit::Input));
            }
        };
        let Ok(found) = now.merged() else { return Ok(Some(Exit::Input)) };
        state = now.state();
        let until = Wall::now().as_nanos().saturating_sub(start);
        text.clear();
        let mut log = IntervalLogWriterBuilder::new();
        let mut log = log.with_max_value_divisor(NS_PER_MS).begin_log_with(&mut text, &mut serializer)?;
        let moved = found.since(&before);
        lines(
            &moved,
            Duration::from_nanos(at),
            Duration::from_nanos(until.saturating_sub(at)),
            &mut |histogram, start, length, tag| {
                log.write_histogram(histogram, start, length, tag).map_err(io::Error::other)
            },
        )?;
        out.write_all(&text)?;
        out.flush()?;
        (before, at) = (found, until);
    }
    Ok(None)
}

fn started(found: &Snapshot) -> u64 {
    found.cores.iter().map(|process| process.wall_ns).min().unwrap_or(0)
}

/// The head of a log whose times count from `start_ns` after the Unix epoch.
fn begin(start_ns: u64) -> IntervalLogWriterBuilder {
    let mut builder = IntervalLogWriterBuilder::new();
    let start = start_ns as f64 / 1e9;
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("[StartTime: {start:.3} (seconds since epoch)]"))
        .add_comment("values in nanoseconds, Interval_Max in milliseconds")
        .with_max_value_divisor(NS_PER_MS);
    builder
}

type WriteLine<'a> = &'a mut dyn FnMut(&Histogram<u64>, Duration, Duration, Option<Tag<'_>>) -> io::Result<()>;

fn lines(found: &Snapshot, start: Duration, length: Duration, write: WriteLine<'_>) -> io::Result<()> {
    for metric in &found.metrics {
        let Value::Histogram(values) = &metric.value else { continue };
        if values.count() == 0 {
            continue;
        }
        write(&convert(values)?, start, length, Tag::new(&name(metric)))?;
    }
    Ok(())
}

/// The name by which a histogram is asked for and tagged: `name` or `name:label=value`. Names of routes have neither
/// commas nor spaces, which would end the tag.
fn name(metric: &Metric) -> String {
    let labels = metric.labels.iter().map(|(label, value)| format!(":{label}={value}"));
    std::iter::once(metric.name.clone()).chain(labels).collect()
}

/// The same counts in the buckets of the crate. Each value takes the upper end of its bucket, as our percentiles do.
fn convert(values: &Distribution) -> io::Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(values.max().max(2), DIGITS).map_err(io::Error::other)?;
    for (_, high, count) in values.buckets() {
        histogram.record_n(high, count).map_err(io::Error::other)?;
    }
    Ok(histogram)
}

/// The percentile distribution of one histogram, as HDR histogram plotters read it.
pub(super) fn percentiles(
    found: &Snapshot,
    wanted: &str,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<Exit>> {
    let histograms = || found.metrics.iter().filter(|metric| matches!(metric.value, Value::Histogram(_)));
    let Some(metric) = histograms().find(|metric| name(metric) == wanted) else {
        writeln!(err, "error: there is no histogram `{wanted}`; there are:")?;
        histograms().try_for_each(|metric| writeln!(err, "  {}", name(metric)))?;
        return Ok(Some(Exit::Input));
    };
    let Value::Histogram(values) = &metric.value else { return Ok(Some(Exit::Input)) };
    let scale = if metric.unit == Unit::Seconds { NS_PER_MS } else { 1.0 };
    let histogram = convert(values)?;
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to().min(values.max()) as f64 / scale;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value:12.3} {quantile:14.12} {total:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (values.mean() / scale, histogram.stdev() / scale);
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", values.max() as f64 / scale, values.count())?;
    let (buckets, sub_buckets) = (histogram.buckets(), 1 << (values.shape().precision() + 1));
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use proptest::prelude::*;
    use ringway_runtime::histogram::{SchemaBuilder, Shape, Writer};

    use super::*;

    fn snapshot(shape: Shape, values: &[u64]) -> Snapshot {
        let mut builder = SchemaBuilder::new();
        let id = builder.histogram("duration_seconds", Unit::Seconds, shape, &[("route", "users")]);
        let writer = Writer::in_memory(&builder.build().expect("a schema"));
        for &value in values {
            writer.record(id, value);
        }
        let mut snapshot = writer.snapshot().expect("a snapshot");
        let process = &mut snapshot.cores[0];
        (process.wall_ns, process.mono_ns, process.heartbeat_mono_ns) = (1_500_000_000, 10, 2_000_000_010);
        process.state = State::Died;
        snapshot
    }

    proptest! {
        #[test]
        fn the_crates_own_reader_finds_the_same_counts_and_percentiles(
            values in prop::collection::vec(1_u64..5_000_000_000, 1..100), fine in any::<bool>(),
        ) {
            let shape = if fine { Shape::FINE } else { Shape::COARSE };
            let found = snapshot(shape, &values);
            let mut log = Vec::new();
            whole(&found, &mut log).expect("a vector takes all");
            let entries: Vec<_> = IntervalLogIterator::new(&log).map(|entry| entry.expect("a sound log")).collect();
            let intervals: Vec<_> = (entries.iter())
                .filter_map(|entry| if let LogEntry::Interval(line) = entry { Some(line) } else { None })
                .collect();
            prop_assert_eq!(intervals.len(), 1);
            let line = intervals[0];
            prop_assert_eq!(line.tag().map(|tag| tag.as_str()), Some("duration_seconds:route=users"));
            prop_assert_eq!(line.duration(), Duration::from_secs(2));
            let ours = found.histogram("duration_seconds", &[("route", "users")]).expect("the histogram");
            let bytes = base64(line.encoded_histogram());
            let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
            prop_assert_eq!(theirs.len(), ours.count());
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let (wanted, found) = (ours.quantile(quantile), theirs.value_at_quantile(quantile));
                // Their upper end of the last bucket is not cut at the maximum.
                prop_assert!(theirs.equivalent(wanted, found), "p{}: {} and {}", quantile, wanted, found);
            }
        }
    }

    /// Slow and plain.
    fn base64(text: &str) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
        for byte in text.bytes().filter(|&byte| byte != b'=') {
            let value = alphabet.iter().position(|&known| known == byte).expect("base64") as u32;
            (bits, held) = (bits << 6 | value, held + 6);
            if held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
            }
        }
        out
    }

    #[test]
    fn a_percentile_file_ends_with_all_values_and_the_maximum() {
        let values: Vec<u64> = (1..=1_000).map(|at| at * 1_000_000).collect();
        let found = snapshot(Shape::FINE, &values);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = percentiles(&found, "duration_seconds:route=users", &mut out, &mut err).expect("vectors take all");
        assert_eq!((exit, err.as_slice()), (None, &b""[..]));
        let text = String::from_utf8(out).expect("text");
        let rows: Vec<Vec<f64>> = (text.lines().skip(2))
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().expect("a number")).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]), "{text}");
        let half = rows.iter().find(|row| row[1] >= 0.5).expect("a median");
        assert!((half[0] - 500.0).abs() < 4.0 && (half[3] - 2.0).abs() < 1e-9, "{half:?}");
        assert_eq!(rows.last().map(|row| &row[..]), Some(&[1000.0, 1.0, 1000.0][..]));
        assert!(text.contains("#[Max     =     1000.000, Total count    =         1000]"), "{text}");
    }

    #[test]
    fn an_unknown_histogram_gets_the_names_of_those_there_are() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = percentiles(&snapshot(Shape::FINE, &[1]), "duration", &mut out, &mut err);
        assert_eq!(exit.expect("vectors take all"), Some(Exit::Input));
        let err = String::from_utf8(err).expect("text");
        assert_eq!(err, "error: there is no histogram `duration`; there are:\n  duration_seconds:route=users\n");
    }
}
