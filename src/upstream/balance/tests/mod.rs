//! Balancers as a pool uses them: one upstream, one core or several.

mod carried;
mod hashing;
mod picks;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::{Asked, Balancer, Outcome, Unpicked, hash};
use crate::plan::Upstream;
use crate::upstream::{Cause, Shared};

/// The upstream "u" of a config: what its section says beside its name.
fn upstream(section: &str) -> Arc<Upstream> {
    upstream_for(section, "")
}

/// The same, with this in a route that uses it.
fn upstream_for(section: &str, route: &str) -> Arc<Upstream> {
    let text = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\n{section}\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n{route}\n"
    );
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    match crate::config::compile("test", &text, 1, &mut resolve) {
        Ok((plan, _)) => plan.upstreams[0].clone(),
        Err(report) => panic!("{report}"),
    }
}

/// `endpoints` of these weights.
fn weighted(balance: &str, weights: &[u32]) -> Arc<Upstream> {
    let endpoints = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| format!("{{ address = \"10.0.{}.{}:80\", weight = {weight} }}", at / 250, at % 250));
    let endpoints: Vec<String> = endpoints.collect();
    upstream(&format!("balance = {balance}\nendpoints = [{}]", endpoints.join(", ")))
}

fn now() -> Instant {
    Instant::from_nanos(1_000_000_000_000)
}

fn balancer(upstream: &Arc<Upstream>) -> Balancer {
    Balancer::new(&Shared::new(upstream, None), 7, now(), None)
}

/// So many picks, each of which ends at once; how many went to each endpoint.
fn counts(balancer: &Balancer, picks: u64, mut asked: impl FnMut(u64) -> Asked) -> Vec<u64> {
    let mut counts = vec![0; balancer.upstream.endpoints.len()];
    for pick in 0..picks {
        let picked = balancer.pick(&asked(pick), now()).unwrap();
        counts[picked.endpoint] += 1;
        balancer.end(picked, Outcome::Answered(200, Duration::from_millis(1)), now());
    }
    counts
}

fn key(number: u64) -> Asked {
    Asked { hash: Some(hash(format!("key-{number}").as_bytes())), ..Asked::default() }
}
