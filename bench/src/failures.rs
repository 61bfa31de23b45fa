//! Endpoints that fail under a constant load: what clients see of it, and what the endpoints get. A gateway of its own for
//! each scenario, real origins, and figures that are counted, not estimated.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringway_runtime::histogram::{Distribution, read_dir};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Error, parse_duration};
use crate::compare::process::{self, Running, Scratch};
use crate::gateway::GatewayArgs;
use crate::load::{self, Failure, Outcome, Percentiles, Plan};
use crate::net;
use crate::origin::{Failing, Options as OriginOptions, Origin};

const BODY: u64 = 128;
/// How often an origin that has nothing to do looks whether it is over, and a watcher looks at counters.
const LOOK: Duration = Duration::from_millis(5);

/// As docs/recipes/07-retry.toml has it.
const RECIPE: &str = "outlier = {}\n\
    retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"429\", \"5xx\"], backoff = \"10ms\", \
    backoff_max = \"100ms\", budget = 0.2, budget_floor = 10 }";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Half of ten endpoints answer 503 to every request
    HalfBad,
    /// Half of ten endpoints end every connection
    HalfReset,
    /// Ten endpoints fail one call in ten
    OneInTen,
    /// Ten endpoints fail every second call
    EverySecond,
    /// One of three is killed with -9, and comes back
    Killed,
    /// All of three are down, at ten times the rate
    Storm,
    /// All are down, and the breaker of the upstream is open
    Breaker,
}

#[derive(Args)]
pub(crate) struct FailuresArgs {
    /// Scenarios; by default all
    scenarios: Vec<Scenario>,
    /// Requests a second
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Length of each scenario
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Connections kept open
    #[arg(long, default_value_t = 128)]
    connections: usize,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &FailuresArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if !(1.0..=1e6).contains(&args.rate) || args.duration < Duration::from_secs(1) || args.connections == 0 {
        return Err(Error::Input(
            "--rate must be from 1 to a million, --duration a second at least, --connections above 0".to_owned(),
        ));
    }
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let all = Scenario::value_variants();
    let wanted = if args.scenarios.is_empty() { all } else { &args.scenarios };
    println!("{} requests/s for {:?} over {} connections", args.rate, args.duration, args.connections);
    for &scenario in wanted {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        match scenario {
            Scenario::Killed => killed(args, stop)?,
            Scenario::Storm => storm(args, stop)?,
            Scenario::Breaker => breaker(args, stop)?,
            _ => pool(args, scenario, stop)?,
        }
    }
    Ok(())
}

fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

/// How the endpoint of this number fails.
type FailsAt = fn(usize) -> Option<(u64, Failing)>;

/// Ten endpoints of which some fail, or all do now and then.
fn pool(args: &FailuresArgs, scenario: Scenario, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let (name, fails): (_, FailsAt) = match scenario {
        Scenario::HalfBad => ("half answer 503", |at| (at % 2 == 0).then_some((1, Failing::Status))),
        Scenario::HalfReset => ("half end connections", |at| (at % 2 == 0).then_some((1, Failing::Reset))),
        Scenario::OneInTen => ("one call in ten fails", |_| Some((10, Failing::Status))),
        _ => ("every second call fails", |_| Some((2, Failing::Status))),
    };
    let served: Vec<Served> = (0..10)
        .map(|at| Served::start(&OriginOptions { fails: fails(at), ..OriginOptions::plain(BODY) }))
        .collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = served.iter().map(|served| served.address).collect();
    let gateway = Gateway::start(args, &addresses, RECIPE)?;
    let asked = ask(&gateway, args, 1.0, 200, stop)?;
    let calls: u64 = served.iter().map(Served::calls).sum();
    println!("{name:<24} {} of {} well ({:.3}%)", asked.well, asked.all, part(asked.well, asked.all) * 100.0);
    println!(
        "{:<24} {:.4} calls for each request; {} endpoints ejected, {} retries, {} out of budget",
        "",
        part(calls, asked.all),
        gateway.event("ejected")?,
        gateway.counter("ringway_upstream_retries_total", &[])?,
        gateway.counter("ringway_upstream_retries_out_of_budget_total", &[])?,
    );
    asked.tell_times();
    Ok(())
}

/// One of three endpoints is killed under load, and is there again later.
fn killed(args: &FailuresArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    const INTERVAL: &str = "500ms";
    let quarter = args.duration / 4;
    let others = [Served::start(&OriginOptions::plain(BODY))?, Served::start(&OriginOptions::plain(BODY))?];
    let victim = process::free_address()?;
    let scratch = Scratch::named("ringway-bench-victim")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["origin", "--listen", &victim.to_string(), "--body", &BODY.to_string()]);
    let core = args.gateway.load_core;
    let running = Running::start(&mut command, &[core], core, victim, &scratch.path().join("log"))?;
    let keys = format!(
        "{}\nhealth = {{ path = \"/\", interval = \"{INTERVAL}\", unhealthy_after = 1, healthy_after = 2 }}",
        RECIPE.replace("outlier = {}", "outlier = { eject_for = \"1s\" }")
    );
    let gateway = Gateway::start(args, &[victim, others[0].address, others[1].address], &keys)?;
    let calls = |others: &[Served; 2]| others.iter().map(Served::calls).sum::<u64>();
    let (asked, told) = thread::scope(|scope| {
        let (gateway, others) = (&gateway, &others);
        let watching = scope.spawn(move || -> Result<_, Error> {
            thread::sleep(quarter);
            let before = calls(others);
            if let Some(pid) = Pid::from_raw(running.id() as i32) {
                kill_process(pid, Signal::KILL).map_err(std::io::Error::from)?;
            }
            let killed = Instant::now();
            drop(running);
            while gateway.event("ejected")? + gateway.event("unhealthy")? == 0 && killed.elapsed() < quarter {
                thread::sleep(LOOK);
            }
            let found = killed.elapsed();
            thread::sleep(quarter.saturating_sub(killed.elapsed()));
            let (while_dead, seconds) = (calls(others) - before, killed.elapsed());
            let again = Served::start(&OriginOptions { listen: victim, ..OriginOptions::plain(BODY) })?;
            let back = Instant::now();
            // Its checks come first, a few a second.
            while part(again.calls(), (back.elapsed().as_secs_f64() * args.rate) as u64) < 0.1
                && back.elapsed() < 2 * quarter
            {
                thread::sleep(LOOK);
            }
            Ok((before, found, while_dead, seconds, back.elapsed(), again))
        });
        let asked = ask(gateway, args, 1.0, 200, stop);
        (asked, watching.join())
    });
    let (before, found, while_dead, seconds, back, again) =
        told.map_err(|_| Error::Failed("the thread that watches died".to_owned()))??;
    let asked = asked?;
    println!("{:<24} {} of {} well", "one of three is killed", asked.well, asked.all);
    println!("{:<24} left {found:?} after that (checks every {INTERVAL}); used again {back:?} after it was back", "");
    println!(
        "{:<24} the others got {:.0}/s each before and {:.0}/s while it was away; {} calls to it later",
        "",
        before as f64 / 2.0 / quarter.as_secs_f64(),
        while_dead as f64 / 2.0 / seconds.as_secs_f64(),
        again.calls(),
    );
    asked.tell_times();
    Ok(())
}

/// No endpoint is there, and ten times as many requests come.
fn storm(args: &FailuresArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let nobody = [process::free_address()?, process::free_address()?, process::free_address()?];
    let gateway = Gateway::start(args, &nobody, RECIPE)?;
    // What it needs in any case it has after a second.
    let short = FailuresArgs {
        duration: Duration::from_secs(1),
        scenarios: Vec::new(),
        gateway: args.gateway.clone(),
        ..*args
    };
    let first = ask(&gateway, &short, 10.0, 502, stop)?;
    let before = gateway.running.resident_bytes()?;
    let asked = ask(&gateway, args, 10.0, 502, stop)?;
    let after = gateway.running.resident_bytes()?;
    let all = first.all + asked.all;
    let connects = gateway.counter("ringway_upstream_failures_total", &[("kind", "connect")])?;
    println!(
        "{:<24} {} requests at {} a second: {:.4} connects for each; {} retries out of budget",
        "a storm, all down",
        all,
        args.rate * 10.0,
        part(connects, all),
        gateway.counter("ringway_upstream_retries_out_of_budget_total", &[])?
    );
    println!("{:<24} {:.1} MiB after a second, {:.1} MiB at the end", "", mib(before), mib(after));
    asked.tell_times();
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A breaker that is open, before an endpoint that answers 503.
fn breaker(args: &FailuresArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let served = Served::start(&OriginOptions { fails: Some((1, Failing::Status)), ..OriginOptions::plain(BODY) })?;
    let keys = "breaker = { of = \"upstream\", min_requests = 20, open_for = \"2s\", probes = 3, jitter = 0 }";
    let gateway = Gateway::start(args, &[served.address], keys)?;
    let before = gateway.running.cpu_ns()?;
    let asked = ask(&gateway, args, 1.0, 503, stop)?;
    let cpu = gateway.running.cpu_ns()? - before;
    println!(
        "{:<24} {} requests, {} answered, {} calls: it opened {} times, and refused {}",
        "an open breaker",
        asked.all,
        asked.well,
        served.calls(),
        gateway.event("breaker_opened")?,
        gateway.event("breaker_refused")?,
    );
    println!("{:<24} {:.2}% of the answers within 1 ms", "", asked.outcome.latency.percentile_below(1_000_000));
    asked.tell_times();
    // What comes in a turn of the gateway's loop is answered in it; all else is the way there and back, and waiting for a CPU.
    let turns = gateway.turns()?;
    let ms = |percent: f64| turns.quantile(percent / 100.0) as f64 / 1e6;
    println!(
        "{:<24} the gateway's own part: {:.1} us of CPU each, turns of its loop p99 {:.3} ms, p99.9 {:.3} ms, at most {:.3} ms",
        "",
        part(cpu, asked.all) / 1e3,
        ms(99.0),
        ms(99.9),
        turns.max() as f64 / 1e6
    );
    Ok(())
}

/// What a load saw.
struct Told {
    all: u64,
    /// Those with the status that was expected.
    well: u64,
    outcome: Outcome,
}

impl Told {
    fn tell_times(&self) {
        let found = Percentiles::of(&self.outcome.latency);
        let ms = |ns: u64| ns as f64 / 1e6;
        println!(
            "{:<24} p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, at most {:.3} ms",
            "",
            ms(found.p50),
            ms(found.p99),
            ms(found.p99_9),
            ms(found.max)
        );
    }
}

/// Sends requests at so many times the rate from the first moment on.
fn ask(gateway: &Gateway, args: &FailuresArgs, times: f64, status: u16, stop: &Arc<AtomicBool>) -> Result<Told, Error> {
    let plan = Plan {
        connections: args.connections,
        rate: Some(args.rate * times),
        duration: args.duration,
        grace: Duration::from_secs(5),
        status,
        // Origins have to run on this CPU too, where they have anything to do.
        blocking: status == 200,
        ..Plan::get(gateway.listen)
    };
    let outcome = load::run(&plan, None, &mut |_, _| (), stop).map_err(|error| Error::Failed(error.to_string()))?;
    // Every request that was due has either an answer in the histogram, or its failure counted.
    let status = outcome.failures[Failure::Status as usize];
    let lost = outcome.failed() - status - outcome.failures[Failure::Length as usize];
    let all = outcome.latency.len() + lost;
    Ok(Told { all, well: outcome.latency.len() - status, outcome })
}

/// An origin on a thread of its own, and how many calls have come to it.
struct Served {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(options: &OriginOptions) -> Result<Self, Error> {
        let (calls, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (told, stopped, options) = (calls.clone(), stop.clone(), *options);
        let (ready, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let made = Origin::new(&options).and_then(|origin| Ok((origin.address()?, origin)));
            // Who started it waits for this.
            let (answer, origin) = match made {
                Ok((address, origin)) => (Ok(address), Some(origin)),
                Err(error) => (Err(error), None),
            };
            let _ = ready.send(answer);
            let Some(mut origin) = origin else { return };
            while !stopped.load(Ordering::Relaxed) {
                let Ok(ready) = origin.poll(Some(20 * LOOK)) else { return };
                for index in 0..ready {
                    if origin.handle(index).is_err() {
                        return;
                    }
                }
                told.store(origin.served(), Ordering::Relaxed);
            }
        });
        let address = address.recv().map_err(|_| Error::Failed("an origin did not start".to_owned()))??;
        Ok(Self { address, calls, stop, thread: Some(thread) })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The gateway of one scenario.
struct Gateway {
    running: Running,
    listen: SocketAddr,
    scratch: Scratch,
}

impl Gateway {
    fn start(args: &FailuresArgs, endpoints: &[SocketAddr], keys: &str) -> Result<Self, Error> {
        let (listen, scratch) = (process::free_address()?, Scratch::new()?);
        let metrics = scratch.path().join("metrics");
        std::fs::create_dir_all(&metrics)?;
        let mut list = String::new();
        for endpoint in endpoints {
            // A String takes it.
            let _ = write!(list, "\"{endpoint}\", ");
        }
        let text = format!(
            "{}metrics_dir = \"{}\"\n[listener.web]\naddress = \"{listen}\"\n\
             [upstream.origin]\nendpoints = [{list}]\n{keys}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
            args.gateway.cores(),
            metrics.display()
        );
        let running = args.gateway.start(&text, listen, &scratch)?;
        Ok(Self { running, listen, scratch })
    }

    /// What a counter of the upstream has.
    fn counter(&self, name: &str, more: &[(&str, &str)]) -> Result<u64, Error> {
        let labels: Vec<(&str, &str)> = [("upstream", "origin")].iter().chain(more).copied().collect();
        let files = read_dir(&self.scratch.path().join("metrics")).map_err(|error| Error::Failed(error.to_string()))?;
        Ok(files.into_iter().flatten().filter_map(|file| file.counter(name, &labels)).sum())
    }

    /// How long the turns of its loop took.
    fn turns(&self) -> Result<Distribution, Error> {
        let files = read_dir(&self.scratch.path().join("metrics")).map_err(|error| Error::Failed(error.to_string()))?;
        let name = "ringway_loop_stall_seconds";
        let found = files.into_iter().flatten().find_map(|file| file.histogram(name, &[]).cloned());
        found.ok_or_else(|| Error::Failed("the gateway has no metrics".to_owned()))
    }

    fn event(&self, event: &str) -> Result<u64, Error> {
        self.counter("ringway_upstream_events_total", &[("event", event)])
    }
}
