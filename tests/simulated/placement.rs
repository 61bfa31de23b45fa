//! Which core has which connections: with `placement = "least-loaded"` all have about as many, and none is lost on its
//! way from one to another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway::core::{FromCore, ToCore};
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::Peer;
use super::rough::{ask, start_with};
use super::{Gateway, draft};

const LEAST_LOADED: &str = "[cores]\nplacement = \"least-loaded\"\n";
/// Nothing but an empty answer, so that cores have no streams but their clients'.
const HELLO: &str = "[service.hello]\ntype = \"respond\"\n\
                     [[route]]\nname = \"all\"\npath = \"/{rest...}\"\nservice = \"hello\"\n";
const CORES: usize = 3;

fn spread(gateway: &Gateway) -> (u64, u64) {
    let counts = gateway.cores.iter().map(|core| core.stats().streams);
    (counts.clone().max().unwrap(), counts.min().unwrap())
}

fn open(gateway: &Gateway) -> u64 {
    gateway.cores.iter().map(|core| core.stats().streams).sum()
}

/// Connects so many clients, one soon after the other.
fn connect(world: &World, address: SocketAddr, clients: usize) -> Vec<Peer> {
    let engine = world.node("client").unwrap();
    world
        .run(async move {
            let mut peers = Vec::new();
            for _ in 0..clients {
                peers.push(Peer::connect(&engine, address).await.unwrap());
                engine.sleep(Duration::from_micros(engine.random() % 2000)).await;
            }
            peers
        })
        .unwrap()
}

/// Has each client ask again and again, and returns how many answers were right.
fn ask_all(world: &World, peers: Vec<Peer>, times: u32) -> (Vec<Peer>, u32) {
    let (kept, right) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let wanted = peers.len();
    let engine = world.node("client").unwrap();
    for mut peer in peers {
        let (kept, right, inner) = (kept.clone(), right.clone(), engine.clone());
        engine.spawn(async move {
            for _ in 0..times {
                inner.sleep(Duration::from_micros(inner.random() % 200_000)).await;
                assert_eq!(peer.get(0).await.unwrap().status, 200);
                right.set(right.get() + 1);
            }
            kept.borrow_mut().push(peer);
        });
    }
    world.run_until(|| kept.borrow().len() == wanted).unwrap();
    (kept.take(), right.get())
}

#[test]
fn connections_spread_evenly_where_the_kernel_leaves_it_to_chance() {
    println!("| connections over {CORES} cores | kernel, worst of 20 | least-loaded, worst of 20 |\n|---|---|---|");
    for clients in [17, 64, 300] {
        let worst = |config: &str| {
            let worst = Cell::new((0, 0));
            explore(0..20, |world| {
                let gateway = Gateway::start(world, CORES, &format!("{config}{HELLO}"));
                let peers = connect(world, gateway.address, clients);
                world.run_until(|| open(&gateway) == clients as u64).unwrap();
                // What waits for the ring of another core is taken in.
                world.run_for(Duration::from_millis(50)).unwrap();
                let (most, least) = spread(&gateway);
                let before: (u64, u64) = worst.get();
                if most - least >= before.0 - before.1 {
                    worst.set((most, least));
                }
                drop(peers);
            });
            worst.get()
        };
        let (kernel, least_loaded) = (worst(""), worst(LEAST_LOADED));
        println!("| {clients} | {} to {} | {} to {} |", kernel.1, kernel.0, least_loaded.1, least_loaded.0);
        let bound = 2 + clients as u64 / CORES as u64 / 16;
        assert!(least_loaded.0 - least_loaded.1 <= bound, "{least_loaded:?}, wanted within {bound}");
        assert!(kernel.0 - kernel.1 > bound, "the kernel's hash was even by chance: {kernel:?}");
    }
}

#[test]
fn every_answer_is_whole_whichever_core_gives_it() {
    for faults in [Faults::default(), Faults::rough()] {
        explore(0..10, |world| {
            world.set_faults(faults.clone());
            let gateway = start_with(world, CORES, LEAST_LOADED);
            let outcomes = ask(world, &gateway, 9);
            assert_eq!(*outcomes.borrow(), BTreeMap::from([("200".to_owned(), 108)]));
            assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
        });
    }
}

#[test]
fn no_count_is_left_behind_by_connections_that_break() {
    explore(0..20, |world| {
        world.set_time_limit(Duration::from_hours(24));
        world.set_faults(Faults { reset_per_million: 3000, refuse_per_million: 50_000, ..Faults::rough() });
        let gateway = start_with(world, CORES, LEAST_LOADED);
        ask(world, &gateway, 9);
        let loads = gateway.loads.clone().unwrap();
        gateway.drain(world);
        assert_eq!((0..CORES).map(|core| loads.connections(core)).collect::<Vec<_>>(), [0; CORES]);
    });
}

#[test]
fn a_hot_core_lets_go_of_connections_and_no_request_notices() {
    const CLIENTS: usize = 90;
    for (faults, times) in [(Faults::default(), 0), (Faults::default(), 40), (Faults::rough(), 40)] {
        explore(0..5, |world| {
            world.set_faults(faults.clone());
            let gateway = Gateway::start(world, CORES, &format!("{LEAST_LOADED}{HELLO}"));
            let loads = gateway.loads.clone().unwrap();
            // As if the other cores had much to do for others, while the clients connect.
            let others = |change: &dyn Fn(usize)| (1..CORES).for_each(|core| (0..1000).for_each(|_| change(core)));
            others(&|core| loads.add(core));
            let peers = connect(world, gateway.address, CLIENTS);
            world.run_until(|| gateway.cores[0].stats().streams == CLIENTS as u64).unwrap();
            let (peers, _) = ask_all(world, peers, 1);
            world.run_for(Duration::from_secs(6)).unwrap();
            assert_eq!(spread(&gateway), (CLIENTS as u64, 0), "while the others have more to do, none goes");
            others(&|core| loads.remove(core));
            let (peers, right) = ask_all(world, peers, times);
            world.run_for(Duration::from_secs(6)).unwrap();
            assert_eq!((peers.len(), right), (CLIENTS, CLIENTS as u32 * times));
            let (most, least) = spread(&gateway);
            let mean = CLIENTS as u64 / CORES as u64;
            assert!(most <= mean + mean / 4 + 2 && least >= mean / 2, "{most} and {least}");
            // It stays so: nothing goes back and forth.
            let before: Vec<u64> = gateway.cores.iter().map(|core| core.stats().streams).collect();
            let (peers, _) = ask_all(world, peers, times);
            world.run_for(Duration::from_secs(6)).unwrap();
            assert_eq!(gateway.cores.iter().map(|core| core.stats().streams).collect::<Vec<_>>(), before);
            assert_eq!(ask_all(world, peers, 1).1, CLIENTS as u32, "all are still served");
        });
    }
}

#[test]
fn cores_that_change_plans_at_different_times_serve_what_others_send() {
    let came_back = Cell::new(0);
    explore(0..20, |world| {
        let gateway = Gateway::start(world, 2, &format!("{LEAST_LOADED}{HELLO}"));
        world.run_for(Duration::from_millis(5)).unwrap();
        let loads = gateway.loads.clone().unwrap();
        let offer = |epoch: u64, config: &str| {
            let mut next = draft(&mut gateway.offers.borrow_mut(), 2, epoch, config);
            for (core, offer) in std::mem::take(&mut next.offers).into_iter().enumerate() {
                gateway.tell(core, ToCore::Offer(Box::new(offer)));
            }
            let prepared = |message: &FromCore| matches!(message, FromCore::Prepared(at, Ok(())) if *at == epoch);
            world.run_until(|| gateway.heard(prepared) == 2).unwrap();
            next
        };
        let commit = |core: usize, epoch: u64| {
            gateway.tell(core, ToCore::Commit(epoch));
            world.run_for(Duration::from_millis(1)).unwrap();
        };
        let more = SocketAddr::new(gateway.address.ip(), 8081);
        // A door that only the first core has as yet: what it sends comes back, and is served.
        let next = offer(2, &format!("[listener.more]\naddress = \"0.0.0.0:8081\"\n{HELLO}"));
        commit(0, 2);
        (0..10).for_each(|_| loads.add(0));
        let early = connect(world, more, 5);
        world.run_for(Duration::from_millis(50)).unwrap();
        let served = gateway.cores.iter().map(|core| core.stats().streams).collect::<Vec<_>>();
        assert_eq!(served[1], 0);
        came_back.set(came_back.get() + served[0]);
        commit(1, 2);
        gateway.offers.borrow_mut().settle(next).unwrap();
        assert_eq!(ask_all(world, early, 2).1, 10);
        // A door that the second core has no more: it serves what the first one sends all the same.
        let _last = offer(3, HELLO);
        commit(1, 3);
        let before = loads.connections(1);
        let late = connect(world, more, 3);
        world.run_until(|| loads.connections(1) > before).unwrap();
        assert_eq!(ask_all(world, late, 1).1, 3);
        (0..10).for_each(|_| loads.remove(0));
        commit(0, 3);
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
    });
    assert!(came_back.get() > 0);
}
