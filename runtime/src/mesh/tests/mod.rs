//! What the mesh must do, over every engine, and what its parts must do by themselves.

mod bytes;
mod calls;
mod control;
mod gate;
mod loads;
mod ports;
mod rings;

use std::future::Future;
use std::sync::Arc;
use std::thread;

use super::{Capacity, Mesh, Seat};
use crate::engine::sim::{Faults, explore};
use crate::engine::{Config, Engine, EngineKind, run};

#[cfg(feature = "glommio")]
const KINDS: [EngineKind; 2] = [EngineKind::Ring, EngineKind::Glommio];
#[cfg(not(feature = "glommio"))]
const KINDS: [EngineKind; 1] = [EngineKind::Ring];

/// Seeds of simulated worlds that each test tries.
const SEEDS: u64 = 20;

fn small() -> Config {
    Config { buffers: 4, buffer_size: 4096, submission_entries: 32, direct_descriptors: 8, ..Config::default() }
}

/// Rings for so many messages, to and from control too.
fn capacity(messages: usize) -> Capacity {
    Capacity { between_cores: messages, with_control: messages }
}

/// Runs `scenario` on each of `cores` cores of every engine, until it is done on all of them. It gets the core's place.
fn on_every_engine<M: Send + 'static, F: Future<Output = ()> + 'static>(
    cores: u16,
    capacity: Capacity,
    scenario: impl Fn(u16, Engine, Seat<M>) -> F + Send + Sync + 'static,
) {
    let scenario = Arc::new(scenario);
    for kind in KINDS {
        println!("over {kind:?}");
        on_threads(kind, &small(), Mesh::new(cores, capacity), &scenario);
    }
    println!("over simulated worlds");
    explore(0..SEEDS, |world| {
        world.set_faults(Faults::rough());
        let mesh = Mesh::new(cores, capacity);
        let (done, over) = std::sync::mpsc::channel();
        drop(mesh.control);
        for (core, seat) in mesh.cores.into_iter().enumerate() {
            let engine = world.node("gateway").unwrap();
            let (scenario, done) = (scenario(core as u16, engine.clone(), seat), done.clone());
            engine.spawn(async move {
                scenario.await;
                done.send(()).unwrap();
            });
        }
        let left = std::cell::Cell::new(cores);
        world
            .run_until(|| {
                left.set(left.get() - over.try_iter().count() as u16);
                left.get() == 0
            })
            .unwrap();
    });
}

/// Runs `scenario` on each core of the mesh, a thread each. Control has ended.
fn on_threads<M: Send + 'static, F: Future<Output = ()> + 'static>(
    kind: EngineKind,
    config: &Config,
    mesh: Mesh<M>,
    scenario: &Arc<impl Fn(u16, Engine, Seat<M>) -> F + Send + Sync + 'static>,
) {
    drop(mesh.control);
    let threads: Vec<_> = mesh
        .cores
        .into_iter()
        .enumerate()
        .map(|(core, seat)| {
            let (scenario, config) = (scenario.clone(), config.clone());
            thread::spawn(move || run(kind, &config, |engine| scenario(core as u16, engine, seat)).unwrap())
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
