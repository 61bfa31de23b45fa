//! Services of type `health` before things that fail in every manner, over many seeds: what is told is never older than
//! it may be, nothing is asked more often than the config says, whoever asks, and no task is left behind.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::Gateway;
use super::health::{Endpoint, ILL, Manner, endpoint, one};
use super::http::within;

const SECOND: Duration = Duration::from_secs(1);
/// From one question to the next at least: `ttl`, with some time for the network.
const APART: Duration = Duration::from_millis(900);
/// As old as an answer may be: a round that has just begun, and the whole of the next one; with the time that an endpoint
/// takes to change its manner and a request to be answered.
const OLDEST: Duration = Duration::from_millis(1_000 + 400 + 100);

fn start(world: &World, endpoints: &[Endpoint], total: &str) -> Gateway {
    let check = |(at, endpoint): (usize, &Endpoint)| {
        let (address, needs) = (endpoint.address, if at == 0 { "" } else { "needs = [\"c0\"]" });
        format!("{{ name = \"c{at}\", http = \"{address}\", path = \"/well\", critical = true, {needs} }},")
    };
    let checks: String = endpoints.iter().enumerate().map(check).collect();
    let service = format!(
        "[service.health]\ntype = \"health\"\nttl = \"1s\"\ntimeout = \"200ms\"\ntotal_timeout = \"{total}\"\n\
         checks = [{checks}]\n[[route]]\nname = \"health\"\npath = \"/health\"\nservice = \"health\"\n"
    );
    Gateway::start(world, 2, &service)
}

/// Clients that ask all the time, until they are told to end: when each asked, and the status.
type Answers = Rc<RefCell<Vec<(Instant, u16)>>>;

fn ask(world: &World, gateway: &Gateway) -> (Answers, Rc<Cell<bool>>) {
    let (answers, is_over) = (Answers::default(), Rc::new(Cell::new(false)));
    for client in ["client-1", "client-2", "client-3"] {
        let engine = world.node(client).unwrap();
        let (address, answers, is_over) = (gateway.address, answers.clone(), is_over.clone());
        let inner = engine.clone();
        engine.spawn(async move {
            while !is_over.get() {
                let asked = inner.now();
                let status = within(&inner, 10 * SECOND, one(&inner, address, "/health")).await.unwrap_or(0);
                answers.borrow_mut().push((asked, status));
                inner.sleep(Duration::from_millis(7)).await;
            }
        });
    }
    (answers, is_over)
}

fn wait(world: &World, time: Duration) {
    let until = world.now() + time;
    let (engine, is_over) = (world.node("clock").unwrap(), Rc::new(Cell::new(false)));
    let (inner, over) = (engine.clone(), is_over.clone());
    engine.spawn(async move {
        inner.sleep_until(until).await;
        over.set(true);
    });
    world.run_until(|| is_over.get()).unwrap();
}

#[test]
fn what_is_told_is_never_older_than_it_may_be_and_nothing_is_asked_too_often() {
    explore(0..6, |world| {
        world.set_time_limit(Duration::from_hours(1));
        let endpoints = ["origin-1", "origin-2"].map(|name| endpoint(world, name));
        let gateway = start(world, &endpoints, "400ms");
        let (answers, is_over) = ask(world, &gateway);
        let told = |since: Instant| {
            let answers = answers.borrow();
            answers.iter().filter(|(asked, _)| *asked >= since).map(|(_, status)| *status).collect::<Vec<_>>()
        };
        for manner in ILL.into_iter().filter(|manner| *manner != Manner::Flap) {
            for (well, status) in [(false, 503), (true, 200)] {
                endpoints[0].manner.set(if well { Manner::Well } else { manner });
                wait(world, OLDEST);
                let since = world.now();
                wait(world, 2 * SECOND);
                let told = told(since);
                assert!(told.len() > 50 && told.iter().all(|told| *told == status), "{manner:?} {well}: {told:?}");
            }
        }
        for endpoint in &endpoints {
            let asked = endpoint.asked.borrow();
            assert!(asked.len() > 10);
            for pair in asked.windows(2) {
                assert!(pair[1].since(pair[0]) >= APART, "{:?}", pair[1].since(pair[0]));
            }
        }
        is_over.set(true);
        wait(world, 11 * SECOND);
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
    });
}

#[test]
fn on_a_network_that_breaks_connections_rounds_go_on_and_end() {
    explore(0..8, |world| {
        world.set_time_limit(Duration::from_hours(1));
        world.set_faults(Faults { reset_per_million: 20_000, refuse_per_million: 50_000, ..Faults::rough() });
        let endpoints = ["origin-1", "origin-2", "origin-3"].map(|name| endpoint(world, name));
        endpoints[2].manner.set(Manner::Flap);
        let gateway = start(world, &endpoints, "300ms");
        let (answers, is_over) = ask(world, &gateway);
        wait(world, 60 * SECOND);
        world.set_faults(Faults::default());
        endpoints[2].manner.set(Manner::Well);
        wait(world, 12 * SECOND);
        let since = world.now();
        wait(world, 2 * SECOND);
        let answers = answers.borrow().clone();
        assert!(answers.iter().any(|(_, status)| *status == 503), "nothing ever failed");
        let later: Vec<u16> = answers.iter().filter(|(asked, _)| *asked >= since).map(|(_, status)| *status).collect();
        assert!(later.len() > 50 && later.iter().all(|status| *status == 200), "{later:?}");
        is_over.set(true);
        wait(world, 11 * SECOND);
        gateway.drain(world);
    });
}

/// Plans come faster than a round takes, each with other endpoints.
#[test]
fn rounds_end_however_often_endpoints_come_and_go() {
    explore(0..6, |world| {
        world.set_time_limit(Duration::from_hours(1));
        let endpoints = ["origin-1", "origin-2", "origin-3"].map(|name| endpoint(world, name));
        for endpoint in &endpoints {
            endpoint.manner.set(Manner::Slow);
        }
        let config = |count: usize| {
            let addresses = endpoints.iter().take(count).map(|endpoint| format!("\"{}\"", endpoint.address));
            format!(
                "[upstream.u]\nendpoints = [{}]\n[service.health]\ntype = \"health\"\nttl = \"1s\"\n\
                 timeout = \"800ms\"\ntotal_timeout = \"900ms\"\n\
                 checks = [{{ name = \"u\", upstream = \"u\", path = \"/well\" }}]\n\
                 [[route]]\nname = \"health\"\npath = \"/health\"\nservice = \"health\"\n",
                addresses.collect::<Vec<_>>().join(", ")
            )
        };
        let gateway = Gateway::start(world, 2, &config(2));
        let client = world.node("client").unwrap();
        let status = || {
            let (inner, told) = (client.clone(), Rc::new(Cell::new(None)));
            let (address, telling) = (gateway.address, told.clone());
            client.spawn(async move {
                telling.set(Some(within(&inner, 10 * SECOND, one(&inner, address, "/health")).await.unwrap_or(0)));
            });
            world.run_until(|| told.get().is_some()).unwrap();
            told.get().unwrap()
        };
        let mut epochs = 2..;
        let mut change_for = |time: Duration| {
            let until = world.now() + time;
            for epoch in epochs.by_ref() {
                gateway.change(world, epoch, &config(2 + (epoch % 2) as usize));
                wait(world, Duration::from_millis(100));
                if world.now() >= until {
                    break;
                }
            }
        };
        // A round takes half a second; as long as it may be until one has begun, and some.
        change_for(2 * SECOND);
        assert_eq!(status(), 200, "a round has ended");
        endpoints[0].manner.set(Manner::Fail);
        change_for(3 * SECOND);
        assert_eq!(status(), 207, "and those after it");
        let asked = endpoints[0].asked.borrow();
        assert!(asked.len() >= 4 && asked.windows(2).all(|pair| pair[1].since(pair[0]) >= APART), "{asked:?}");
        gateway.drain(world);
    });
}
