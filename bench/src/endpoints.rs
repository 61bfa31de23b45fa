//! What many endpoints cost: the CPU that a request takes through each balancer before three endpoints and before a hundred,
//! in turn. All endpoints are one origin, at as many addresses, so that nothing but the gateway's own work differs.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use crate::cli::{Error, parse_duration};
use crate::compare::median;
use crate::compare::process::{self, Running, Scratch};
use crate::gateway::{GatewayArgs, Window};
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};

const BODY: u64 = 128;
const FEW: u8 = 3;
const MANY: u8 = 100;
const BALANCERS: [&str; 8] =
    ["round-robin", "random", "two-choices", "least-requests", "peak-ewma", "adaptive", "ring-hash", "maglev"];

#[derive(Args)]
pub(crate) struct EndpointsArgs {
    /// Balancers; by default all
    balancers: Vec<String>,
    /// Rounds of one window each
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of a window
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    window: Duration,
    /// Time before each, in which connections to all endpoints are made
    #[arg(long, default_value = "300ms", value_parser = parse_duration)]
    warm_up: Duration,
    /// Connections kept busy
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &EndpointsArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if args.rounds == 0 || args.connections == 0 {
        return Err(Error::Input("--rounds and --connections must be above 0".to_owned()));
    }
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let listen = (Ipv4Addr::UNSPECIFIED, 0).into();
    let mut origin = Origin::new(&OriginOptions { listen, ..OriginOptions::plain(BODY) })?;
    let port = origin.address()?.port();
    let all: Vec<String> = BALANCERS.map(str::to_owned).into();
    let wanted = if args.balancers.is_empty() { &all } else { &args.balancers };
    println!(
        "CPU of the gateway for a request, median of {} windows of {:?} over {} busy connections",
        args.rounds, args.window, args.connections
    );
    println!("{:<16} {:>12} {:>14} {:>10}", "us", "3 endpoints", "100 endpoints", "more");
    for balancer in wanted {
        let gateways = [FEW, MANY].map(|endpoints| Gateway::start(args, balancer, endpoints, port));
        let [few, many] = gateways;
        let gateways = [few?, many?];
        let mut found = [Vec::new(), Vec::new()];
        for round in 0..=args.rounds {
            for (gateway, found) in gateways.iter().zip(&mut found) {
                let cpu = gateway.measure(args, &mut origin, stop)?;
                // The first one makes the connections.
                if round > 0 {
                    found.push(cpu);
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Failed("interrupted".to_owned()));
            }
        }
        let [few, many] = found.map(median);
        println!("{balancer:<16} {few:>12.3} {many:>14.3} {:>9.1}%", (many / few - 1.0) * 100.0);
    }
    Ok(())
}

struct Gateway {
    running: Running,
    listen: SocketAddr,
    _scratch: Scratch,
}

impl Gateway {
    fn start(args: &EndpointsArgs, balancer: &str, endpoints: u8, port: u16) -> Result<Self, Error> {
        let listen = process::free_address()?;
        let scratch = Scratch::named(&format!("ringway-bench-{endpoints}"))?;
        let mut list = String::new();
        for at in 1..=endpoints {
            // A String takes it.
            let _ = write!(list, "\"127.0.0.{at}:{port}\", ");
        }
        let text = format!(
            "{}[listener.web]\naddress = \"{listen}\"\n\
             [upstream.origin]\nbalance = \"{balancer}\"\nendpoints = [{list}]\npool = {{ max_idle = 4096 }}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
            args.gateway.cores()
        );
        let running = args.gateway.start(&text, listen, &scratch)?;
        Ok(Self { running, listen, _scratch: scratch })
    }

    /// Microseconds of CPU for a request in one window.
    fn measure(&self, args: &EndpointsArgs, origin: &mut Origin, stop: &Arc<AtomicBool>) -> Result<f64, Error> {
        let EndpointsArgs { connections, warm_up, window: duration, .. } = *args;
        Window { connections, warm_up, duration, body: BODY }.cpu_us(&self.running, self.listen, origin, stop)
    }
}
