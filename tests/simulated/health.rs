//! Gateways before endpoints that refuse, reset, stall, are slow or do all of that by turns, over many seeds: every
//! request is answered, no task is left behind, breakers let no more through than they may, and what is well again is used.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::{Peer, within};
use super::{Gateway, ORIGIN_PORT};

const SECOND: Duration = Duration::from_secs(1);

/// What an endpoint does with a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Well,
    /// It listens no more.
    Refuse,
    /// It ends the connection instead of an answer.
    Reset,
    /// It never answers.
    Stall,
    /// It answers, late.
    Slow,
    /// It answers 500.
    Fail,
    /// One of these by turns.
    Flap,
}

pub(super) const ILL: [Manner; 6] =
    [Manner::Refuse, Manner::Reset, Manner::Stall, Manner::Slow, Manner::Fail, Manner::Flap];

/// An endpoint whose manners can be changed.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) manner: Rc<Cell<Manner>>,
    /// When each request came that was no check.
    pub(super) asked: Rc<RefCell<Vec<Instant>>>,
}

pub(super) fn endpoint(world: &World, name: &str) -> Endpoint {
    let engine = world.node(name).unwrap();
    let address = SocketAddr::new(world.address(name), ORIGIN_PORT);
    let this = Endpoint { address, manner: Rc::new(Cell::new(Manner::Well)), asked: Rc::default() };
    let (inner, endpoint) = (engine.clone(), this.clone());
    engine.spawn(async move {
        loop {
            if endpoint.now(&inner) == Manner::Refuse {
                inner.sleep(Duration::from_millis(10)).await;
                continue;
            }
            let listener = inner.listen(address).unwrap();
            while endpoint.now(&inner) != Manner::Refuse {
                if let Ok(accepted) = within(&inner, Duration::from_millis(10), listener.accept()).await {
                    inner.spawn(serve(inner.clone(), endpoint.clone(), Peer::new(accepted.0)));
                }
            }
        }
    });
    this
}

impl Endpoint {
    fn now(&self, engine: &Engine) -> Manner {
        match self.manner.get() {
            Manner::Flap => [Manner::Well, Manner::Reset, Manner::Stall, Manner::Fail, Manner::Refuse]
                [engine.now().as_nanos() as usize / 700_000_000 % 5],
            manner => manner,
        }
    }
}

async fn serve(engine: Engine, endpoint: Endpoint, mut peer: Peer) {
    while let Ok(head) = peer.head().await {
        if !head.starts_with("GET /health ") {
            endpoint.asked.borrow_mut().push(engine.now());
        }
        let status = match endpoint.now(&engine) {
            Manner::Refuse | Manner::Reset => return,
            Manner::Stall => {
                engine.sleep(60 * SECOND).await;
                return;
            }
            Manner::Slow => {
                engine.sleep(SECOND / 2).await;
                200
            }
            Manner::Fail => 500,
            Manner::Well | Manner::Flap => 200,
        };
        if peer.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn start(world: &World, endpoints: &[Endpoint], keys: &str) -> Gateway {
    let addresses: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.address)).collect();
    Gateway::start(
        world,
        2,
        &format!(
            "[upstream.u]\nendpoints = [{}]\ntimeout = {{ connect = \"300ms\", first_byte = \"1s\" }}\n{keys}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n",
            addresses.join(", ")
        ),
    )
}

/// So many requests, one about each `gap`, each over a connection of its own: the statuses, 0 for none.
fn ask(world: &World, gateway: &Gateway, requests: usize, gap: Duration) -> Vec<u16> {
    let engine = world.node("client").unwrap();
    let statuses: Rc<RefCell<Vec<u16>>> = Rc::default();
    let (inner, told, address) = (engine.clone(), statuses.clone(), gateway.address);
    engine.spawn(async move {
        for _ in 0..requests {
            inner.sleep(gap).await;
            let (engine, told) = (inner.clone(), told.clone());
            inner.spawn(async move {
                let status = within(&engine, 60 * SECOND, one(&engine, address, "/x")).await.unwrap_or(0);
                told.borrow_mut().push(status);
            });
        }
    });
    world.run_until(|| statuses.borrow().len() == requests).unwrap();
    statuses.take()
}

/// The status of one answer.
pub(super) async fn one(engine: &Engine, address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut peer = Peer::connect(engine, address).await?;
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let head = peer.head().await?;
    Ok(head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap())
}

const EVERYTHING: &str = "\
    health = { path = \"/health\", interval = \"200ms\", timeout = \"100ms\", unhealthy_after = 2, healthy_after = 2 }\n\
    outlier = { consecutive_failures = 3, min_requests = 5, eject_for = \"1s\", max_eject_for = \"4s\" }\n\
    breaker = { of = \"both\", min_requests = 5, window = \"5s\", slow = \"200ms\", open_for = \"500ms\", max_open_for = \"2s\" }";

#[test]
fn every_request_is_answered_however_endpoints_fail_and_all_is_well_when_they_are() {
    explore(0..8, |world| {
        world.set_time_limit(Duration::from_hours(1));
        let endpoints = ["origin-1", "origin-2", "origin-3"].map(|name| endpoint(world, name));
        let gateway = start(world, &endpoints, EVERYTHING);
        for (at, manner) in ILL.into_iter().enumerate() {
            // One is ill, then all but one, then all.
            for ill in 1..=3 {
                for turn in 0..ill {
                    endpoints[(at + turn) % 3].manner.set(manner);
                }
                let statuses = ask(world, &gateway, 60, SECOND / 50);
                assert!(!statuses.contains(&0), "{manner:?}, {ill} ill: {statuses:?}");
                let known = [200, 500, 502, 503, 504];
                assert!(statuses.iter().all(|status| known.contains(status)), "{manner:?}: {statuses:?}");
            }
            for endpoint in &endpoints {
                endpoint.manner.set(Manner::Well);
            }
            // Longer than anything is out, with some requests for probes.
            ask(world, &gateway, 60, SECOND / 4);
            let statuses = ask(world, &gateway, 60, SECOND / 50);
            assert!(statuses.iter().all(|status| *status == 200), "after {manner:?}: {statuses:?}");
            let used = endpoints.iter().all(|endpoint| {
                let last = *endpoint.asked.borrow().last().unwrap();
                world.now().since(last) < SECOND
            });
            assert!(used, "after {manner:?} not all endpoints are used again");
        }
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
    });
}

#[test]
fn on_a_network_that_breaks_connections_every_request_ends_and_nothing_stays_out() {
    explore(0..12, |world| {
        world.set_time_limit(Duration::from_hours(3));
        world.set_faults(Faults { reset_per_million: 20_000, refuse_per_million: 50_000, ..Faults::rough() });
        let endpoints = ["origin-1", "origin-2"].map(|name| endpoint(world, name));
        let gateway = start(world, &endpoints, EVERYTHING);
        ask(world, &gateway, 150, SECOND / 30);
        world.set_faults(Faults::default());
        ask(world, &gateway, 60, SECOND / 4);
        let statuses = ask(world, &gateway, 60, SECOND / 50);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        gateway.drain(world);
    });
}

#[test]
fn an_open_breaker_lets_no_more_through_than_its_probes() {
    for (manner, of) in [(Manner::Fail, "endpoints"), (Manner::Reset, "upstream"), (Manner::Stall, "both")] {
        explore(0..6, |world| {
            let origin = endpoint(world, "origin-1");
            origin.manner.set(manner);
            let breaker = format!(
                "retry = {{ attempts = 1 }}\nbreaker = {{ of = \"{of}\", min_requests = 10, open_for = \"5s\", \
                 max_open_for = \"5s\", jitter = 0, probes = 2 }}"
            );
            let gateway = start(world, std::slice::from_ref(&origin), &breaker);
            let statuses = ask(world, &gateway, 3_000, SECOND / 100);
            assert!(statuses.iter().filter(|status| **status == 503).count() > 2_500, "{manner:?}");
            // Each round lasts five seconds at least; those under way when it opened are not held back.
            let asked = origin.asked.borrow();
            let opened = *asked.get(9).unwrap() + 2 * SECOND;
            let later: Vec<_> = asked.iter().filter(|at| **at > opened).collect();
            assert!((2..=14).contains(&later.len()), "{manner:?}, {of}: {}", later.len());
            for pair in later.windows(3) {
                assert!(pair[2].since(*pair[0]) >= 4 * SECOND, "{manner:?}, {of}: three in one round");
            }
            drop(asked);
            assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
        });
    }
}

#[test]
fn an_endpoint_that_is_killed_gets_nothing_after_one_interval_and_comes_back() {
    explore(0..12, |world| {
        let endpoints = ["origin-1", "origin-2"].map(|name| endpoint(world, name));
        let keys = "health = { path = \"/health\", interval = \"1s\", timeout = \"200ms\", jitter = 0, \
                    unhealthy_after = 1, healthy_after = 1 }\nretry = { attempts = 1 }";
        let gateway = start(world, &endpoints, keys);
        assert_eq!(ask(world, &gateway, 50, SECOND / 50), [200; 50]);
        endpoints[0].manner.set(Manner::Reset);
        let killed = world.now();
        ask(world, &gateway, 60, SECOND / 50);
        assert!(world.now().since(killed) > SECOND + SECOND / 10);
        assert_eq!(ask(world, &gateway, 50, SECOND / 50), [200; 50]);
        let last = *endpoints[0].asked.borrow().last().unwrap();
        assert!(last.since(killed) <= SECOND + SECOND / 10, "{:?}", last.since(killed));
        endpoints[0].manner.set(Manner::Well);
        ask(world, &gateway, 60, SECOND / 50);
        let before = endpoints[0].asked.borrow().len();
        assert_eq!(ask(world, &gateway, 50, SECOND / 50), [200; 50]);
        assert!(endpoints[0].asked.borrow().len() > before + 20);
        gateway.drain(world);
    });
}
