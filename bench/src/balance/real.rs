//! The same before real origins: sockets, threads, and a gateway between them and the load. An origin has workers before a
//! queue; how long each answer takes follows from a seed, the course of everything does not.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Endpoint, Random, mixed};
use crate::cli::Error;
use crate::compare::median;
use crate::compare::process::{self, Scratch};
use crate::gateway::GatewayArgs;
use crate::load::{self, Percentiles, Plan};
use crate::net;

const BALANCERS: [&str; 4] = ["round-robin", "two-choices", "peak-ewma", "adaptive"];
/// The times of the simulated pool, so many times over: what the machine adds is little beside them.
const SLOWER: f64 = 10.0;
/// The part of what the pool can do that is asked of it, as in the simulated one.
const LOAD: f64 = 0.4;
const WARM_UP: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 512;
/// A thread that answers one connection needs little.
const STACK: usize = 64 << 10;

/// How each balancer does over the seeds.
pub(super) fn run(seeds: u64, duration: Duration, gateway: &GatewayArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    net::raise_descriptor_limit();
    // The threads of origins stay there, too.
    net::pin(gateway.load_core)?;
    let endpoints: Vec<Endpoint> = (0..10).map(mixed).collect();
    let capacity: f64 = endpoints.iter().map(|at| at.workers as f64 / at.service).sum();
    let rate = capacity / SLOWER * LOAD * 1e9;
    println!("heterogeneous, before real origins: {rate:.0} requests/s for {duration:?}, each seed");
    println!("{:<15} {:>8}  of each seed", "p99 in ms", "");
    let mut all = BALANCERS.map(|_| Vec::new());
    for seed in 1..=seeds {
        // In turn, so that what the machine does meets all alike.
        for (balancer, found) in BALANCERS.iter().zip(&mut all) {
            let origins = Origins::start(&endpoints, seed)?;
            found.push(measure(balancer, &origins, rate, duration, gateway, stop)?);
        }
    }
    for (balancer, found) in BALANCERS.iter().zip(&all) {
        let each: Vec<String> = found.iter().map(|p99| format!("{p99:.0}")).collect();
        println!("{balancer:<15} {:>8.0}  {}", median(found.iter().copied()), each.join(" "));
    }
    Ok(())
}

/// Milliseconds within which all but one answer in a hundred came.
fn measure(
    balancer: &str,
    origins: &Origins,
    rate: f64,
    duration: Duration,
    gateway: &GatewayArgs,
    stop: &Arc<AtomicBool>,
) -> Result<f64, Error> {
    let (listen, scratch) = (process::free_address()?, Scratch::new()?);
    let mut list = String::new();
    for address in &origins.addresses {
        // A String takes it.
        let _ = write!(list, "\"{address}\", ");
    }
    let config = format!(
        "{}[listener.web]\naddress = \"{listen}\"\n\
         [upstream.origin]\nbalance = \"{balancer}\"\nendpoints = [{list}]\n\
         pool = {{ max_idle = 4096, max_connections = 4096 }}\n\
         [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
        gateway.cores()
    );
    let _running = gateway.start(&config, listen, &scratch)?;
    let plan = Plan {
        connections: CONNECTIONS,
        rate: Some(rate),
        warm_up: WARM_UP,
        duration,
        timeout: Duration::from_secs(30),
        grace: Duration::from_secs(10),
        blocking: true,
        ..Plan::get(listen)
    };
    let outcome = load::run(&plan, None, &mut |_, _| (), stop).map_err(|error| Error::Failed(error.to_string()))?;
    match outcome.failed() {
        0 => Ok(Percentiles::of(&outcome.latency).p99 as f64 / 1e6),
        failed => Err(Error::Failed(format!("{failed} requests failed"))),
    }
}

/// Running origins. Their threads end with them, those of connections when the gateway has ended.
struct Origins {
    addresses: Vec<SocketAddr>,
    over: Arc<AtomicBool>,
}

/// When each worker of an origin is free, and how long its answers take.
struct Workers {
    free: Vec<Instant>,
    service: f64,
    random: Random,
}

impl Workers {
    /// When the answer to a request that comes now is due.
    fn due(&mut self) -> Instant {
        let half = self.service / 2.0;
        let took = Duration::from_nanos((half + self.random.exponential(half)) as u64);
        let now = Instant::now();
        let Some(free) = self.free.iter_mut().min() else { return now };
        *free = now.max(*free) + took;
        *free
    }
}

impl Origins {
    fn start(endpoints: &[Endpoint], seed: u64) -> Result<Self, Error> {
        let mut this = Self { addresses: Vec::new(), over: Arc::default() };
        for (at, endpoint) in endpoints.iter().enumerate() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            this.addresses.push(listener.local_addr()?);
            let (over, service) = (this.over.clone(), endpoint.service * SLOWER);
            let random = Random(seed * 100 + at as u64);
            let workers = Workers { free: vec![Instant::now(); endpoint.workers], service, random };
            thread::Builder::new().stack_size(STACK).spawn(move || accept(&listener, &over, workers))?;
        }
        Ok(this)
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Whoever waits for a connection looks up.
        self.addresses.iter().for_each(|address| drop(TcpStream::connect(address)));
    }
}

fn accept(listener: &TcpListener, over: &AtomicBool, workers: Workers) {
    let workers = Arc::new(Mutex::new(workers));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        if over.load(Ordering::Relaxed) {
            return;
        }
        let workers = workers.clone();
        // Without a thread the connection closes, and its request fails: that is counted.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || answer(stream, &workers));
    }
}

/// Answers what comes on a connection until it ends.
fn answer(mut stream: TcpStream, workers: &Mutex<Workers>) {
    let _ = stream.set_nodelay(true);
    let (mut head, mut length) = ([0; 4096], 0);
    while let Some(room) = head.get_mut(length..)
        && let Ok(read @ 1..) = stream.read(room)
    {
        length += read;
        if !head.get(..length).is_some_and(|head| head.ends_with(b"\r\n\r\n")) {
            continue;
        }
        length = 0;
        let Ok(due) = workers.lock().map(|mut workers| workers.due()) else { return };
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}
