//! One data core: everything it owns, and its loop.

mod date;
mod drain;
mod state;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::engine::{Engine, Listener};

pub use date::DateCache;
pub use drain::DrainSignal;
pub use state::{CoreState, Presence};

use crate::flow;
use crate::observe::Metrics;
use crate::plan::{ListenerId, Plan};

/// How often pools are swept and the engine's counters are copied out.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How a core ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that were cut because the drain timeout passed.
    pub cut: usize,
}

/// Runs one data core until the drain signal, then until its last request is done or the drain timeout has passed.
pub async fn run(
    engine: Engine,
    plan: Arc<Plan>,
    metrics: Metrics,
    listeners: Vec<(ListenerId, Listener)>,
    drain: Arc<DrainSignal>,
) -> Ended {
    let drain_timeout = plan.cores.drain_timeout;
    let state = Rc::new(CoreState::new(engine.clone(), plan, metrics));
    for (id, listener) in listeners {
        engine.spawn(flow::accept(state.clone(), id, listener));
    }
    engine.spawn(housekeeping(state.clone()));
    drain.wait().await;
    state.begin_drain();
    let cut = state.drained(engine.now() + drain_timeout).await;
    state.report_engine();
    Ended { cut }
}

async fn housekeeping(state: Rc<CoreState>) {
    loop {
        state.engine.sleep(HOUSEKEEPING).await;
        for pool in &state.pools {
            pool.sweep();
        }
        state.report_engine();
    }
}
