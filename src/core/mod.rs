//! One data core: everything it owns, and its loop.

mod date;
mod door;
mod files;
mod inbox;
mod offer;
mod placement;
mod running;
mod state;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::engine::Engine;

pub use date::DateCache;
pub use door::Door;
pub use inbox::Inbox;
pub use offer::{CoreSight, DoorId, FromCore, Offer, OfferedDoor, Tell, ToCore, UpstreamSight};
pub use placement::{History, LATE, Passed, Place, Placement, SETTLES, places};
pub use running::Running;
pub use state::{Accepting, CoreState, Presence, Use};

use crate::observe::records::Recorder;
use crate::observe::{Activity, Metrics};

/// How often pools are swept and the engine's counters are copied out.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How a core ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that were cut because the drain timeout passed.
    pub cut: usize,
}

/// Runs one data core until it is told to drain, then until its last request is done or the drain timeout has passed.
/// It starts with the plan of `first`, and says so, or fails where that cannot be run. With a `place` it shares its
/// connections with the other cores. What it has to tell of requests goes into `records`.
pub async fn run(
    engine: Engine,
    metrics: Metrics,
    first: Offer,
    inbox: Arc<Inbox>,
    tell: Tell,
    place: Option<Place>,
    records: Recorder,
) -> Result<Ended, String> {
    let state = CoreState::start(engine.clone(), metrics, first, tell.clone(), place, records)?;
    let watched = state.metrics.clone();
    engine.observe_turns(move |ns| watched.turned(ns));
    engine.spawn(housekeeping(state.clone()));
    if let Some(placement) = &state.placement {
        engine.spawn(placement::take_in(state.clone(), placement.clone()));
        engine.spawn(placement::balance(state.clone(), placement.clone()));
    }
    loop {
        match inbox.next().await {
            ToCore::Offer(offer) => {
                let epoch = offer.epoch;
                tell(FromCore::Prepared(epoch, state.prepare(*offer)));
            }
            ToCore::Commit(epoch) => state.commit(epoch),
            ToCore::Withdraw(epoch) => state.withdraw(epoch),
            ToCore::Endpoints(drained) => state.drain_endpoints(drained),
            ToCore::Look => tell(FromCore::Seen(state.sight())),
            ToCore::TookOver(sources) => state.took_over(sources),
            ToCore::HandOver(doors) => {
                state.hand_over(&doors);
                break;
            }
            ToCore::Drain => {
                state.begin_drain();
                break;
            }
        }
    }
    engine.spawn(ending(state.clone(), inbox));
    let cut = state.drained(engine.now() + state.running().plan.cores.drain_timeout).await;
    state.report_engine();
    Ok(Ended { cut })
}

/// What a core still hears once it is to end: that it has no more time for connections between two requests.
async fn ending(state: Rc<CoreState>, inbox: Arc<Inbox>) {
    loop {
        match inbox.next().await {
            ToCore::Drain => state.begin_drain(),
            ToCore::Look => (state.tell)(FromCore::Seen(state.sight())),
            _ => {}
        }
    }
}

async fn housekeeping(state: Rc<CoreState>) {
    state.engine.label(Activity::Housekeeping.label());
    loop {
        state.engine.sleep(HOUSEKEEPING).await;
        for pool in &state.running().pools {
            pool.sweep();
        }
        state.report_engine();
        state.look_at_memory();
    }
}
