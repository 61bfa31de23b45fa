//! `ringway hdr DIR`: what a live or dead gateway counted and how long things took.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use ringway_runtime::histogram::{Distribution, Metric, Process, Snapshot, State, Unit, Value, read_dir};
use serde_json::{Map, Value as Json, json};

use super::Exit;

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The `metrics_dir` of the gateway
    dir: PathBuf,
    /// Print JSON, with times in seconds
    #[arg(long)]
    json: bool,
    /// Show what is still zero, too; JSON always does
    #[arg(long)]
    all: bool,
}

/// Prints what can be read and names what cannot. Wrong input is an exit of 1 even where some files were read.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let files = match read_dir(&args.dir) {
        Ok(files) => files,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(Exit::Input);
        }
    };
    let mut exit = Exit::Done;
    let mut cores = Vec::new();
    for file in files {
        match file {
            Ok(snapshot) => cores.push(snapshot),
            Err(error) => {
                writeln!(err, "error: {error}")?;
                exit = Exit::Input;
            }
        }
    }
    let Some(found) = merge_newest_run(cores, err)? else {
        if exit == Exit::Done {
            let dir = args.dir.display();
            writeln!(err, "error: {dir}: no metrics files (core-N.metrics); is this the gateway's metrics_dir?")?;
        }
        return Ok(Exit::Input);
    };
    if args.json {
        writeln!(out, "{:#}", to_json(&found))?;
    } else {
        write!(out, "{}", to_text(&found, args.all))?;
    }
    Ok(exit)
}

/// Merges the cores of the run that started last. Files of another run would add up what never ran together.
fn merge_newest_run(cores: Vec<Snapshot>, err: &mut impl Write) -> io::Result<Option<Snapshot>> {
    let newest = cores.iter().flat_map(|core| &core.cores).max_by_key(|process| process.wall_ns).copied();
    let mut merged: Option<Snapshot> = None;
    for core in cores {
        let of_newest = core.cores.iter().zip(&newest).all(|(process, newest)| process.is_same_run(newest));
        if !of_newest {
            for process in &core.cores {
                let (core, pid) = (process.core, process.pid);
                writeln!(err, "warning: core {core} is left out: its file is of an earlier run (pid {pid})")?;
            }
            continue;
        }
        match &mut merged {
            None => merged = Some(core),
            Some(merged) => {
                if let Err(error) = merged.merge(core) {
                    // One process writes one schema; only a forged file comes here.
                    writeln!(err, "error: the files of one run do not fit together: {error}")?;
                    return Ok(None);
                }
            }
        }
    }
    Ok(merged)
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Closed => "ended",
        State::Died => "died",
    }
}

fn to_text(found: &Snapshot, all: bool) -> String {
    let mut text = String::new();
    if let Some(first) = found.cores.first() {
        let cores: Vec<String> = found.cores.iter().map(|process| process.core.to_string()).collect();
        let (pid, state) = (first.pid, state_name(worst_state(&found.cores)));
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

/// A run is dead as soon as one of its cores is.
fn worst_state(cores: &[Process]) -> State {
    let has = |state| cores.iter().any(|process| process.state == state);
    if has(State::Died) {
        State::Died
    } else if has(State::Running) {
        State::Running
    } else {
        State::Closed
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
fn show(unit: Unit, value: f64) -> String {
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
fn push_table(text: &mut String, rows: &[Vec<String>]) {
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

fn to_json(found: &Snapshot) -> Json {
    let cores: Vec<Json> = (found.cores.iter())
        .map(|process| {
            json!({
                "core": process.core,
                "pid": process.pid,
                "state": state_name(process.state),
                "start_unix_ns": process.wall_ns,
                "epoch": process.epoch,
            })
        })
        .collect();
    let of_kind = |wanted: fn(&Value) -> bool| -> Vec<Json> {
        found.metrics.iter().filter(|metric| wanted(&metric.value)).map(metric_json).collect()
    };
    json!({
        "cores": cores,
        "histograms": of_kind(|value| matches!(value, Value::Histogram(_))),
        "counters": of_kind(|value| matches!(value, Value::Counter(_))),
        "gauges": of_kind(|value| matches!(value, Value::Gauge(_))),
    })
}

/// In base units, as the metric's name promises.
fn metric_json(metric: &Metric) -> Json {
    let labels: Map<String, Json> =
        metric.labels.iter().map(|(label, value)| (label.clone(), Json::from(value.as_str()))).collect();
    let mut json = Map::new();
    json.insert("name".to_owned(), Json::from(metric.name.as_str()));
    json.insert("labels".to_owned(), Json::Object(labels));
    let base = |value: f64| if metric.unit == Unit::Seconds { value / 1e9 } else { value };
    match &metric.value {
        Value::Counter(value) => drop(json.insert("value".to_owned(), Json::from(*value))),
        Value::Gauge(value) => drop(json.insert("value".to_owned(), Json::from(*value))),
        Value::Histogram(values) => {
            json.insert("count".to_owned(), Json::from(values.count()));
            json.insert("mean".to_owned(), Json::from(base(values.mean())));
            for (name, quantile) in QUANTILES {
                json.insert(name.to_owned(), Json::from(base(values.quantile(quantile) as f64)));
            }
            json.insert("max".to_owned(), Json::from(base(values.max() as f64)));
        }
    }
    Json::Object(json)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ringway_runtime::histogram::{SchemaBuilder, file_name};
    use ringway_runtime::histogram::{Shape, Start, Writer};

    use super::*;

    /// Writes `values` as the durations of one core.
    fn write_core(dir: &Path, core: u32, values: &[u64]) -> Writer {
        let mut builder = SchemaBuilder::new();
        let requests = builder.counter("requests_total", Unit::None, &[("status", "2xx")]);
        let open = builder.gauge("open", Unit::None, &[]);
        let duration = builder.histogram("duration_seconds", Unit::Seconds, Shape::FINE, &[]);
        let start = Start { core, segment: 0, wall_ns: 5, mono_ns: 6 };
        let writer = Writer::create(dir, &start, &builder.build().expect("a schema")).expect("a file");
        writer.set_epoch(4);
        writer.gauge(open).set(-1);
        for &value in values {
            writer.record(duration, value);
            writer.counter(requests).add(1);
        }
        writer
    }

    fn hdr(dir: &Path, json: bool) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { dir: dir.to_owned(), json, all: false };
        let exit = run(&args, &mut out, &mut err).expect("vectors take all");
        (exit, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn the_table_shows_all_cores_as_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let _zero = write_core(dir.path(), 0, &[100, 200]);
        let _one = write_core(dir.path(), 1, &[2_000_000, 3_500_000_000]);
        let (exit, out, err) = hdr(dir.path(), false);
        let pid = std::process::id();
        let expected = format!(
            "pid {pid} (running), cores 0,1, plan epoch 4\n\n\
             histogram         count   mean    p50    p90    p99  p99.9  p99.99    max\n\
             duration_seconds      4  875ms  200ns  3.50s  3.50s  3.50s   3.50s  3.50s\n\n\
             counter or gauge              value\n\
             requests_total{{status=\"2xx\"}}      4\n\
             open                             -2\n"
        );
        assert_eq!((exit, out, err), (Exit::Done, expected, String::new()));
    }

    #[test]
    fn what_is_zero_is_shown_only_when_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let snapshot = write_core(dir.path(), 0, &[]).snapshot().expect("a snapshot");
        let brief = to_text(&snapshot, false);
        assert!(
            !brief.contains("duration_seconds") && brief.ends_with("\n2 more are zero (--all shows them)\n"),
            "{brief}"
        );
        let full = to_text(&snapshot, true);
        assert!(
            full.contains("duration_seconds") && full.contains("requests_total") && !full.contains("more"),
            "{full}"
        );
    }

    #[test]
    fn json_is_in_base_units() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(write_core(dir.path(), 2, &[1_000, 1_000]));
        let (exit, out, _) = hdr(dir.path(), true);
        let found: Json = serde_json::from_str(&out).expect("JSON");
        assert_eq!(exit, Exit::Done);
        assert_eq!(found["cores"][0]["state"], "ended");
        assert_eq!(found["histograms"][0]["count"], 2);
        assert_eq!(found["histograms"][0]["p99.9"], 1e-6);
        assert_eq!(found["counters"][0], json!({"name": "requests_total", "labels": {"status": "2xx"}, "value": 2}));
        assert_eq!(found["gauges"][0]["value"], -1);
    }

    #[test]
    fn a_bad_file_is_named_and_the_others_are_still_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let _zero = write_core(dir.path(), 0, &[100]);
        let bad = dir.path().join(file_name(1, 0));
        fs::write(&bad, "not this").expect("a file");
        let (exit, out, err) = hdr(dir.path(), false);
        assert_eq!(err, format!("error: {}: not a Ringway metrics file\n", bad.display()));
        assert!(out.contains("requests_total"), "{out}");
        assert_eq!(exit, Exit::Input);
    }

    #[test]
    fn a_directory_without_metrics_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let (exit, out, err) = hdr(dir.path(), false);
        assert_eq!((exit, out.as_str()), (Exit::Input, ""));
        let expected = "no metrics files (core-N.metrics); is this the gateway's metrics_dir?\n";
        assert_eq!(err, format!("error: {}: {expected}", dir.path().display()));
        let (exit, _, err) = hdr(&dir.path().join("missing"), false);
        assert_eq!(exit, Exit::Input);
        assert!(err.contains("missing: No such file"), "{err}");
    }

    #[test]
    fn files_of_an_earlier_run_are_left_out_and_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let [old, new] = [(7, 1, 10), (8, 2, 20)].map(|(core, ticks, wall_ns)| {
            let mut snapshot = write_core(dir.path(), core, &[100]).snapshot().expect("a snapshot");
            snapshot.cores[0].start_ticks = ticks;
            snapshot.cores[0].wall_ns = wall_ns;
            snapshot
        });
        let mut err = Vec::new();
        let merged = merge_newest_run(vec![old, new], &mut err).expect("a vector takes all").expect("the new one");
        assert_eq!(merged.cores.iter().map(|process| process.core).collect::<Vec<_>>(), [8]);
        let err = String::from_utf8(err).expect("text");
        assert!(err.starts_with("warning: core 7 is left out"), "{err}");
    }

    #[test]
    fn values_are_shown_with_three_digits_and_a_unit() {
        let shown = [0.0, 999.0, 1_000.0, 12_345.0, 123_456.0, 1.5e9, 7.2e12].map(|ns| show(Unit::Seconds, ns));
        assert_eq!(shown, ["0ns", "999ns", "1.00us", "12.3us", "123us", "1.50s", "7200s"]);
        assert_eq!([1.0, 2048.0].map(|bytes| show(Unit::Bytes, bytes)), ["1B", "2.00KiB"]);
        assert_eq!(show(Unit::None, 3.0), "3");
    }
}
