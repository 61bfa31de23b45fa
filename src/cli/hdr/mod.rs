//! `ringway hdr DIR`: what a live or dead gateway counted and how long things took.

mod json;
mod log;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use ringway_runtime::histogram::{Snapshot, State};

use super::Exit;
use crate::observe::prometheus::{self, Format};
use crate::observe::{Run, read_run};

pub(super) use table::{push_table, show};

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The `metrics_dir` of the gateway
    dir: PathBuf,
    #[command(flatten)]
    form: Form,
    /// Show what is still zero, too; the other forms always do
    #[arg(long)]
    all: bool,
    /// With --log: a line for each histogram and interval such as 1s, until the gateway ends
    #[arg(long, value_name = "INTERVAL", requires = "log", value_parser = super::interval)]
    every: Option<Duration>,
    /// With Prometheus's formats: series at most
    #[arg(long, value_name = "N", default_value_t = prometheus::DEFAULT_MAX_SERIES)]
    max_series: usize,
}

#[derive(clap::Args, Debug, Default)]
#[group(multiple = false)]
struct Form {
    /// Print JSON, with times in seconds
    #[arg(long)]
    json: bool,
    /// Print an HDR histogram log (V2), with times in nanoseconds
    #[arg(long)]
    log: bool,
    /// Print the percentile distribution of one histogram (.hgrm), with times in milliseconds
    #[arg(long, value_name = "NAME[:LABEL=VALUE]", num_args = 0..=1,
          default_missing_value = "ringway_request_duration_seconds")]
    hgrm: Option<String>,
    /// Print Prometheus's text format 0.0.4
    #[arg(long)]
    prometheus: bool,
    /// Print `OpenMetrics` 1.0
    #[arg(long)]
    openmetrics: bool,
    /// Print Prometheus's protobuf format, with native histograms
    #[arg(long)]
    protobuf: bool,
}

/// Prints what can be read and names what cannot. Wrong input is an exit of 1 even where some files were read.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let run = match read_run(&args.dir) {
        Ok(run) => run,
        Err(none) => {
            none.to_string().lines().try_for_each(|line| writeln!(err, "error: {line}"))?;
            return Ok(Exit::Input);
        }
    };
    let mut exit = Exit::Done;
    for error in &run.unread {
        writeln!(err, "error: {error}")?;
        exit = Exit::Input;
    }
    for (core, pid) in &run.left_out {
        writeln!(err, "warning: core {core} is left out: its file is of an earlier run (pid {pid})")?;
    }
    let found = match run.merged() {
        Ok(found) => found,
        Err(error) => {
            writeln!(err, "error: the files of one run do not fit together: {error}")?;
            return Ok(Exit::Input);
        }
    };
    Ok(print(args, &run, &found, out, err)?.unwrap_or(exit))
}

/// An exit where the form itself found something wrong.
fn print(
    args: &Args,
    run: &Run,
    found: &Snapshot,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<Exit>> {
    let form = &args.form;
    let mut prometheus = |format| out.write_all(&prometheus::render(found, format, args.max_series));
    if form.prometheus {
        prometheus(Format::Text)?;
    } else if form.openmetrics {
        prometheus(Format::OpenMetrics)?;
    } else if form.protobuf {
        prometheus(Format::Protobuf)?;
    } else if let Some(wanted) = &form.hgrm {
        return log::percentiles(found, wanted, out, err);
    } else if form.log {
        return match args.every {
            None => log::whole(found, out).map(|()| None),
            Some(every) => log::intervals(&args.dir, every, run, found, out, err),
        };
    } else if form.json {
        writeln!(out, "{:#}", json::to_json(found))?;
    } else {
        write!(out, "{}", table::to_text(found, run.state(), args.all))?;
    }
    Ok(None)
}

/// The word for a state, in every output.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Closed => "ended",
        State::Died => "died",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ringway_runtime::histogram::{SchemaBuilder, Shape, Start, Unit, Writer, file_name};
    use serde_json::{Value as Json, json};

    use super::*;

    /// Writes `values` as the durations of one core.
    fn write_core(dir: &Path, core: u32, values: &[u64]) -> Writer {
        let mut builder = SchemaBuilder::new();
        let requests = builder.counter("requests_total", Unit::None, &[("status", "2xx")]);
        let open = builder.gauge("open", Unit::None, &[]);
        let duration = builder.histogram("duration_seconds", Unit::Seconds, Shape::FINE, &[]);
        let start = Start { core, wall_ns: 5, mono_ns: 6, ..Start::default() };
        let writer = Writer::create(dir, &start, &builder.build().expect("a schema")).expect("a file");
        writer.set_epoch(4);
        writer.gauge(open).set(-1);
        for &value in values {
            writer.record(duration, value);
            writer.counter(requests).add(1);
        }
        writer
    }

    fn hdr(dir: &Path, form: Form) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { dir: dir.to_owned(), form, all: false, every: None, max_series: 1_000 };
        let exit = run(&args, &mut out, &mut err).expect("vectors take all");
        (exit, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn the_table_shows_all_cores_as_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let _zero = write_core(dir.path(), 0, &[100, 200]);
        let _one = write_core(dir.path(), 1, &[2_000_000, 3_500_000_000]);
        let (exit, out, err) = hdr(dir.path(), Form::default());
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
        let brief = table::to_text(&snapshot, State::Running, false);
        assert!(
            !brief.contains("duration_seconds") && brief.ends_with("\n2 more are zero (--all shows them)\n"),
            "{brief}"
        );
        let full = table::to_text(&snapshot, State::Running, true);
        assert!(
            full.contains("duration_seconds") && full.contains("requests_total") && !full.contains("more"),
            "{full}"
        );
    }

    #[test]
    fn json_is_in_base_units() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(write_core(dir.path(), 2, &[1_000, 1_000]));
        let (exit, out, _) = hdr(dir.path(), Form { json: true, ..Form::default() });
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
        let bad = dir.path().join(file_name(1, 0, 0));
        fs::write(&bad, "not this").expect("a file");
        let (exit, out, err) = hdr(dir.path(), Form::default());
        assert_eq!(err, format!("error: {}: not a Ringway metrics file\n", bad.display()));
        assert!(out.contains("requests_total"), "{out}");
        assert_eq!(exit, Exit::Input);
    }

    #[test]
    fn a_directory_without_metrics_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let (exit, out, err) = hdr(dir.path(), Form::default());
        assert_eq!((exit, out.as_str()), (Exit::Input, ""));
        let expected = "no metrics files (core-N.metrics); is this the gateway's metrics_dir?\n";
        assert_eq!(err, format!("error: {}: {expected}", dir.path().display()));
        let (exit, _, err) = hdr(&dir.path().join("missing"), Form::default());
        assert_eq!(exit, Exit::Input);
        assert!(err.contains("missing: No such file"), "{err}");
    }

    #[test]
    fn values_are_shown_with_three_digits_and_a_unit() {
        let shown = [0.0, 999.0, 1_000.0, 12_345.0, 123_456.0, 1.5e9, 7.2e12].map(|ns| show(Unit::Seconds, ns));
        assert_eq!(shown, ["0ns", "999ns", "1.00us", "12.3us", "123us", "1.50s", "7200s"]);
        assert_eq!([1.0, 2048.0].map(|bytes| show(Unit::Bytes, bytes)), ["1B", "2.00KiB"]);
        assert_eq!(show(Unit::None, 3.0), "3");
    }
}
