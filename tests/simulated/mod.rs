//! Whole gateways in simulated worlds: client, gateway and origins in one thread, from a seed.
//!
//! A failing seed prints `SIM_SEED=n`; with that in the environment the test replays it.

mod http;
mod rough;
mod slow;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway::core::{DrainSignal, Ended};
use ringway::observe::Metrics;
use ringway::plan::{ListenerId, Plan};
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::World;

/// Where the gateway listens.
const PORT: u16 = 8080;
/// Where origins listen.
const ORIGIN_PORT: u16 = 9000;

/// A gateway in a world: some cores of the machine called "gateway".
struct Gateway {
    address: SocketAddr,
    drains: Vec<Arc<DrainSignal>>,
    ended: Rc<std::cell::RefCell<Vec<Ended>>>,
}

impl Gateway {
    /// Starts `cores` cores of a gateway whose config, a listener "web" at `PORT` aside, is `config`.
    fn start(world: &World, cores: usize, config: &str) -> Self {
        let text = format!("[listener.web]\naddress = \"0.0.0.0:{PORT}\"\n{config}");
        let plan = Arc::new(plan(&text));
        let mut this =
            Self { address: SocketAddr::new(world.address("gateway"), PORT), drains: Vec::new(), ended: Rc::default() };
        for _ in 0..cores {
            let engine = world.node("gateway").unwrap();
            let drain = Arc::new(DrainSignal::default());
            this.drains.push(drain.clone());
            let core = run_core(engine.clone(), plan.clone(), drain);
            let ended = this.ended.clone();
            engine.spawn(async move {
                let end = core.await;
                ended.borrow_mut().push(end);
            });
        }
        this
    }

    /// Tells every core to drain.
    fn raise(&self) {
        for drain in &self.drains {
            drain.raise();
        }
    }

    /// Drains every core and returns how each ended.
    fn drain(self, world: &World) -> Vec<Ended> {
        self.raise();
        world.run_until(|| self.ended.borrow().len() == self.drains.len()).unwrap();
        self.ended.take()
    }
}

async fn run_core(engine: Engine, plan: Arc<Plan>, drain: Arc<DrainSignal>) -> Ended {
    let routes: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
    let upstreams: Vec<&str> = plan.upstreams.iter().map(|upstream| &*upstream.name).collect();
    let metrics = Metrics::in_memory(&routes, &upstreams).unwrap();
    let mut listeners = Vec::new();
    for (id, listener) in plan.listeners.iter().enumerate() {
        for &address in &listener.addresses {
            listeners.push((ListenerId(id as u32), engine.listen(address).unwrap()));
        }
    }
    ringway::core::run(engine, plan, metrics, listeners, drain).await
}

fn plan(text: &str) -> Plan {
    let mut no_names = |name: &str, _| Err(format!("{name}: these worlds have no name service"));
    match ringway::config::compile("world.toml", text, 1, &mut no_names) {
        Ok((plan, _)) => plan,
        Err(report) => panic!("{report}"),
    }
}
