//! Two builds of the gateway beside each other: the CPU that a request takes through each, in short windows that take
//! turns. What the machine does falls on both alike, so that a difference of a percent can be seen in many of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::{Error, parse_duration};
use crate::companion::Contended;
use crate::compare::median;
use crate::compare::traffic::Traffic;
use crate::gateway::{Gateway, GatewayArgs, Window};

#[derive(Args)]
pub(crate) struct BuildsArgs {
    /// The gateway that --ringway is compared with
    other: PathBuf,
    /// Windows of each
    #[arg(long, default_value_t = 60)]
    rounds: u32,
    /// Length of a window
    #[arg(long, default_value = "300ms", value_parser = parse_duration)]
    window: Duration,
    /// Time before each
    #[arg(long, default_value = "50ms", value_parser = parse_duration)]
    warm_up: Duration,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    contended: Contended,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &BuildsArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let BuildsArgs { traffic, warm_up, window: duration, .. } = *args;
    let window = Window { traffic, warm_up, duration };
    let mut origin = window.prepare(args.rounds, &args.gateway, ([127, 0, 0, 1], 0).into())?;
    let upstream = format!("endpoints = [\"{}\"]", origin.address()?);
    let one = Gateway::start(&args.gateway, "ringway-bench-one", &traffic, &upstream)?;
    let other = Gateway::start(&args.gateway.of(&args.other), "ringway-bench-other", &traffic, &upstream)?;
    let _neighbours = args.contended.start(args.gateway.data_core)?;
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let mut measure = |gateway: &Gateway| window.cpu_us(gateway, &mut origin, stop);
        // Who is first takes turns as well.
        let (of_one, of_other) = if round % 2 == 0 {
            let of_one = measure(&one)?;
            (of_one, measure(&other)?)
        } else {
            let of_other = measure(&other)?;
            (measure(&one)?, of_other)
        };
        // The first one makes the connections.
        if round > 0 {
            ones.push(of_one);
            others.push(of_other);
        }
    }
    let mut more: Vec<f64> = ones.iter().zip(&others).map(|(one, other)| (one / other - 1.0) * 100.0).collect();
    more.sort_by(f64::total_cmp);
    let at = |part: usize| more.get(more.len() * part / 4).copied().unwrap_or_default();
    println!(
        "CPU of the gateway for a request, median of {} windows of {:?} over {} busy connections, {}",
        args.rounds,
        args.window,
        traffic.connections(),
        traffic.text()
    );
    println!("{:<8} {:>10.3} us", "this", median(ones));
    println!("{:<8} {:>10.3} us", "other", median(others));
    println!("this takes {:+.2}% of the other, median of pairs; half of them {:+.2}% to {:+.2}%", at(2), at(1), at(3));
    Ok(())
}
