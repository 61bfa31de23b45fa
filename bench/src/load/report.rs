//! What a run counted, and how it is told.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use rustls::HandshakeKind;
use serde::Serialize;

use super::connection::Connection;
use super::pauses::Pauses;
use super::stops::Undisturbed;
use super::{Failure, Plan};

/// A scheduling error below this, at the 99th percentile, is wanted.
const ERROR_WANTED_NS: u64 = 10_000;

/// How connections over TLS began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) full: u64,
    /// With the session of an earlier one.
    pub(crate) resumed: u64,
}

impl Handshakes {
    /// Counts that of a connection, where it had one.
    pub(super) fn count(&mut self, connection: &Connection) {
        match connection.handshake() {
            Some(HandshakeKind::Resumed) => self.resumed += 1,
            Some(_) => self.full += 1,
            None => {}
        }
    }
}

/// What a run counted.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Length of the measured window in seconds.
    pub(crate) seconds: f64,
    /// Answers that came inside the window.
    pub(crate) completed: u64,
    /// Body bytes of these.
    pub(crate) body_bytes: u64,
    /// Failures of the whole run, by number of [`Failure`].
    pub(crate) failures: [u64; Failure::ALL.len()],
    /// Handshakes of TLS that ended inside the window.
    pub(crate) handshakes: Handshakes,
    /// Connections opened again because the server had closed them in good order.
    pub(crate) reconnects: u64,
    /// From the moment a request was due to the end of its answer, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the start of sending to the end of the answer, in nanoseconds.
    pub(crate) service: Histogram<u64>,
    /// How late requests went: from the moment one was due and a connection free to its sending.
    pub(crate) lateness: Histogram<u64>,
    /// The same of those that the machine did not hold up.
    pub(crate) own_lateness: Histogram<u64>,
    /// The latency of those that met no stop of the machine, where that was asked for.
    pub(crate) undisturbed: Option<Undisturbed>,
    /// How late the machine alone would have made it: of moments at which it had nothing to do.
    pub(crate) pauses: Pauses,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            seconds: 0.0,
            completed: 0,
            body_bytes: 0,
            failures: [0; Failure::ALL.len()],
            handshakes: Handshakes::default(),
            reconnects: 0,
            latency: histogram(),
            service: histogram(),
            lateness: histogram(),
            own_lateness: histogram(),
            undisturbed: None,
            pauses: Pauses::new(0),
        }
    }

    /// Failures of every kind.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// The figures of this run.
    pub(crate) fn summary(&self, plan: &Plan) -> Summary {
        Summary {
            target: plan.target.to_string(),
            connections: plan.connections,
            pipeline: plan.pipeline,
            protocol: protocol(plan),
            connection_per_request: plan.close,
            handshakes: self.handshakes,
            rate_intended: plan.rate,
            seconds: self.seconds,
            requests: self.completed,
            rate: self.completed as f64 / self.seconds.max(1e-9),
            body_bytes: self.body_bytes,
            reconnects: self.reconnects,
            failed: self.failed(),
            failures: Failure::ALL
                .iter()
                .zip(self.failures)
                .filter(|(_, count)| *count > 0)
                .map(|(failure, count)| (failure.name(), count))
                .collect(),
            latency_ns: Percentiles::of(&self.latency),
            undisturbed_ns: self.undisturbed.as_ref().and_then(Undisturbed::latency).map(Percentiles::of),
            service_ns: Percentiles::of(&self.service),
            scheduling_error_ns: plan.rate.map(|_| Percentiles::of(&self.lateness)),
            own_error_ns: plan.rate.map(|_| Percentiles::of(&self.own_lateness)),
            machine_error_ns: plan.rate.map(|_| Percentiles::of(self.pauses.lateness())),
        }
    }

    /// Writes the histograms as an HDR interval log (format V2), values in nanoseconds, one tagged line each.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_hdr(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(std::fs::File::create(path)?);
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("values in nanoseconds")
            .begin_log_with(&mut file, &mut serializer)?;
        let length = Duration::from_secs_f64(self.seconds);
        for (tag, histogram) in [
            ("latency", &self.latency),
            ("service", &self.service),
            ("scheduling-error", &self.lateness),
            ("own-error", &self.own_lateness),
            ("machine-error", self.pauses.lateness()),
        ] {
            if histogram.is_empty() {
                continue;
            }
            log.write_histogram(histogram, Duration::ZERO, length, Tag::new(tag)).map_err(io::Error::other)?;
        }
        io::Write::flush(&mut file)
    }
}

fn protocol(plan: &Plan) -> String {
    let http = if plan.http2.is_some() { "HTTP/2" } else { "HTTP/1.1" };
    let tls = plan.tls.as_ref().map(|tls| format!(" over TLS {}", tls.version().name()));
    [http, tls.as_deref().unwrap_or_default()].concat()
}

/// From a nanosecond to a minute at three digits; what is beyond counts as a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).unwrap_or_else(|_| unreachable!("1 ns to 60 s at 3 digits is valid"))
}

/// The figures of one run, ready to be printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) target: String,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    /// `HTTP/1.1` or `HTTP/2`, and the version of TLS under it.
    pub(crate) protocol: String,
    pub(crate) connection_per_request: bool,
    /// Of connections that were opened before the window there are none.
    pub(crate) handshakes: Handshakes,
    /// Requests a second asked for; absent in a closed loop.
    pub(crate) rate_intended: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) body_bytes: u64,
    pub(crate) reconnects: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<(&'static str, u64)>,
    pub(crate) latency_ns: Percentiles,
    /// That of the requests that met no stop of the machine, where that was watched.
    pub(crate) undisturbed_ns: Option<Percentiles>,
    pub(crate) service_ns: Percentiles,
    /// Absent in a closed loop, where nothing is scheduled.
    pub(crate) scheduling_error_ns: Option<Percentiles>,
    /// The same of those that the machine is not known to have held up.
    pub(crate) own_error_ns: Option<Percentiles>,
    /// What of it a loop without work would have had, too: pauses of the machine. Absent in a closed loop.
    pub(crate) machine_error_ns: Option<Percentiles>,
}

/// Points of a distribution, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
}

impl Percentiles {
    /// Those of a histogram in nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        }
    }

    /// What stands above [`Percentiles::row`].
    pub(crate) fn heading() -> String {
        format!(
            "{:<18} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
            "us", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        )
    }

    /// A line of a table, in microseconds.
    pub(crate) fn row(&self, name: &str) -> String {
        let us = |ns: u64| ns as f64 / 1e3;
        format!(
            "{name:<18} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1}\n",
            us(self.p50),
            us(self.p90),
            us(self.p99),
            us(self.p99_9),
            us(self.p99_99),
            us(self.max)
        )
    }
}

impl Summary {
    /// The figures as a short table.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mode = match self.rate_intended {
            Some(rate) => format!("open loop at {rate:.0}/s"),
            None => "closed loop".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} · {mode} · {} · {} connections, {} {}{}",
            self.target,
            self.protocol,
            self.connections,
            if self.protocol.starts_with("HTTP/2") { "streams" } else { "pipeline" },
            self.pipeline,
            if self.connection_per_request { ", a connection per request" } else { "" }
        );
        let _ = writeln!(
            text,
            "{} answers in {:.2} s: {:.0}/s, {:.1} MB/s of bodies, {} failed{}",
            self.requests,
            self.seconds,
            self.rate,
            self.body_bytes as f64 / self.seconds.max(1e-9) / 1e6,
            self.failed,
            if self.reconnects > 0 { format!(", {} reconnects", self.reconnects) } else { String::new() }
        );
        let Handshakes { full, resumed } = self.handshakes;
        if full + resumed > 0 {
            let _ = writeln!(text, "{full} full handshakes, {resumed} resumed");
        }
        for (kind, count) in &self.failures {
            let _ = writeln!(text, "  failed: {kind} {count}");
        }
        text += &Percentiles::heading();
        text += &self.latency_ns.row("latency");
        if let (Some(error), Some(own), Some(machine)) =
            (&self.scheduling_error_ns, &self.own_error_ns, &self.machine_error_ns)
        {
            text += &self.service_ns.row("service time");
            text += &error.row("scheduling error");
            text += &own.row("its own");
            text += &machine.row("machine alone");
            let verdict = if error.p99 < ERROR_WANTED_NS { "within" } else { "NOT within" };
            let _ = writeln!(text, "the generator kept its schedule {verdict} 10 us (p99 of the scheduling error)");
            if own.count < error.count {
                let held = error.count - own.count;
                let part = held as f64 / error.count as f64 * 100.0;
                let _ =
                    writeln!(text, "the machine held up {held} of them ({part:.2}%), which are not in its own error");
            }
            if machine.p99 >= ERROR_WANTED_NS {
                let _ = writeln!(text, "the machine's pauses alone are beyond that");
            }
        }
        text
    }
}
