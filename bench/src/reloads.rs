//! The cost of reloads to clients: windows of the same constant load with reloads and without, in turn, so that what the
//! machine does meanwhile falls on both alike.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Error, parse_duration};
use crate::compare::process::{self, Running, Scratch};
use crate::compare::traffic::{CERTIFICATE, HOST, KEY, write_certificate};
use crate::gateway::GatewayArgs;
use crate::load::tls::{Handshakes, Tls, Version};
use crate::load::{self, Edge, Percentiles, Plan};
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};
use crate::url::Url;

const WARM_UP: Duration = Duration::from_millis(500);
const BODY: u64 = 128;

#[derive(Args)]
pub(crate) struct ReloadsArgs {
    /// Reloads in all
    #[arg(long, default_value_t = 1000)]
    reloads: u64,
    /// Time between two
    #[arg(long, default_value = "40ms", value_parser = parse_duration)]
    every: Duration,
    /// Windows with reloads; as many are without
    #[arg(long, default_value_t = 10)]
    windows: u64,
    /// Requests a second
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Connections kept open
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Change the upstream as well each time, so that its connections are made anew
    #[arg(long)]
    upstreams: bool,
    /// A connection over TLS of its own for each request, each with such a handshake; reloads change the certificate
    #[arg(long, value_name = "KIND")]
    handshakes: Option<Handshakes>,
    /// The version of TLS of those
    #[arg(long, value_name = "VERSION", default_value = "1.3")]
    tls: Version,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What one kind of window measured.
struct Side {
    latency: Histogram<u64>,
    failed: u64,
    answered: u64,
    /// Handshakes, full and resumed ones.
    handshakes: [u64; 2],
    seconds: f64,
}

pub(crate) fn run(args: &ReloadsArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if args.windows == 0 || args.reloads < args.windows || args.rate.is_nan() || args.rate < 1.0 {
        return Err(Error::Input(
            "--windows and --rate must be above 0, and --reloads no fewer than windows".to_owned(),
        ));
    }
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let mut origin = Origin::new(&OriginOptions::plain(BODY))?;
    let gateway = Gateway::start(args, origin.address()?)?;
    let each = args.reloads / args.windows;
    let plan =
        plan(args, gateway.listen, args.every * u32::try_from(each).unwrap_or(u32::MAX)).map_err(Error::Input)?;
    let (mut with, mut without) = (Side::new(), Side::new());
    for window in 1..=args.windows {
        without.measure(&plan, &mut origin, &mut |_| (), stop)?;
        let mut reloading: Option<JoinHandle<()>> = None;
        let mut observe = |edge| {
            if edge == Edge::Start {
                reloading = Some(gateway.reload(args, (window - 1) * each, each));
            }
        };
        with.measure(&plan, &mut origin, &mut observe, stop)?;
        if let Some(reloading) = reloading {
            reloading.join().map_err(|_| Error::Failed("the thread that reloads died".to_owned()))?;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
    }
    let done = gateway.reloads_done()?;
    println!(
        "{done} reloads, one every {:?}; {} requests/s over {} connections",
        args.every, args.rate, args.connections
    );
    println!(
        "{:<10} {:>10} {:>8} {:>10} {:>10} {:>10} {:>10}",
        "us", "answered", "failed", "p50", "p99", "p99.9", "max"
    );
    for (name, side) in [("without", &without), ("with", &with)] {
        let found = Percentiles::of(&side.latency);
        let us = |ns: u64| ns as f64 / 1e3;
        println!(
            "{name:<10} {:>10} {:>8} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
            side.answered,
            side.failed,
            us(found.p50),
            us(found.p99),
            us(found.p99_9),
            us(found.max)
        );
    }
    if args.handshakes.is_some() {
        let [full, resumed] = with.handshakes;
        let rate = (full + resumed) as f64 / with.seconds.max(f64::MIN_POSITIVE);
        println!("{full} full and {resumed} resumed handshakes beside the reloads, {rate:.0}/s");
    }
    let tail = |side: &Side| side.latency.value_at_quantile(0.999) as f64;
    println!("p99.9 with reloads is {:.2}x of that without", tail(&with) / tail(&without));
    match (with.failed + without.failed, done) {
        (0, done) if done == each * args.windows => Ok(()),
        (failed, done) => Err(Error::Failed(format!("{failed} requests failed, {done} reloads were taken"))),
    }
}

impl Side {
    fn new() -> Self {
        Self { latency: load::histogram(), failed: 0, answered: 0, handshakes: [0; 2], seconds: 0.0 }
    }

    fn measure(
        &mut self,
        plan: &Plan,
        origin: &mut Origin,
        observe: &mut dyn FnMut(Edge),
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let outcome = load::run(plan, Some(origin), &mut |edge, _| observe(edge), stop)
            .map_err(|error| Error::Failed(error.to_string()))?;
        self.failed += outcome.failed();
        self.answered += outcome.completed;
        self.seconds += outcome.seconds;
        for (sum, more) in self.handshakes.iter_mut().zip([outcome.handshakes.full, outcome.handshakes.resumed]) {
            *sum += more;
        }
        self.latency.add(&outcome.latency).map_err(|error| Error::Failed(error.to_string()))
    }
}

fn plan(args: &ReloadsArgs, target: SocketAddr, duration: Duration) -> Result<Plan, String> {
    let mut plan = Plan {
        connections: args.connections,
        rate: Some(args.rate),
        warm_up: WARM_UP,
        duration,
        body: Some(BODY),
        // Control has to run on this CPU too.
        blocking: true,
        ..Plan::get(target)
    };
    if let Some(kind) = args.handshakes {
        let url: Url = format!("https://{target}/").parse()?;
        plan.close = true;
        plan.request = url.request("GET", &[], true, 0)?;
        plan.tls = Some(Tls::new(HOST, args.tls, kind == Handshakes::Resumed, false)?);
    }
    Ok(plan)
}

/// The gateway, and where its config and log are.
struct Gateway {
    _running: Running,
    pid: Pid,
    listen: SocketAddr,
    origin: SocketAddr,
    scratch: Scratch,
}

impl Gateway {
    fn start(args: &ReloadsArgs, origin: SocketAddr) -> Result<Self, Error> {
        let (listen, scratch) = (process::free_address()?, Scratch::new()?);
        if args.handshakes.is_some() {
            for turn in 0..2 {
                let directory = certificate_directory(scratch.path(), turn);
                std::fs::create_dir(&directory)?;
                write_certificate(&directory)?;
            }
        }
        let running = args.gateway.start(&text(args, listen, origin, scratch.path(), 0), listen, &scratch)?;
        let pid =
            Pid::from_raw(running.id() as i32).ok_or_else(|| Error::Failed("the gateway has no pid".to_owned()))?;
        Ok(Self { _running: running, pid, listen, origin, scratch })
    }

    /// Has it reload `count` times, numbers `from` on.
    fn reload(&self, args: &ReloadsArgs, from: u64, count: u64) -> JoinHandle<()> {
        let text = |at| text(args, self.listen, self.origin, self.scratch.path(), from + at);
        let texts: Vec<String> = (1..=count).map(text).collect();
        let (file, pid, every) = (self.scratch.path().join("ringway.toml"), self.pid, args.every);
        thread::spawn(move || {
            let start = Instant::now();
            for (at, text) in (0..).zip(texts) {
                thread::sleep((start + every * at).saturating_duration_since(Instant::now()));
                // What fails here shows in the number of reloads.
                let _ = replace(&file, &text).and_then(|()| Ok(kill_process(pid, Signal::HUP)?));
            }
        })
    }

    /// How many plans it took up after the first.
    fn reloads_done(&self) -> Result<u64, Error> {
        thread::sleep(Duration::from_millis(200));
        let log = std::fs::read_to_string(self.scratch.path().join("log"))?;
        if let Some(refused) = log.lines().find(|line| line.contains("kept plan")) {
            return Err(Error::Failed(refused.to_owned()));
        }
        Ok(log.lines().filter(|line| line.starts_with("ringway: plan ")).count() as u64)
    }
}

/// In one step, so that a reload that is late never reads half a config.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file)
}

/// Where the certificate is that is shown from this reload on.
fn certificate_directory(scratch: &Path, turn: u64) -> PathBuf {
    scratch.join(format!("certificate-{}", turn % 2))
}

fn text(args: &ReloadsArgs, listen: SocketAddr, origin: SocketAddr, scratch: &Path, turn: u64) -> String {
    let cores = args.gateway.cores();
    let (mut limits, mut tls) = ("", String::new());
    if args.handshakes.is_some() {
        let directory = certificate_directory(scratch, turn);
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        // All clients are at one address.
        limits = "[limits]\nhandshakes_per_source = \"off\"\n";
        tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", certificate.display(), key.display());
    }
    let idle = if args.upstreams { 1024 + turn % 2 } else { 1024 };
    format!(
        r#"{cores}
{limits}
[listener.web]
address = "{listen}"
{tls}
[upstream.origin]
endpoints = ["{origin}"]
pool = {{ max_idle = {idle}, max_connections = 4096 }}

[[route]]
name = "all"
path = "/{{rest...}}"
upstream = "origin"
policies = [{{ type = "headers", request = {{ set = {{ x-turn = "{turn}" }} }} }}]
"#
    )
}
