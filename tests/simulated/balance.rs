//! Whole gateways of two cores before pools whose endpoints are unlike each other, slow down, pause or fail: what their
//! clients wait for through each balancer, over several seeds. Requests come whatever becomes of those before.
//!
//! An answer takes 40 ms, as timers here turn in steps of one: with times as short as a step, pools would be other than
//! what the tests say of them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::sim::World;

use super::http::Peer;
use super::{Gateway, ORIGIN_PORT, seeds};

/// As many, or as `SIM_SEEDS` says.
const SEEDS: u64 = 5;
const ENDPOINTS: usize = 6;
const REQUESTS: usize = 2_000;
/// Those that come before balancers have learned anything.
const FIRST: usize = 200;

/// Numbers that follow from a seed.
struct Random(Cell<u64>);

impl Random {
    fn next(&self) -> f64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.next()).ln())
    }
}

/// What an endpoint does with a request that it begins `since` after the start.
#[derive(Clone, Copy)]
struct Endpoint {
    workers: usize,
    service: Duration,
    /// So much slower at this time.
    slower: fn(Duration) -> f64,
    /// It does nothing until then.
    paused: fn(usize, Duration) -> Option<Duration>,
    /// The part of its requests that fail at once.
    fails: fn(Duration) -> f64,
}

const MS: Duration = Duration::from_millis(1);
const PLAIN: Endpoint =
    Endpoint { workers: 4, service: Duration::from_millis(40), slower: |_| 1.0, paused: |_, _| None, fails: |_| 0.0 };

/// Starts one: workers before a queue.
fn serve(world: &World, at: usize, endpoint: Endpoint, seed: u64) -> SocketAddr {
    let name = format!("origin-{at}");
    let engine = world.node(&name).unwrap();
    let address = SocketAddr::new(world.address(&name), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let random = Rc::new(Random(Cell::new(seed * 100 + at as u64)));
    let start = engine.now();
    // When each worker is free.
    let workers: Rc<RefCell<Vec<Instant>>> = Rc::new(RefCell::new(vec![start; endpoint.workers]));
    let inner = engine.clone();
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (engine, workers, random) = (inner.clone(), workers.clone(), random.clone());
            inner.spawn(async move {
                let mut peer = Peer::new(stream);
                while peer.head().await.is_ok() {
                    let (ends, fails) = {
                        let mut workers = workers.borrow_mut();
                        let free = workers.iter_mut().min().unwrap();
                        let mut begins = engine.now().max(*free);
                        if let Some(until) = (endpoint.paused)(at, begins.since(start)) {
                            begins = begins.max(start + until);
                        }
                        let since = begins.since(start);
                        let fails = random.next() < (endpoint.fails)(since);
                        let half = endpoint.service / 2;
                        let service = (half + random.exponential(half)).mul_f64((endpoint.slower)(since));
                        *free = begins + if fails { MS } else { service };
                        (*free, fails)
                    };
                    engine.sleep_until(ends).await;
                    let status = if fails { "503 Service Unavailable" } else { "200 OK" };
                    if peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// What clients saw, one seed after the other.
struct Seen {
    p99: Duration,
    mean: Duration,
    failed: usize,
}

/// Through one balancer, with a new request every `gap` on average.
fn through(balancer: &str, gap: Duration, endpoint: fn(usize) -> Endpoint) -> Seen {
    let (mut all, mut failed) = (Vec::new(), 0);
    for seed in seeds(SEEDS).map(|seed| seed + 1) {
        let world = World::new(seed);
        let endpoints: Vec<String> =
            (0..ENDPOINTS).map(|at| format!("\"{}\"", serve(&world, at, endpoint(at), seed))).collect();
        let gateway = Gateway::start(
            &world,
            2,
            &format!(
                "[upstream.u]\nbalance = \"{balancer}\"\nendpoints = [{}]\n\
                 [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n",
                endpoints.join(", ")
            ),
        );
        let engine = world.node("client").unwrap();
        let answers: Rc<RefCell<Vec<(usize, Duration, bool)>>> = Rc::default();
        let (inner, told, address) = (engine.clone(), answers.clone(), gateway.address);
        engine.spawn(async move {
            let random = Random(Cell::new(seed));
            let mut next = inner.now();
            for number in 0..REQUESTS {
                next = next + random.exponential(gap);
                inner.sleep_until(next).await;
                let (engine, told) = (inner.clone(), told.clone());
                inner.spawn(async move {
                    let begins = engine.now();
                    let mut peer = Peer::connect(&engine, address).await.unwrap();
                    peer.send(b"GET /x HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n").await.unwrap();
                    let is_good = peer.head().await.unwrap().starts_with("HTTP/1.1 200");
                    told.borrow_mut().push((number, engine.now().since(begins), is_good));
                });
            }
        });
        world.run_until(|| answers.borrow().len() == REQUESTS).unwrap();
        let answers = answers.take();
        let counted = || answers.iter().filter(|(number, ..)| *number >= FIRST);
        all.extend(counted().map(|(_, took, _)| *took));
        failed += counted().filter(|(.., is_good)| !is_good).count();
    }
    all.sort();
    let mean = all.iter().sum::<Duration>() / all.len() as u32;
    let seen = Seen { p99: all[all.len() * 99 / 100], mean, failed };
    println!("{balancer}: p99 {:?}, mean {:?}, {} failed", seen.p99, seen.mean, seen.failed);
    seen
}

/// Through round robin, the power of two choices, peak-EWMA and adaptive, with so much time between two requests.
fn through_each(gap: Duration, endpoint: fn(usize) -> Endpoint) -> [Seen; 4] {
    ["round-robin", "two-choices", "peak-ewma", "adaptive"].map(|balancer| through(balancer, gap, endpoint))
}

#[test]
fn of_unlike_endpoints_adaptive_makes_the_most() {
    let mixed = |at| match at {
        0 => Endpoint { service: 120 * MS, ..PLAIN },
        1 => Endpoint { service: 80 * MS, ..PLAIN },
        2 => Endpoint { workers: 2, ..PLAIN },
        _ => PLAIN,
    };
    let [round_robin, two_choices, peak_ewma, adaptive] = through_each(Duration::from_micros(5_500), mixed);
    assert!(adaptive.p99 < round_robin.p99.mul_f64(0.8));
    assert!(adaptive.p99 <= two_choices.p99 && adaptive.p99 <= peak_ewma.p99);
}

/// One that gets up to seven times slower within three seconds, and is well again.
fn sloping(at: usize) -> Endpoint {
    let slower = |since: Duration| {
        let seconds = since.as_secs_f64();
        if (1.0..4.0).contains(&seconds) { 1.0 + (seconds - 1.0) * 2.0 } else { 1.0 }
    };
    if at == 0 { Endpoint { slower, ..PLAIN } } else { PLAIN }
}

#[test]
fn an_endpoint_that_slows_down_is_left_and_found_again() {
    let [round_robin, two_choices, peak_ewma, adaptive] = through_each(4 * MS, sloping);
    assert!(adaptive.p99 < round_robin.p99.mul_f64(0.8));
    assert!(adaptive.p99 <= two_choices.p99 && adaptive.p99 <= peak_ewma.p99);
}

#[test]
fn an_endpoint_that_slows_down_is_left_by_few_requests_as_well() {
    let [round_robin, two_choices, peak_ewma, adaptive] = through_each(11 * MS, sloping);
    assert!(adaptive.p99 < round_robin.p99.mul_f64(0.8));
    assert!(adaptive.p99 <= two_choices.p99 && adaptive.p99 <= peak_ewma.p99);
}

#[test]
fn pauses_as_of_garbage_collectors_hold_few_requests_up() {
    let pausing = |_| Endpoint {
        // Each in its turn, for 0.6 s, with 1.4 s before the next.
        paused: |at, since| {
            let begins = 2_000 * MS * at as u32;
            let turn = Duration::from_millis((since.as_millis() as u64) / 12_000 * 12_000) + begins;
            (turn..turn + 600 * MS).contains(&since).then_some(turn + 600 * MS)
        },
        ..PLAIN
    };
    let [round_robin, two_choices, peak_ewma, adaptive] = through_each(4 * MS, pausing);
    assert!(adaptive.p99 < round_robin.p99.mul_f64(0.8));
    assert!(adaptive.p99 <= two_choices.p99 && adaptive.p99 <= peak_ewma.p99);
    assert!(adaptive.mean <= two_choices.mean && adaptive.mean <= peak_ewma.mean);
}

#[test]
fn an_endpoint_that_fails_fast_gets_next_to_nothing() {
    let grey = |at| Endpoint { fails: if at == 0 { |_| 0.9 } else { |_| 0.0 }, ..PLAIN };
    let [round_robin, two_choices, peak_ewma, adaptive] = through_each(Duration::from_micros(4_500), grey);
    assert!(two_choices.failed > round_robin.failed, "it answers soon, so it has little under way");
    // Looks at one that fails become rare; peak-EWMA has none, and finds it later when it is well.
    assert!(adaptive.failed * 25 < round_robin.failed && peak_ewma.failed * 25 < round_robin.failed);
}

/// Guard rails: where the pool is as even as can be, and requests are few, so that models have nothing to go by.
#[test]
fn where_there_is_nothing_to_learn_adaptive_costs_nothing() {
    let [round_robin, two_choices, _, adaptive] = through_each(8 * MS, |_| PLAIN);
    let least = round_robin.p99.min(two_choices.p99);
    assert!(adaptive.p99 <= least.mul_f64(1.02) && adaptive.mean <= two_choices.mean.mul_f64(1.01));
}
