//! Upstreams half of which fail, or all, behind retries and ejection together: what clients see of it, and what the
//! endpoints get, call by call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{World, explore};

use super::http::Peer;
use super::{Gateway, ORIGIN_PORT, seeds};

const ENDPOINTS: usize = 10;
const CORES: usize = 2;
/// A second at 5,000 a second: the bad ones are out after a few milliseconds, and what comes later says no more.
const REQUESTS: usize = 5_000;
const GAP: Duration = Duration::from_micros(200);

/// As docs/recipes/07-retry.toml has it.
const RECIPE: &str = "\
    retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"429\", \"5xx\"], backoff = \"10ms\", \
    backoff_max = \"100ms\", budget = 0.2, budget_floor = 10 }\noutlier = {}";

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    /// With a 503.
    Fail,
    /// The same after 20 ms: many calls are under way when it is found out.
    FailLate,
    /// With the connection.
    Reset,
}

/// How an endpoint of this number ends its calls, by theirs.
type Ends = fn(usize, u64) -> End;

/// Starts one. `calls` counts all that reach any of them.
fn endpoint(world: &World, at: usize, ends: Ends, calls: &Rc<Cell<u64>>) -> SocketAddr {
    let name = format!("origin-{at}");
    let engine = world.node(&name).unwrap();
    let address = SocketAddr::new(world.address(&name), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let (own, calls) = (Rc::new(Cell::new(0)), calls.clone());
    let inner = engine.clone();
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (engine, own, calls) = (inner.clone(), own.clone(), calls.clone());
            inner.spawn(async move {
                let mut peer = Peer::new(stream);
                while peer.head().await.is_ok() {
                    calls.set(calls.get() + 1);
                    let call = own.replace(own.get() + 1);
                    let end = ends(at, call);
                    let least = if end == End::FailLate { 20_000 } else { 500 };
                    engine.sleep(Duration::from_micros(least + engine.random() % 1_000)).await;
                    let status = match end {
                        End::Well => "200 OK",
                        End::Fail | End::FailLate => "503 Service Unavailable",
                        End::Reset => return,
                    };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    if peer.send(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A gateway before such endpoints.
fn before(world: &World, ends: Ends, keys: &str) -> (Gateway, Rc<Cell<u64>>) {
    let calls = Rc::new(Cell::new(0));
    let endpoints: Vec<String> =
        (0..ENDPOINTS).map(|at| format!("\"{}\"", endpoint(world, at, ends, &calls))).collect();
    let config = format!(
        "[upstream.u]\nendpoints = [{}]\n{keys}\n\
         [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n",
        endpoints.join(", ")
    );
    (Gateway::start(world, CORES, &config), calls)
}

/// A request every `gap`, whatever becomes of those before, over connections that are kept: how often each status came.
fn ask(world: &World, gateway: &Gateway, requests: usize, gap: Duration) -> BTreeMap<u16, u64> {
    let engine = world.node("client").unwrap();
    let statuses: Rc<RefCell<BTreeMap<u16, u64>>> = Rc::default();
    let (inner, told, address) = (engine.clone(), statuses.clone(), gateway.address);
    engine.spawn(async move {
        let idle: Rc<RefCell<Vec<Peer>>> = Rc::default();
        let begins = inner.now();
        for number in 0..requests {
            inner.sleep_until(begins + gap * number as u32).await;
            let (engine, told, idle) = (inner.clone(), told.clone(), idle.clone());
            inner.spawn(async move {
                let kept = idle.borrow_mut().pop();
                let (status, peer) = one(&engine, address, kept).await.unwrap();
                idle.borrow_mut().push(peer);
                *told.borrow_mut().entry(status).or_default() += 1;
            });
        }
    });
    world.run_until(|| statuses.borrow().values().sum::<u64>() == requests as u64).unwrap();
    statuses.take()
}

async fn one(engine: &Engine, address: SocketAddr, kept: Option<Peer>) -> std::io::Result<(u16, Peer)> {
    let mut peer = match kept {
        Some(peer) => peer,
        None => Peer::connect(engine, address).await?,
    };
    peer.send(b"GET /x HTTP/1.1\r\nHost: world\r\n\r\n").await?;
    let head = peer.head().await?;
    let length = super::http::field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap();
    peer.bytes(length).await?;
    Ok((head[9..12].parse().unwrap(), peer))
}

/// What came of it: the part of requests that were answered with 200, and calls for each request.
fn course(ends: Ends, gap: Duration, default_seeds: u64, check: impl Fn(f64, f64)) {
    explore(seeds(default_seeds), |world| {
        world.set_time_limit(Duration::from_mins(10));
        let (gateway, calls) = before(world, ends, RECIPE);
        let statuses = ask(world, &gateway, REQUESTS, gap);
        let success = statuses.get(&200).copied().unwrap_or(0) as f64 / REQUESTS as f64;
        let load = calls.get() as f64 / REQUESTS as f64;
        println!("{statuses:?}: {:.3}% well, {load:.4} calls for each request", success * 100.0);
        check(success, load);
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
    });
}

#[test]
fn a_pool_of_which_half_fails_serves_as_if_the_other_half_were_all() {
    let ends: [Ends; 3] = [
        |at, _| if at % 2 == 0 { End::Fail } else { End::Well },
        |at, _| if at % 2 == 0 { End::FailLate } else { End::Well },
        |at, _| if at % 2 == 0 { End::Reset } else { End::Well },
    ];
    for ends in ends {
        course(ends, GAP, 2, |success, load| {
            let failed = (1.0 - success) * REQUESTS as f64;
            assert!(failed < 50.0, "a thousandth of what comes in ten seconds");
            assert!(load < 1.02, "each of the five fails five times, and what was under way then");
        });
    }
}

#[test]
fn calls_of_which_one_in_ten_fails_cost_a_tenth_more_and_no_answers() {
    course(
        |at, call| if (call + at as u64) % 10 == 9 { End::Fail } else { End::Well },
        GAP,
        2,
        |success, load| {
            assert!(success > 0.998);
            assert!(load <= 1.2);
        },
    );
}

#[test]
fn calls_of_which_every_second_fails_cost_what_the_budget_says() {
    course(
        |_, call| if call % 2 == 0 { End::Fail } else { End::Well },
        GAP,
        2,
        |success, load| {
            assert!((1.195..=1.2).contains(&load));
            assert!((0.59..0.61).contains(&success));
        },
    );
}

#[test]
fn a_storm_on_endpoints_that_are_all_down_stays_within_the_budget() {
    let ends: [Ends; 2] = [|_, _| End::Fail, |_, _| End::Reset];
    for ends in ends {
        course(ends, GAP / 10, 2, |success, load| {
            assert!(success == 0.0);
            assert!((1.19..=1.2).contains(&load));
        });
    }
}
