//! Plans that replace each other at any moment: no request notices, and every plan comes back to control.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway::core::{FromCore, ToCore};
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::origin;
use super::rough::ask;
use super::{Gateway, draft};

const CORES: usize = 2;

/// Configs that differ in all that a plan may change. Each sends every request to some origin.
fn config(origins: &[SocketAddr; 2], draw: u64) -> String {
    let [one, two] = origins;
    let bit = |at: u32| draw >> at & 1 == 1;
    let endpoints = if bit(0) { format!("\"{one}\"") } else { format!("\"{one}\", \"{two}\"") };
    let more = if bit(1) { "[listener.more]\naddress = \"0.0.0.0:8081\"\n" } else { "" };
    let route = draw % 5;
    let beside = format!(
        "[upstream.beside]\nendpoints = [\"{two}\"]\n\
         [[route]]\nname = \"beside-{route}\"\npath = \"/700\"\nupstream = \"beside\"\n"
    );
    let (headers, idle) = (50 + draw % 7, draw % 3);
    format!(
        "[limits]\nheaders = {headers}\n{more}{}[upstream.origins]\nendpoints = [{endpoints}]\n\
         pool = {{ max_idle = {idle} }}\n\
         [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origins\"\n",
        if bit(2) { &beside } else { "" }
    )
}

/// Offers plan after plan and commits most of them, until told to stop. Counts the offers.
async fn change(
    engine: Engine,
    gateway: Rc<Gateway>,
    origins: [SocketAddr; 2],
    stop: Rc<Cell<bool>>,
    offers: Rc<Cell<u64>>,
) {
    let mut epoch = 1;
    while !stop.get() {
        engine.sleep(Duration::from_micros(engine.random() % 30_000)).await;
        epoch += 1;
        let mut next = draft(&mut gateway.offers.borrow_mut(), CORES, epoch, &config(&origins, engine.random()));
        for (core, offer) in std::mem::take(&mut next.offers).into_iter().enumerate() {
            gateway.tell(core, ToCore::Offer(Box::new(offer)));
            offers.set(offers.get() + 1);
        }
        while gateway.heard(|message| matches!(message, FromCore::Prepared(at, Ok(())) if *at == epoch)) < CORES {
            engine.sleep(Duration::from_millis(1)).await;
        }
        if engine.random().is_multiple_of(4) {
            gateway.tell_all(|| ToCore::Withdraw(epoch));
            continue;
        }
        gateway.tell_all(|| ToCore::Commit(epoch));
        gateway.offers.borrow_mut().settle(next).unwrap();
        // Sometimes the next offer follows before every core has committed.
        while !engine.random().is_multiple_of(8)
            && gateway.heard(|message| matches!(message, FromCore::Runs(at) if *at == epoch)) < CORES
        {
            engine.sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn no_request_notices_that_plans_change() {
    let changes = Cell::new(0);
    for (faults, placement) in [
        (Faults::default(), "kernel"),
        (Faults::rough(), "kernel"),
        (Faults::default(), "least-loaded"),
        (Faults::rough(), "least-loaded"),
    ] {
        explore(0..10, |world: &World| {
            world.set_faults(faults.clone());
            let origins = [origin(world, "origin-1"), origin(world, "origin-2")];
            let gateway = Rc::new(Gateway::start(
                world,
                CORES,
                &format!("[cores]\nplacement = \"{placement}\"\n{}", config(&origins, 0)),
            ));
            let control = world.node("control").unwrap();
            let (stop, offers) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(CORES as u64)));
            let done = Rc::new(Cell::new(false));
            let changing = change(control.clone(), gateway.clone(), origins, stop.clone(), offers.clone());
            let ended = done.clone();
            control.spawn(async move {
                changing.await;
                ended.set(true);
            });
            let outcomes = ask(world, &gateway, 6);
            assert_eq!(*outcomes.borrow(), BTreeMap::from([("200".to_owned(), 72)]));
            stop.set(true);
            world.run_until(|| done.get()).unwrap();
            changes.set(changes.get() + offers.get());
            gateway.raise();
            world.run_until(|| gateway.ended.borrow().len() == CORES).unwrap();
            assert!(gateway.ended.borrow().iter().all(|ended| ended.cut == 0));
            let released = || gateway.heard(|message| matches!(message, FromCore::Released(_))) as u64;
            // All but the one that runs. What a closed connection holds goes when it has seen the client's end.
            world.run_until(|| released() == offers.get() - CORES as u64).unwrap();
        });
    }
    assert!(changes.get() > 1000, "{} offers", changes.get());
}
