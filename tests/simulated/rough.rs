//! A gateway on networks of every kind: answers are whole or errors, never wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::Gateway;
use super::http::{Answer, Peer, body, origin, within};

/// How long a client waits for an answer: longer than anything in the gateway may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// The statuses of answers, and the ends of connections that broke.
pub(super) type Outcomes = Rc<RefCell<BTreeMap<String, u32>>>;

/// Two origins behind a gateway of two cores.
fn start(world: &World) -> Gateway {
    start_with(world, 2, "")
}

/// The same with so many cores and more config.
pub(super) fn start_with(world: &World, cores: usize, more: &str) -> Gateway {
    let (one, two) = (origin(world, "origin-1"), origin(world, "origin-2"));
    Gateway::start(
        world,
        cores,
        &format!(
            "{more}[upstream.origins]\nendpoints = [\"{one}\", \"{two}\"]\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origins\"\n"
        ),
    )
}

/// Clients that ask for bodies of many sizes over kept connections, and connect again when one breaks.
pub(super) fn ask(world: &World, gateway: &Gateway, clients: usize) -> Outcomes {
    let outcomes = Outcomes::default();
    let left = Rc::new(std::cell::Cell::new(clients));
    for _ in 0..clients {
        let engine = world.node("client").unwrap();
        let (inner, address, outcomes, left) = (engine.clone(), gateway.address, outcomes.clone(), left.clone());
        engine.spawn(async move {
            let mut peer = None;
            for turn in 0..12_usize {
                let length = [0, 1, 700, 5000, 40_000][(turn + inner.random() as usize % 5) % 5];
                let outcome = match within(&inner, PATIENCE, exchange(&inner, address, &mut peer, length)).await {
                    Ok(answer) => {
                        if answer.status == 200 {
                            assert!(answer.body == body(length), "an answer differs from what the origin sent");
                        } else {
                            assert!(answer.body.starts_with(b"{"), "an error is problem+json: {answer:?}");
                        }
                        answer.status.to_string()
                    }
                    Err(error) => {
                        peer = None;
                        error.kind().to_string()
                    }
                };
                *outcomes.borrow_mut().entry(outcome).or_insert(0) += 1;
            }
            left.set(left.get() - 1);
        });
    }
    world.run_until(|| left.get() == 0).unwrap();
    outcomes
}

async fn exchange(
    engine: &Engine,
    address: std::net::SocketAddr,
    peer: &mut Option<Peer>,
    length: usize,
) -> io::Result<Answer> {
    let mut connected = match peer.take() {
        Some(connected) => connected,
        None => Peer::connect(engine, address).await?,
    };
    let answer = connected.get(length).await?;
    *peer = Some(connected);
    Ok(answer)
}

#[test]
fn every_answer_is_whole_whatever_tcp_has_to_hide() {
    for faults in [Faults::default(), Faults::rough()] {
        explore(0..10, |world| {
            world.set_faults(faults.clone());
            let gateway = start(world);
            let outcomes = ask(world, &gateway, 6);
            assert_eq!(*outcomes.borrow(), BTreeMap::from([("200".to_owned(), 72)]));
            assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
        });
    }
}

#[test]
fn broken_connections_are_errors_and_never_wrong_answers() {
    let all = Outcomes::default();
    explore(0..30, |world| {
        world.set_time_limit(Duration::from_hours(24));
        world.set_faults(Faults {
            reset_per_million: 3000,
            silence_per_million: 500,
            refuse_per_million: 50_000,
            ..Faults::rough()
        });
        let gateway = start(world);
        for (outcome, count) in ask(world, &gateway, 6).take() {
            *all.borrow_mut().entry(outcome).or_insert(0) += count;
        }
        gateway.drain(world);
    });
    let all = all.borrow();
    assert!(all.contains_key("200"), "{all:?}");
}

#[test]
fn the_same_seed_gives_a_gateway_the_same_course() {
    let course = |seed| {
        let world = World::new(seed);
        world.set_faults(Faults { reset_per_million: 2000, ..Faults::rough() });
        let gateway = start(&world);
        let outcomes = ask(&world, &gateway, 4).take();
        (world.digest(), outcomes)
    };
    assert_eq!(course(3), course(3));
    assert_ne!(course(3).0, course(4).0);
}
