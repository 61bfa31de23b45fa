//! What a comparison found, and how it is told.

use std::fmt::Write as _;

use serde::Serialize;

use crate::load::{Percentiles, Summary};

/// A whole comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) body_bytes: u64,
    pub(crate) traffic: String,
    pub(crate) connections: usize,
    /// Requests under way on each.
    pub(crate) streams: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) busy_poll: bool,
    /// Peers went before all else on their CPU.
    pub(crate) real_time: bool,
    /// Threads that wanted it as well.
    pub(crate) contended: usize,
    /// The rate of the open loop, in requests a second.
    pub(crate) open_rate: Option<f64>,
    /// Of the open loop without anybody in between: what a peer has beyond it, it adds.
    pub(crate) direct_latency_us: Option<Latency>,
    pub(crate) peers: Vec<PeerReport>,
    /// Peers asked for that could not take part, and why.
    pub(crate) skipped: Vec<(&'static str, String)>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// The congestion control of every socket, which has its own part of the cost.
    pub(crate) congestion_control: String,
    pub(crate) peer_core: usize,
    pub(crate) load_core: usize,
}

impl Machine {
    pub(crate) fn this(peer_core: usize, load_core: usize) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
        Self {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
            peer_core,
            load_core,
        }
    }
}

/// What one peer did.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// Medians over the rounds of the closed loop.
    pub(crate) cpu_us_per_request: f64,
    pub(crate) cpu_us_range: (f64, f64),
    pub(crate) rate: f64,
    /// How busy its core was, of 1: below it the load generator set the pace.
    pub(crate) busy: f64,
    pub(crate) latency_us: Latency,
    /// Medians over the rounds of the open loop.
    pub(crate) open_latency_us: Option<Latency>,
    /// The same of requests that met no stop of the machine, where that was watched, and the part that these are of all.
    pub(crate) open_undisturbed_us: Option<Latency>,
    pub(crate) open_undisturbed_share: Option<f64>,
    /// The 99th percentile of how late requests went in the open loop.
    pub(crate) open_scheduling_error_p99_us: Option<f64>,
    /// The same of those that the machine is not known to have held up.
    pub(crate) open_own_error_p99_us: Option<f64>,
    /// What of that a loop without work would have had, too.
    pub(crate) open_machine_error_p99_us: Option<f64>,
    /// Its CPU by that of the other in the same round, over the rounds of the closed loop.
    pub(crate) cpu_to_ringway: Option<Spread>,
    pub(crate) cpu_to_floor: Option<Spread>,
    /// Its CPU beyond the floor's in the same round.
    pub(crate) cpu_us_above_floor: Option<Spread>,
    pub(crate) failed: u64,
    /// Handshakes of another kind than was asked for.
    pub(crate) wrong_handshakes: u64,
    /// Every round, in order: first of the closed loop, then of the open one.
    pub(crate) samples: Vec<Sample>,
}

/// What the rounds say of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Latency in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
}

/// One run against one peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) busy: f64,
    /// Handshakes of another kind than was asked for.
    pub(crate) wrong_handshakes: u64,
    pub(crate) load: Summary,
}

impl Sample {
    /// Whether it proves anything.
    pub(crate) fn is_sound(&self) -> bool {
        self.load.failed == 0 && self.wrong_handshakes == 0
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(value)) => *value,
        _ => f64::NAN,
    }
}

impl Spread {
    /// Of some values; `None` where there is none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let fold = |by: fn(f64, f64) -> f64| values.iter().copied().reduce(by);
        Some(Self { median: median(values.iter().copied()), min: fold(f64::min)?, max: fold(f64::max)? })
    }

    /// Of the ratios of values that belong together.
    pub(crate) fn of_ratios(values: &[f64], others: &[f64]) -> Option<Self> {
        Self::of_pairs(values, others, |value, other| value / other)
    }

    fn of_pairs(values: &[f64], others: &[f64], how: fn(f64, f64) -> f64) -> Option<Self> {
        Self::of(&std::iter::zip(values, others).map(|(value, other)| how(*value, *other)).collect::<Vec<_>>())
    }
}

impl Latency {
    /// Medians over these runs.
    pub(crate) fn of(runs: &[&Summary]) -> Self {
        Self::at(&runs.iter().map(|run| run.latency_ns).collect::<Vec<_>>())
    }

    /// Medians over these.
    fn at(runs: &[Percentiles]) -> Self {
        let at = |pick: fn(&Percentiles) -> u64| median(runs.iter().map(|run| pick(run) as f64 / 1e3));
        Self { p50: at(|run| run.p50), p99: at(|run| run.p99), p99_9: at(|run| run.p99_9) }
    }
}

fn latency(samples: &[&Sample]) -> Latency {
    Latency::of(&samples.iter().map(|sample| &sample.load).collect::<Vec<_>>())
}

/// What part of the requests `some` are.
fn share(samples: &[&Sample], some: &[Percentiles]) -> Option<f64> {
    let all: u64 = samples.iter().map(|sample| sample.load.latency_ns.count).sum();
    (!some.is_empty()).then(|| some.iter().map(|run| run.count).sum::<u64>() as f64 / all.max(1) as f64)
}

/// The median of a 99th percentile in microseconds, where there is any.
fn p99(samples: &[&Sample], pick: fn(&Summary) -> Option<Percentiles>) -> Option<f64> {
    let errors = samples.iter().filter_map(|sample| pick(&sample.load)).map(|error| error.p99 as f64 / 1e3);
    (!samples.is_empty()).then(|| median(errors))
}

impl PeerReport {
    pub(crate) fn new(name: &'static str, version: String, samples: Vec<Sample>) -> Self {
        let (open, closed): (Vec<&Sample>, Vec<&Sample>) =
            samples.iter().partition(|sample| sample.load.rate_intended.is_some());
        let undisturbed: Vec<Percentiles> = open.iter().filter_map(|sample| sample.load.undisturbed_ns).collect();
        let cpu = || closed.iter().map(|sample| sample.cpu_us_per_request);
        Self {
            name,
            version,
            cpu_us_per_request: median(cpu()),
            cpu_us_range: (cpu().fold(f64::INFINITY, f64::min), cpu().fold(0.0, f64::max)),
            rate: median(closed.iter().map(|sample| sample.load.rate)),
            busy: median(closed.iter().map(|sample| sample.busy)),
            latency_us: latency(&closed),
            open_latency_us: (!open.is_empty()).then(|| latency(&open)),
            open_undisturbed_us: (!undisturbed.is_empty()).then(|| Latency::at(&undisturbed)),
            open_undisturbed_share: share(&open, &undisturbed),
            open_scheduling_error_p99_us: p99(&open, |load| load.scheduling_error_ns),
            open_own_error_p99_us: p99(&open, |load| load.own_error_ns),
            open_machine_error_p99_us: p99(&open, |load| load.machine_error_ns),
            cpu_to_ringway: None,
            cpu_to_floor: None,
            cpu_us_above_floor: None,
            failed: samples.iter().map(|sample| sample.load.failed).sum(),
            wrong_handshakes: samples.iter().map(|sample| sample.wrong_handshakes).sum(),
            samples,
        }
    }

    /// CPU a request in each round of the closed loop, in order.
    fn cpu_of_rounds(&self) -> Vec<f64> {
        let closed = self.samples.iter().filter(|sample| sample.load.rate_intended.is_none());
        closed.map(|sample| sample.cpu_us_per_request).collect()
    }
}

impl Report {
    /// Works out the ratios, once every peer is in. Each round of a peer is compared with the same round of the other: the
    /// machine has phases longer than a round, so that medians of the two alone may be of different ones.
    pub(crate) fn relate(&mut self) {
        let of = |name| self.peers.iter().find(|peer| peer.name == name).map(PeerReport::cpu_of_rounds);
        let (ringway, floor) = (of("ringway"), of("floor"));
        for peer in &mut self.peers {
            let rounds = peer.cpu_of_rounds();
            let ratio = |others: &Option<Vec<f64>>| Spread::of_ratios(&rounds, others.as_deref()?);
            peer.cpu_to_ringway = ratio(&ringway);
            peer.cpu_to_floor = ratio(&floor);
            let above = |floor: &Vec<f64>| Spread::of_pairs(&rounds, floor, |cpu, floor| cpu - floor);
            peer.cpu_us_above_floor = floor.as_ref().and_then(above);
        }
    }

    /// The comparison as a table.
    pub(crate) fn text(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{}\n{}, {} CPUs, Linux {}, TCP {}; peers on CPU {}, load and origin on CPU {}\n",
            self.command,
            machine.processor,
            machine.cpus,
            machine.kernel,
            machine.congestion_control,
            machine.peer_core,
            machine.load_core
        );
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "{}; {} connections, {}-byte answers, {} interleaved rounds of {} s, medians{}{}{}; ratios are medians of those of each round\n",
            self.traffic,
            self.connections,
            self.body_bytes,
            self.rounds,
            self.seconds,
            if self.busy_poll { ", busy-polling where a peer can" } else { "" },
            if self.real_time { ", peers at real-time priority" } else { "" },
            match self.contended {
                0 => String::new(),
                taken => format!(", {taken} of {} parts of the peers' CPU taken", taken + 1),
            }
        );
        let _ = writeln!(
            text,
            "{:<16} {:>8} {:>15} {:>9} {:>13} {:>9} {:>13} {:>8} {:>5} {:>9} | {:>8} {:>8} {:>8}{}",
            "closed loop",
            "CPU us",
            "min - max",
            "/ringway",
            "min - max",
            "/floor",
            "min - max",
            "over it",
            "busy",
            "req/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            if self.open_rate.is_some() {
                " | open: p50      p99    p99.9  gen. error p99  its own  machine p99 | no stop: p50   p99    p99.9  of all"
            } else {
                ""
            }
        );
        let middle =
            |spread: Option<Spread>, unit| spread.map_or("-".to_owned(), |of| format!("{:.2}{unit}", of.median));
        let ends =
            |spread: Option<Spread>| spread.map_or("-".to_owned(), |of| format!("{:.2} - {:.2}", of.min, of.max));
        for peer in &self.peers {
            let _ = write!(
                text,
                "{:<16} {:>8.2} {:>15} {:>9} {:>13} {:>9} {:>13} {:>8} {:>5.2} {:>9.0} | {:>8.1} {:>8.1} {:>8.1}",
                peer.name,
                peer.cpu_us_per_request,
                format!("{:.2} - {:.2}", peer.cpu_us_range.0, peer.cpu_us_range.1),
                middle(peer.cpu_to_ringway, "x"),
                ends(peer.cpu_to_ringway),
                middle(peer.cpu_to_floor, "x"),
                ends(peer.cpu_to_floor),
                middle(peer.cpu_us_above_floor, ""),
                peer.busy,
                peer.rate,
                peer.latency_us.p50,
                peer.latency_us.p99,
                peer.latency_us.p99_9,
            );
            if let (Some(open), Some(error), Some(own), Some(machine)) = (
                peer.open_latency_us,
                peer.open_scheduling_error_p99_us,
                peer.open_own_error_p99_us,
                peer.open_machine_error_p99_us,
            ) {
                let _ = write!(
                    text,
                    " | {:>9.1} {:>8.1} {:>8.1} {error:>15.1} {own:>8.1} {machine:>12.1}",
                    open.p50, open.p99, open.p99_9
                );
                if let (Some(Latency { p50, p99, p99_9 }), Some(share)) =
                    (peer.open_undisturbed_us, peer.open_undisturbed_share)
                {
                    let _ = write!(text, " | {p50:>12.1} {p99:>6.1} {p99_9:>8.1} {:>6.1}%", share * 100.0);
                }
            }
            text.push('\n');
            if peer.failed > 0 {
                let _ = writeln!(text, "{:<16} FAILED: {} requests", "", peer.failed);
            }
            if peer.wrong_handshakes > 0 {
                let _ = writeln!(text, "{:<16} FAILED: {} handshakes of the other kind", "", peer.wrong_handshakes);
            }
        }
        if let Some(rate) = self.open_rate {
            let _ = write!(text, "\nopen loop at {rate:.0} requests/s");
            if let Some(Latency { p50, p99, p99_9 }) = self.direct_latency_us {
                let _ = write!(text, "; straight to the origin p50 {p50:.1}, p99 {p99:.1}, p99.9 {p99_9:.1} us");
            }
            text.push('\n');
        }
        text.push('\n');
        for peer in &self.peers {
            let _ = writeln!(text, "{:<16} {}", peer.name, peer.version);
        }
        for (name, why) in &self.skipped {
            let _ = writeln!(text, "{name:<16} skipped: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::traffic::Traffic;
    use crate::load::{Outcome, Plan};

    #[test]
    #[expect(clippy::float_cmp, reason = "the values are exact")]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([7.0]), 7.0);
        assert!(median([]).is_nan());
        assert_eq!(Spread::of(&[4.0, 1.0, 2.5]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    /// A round of one run of the closed loop, or of the open one.
    fn sample(cpu_us_per_request: f64, rate: Option<f64>) -> Sample {
        let outcome = Outcome::new();
        let plan = Plan { rate, ..Plan::get(([127, 0, 0, 1], 1).into()) };
        Sample { cpu_us_per_request, busy: 1.0, wrong_handshakes: 0, load: outcome.summary(&plan) }
    }

    fn report(peers: &[(&'static str, &[f64])]) -> Report {
        let of =
            |rounds: &[f64]| rounds.iter().map(|cpu| sample(*cpu, None)).chain([sample(99.0, Some(1.0))]).collect();
        let mut report = Report {
            command: String::new(),
            machine: Machine::this(0, 1),
            body_bytes: 128,
            traffic: Traffic::default().text(),
            connections: 64,
            streams: 1,
            rounds: 3,
            seconds: 1.0,
            busy_poll: false,
            real_time: false,
            contended: 0,
            open_rate: None,
            direct_latency_us: None,
            peers: peers.iter().map(|(name, rounds)| PeerReport::new(name, String::new(), of(rounds))).collect(),
            skipped: Vec::new(),
        };
        report.relate();
        report
    }

    #[test]
    fn ratios_are_of_rounds_that_belong_together() {
        // The machine was half as fast from the second round on for one, from the third on for the other.
        let report =
            report(&[("ringway", &[8.0, 16.0, 16.0]), ("nginx", &[12.0, 12.0, 24.0]), ("floor", &[4.0, 8.0, 8.0])]);
        let nginx = &report.peers[1];
        assert_eq!(nginx.cpu_to_ringway, Some(Spread { median: 1.5, min: 0.75, max: 1.5 }), "medians alone say 0.75");
        assert_eq!(nginx.cpu_to_floor, Some(Spread { median: 3.0, min: 1.5, max: 3.0 }));
        assert_eq!(nginx.cpu_us_above_floor, Some(Spread { median: 8.0, min: 4.0, max: 16.0 }));
        assert_eq!(report.peers[0].cpu_to_ringway, Some(Spread { median: 1.0, min: 1.0, max: 1.0 }));
        let text = report.text();
        assert!(text.contains("1.50x   0.75 - 1.50     3.00x   1.50 - 3.00     8.00"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["peers"][1]["cpu_to_ringway"], serde_json::json!({"median": 1.5, "min": 0.75, "max": 1.5}));
    }

    #[test]
    fn requests_that_met_no_stop_have_columns_of_their_own() {
        let of = |latency: u64, count| {
            let mut histogram = crate::load::histogram();
            histogram.record_n(latency, count).unwrap();
            Percentiles::of(&histogram)
        };
        let mut open = sample(9.0, Some(1.0));
        (open.load.latency_ns, open.load.undisturbed_ns) = (of(3000, 200), Some(of(2000, 199)));
        let mut report = report(&[]);
        report.open_rate = Some(1.0);
        report.peers.push(PeerReport::new("ringway", String::new(), vec![open]));
        let text = report.text();
        assert!(text.contains("of all\n") && text.contains(" 2.0    2.0      2.0   99.5%\n"), "{text}");
    }

    #[test]
    fn without_the_other_there_is_no_ratio() {
        let report = report(&[("nginx", &[12.0])]);
        assert_eq!((report.peers[0].cpu_to_ringway, report.peers[0].cpu_to_floor), (None, None));
        assert!(
            report.text().contains("        -             -         -             -        -"),
            "{}",
            report.text()
        );
    }
}
