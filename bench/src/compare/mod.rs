//! Ringway beside its peers, in one run: every peer on the same core with its best settings, the load generator and
//! the origin in one loop on another, rounds interleaved (A B C A B C), so that what the machine does meanwhile
//! falls on all of them alike. Each round starts its peer anew.

pub(crate) mod peers;
pub(crate) mod process;
mod report;
pub(crate) mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::{Error, parse_size};
use crate::companion::Contended;
use crate::load::tls::Handshakes;
use crate::load::{self, Edge, Plan, Summary};
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};
use peers::{Peer, Setting};
use process::{Running, Scratch};
use report::{Latency, Machine, PeerReport, Report, Sample};
pub(crate) use report::{Spread, median};
use traffic::Traffic;

const WARM_UP: Duration = Duration::from_millis(500);
/// Part of the slowest peer's most that the open loop asks of all.
const OPEN_SHARE: f64 = 0.5;
/// Requests a second while idle connections are tried in turn.
const IDLE_RATE: f64 = 5000.0;

/// Time for a peer to accept what is already open.
const SETTLE: Duration = Duration::from_millis(500);
/// Connections that are busy before idle ones are opened, so that what a peer keeps once it has worked, such as its
/// receive buffers, is not taken for theirs.
const BUSY_BEFORE: usize = 256;
/// Descriptors kept for everything but the idle connections.
const DESCRIPTORS_RESERVED: u64 = 200;

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Body bytes of each answer
    #[arg(long, default_value = "128", value_parser = parse_size)]
    body: u64,
    #[command(flatten)]
    traffic: Traffic,
    /// Rounds; medians are taken over them
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds measured in each
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Who takes part; by default Ringway, nginx and HAProxy, in clear HTTP/1.1 also Ringway on glommio and the floor, and
    /// for gRPC Envoy
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Poll without ever sleeping, where a peer can
    #[arg(long)]
    busy_poll: bool,
    /// Peers go before all else on their CPU, as they would on one that is isolated: so they are not held up by what the
    /// machine has to do besides. It takes the right to (`SCHED_FIFO`)
    #[arg(long, conflicts_with = "contended")]
    real_time: bool,
    #[command(flatten)]
    contended: Contended,
    /// Leave out the open loop
    #[arg(long)]
    closed_only: bool,
    /// Requests a second of the open loop; by default half of what the slowest peer can do
    #[arg(long, conflicts_with = "closed_only")]
    rate: Option<f64>,
    /// Instead, open so many idle connections and tell what memory each takes
    #[arg(long, value_name = "CONNECTIONS", conflicts_with_all = ["http2", "grpc", "handshakes"])]
    idle: Option<usize>,
    /// The gateway; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// CPU of the peers
    #[arg(long, default_value_t = 0)]
    peer_core: usize,
    /// CPU of load and origin
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write everything measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What all runs share.
struct Bench<'a> {
    args: &'a CompareArgs,
    ringway: PathBuf,
    scratch: Scratch,
    origin: Origin,
    origin_address: SocketAddr,
    descriptors: u64,
    stop: &'a AtomicBool,
}

pub(crate) fn run(args: &CompareArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if args.traffic.connections() == 0
        || args.traffic.streams() == 0
        || args.rounds == 0
        || !(args.seconds > 0.0 && args.seconds <= 600.0)
    {
        return Err(Error::Input("--connections, --streams, --rounds and --seconds must be above 0".to_owned()));
    }
    if args.rate.is_some_and(|rate| rate.is_nan() || rate < 1.0) {
        return Err(Error::Input("--rate must be at least 1".to_owned()));
    }
    let descriptors = net::raise_descriptor_limit();
    net::pin(args.load_core)?;
    let ringway = crate::gateway::program(args.ringway.as_ref())?;
    let listen = ([127, 0, 0, 1], 0).into();
    let origin = Origin::new(&OriginOptions { listen, ..OriginOptions::plain(args.body) })?;
    let origin_address = origin.address()?;
    let mut bench = Bench { args, ringway, scratch: Scratch::new()?, origin, origin_address, descriptors, stop };

    args.traffic.prepare(bench.scratch.path())?;
    let (mut peers, mut skipped) = (Vec::new(), Vec::new());
    for peer in args.peers() {
        // Starting it once tells whether it can run here at all.
        let version = peer.speaks(&args.traffic).and_then(|()| peer.version(&bench.ringway));
        let tried = version.and_then(|version| match bench.start(peer) {
            Ok(_) => Ok(version),
            Err(Error::Input(why) | Error::Failed(why)) => Err(why),
        });
        match tried {
            Ok(version) => peers.push((peer, version)),
            Err(why) => skipped.push((peer.name(), why)),
        }
    }
    for (name, why) in &skipped {
        eprintln!("skipped {name}: {why}");
    }
    if peers.is_empty() {
        return Err(Error::Input("none of these peers can run here".to_owned()));
    }
    match args.idle {
        Some(connections) => bench.idle(&peers, connections),
        None => bench.compare(peers, skipped),
    }
}

impl CompareArgs {
    /// Who takes part.
    fn peers(&self) -> Vec<Peer> {
        let mut peers = vec![Peer::Ringway, Peer::Nginx, Peer::Haproxy];
        if !self.peers.is_empty() {
            peers.clone_from(&self.peers);
        } else if self.traffic.grpc {
            peers.push(Peer::Envoy);
        } else if self.traffic.is_plain() {
            peers.extend([Peer::RingwayGlommio, Peer::Floor]);
        }
        peers
    }
}

impl Bench<'_> {
    fn compare(&mut self, peers: Vec<(Peer, String)>, skipped: Vec<(&'static str, String)>) -> Result<(), Error> {
        let args = self.args;
        let mut samples: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
        self.rounds("closed loop", &peers, None, &mut samples)?;
        let rate = |samples: &Vec<Sample>| median(samples.iter().map(|sample| sample.load.rate));
        let slowest = samples.iter().map(rate).fold(f64::INFINITY, f64::min);
        let open_rate = (!args.closed_only).then_some(args.rate.unwrap_or(slowest * OPEN_SHARE));
        let mut direct = Vec::new();
        if let Some(rate) = open_rate.filter(|rate| *rate >= 1.0) {
            self.rounds("open loop", &peers, Some(rate), &mut samples)?;
            // The origin speaks no TLS.
            let rounds = if args.traffic.tls.is_none() { args.rounds } else { 0 };
            for _ in 0..rounds {
                direct.push(self.direct(rate)?);
            }
        }
        let mut report = Report {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            machine: Machine::this(args.peer_core, args.load_core),
            body_bytes: args.body,
            traffic: args.traffic.text(),
            connections: args.traffic.connections(),
            streams: args.traffic.streams(),
            rounds: args.rounds,
            seconds: args.seconds,
            busy_poll: args.busy_poll,
            real_time: args.real_time,
            contended: args.contended.contended,
            open_rate,
            direct_latency_us: (!direct.is_empty()).then(|| Latency::of(&direct.iter().collect::<Vec<_>>())),
            peers: std::iter::zip(peers, samples)
                .map(|((peer, version), samples)| PeerReport::new(peer.name(), version, samples))
                .collect(),
            skipped,
        };
        report.relate();
        print!("{}", report.text());
        if let Some(path) = &args.json {
            let text = serde_json::to_string_pretty(&report).map_err(|error| Error::Failed(error.to_string()))?;
            std::fs::write(path, text).map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
        }
        match report.peers.iter().map(|peer| peer.failed + peer.wrong_handshakes).sum() {
            0 => Ok(()),
            failed => Err(Error::Failed(format!(
                "{failed} requests failed or were not as asked, so these figures prove nothing"
            ))),
        }
    }

    fn rounds(
        &mut self,
        what: &str,
        peers: &[(Peer, String)],
        rate: Option<f64>,
        samples: &mut [Vec<Sample>],
    ) -> Result<(), Error> {
        for round in 1..=self.args.rounds {
            for ((peer, _), samples) in std::iter::zip(peers, samples.iter_mut()) {
                let sample = self.sample(*peer, rate)?;
                eprintln!(
                    "{what}, round {round}: {:<16} {:>8.2} us/request, {:>7.0}/s{}",
                    peer.name(),
                    sample.cpu_us_per_request,
                    sample.load.rate,
                    if sample.is_sound() { "" } else { ", FAILED" }
                );
                samples.push(sample);
            }
        }
        Ok(())
    }

    /// Starts a peer, and returns it with its address.
    fn start(&self, peer: Peer) -> Result<(Running, SocketAddr), Error> {
        let listen = process::free_address()?;
        let setting = Setting {
            listen,
            origin: self.origin_address,
            core: self.args.peer_core,
            busy_poll: self.args.busy_poll,
            traffic: self.args.traffic,
            upgrades: false,
            body: self.args.body,
            connections: self.args.traffic.connections(),
            descriptors: self.descriptors,
            directory: self.scratch.path(),
            ringway: &self.ringway,
        };
        let log = self.scratch.path().join(format!("{}.log", peer.name()));
        let mut command = peer.command(&setting)?;
        if self.args.real_time {
            command = process::at_real_time(&command);
        }
        let running = Running::start(&mut command, &[self.args.peer_core], self.args.load_core, listen, &log)?;
        Ok((running, listen))
    }

    /// Runs one round against one peer.
    fn sample(&mut self, peer: Peer, rate: Option<f64>) -> Result<Sample, Error> {
        let (running, target) = self.start(peer)?;
        let _neighbours = self.args.contended.start(self.args.peer_core)?;
        let seconds = Duration::from_secs_f64(self.args.seconds);
        let plan = self.plan(target, self.args.traffic.connections(), rate, WARM_UP, seconds)?;
        let plan = Plan { watched: Some(self.args.peer_core), ..plan };
        let mut edges = Vec::new();
        let mut observe = |_: Edge, answered: u64| edges.push((running.cpu_ns(), answered, Instant::now()));
        let outcome = load::run(&plan, Some(&mut self.origin), &mut observe, self.stop)
            .map_err(|error| Error::Failed(format!("{}: {error}", peer.name())))?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        let [(cpu_0, answered_0, from), (cpu_1, answered_1, to)] = <[_; 2]>::try_from(edges)
            .map_err(|_| Error::Failed(format!("{}: the measured window never began", peer.name())))?;
        if outcome.completed == 0 {
            return Err(Error::Failed(format!("{} answered nothing", peer.name())));
        }
        let cpu_ns = cpu_1?.saturating_sub(cpu_0?) as f64;
        let answered = answered_1.saturating_sub(answered_0).max(1);
        let wrong_handshakes = match self.args.traffic.handshakes {
            Some(Handshakes::Full) => outcome.handshakes.resumed,
            Some(Handshakes::Resumed) => outcome.handshakes.full,
            None => 0,
        };
        Ok(Sample {
            wrong_handshakes,
            cpu_us_per_request: cpu_ns / 1e3 / answered as f64,
            busy: cpu_ns / 1e9 / to.duration_since(from).as_secs_f64(),
            load: outcome.summary(&plan),
        })
    }

    /// Runs one round of the open loop against the origin itself.
    fn direct(&mut self, rate: f64) -> Result<Summary, Error> {
        let seconds = Duration::from_secs_f64(self.args.seconds);
        let connections = self.args.traffic.connections();
        let plan = self.plan(self.origin_address, connections, Some(rate), WARM_UP, seconds)?;
        let outcome = load::run(&plan, Some(&mut self.origin), &mut |_, _| (), self.stop)
            .map_err(|error| Error::Failed(format!("the origin: {error}")))?;
        Ok(outcome.summary(&plan))
    }

    fn plan(
        &self,
        target: SocketAddr,
        connections: usize,
        rate: Option<f64>,
        warm_up: Duration,
        duration: Duration,
    ) -> Result<Plan, Error> {
        let plan = self.args.traffic.plan(target, self.args.body).map_err(Error::Input)?;
        Ok(Plan { connections, rate, warm_up, duration, ..plan })
    }

    /// Opens idle connections and tells what memory each takes: before any request, and after one on each.
    fn idle(&mut self, peers: &[(Peer, String)], connections: usize) -> Result<(), Error> {
        // Each connection is used in turn, so this long reaches the last one.
        let turn = Duration::from_secs_f64(connections as f64 / IDLE_RATE * 1.05 + 0.1);
        println!("{connections} connections, resident bytes of the peer for each");
        println!("{:<16} {:>14} {:>14} {:>12} {:>8}", "", "just opened", "after a request", "total KiB", "failed");
        let mut failed = 0;
        for (peer, _) in peers {
            // Where each connection has one upstream, this process holds both ends of both.
            let ends = if peer.pairs_connections() { 2 * connections } else { connections };
            if ends as u64 + DESCRIPTORS_RESERVED > self.descriptors {
                println!("{:<16} skipped: {ends} descriptors of {} are too many", peer.name(), self.descriptors);
                continue;
            }
            let (running, target) = self.start(*peer)?;
            let fail = |error| Error::Failed(format!("{}: {error}", peer.name()));
            let busy = self.plan(target, BUSY_BEFORE, None, Duration::ZERO, WARM_UP)?;
            load::run(&busy, Some(&mut self.origin), &mut |_, _| (), self.stop).map_err(fail)?;
            let before = running.resident_bytes()?;
            let plan = self.plan(target, connections, Some(IDLE_RATE), Duration::ZERO, turn)?;
            let mut edges = Vec::new();
            let mut observe = |edge, _: u64| {
                if edge == Edge::Start {
                    // The kernel opens connections before the peer has accepted them.
                    std::thread::sleep(SETTLE);
                }
                edges.push(running.resident_bytes());
            };
            let outcome = load::run(&plan, Some(&mut self.origin), &mut observe, self.stop).map_err(fail)?;
            let [opened, used] = <[_; 2]>::try_from(edges)
                .map_err(|_| Error::Failed(format!("{}: the measured window never began", peer.name())))?;
            let (opened, used) = (opened?, used?);
            let each = |after: u64| after.saturating_sub(before) as f64 / connections as f64;
            println!(
                "{:<16} {:>14.0} {:>14.0} {:>12} {:>8}",
                peer.name(),
                each(opened),
                each(used),
                used / 1024,
                outcome.failed()
            );
            failed += outcome.failed();
        }
        if failed > 0 { Err(Error::Failed(format!("{failed} requests failed"))) } else { Ok(()) }
    }
}
