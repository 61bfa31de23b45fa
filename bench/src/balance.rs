//! Balancers against pools of simulated endpoints: queues in one process, on a clock of their own, from seeds. Clients
//! send at a constant mean rate whatever comes of it, so no slow answer holds back the next request.

mod real;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use ringway::plan::Upstream;
use ringway::upstream::{Asked, Balancer, Outcome, Picked, Shared};
use ringway_runtime::clock::Instant;
use serde::Serialize;

use crate::cli::{Error, parse_duration};
use crate::compare::median;
use crate::gateway::GatewayArgs;

const BALANCERS: [&str; 6] = ["round-robin", "random", "two-choices", "least-requests", "peak-ewma", "adaptive"];
const MILLISECOND: f64 = 1e6;
/// Requests before anything is counted: balancers learn, queues fill.
const WARM_UP: usize = 10_000;

#[derive(Args)]
pub(crate) struct BalanceArgs {
    /// Seeds, each of which is a run
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Requests of one run
    #[arg(long, default_value_t = 200_000)]
    requests: usize,
    /// Cores of the gateway, each with a balancer of its own
    #[arg(long, default_value_t = 2)]
    cores: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Before real origins whose answers take their time, with a gateway between them and the load
    #[arg(long, conflicts_with_all = ["requests", "cores", "json"])]
    real: bool,
    /// Length of each run before real origins
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// One endpoint: workers before one queue.
#[derive(Clone, Copy)]
struct Endpoint {
    workers: usize,
    /// Of one request, in nanoseconds.
    service: f64,
    /// It stops for so long, so often.
    pauses: Option<(f64, f64)>,
    /// From the first time to the second it is so many times slower.
    slow: Option<(f64, f64, f64)>,
    /// From this time on it answers this part of its requests with 503, at once.
    fails: Option<(f64, f64)>,
}

const PLAIN: Endpoint = Endpoint { workers: 8, service: 4.0 * MILLISECOND, pauses: None, slow: None, fails: None };

/// A pool, and the part of what it can do that is asked of it.
struct Pool {
    name: &'static str,
    load: f64,
    endpoints: Vec<Endpoint>,
}

/// Two machines a third as fast, one half as fast, and two small ones among ten.
fn mixed(at: usize) -> Endpoint {
    match at {
        0 | 1 => Endpoint { service: 12.0 * MILLISECOND, ..PLAIN },
        2 => Endpoint { service: 8.0 * MILLISECOND, ..PLAIN },
        3 | 4 => Endpoint { workers: 3, ..PLAIN },
        _ => PLAIN,
    }
}

fn pools() -> Vec<Pool> {
    let seconds = |count: f64| count * 1e9;
    let each = |of: fn(usize) -> Endpoint| (0..10).map(of).collect();
    vec![
        Pool { name: "alike", load: 0.7, endpoints: each(|_| PLAIN) },
        Pool { name: "heterogeneous", load: 0.4, endpoints: each(mixed) },
        // Past what the slow ones can take of an even share.
        Pool { name: "the same, busy", load: 0.7, endpoints: each(mixed) },
        Pool {
            name: "pauses",
            load: 0.6,
            endpoints: each(|_| Endpoint { pauses: Some((2e9, 150.0 * MILLISECOND)), ..PLAIN }),
        },
        // Two get slower and slower for a while, then are well again.
        Pool {
            name: "slow ramp",
            load: 0.6,
            endpoints: (0..10)
                .map(|at| Endpoint { slow: (at < 2).then(|| (seconds(2.0), seconds(12.0), 6.0)), ..PLAIN })
                .collect(),
        },
        // One fails most of its requests, and does so fast.
        Pool {
            name: "grey failure",
            load: 0.6,
            endpoints: (0..10).map(|at| Endpoint { fails: (at == 0).then(|| (seconds(2.0), 0.9)), ..PLAIN }).collect(),
        },
    ]
}

#[derive(Serialize)]
struct Figure {
    pool: &'static str,
    balancer: &'static str,
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    /// The p99 of each seed.
    p99_of_seeds: Vec<f64>,
    errors_percent: f64,
}

pub(crate) fn run(args: &BalanceArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if args.seeds == 0 || args.cores == 0 || args.requests <= WARM_UP {
        return Err(Error::Input(format!("at least one seed, one core and {} requests are wanted", WARM_UP + 1)));
    }
    if args.real {
        return real::run(args.seeds, args.duration, &args.gateway, stop);
    }
    let mut figures = Vec::new();
    for pool in pools() {
        for balancer in BALANCERS {
            let upstream = upstream(balancer, pool.endpoints.len())?;
            let runs: Vec<Run> = (1..=args.seeds).map(|seed| simulate(&pool, &upstream, args, seed)).collect();
            let middle = |of: &dyn Fn(&Run) -> f64| median(runs.iter().map(of));
            figures.push(Figure {
                pool: pool.name,
                balancer,
                mean_ms: middle(&|run| run.mean),
                p50_ms: middle(&|run| run.percentile(50.0)),
                p99_ms: middle(&|run| run.percentile(99.0)),
                p999_ms: middle(&|run| run.percentile(99.9)),
                p99_of_seeds: runs.iter().map(|run| run.percentile(99.0)).collect(),
                errors_percent: middle(&|run| run.errors),
            });
        }
    }
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|error| Error::Failed(error.to_string()))?;
        println!("{text}");
        return Ok(());
    }
    println!(
        "{:<14} {:<15} {:>8} {:>8} {:>8} {:>8} {:>7}  p99 of each seed",
        "ms", "", "mean", "p50", "p99", "p99.9", "errors"
    );
    for figure in figures {
        let seeds: Vec<String> = figure.p99_of_seeds.iter().map(|p99| format!("{p99:.1}")).collect();
        println!(
            "{:<14} {:<15} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>6.2}%  {}",
            figure.pool,
            figure.balancer,
            figure.mean_ms,
            figure.p50_ms,
            figure.p99_ms,
            figure.p999_ms,
            figure.errors_percent,
            seeds.join(" ")
        );
    }
    Ok(())
}

fn upstream(balancer: &str, endpoints: usize) -> Result<Arc<Upstream>, Error> {
    let endpoints: Vec<String> = (0..endpoints).map(|at| format!("\"10.0.0.{at}:80\"")).collect();
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nbalance = \"{balancer}\"\nendpoints = [{}]\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n",
        endpoints.join(", ")
    );
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    let (plan, _) = ringway::config::compile("balance", &config, 1, &mut resolve)
        .map_err(|report| Error::Failed(report.to_string()))?;
    plan.upstreams.first().cloned().ok_or_else(|| Error::Failed("the plan has no upstream".to_owned()))
}

/// What came of one run.
struct Run {
    mean: f64,
    /// Sorted, in nanoseconds.
    times: Vec<f64>,
    errors: f64,
}

impl Run {
    fn percentile(&self, percent: f64) -> f64 {
        let at = (self.times.len() as f64 * percent / 100.0) as usize;
        self.times.get(at.min(self.times.len().saturating_sub(1))).map_or(0.0, |time| time / MILLISECOND)
    }
}

/// A request on its way.
struct Request {
    core: usize,
    picked: Picked,
    arrived: f64,
    counts: bool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request>,
    busy: usize,
    /// Of its workers, those in a pause start nothing before this time.
    paused_until: f64,
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    /// From 0 up to 1, which is not among them.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.next()).ln()
    }
}

fn simulate(pool: &Pool, upstream: &Arc<Upstream>, args: &BalanceArgs, seed: u64) -> Run {
    const START: f64 = 1e12;
    let instant = |time: f64| Instant::from_nanos((START + time) as u64);
    let mut random = Random(seed);
    let shared = Shared::new(upstream, None);
    let cores: Vec<Balancer> =
        (0..args.cores as u64).map(|core| Balancer::new(&shared, seed * 1000 + core, instant(0.0), None)).collect();
    let capacity: f64 = pool.endpoints.iter().map(|endpoint| endpoint.workers as f64 / endpoint.service).sum();
    let gap = 1.0 / (capacity * pool.load);
    let mut queues: Vec<Queue> = pool.endpoints.iter().map(|_| Queue::default()).collect();
    // What happens next: an answer of an endpoint, or its pause. Times as whole nanoseconds, so that they have an order.
    let mut events: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let mut under_way: std::collections::HashMap<u64, (Request, bool, f64)> = std::collections::HashMap::new();
    let mut number = 0u64;
    const PAUSE: u64 = 0;
    for (at, endpoint) in pool.endpoints.iter().enumerate() {
        if let Some((every, _)) = endpoint.pauses {
            events.push(Reverse((random.exponential(every) as u64, PAUSE, at)));
        }
    }
    let mut times = Vec::new();
    let (mut sum, mut errors, mut counted) = (0.0, 0usize, 0usize);
    let mut arrival = 0.0;
    for arrived in 0..args.requests {
        arrival += random.exponential(gap);
        // Everything up to the next arrival.
        while let Some(Reverse((time, which, at))) = events.peek().copied()
            && time as f64 <= arrival
        {
            events.pop();
            let time = time as f64;
            let endpoint = pool.endpoints[at];
            if which == PAUSE {
                let (every, long) = endpoint.pauses.unwrap_or_default();
                queues[at].paused_until = time + long;
                events.push(Reverse(((time + long + random.exponential(every)) as u64, PAUSE, at)));
                continue;
            }
            let Some((request, is_error, _)) = under_way.remove(&which) else { continue };
            let took = time - request.arrived;
            let status = if is_error { 503 } else { 200 };
            let outcome = Outcome::Answered(status, Duration::from_nanos(took as u64));
            cores[request.core].end(request.picked, outcome, instant(time));
            if request.counts {
                sum += took;
                times.push(took);
                errors += usize::from(is_error);
                counted += 1;
            }
            queues[at].busy -= 1;
            start(&mut queues[at], &endpoint, at, time, &mut random, &mut events, &mut under_way, &mut number);
        }
        let core = (random.next() * cores.len() as f64) as usize;
        let Ok(picked) = cores[core].pick(&Asked::default(), instant(arrival)) else { continue };
        let at = picked.endpoint;
        queues[at].waiting.push_back(Request { core, picked, arrived: arrival, counts: arrived >= WARM_UP });
        let endpoint = pool.endpoints[at];
        start(&mut queues[at], &endpoint, at, arrival, &mut random, &mut events, &mut under_way, &mut number);
    }
    times.sort_by(f64::total_cmp);
    let counted = counted.max(1) as f64;
    Run { mean: sum / counted / MILLISECOND, times, errors: errors as f64 / counted * 100.0 }
}

/// Has free workers begin what waits.
#[expect(clippy::too_many_arguments, reason = "the parts of one simulation")]
fn start(
    queue: &mut Queue,
    endpoint: &Endpoint,
    at: usize,
    now: f64,
    random: &mut Random,
    events: &mut BinaryHeap<Reverse<(u64, u64, usize)>>,
    under_way: &mut std::collections::HashMap<u64, (Request, bool, f64)>,
    number: &mut u64,
) {
    while queue.busy < endpoint.workers
        && let Some(request) = queue.waiting.pop_front()
    {
        let begins = now.max(queue.paused_until);
        let is_error = endpoint.fails.is_some_and(|(from, part)| now >= from && random.next() < part);
        let slower = match endpoint.slow {
            Some((from, to, most)) if begins >= from && begins < to => {
                1.0 + (most - 1.0) * (begins - from) / (to - from)
            }
            _ => 1.0,
        };
        // A half of the time is always the same, the rest is not.
        let service = if is_error {
            endpoint.service / 40.0
        } else {
            slower * (endpoint.service / 2.0 + random.exponential(endpoint.service / 2.0))
        };
        queue.busy += 1;
        *number += 1;
        under_way.insert(*number, (request, is_error, begins));
        events.push(Reverse(((begins + service) as u64, *number, at)));
    }
}
