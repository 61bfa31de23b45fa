//! What many endpoints cost: the CPU that a request takes through each balancer before three endpoints and before a hundred,
//! in turn. All endpoints are one origin, at as many addresses, so that nothing but the gateway's own work differs.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::{Error, parse_duration};
use crate::compare::median;
use crate::compare::traffic::Traffic;
use crate::gateway::{Gateway, GatewayArgs, Window};

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
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &EndpointsArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let EndpointsArgs { traffic, warm_up, window: duration, .. } = *args;
    let window = Window { traffic, warm_up, duration };
    let mut origin = window.prepare(args.rounds, &args.gateway, (Ipv4Addr::UNSPECIFIED, 0).into())?;
    let port = origin.address()?.port();
    let all: Vec<String> = BALANCERS.map(str::to_owned).into();
    let wanted = if args.balancers.is_empty() { &all } else { &args.balancers };
    println!(
        "CPU of the gateway for a request, median of {} windows of {:?} over {} busy connections, {}",
        args.rounds,
        args.window,
        traffic.connections(),
        traffic.text()
    );
    println!("{:<16} {:>12} {:>14} {:>10}", "us", "3 endpoints", "100 endpoints", "more");
    for balancer in wanted {
        let gateways = [FEW, MANY].map(|endpoints| gateway(args, balancer, endpoints, port));
        let [few, many] = gateways;
        let gateways = [few?, many?];
        let mut found = [Vec::new(), Vec::new()];
        for round in 0..=args.rounds {
            for (gateway, found) in gateways.iter().zip(&mut found) {
                let cpu = window.cpu_us(gateway, &mut origin, stop)?;
                // The first one makes the connections.
                if round > 0 {
                    found.push(cpu);
                }
            }
        }
        let [few, many] = found.map(median);
        println!("{balancer:<16} {few:>12.3} {many:>14.3} {:>9.1}%", (many / few - 1.0) * 100.0);
    }
    Ok(())
}

/// A gateway before so many endpoints: one origin, at as many addresses.
fn gateway(args: &EndpointsArgs, balancer: &str, endpoints: u8, port: u16) -> Result<Gateway, Error> {
    let mut list = String::new();
    for at in 1..=endpoints {
        // A String takes it.
        let _ = write!(list, "\"127.0.0.{at}:{port}\", ");
    }
    let upstream = format!("balance = \"{balancer}\"\nendpoints = [{list}]");
    Gateway::start(&args.gateway, &format!("ringway-bench-{endpoints}"), &args.traffic, &upstream)
}
