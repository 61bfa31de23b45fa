//! The subcommands and their options. Exit codes: 0 done, 1 the input is wrong, 2 wrong usage, 3 the machine or a
//! peer failed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::attacks::{self, AttacksArgs};
use crate::balance::{self, BalanceArgs};
use crate::builds::{self, BuildsArgs};
use crate::compare::{self, CompareArgs};
use crate::endpoints::{self, EndpointsArgs};
use crate::failures::{self, FailuresArgs};
use crate::load::tls::{Handshakes, Tls, Version};
use crate::load::{self, Percentiles};
use crate::micro::{self, MicroArgs};
use crate::multiplex::grpc_message;
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};
use crate::reloads::{self, ReloadsArgs};
use crate::train::{self, TrainArgs};
use crate::url::Url;
use crate::websocket::{self, WebsocketArgs};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Error {
    /// The input is wrong.
    Input(String),
    /// The machine or a peer failed.
    Failed(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Measures gateways: load, origins, comparisons and the physical floor.
#[derive(Parser)]
#[command(name = "ringway-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer HTTP/1.1, and HTTP/2 by prior knowledge, as cheaply as possible: `/bytes/N` with N bytes, every other path
    /// with --body bytes, a call of gRPC with a message of as many
    Origin(OriginArgs),
    /// Send requests: as many as possible, or with --rate at a constant rate without coordinated omission
    Load(Box<LoadArgs>),
    /// Forward bytes with a bare io_uring loop: the least that any proxy on this kernel can cost
    Floor(FloorArgs),
    /// Measure Ringway beside its peers: CPU a request, latency, memory of idle connections
    Compare(CompareArgs),
    /// Watch the clock and nothing else: how late this machine makes a loop that has nothing to do
    Pauses(PausesArgs),
    /// Measure what reloads cost clients: the same load with and without them, in turn
    Reloads(ReloadsArgs),
    /// Measure single parts: codec, router, histogram
    Micro(MicroArgs),
    /// Measure balancers before simulated endpoints: response times through each
    Balance(BalanceArgs),
    /// Measure what clients and endpoints see of endpoints that fail: half a pool, a kill, a storm, an open breaker
    Failures(FailuresArgs),
    /// Measure what a request costs through each balancer before 3 endpoints and before 100
    Endpoints(EndpointsArgs),
    /// Measure what a request costs in this build of the gateway and in another, in turn
    Builds(BuildsArgs),
    /// Measure what attacks on HTTP/2 and TLS cost the gateway, the attacker, and everybody else
    Attacks(AttacksArgs),
    /// Drive a gateway with all kinds of traffic, so that a compiler sees what it does: see `tools/release`
    Train(TrainArgs),
    /// Measure what a WebSocket message costs Ringway and its peers
    Websocket(WebsocketArgs),
    /// Run a bare proxy on tokio with Ringway's codec
    #[cfg(feature = "peers")]
    ProxyTokio(ProxyArgs),
    /// Run a bare proxy on monoio with Ringway's codec
    #[cfg(feature = "peers")]
    ProxyMonoio(ProxyArgs),
}

#[cfg(feature = "peers")]
#[derive(Args)]
struct ProxyArgs {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Where every connection goes
    #[arg(long)]
    to: SocketAddr,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 600)]
    max_seconds: u64,
}

#[derive(Args)]
struct FloorArgs {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Where every connection goes
    #[arg(long)]
    to: SocketAddr,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// Receive buffers, a power of two
    #[arg(long, default_value_t = 1024)]
    buffers: u16,
    /// Bytes of each
    #[arg(long, default_value = "16KiB", value_parser = parse_size)]
    buffer_bytes: u64,
    /// Poll without ever sleeping: takes the whole CPU
    #[arg(long)]
    busy_poll: bool,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 600)]
    max_seconds: u64,
}

#[derive(Args)]
struct OriginArgs {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Body bytes of an ordinary answer
    #[arg(long, default_value = "128", value_parser = parse_size)]
    body: u64,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// How long every answer waits; then HTTP/2 is not spoken
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    delay: Duration,
    /// Poll without ever sleeping: takes the whole CPU
    #[arg(long)]
    busy_poll: bool,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 600)]
    max_seconds: u64,
}

#[derive(Args)]
struct PausesArgs {
    /// CPU to watch from
    #[arg(long)]
    core: Option<usize>,
    /// How long to watch
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
}

#[derive(Args)]
struct LoadArgs {
    /// `http://HOST:PORT/PATH`, or https; with --null only the path counts
    url: Url,
    /// Connections kept busy
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Length of the measured window
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Time before it
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    warm_up: Duration,
    /// Requests a second (open loop); without it the closed loop
    #[arg(long)]
    rate: Option<f64>,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// Request method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Body bytes of each request
    #[arg(long, default_value = "0", value_parser = parse_size)]
    body: u64,
    /// A further request field, `Name: value`; may be repeated
    #[arg(long = "header", short = 'H')]
    headers: Vec<String>,
    /// Requests under way on one connection; with --http2 its streams
    #[arg(long, visible_alias = "streams", default_value_t = 1)]
    pipeline: usize,
    /// A connection of its own for each request
    #[arg(long, conflicts_with = "http2")]
    close: bool,
    /// Speak this version of TLS, with AES-128-GCM, and believe any certificate; 1.3 is what https means alone
    #[arg(long, value_name = "VERSION", conflicts_with = "null")]
    tls: Option<Version>,
    /// Over TLS a connection of its own for each request, each with such a handshake
    #[arg(long, value_name = "KIND", conflicts_with_all = ["http2", "grpc"])]
    handshakes: Option<Handshakes>,
    /// Speak HTTP/2: by prior knowledge, or over TLS by ALPN
    #[arg(long)]
    http2: bool,
    /// Call a method of gRPC, which is the path: over HTTP/2, with one message of --body bytes
    #[arg(long, conflicts_with_all = ["close", "method"])]
    grpc: bool,
    /// The status every answer must have
    #[arg(long, default_value_t = 200)]
    expect_status: u16,
    /// Body bytes every answer must have; without it, those of the first
    #[arg(long, value_parser = parse_size)]
    expect_bytes: Option<u64>,
    /// An answer later than this is a failure
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Sleep when there is nothing to do, for a core that others share
    #[arg(long)]
    blocking: bool,
    /// Run an origin at this address inside the generator's loop, so that both share its core
    #[arg(long)]
    origin: Option<SocketAddr>,
    /// Body bytes of that origin, or of the null server
    #[arg(long, default_value = "128", value_parser = parse_size)]
    origin_body: u64,
    /// Send to a built-in null server, to see the generator's own error
    #[arg(long)]
    null: bool,
    /// CPU of the null server
    #[arg(long, default_value_t = 0)]
    null_core: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write the histograms as an HDR interval log
    #[arg(long)]
    hdr: Option<PathBuf>,
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Input(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(1)
        }
        Err(Error::Failed(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(3)
        }
    }
}

#[cfg(feature = "peers")]
impl ProxyArgs {
    fn run(&self, proxy: fn(SocketAddr, SocketAddr, Duration) -> std::io::Result<()>) -> Result<(), Error> {
        if let Some(core) = self.core {
            net::pin(core)?;
        }
        net::raise_descriptor_limit();
        Ok(proxy(self.listen, self.to, Duration::from_secs(self.max_seconds))?)
    }
}

fn origin(args: &OriginArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if let Some(core) = args.core {
        net::pin(core)?;
    }
    net::raise_descriptor_limit();
    let mut origin =
        Origin::new(&OriginOptions { listen: args.listen, delay: args.delay, ..OriginOptions::plain(args.body) })
            .map_err(|error| Error::Failed(format!("cannot listen on {}: {error}", args.listen)))?;
    println!("origin ready on {}", origin.address()?);
    origin.serve(Duration::from_secs(args.max_seconds), args.busy_poll, stop)?;
    println!("origin served {} requests", origin.served());
    Ok(())
}

fn dispatch() -> Result<(), Error> {
    match Cli::parse().command {
        Command::Origin(args) => origin(&args, &stop_flag()?),
        Command::Load(args) => load(&args, &stop_flag()?),
        Command::Floor(args) => floor(&args, &stop_flag()?),
        Command::Compare(args) => compare::run(&args, &stop_flag()?),
        Command::Pauses(args) => pauses(&args),
        Command::Reloads(args) => reloads::run(&args, &stop_flag()?),
        Command::Micro(args) => micro::run(&args),
        Command::Balance(args) => balance::run(&args, &stop_flag()?),
        Command::Endpoints(args) => endpoints::run(&args, &stop_flag()?),
        Command::Builds(args) => builds::run(&args, &stop_flag()?),
        Command::Train(args) => train::run(&args, &stop_flag()?),
        Command::Websocket(args) => websocket::run(&args, &stop_flag()?),
        Command::Attacks(args) => attacks::run(&args, &stop_flag()?),
        Command::Failures(args) => failures::run(&args, &stop_flag()?),
        #[cfg(feature = "peers")]
        Command::ProxyTokio(args) => args.run(crate::peers::run_tokio),
        #[cfg(feature = "peers")]
        Command::ProxyMonoio(args) => args.run(crate::peers::run_monoio),
    }
}

/// A flag that SIGINT and SIGTERM set, so that what was started can be ended first.
fn stop_flag() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn floor(args: &FloorArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if let Some(core) = args.core {
        net::pin(core)?;
    }
    let limit = net::raise_descriptor_limit();
    let options = ringway_runtime::floor::Options {
        listen: args.listen,
        to: args.to,
        buffers: args.buffers,
        buffer_bytes: u32::try_from(args.buffer_bytes)
            .map_err(|_| Error::Input("--buffer-bytes is too large".into()))?,
        connections: limit.min(FLOOR_CONNECTIONS_MAX) as u32,
        busy_poll: args.busy_poll,
    };
    // The loop looks at nothing but the stop flag, so something else keeps the time.
    let (stopped, lifetime) = (Arc::clone(stop), Duration::from_secs(args.max_seconds));
    std::thread::spawn(move || {
        std::thread::sleep(lifetime);
        stopped.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    ringway_runtime::floor::run(&options, &mut |address| println!("floor ready on {address}"), stop)?;
    Ok(())
}

/// Connections the floor has room for, where the limit of descriptors allows.
const FLOOR_CONNECTIONS_MAX: u64 = 65_536;

fn load(args: &LoadArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let mut plan = args.plan()?;
    net::raise_descriptor_limit();
    let null = if args.null { Some(NullServer::start(args.null_core, args.origin_body)?) } else { None };
    if let Some(null) = &null {
        plan.target = null.address;
    }
    if let Some(core) = args.core {
        net::pin(core)?;
    }
    let options = |listen| OriginOptions { listen, ..OriginOptions::plain(args.origin_body) };
    let mut origin = args.origin.map(|listen| Origin::new(&options(listen))).transpose()?;
    let outcome = load::run(&plan, origin.as_mut(), &mut |_, _| {}, stop)?;
    let summary = outcome.summary(&plan);
    if args.json {
        let text = serde_json::to_string_pretty(&summary).map_err(|error| Error::Failed(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", summary.text());
    }
    if let Some(path) = &args.hdr {
        outcome.write_hdr(path).map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
    }
    if outcome.failed() > 0 {
        return Err(Error::Failed(format!("{} requests failed", outcome.failed())));
    }
    if outcome.completed == 0 {
        return Err(Error::Failed("no answer came inside the measured window".to_owned()));
    }
    Ok(())
}

fn pauses(args: &PausesArgs) -> Result<(), Error> {
    if let Some(core) = args.core {
        net::pin(core)?;
    }
    let pauses = load::watch(args.duration);
    print!("{}{}", Percentiles::heading(), Percentiles::of(pauses.lateness()).row("machine alone"));
    Ok(())
}

/// A null server that outlives its load is a mistake; it ends by itself.
const NULL_SERVER_LIFE: Duration = Duration::from_hours(1);

/// The origin on a thread of its own, busy-polled: as close to no server at all as there is.
struct NullServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl NullServer {
    fn start(core: usize, body: u64) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let options = OriginOptions::plain(body);
            let made = net::pin(core).and_then(|()| Origin::new(&options));
            let mut origin = match made.and_then(|origin| Ok((origin.address()?, origin))) {
                Ok((address, origin)) => {
                    let _ = tell.send(Ok(address));
                    origin
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            if let Err(error) = origin.serve(NULL_SERVER_LIFE, true, &stopped) {
                eprintln!("error: the null server failed: {error}");
            }
        });
        let address = told.recv().map_err(|_| Error::Failed("the null server did not start".to_owned()))??;
        Ok(Self { address, stop })
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl LoadArgs {
    fn plan(&self) -> Result<load::Plan, Error> {
        if self.connections == 0 || self.pipeline == 0 {
            return Err(Error::Input("--connections and --pipeline must be at least 1".to_owned()));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e8)) {
            return Err(Error::Input("--rate must be above 0 and at most 100 million".to_owned()));
        }
        let close = self.close || self.handshakes.is_some();
        if close && self.pipeline > 1 {
            let why = "--close and --handshakes send one request a connection, so --pipeline must be 1";
            return Err(Error::Input(why.to_owned()));
        }
        if self.body > 64 << 20 {
            return Err(Error::Input("--body must be at most 64 MiB".to_owned()));
        }
        let version = self.tls.or(self.url.is_https().then_some(Version::V1_3));
        if self.handshakes.is_some() && version.is_none() {
            return Err(Error::Input("--handshakes needs https or --tls".to_owned()));
        }
        let is_http2 = self.http2 || self.grpc;
        let http2 = is_http2.then(|| {
            let (method, body) = if self.grpc {
                ("POST", grpc_message(self.body))
            } else {
                (self.method.as_str(), vec![b'x'; self.body as usize])
            };
            let mut request = self.url.http2_request(method, &self.headers, body)?;
            request.is_https = version.is_some();
            Ok(if self.grpc { request.of_grpc() } else { request })
        });
        let http2 = http2.transpose().map_err(Error::Input)?;
        let resume = self.handshakes == Some(Handshakes::Resumed);
        let tls = version.map(|version| Tls::new(self.url.host(), version, resume, is_http2));
        let tls = tls.transpose().map_err(Error::Input)?;
        let request = self.url.request(&self.method, &self.headers, close, self.body).map_err(Error::Input)?;
        let target = if self.null { ([127, 0, 0, 1], 0).into() } else { self.url.resolve()? };
        Ok(load::Plan {
            target,
            request,
            http2,
            tls,
            head_request: self.method == "HEAD",
            connections: self.connections,
            pipeline: self.pipeline,
            close,
            rate: self.rate,
            warm_up: self.warm_up,
            duration: self.duration,
            timeout: self.timeout,
            grace: self.timeout.min(Duration::from_secs(2)),
            status: self.expect_status,
            body: self.expect_bytes,
            blocking: self.blocking,
            watched: None,
        })
    }
}

/// Reads `50us`, `20ms`, `5s` or `2m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| "write a number and its unit, such as 500ms or 10s".to_owned())?;
    let seconds = match &text[digits.len()..] {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        _ => return Err("the unit is us, ms, s or m".to_owned()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Reads a number of bytes, with `KiB`, `MiB` or `GiB` behind it or nothing.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "write a number of bytes, such as 128 or 64KiB".to_owned())?;
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("the unit is KiB, MiB or GiB".to_owned()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_known_unit() {
        assert_eq!(parse_duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(parse_duration("10").is_err());
        assert!(parse_duration("-1s").is_err());
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("128"), Ok(128));
        assert!(parse_size("1KB").is_err());
        assert!(parse_size("99999999999GiB").is_err());
    }

    #[test]
    fn the_arguments_hold_together() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
