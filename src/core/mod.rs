//! One data core: everything it owns, and its loop.

mod date;
mod door;
mod files;
mod handshakes;
mod line;
mod offer;
mod placement;
mod running;
mod state;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::engine::Engine;
use ringway_runtime::mesh;

pub use date::DateCache;
pub use door::Door;
pub use handshakes::{Handshakes, Refused, UnderWay};
pub use line::{Line, Lines, lines};
pub use offer::{CoreSight, DoorId, FromCore, Offer, OfferedDoor, ToCore, UpstreamSight};
pub use placement::{History, LATE, Passed, Place, Placement, SETTLES, places};
pub use running::Running;
pub use state::{Accepting, CoreState, CoreTls, Presence, Use};

use crate::observe::records::Recorder;
use crate::observe::{Activity, Metrics};
use crate::tls::TicketKeys;

/// How often pools are swept and the engine's counters are copied out.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How a core ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that were cut because the drain timeout passed.
    pub cut: usize,
}

/// What a core starts with.
pub struct Outfit {
    /// The plan that it starts with.
    pub first: Offer,
    /// Its end of the line to control.
    pub line: mesh::Seat<FromCore, ToCore>,
    /// With one it shares its connections with the other cores.
    pub place: Option<Place>,
    /// Takes what it has to tell of requests.
    pub records: Recorder,
    /// How often it says that its loop turns, where anybody wants to know.
    pub beat: Option<Duration>,
    /// The keys of TLS session tickets.
    pub tickets: Arc<TicketKeys>,
}

/// Runs one data core until it is told to drain, then until its last request is done or the drain timeout has passed.
/// It says that it runs the plan it starts with, or fails where that cannot be run.
pub async fn run(engine: Engine, metrics: Metrics, outfit: Outfit) -> Result<Ended, String> {
    let Outfit { first, line, place, records, beat, tickets } = outfit;
    let line = Line::attach(line, &engine).map_err(|error| format!("cannot hear control: {error}"))?;
    let state = CoreState::start(engine.clone(), metrics, first, line.clone(), place, records, tickets)?;
    let watched = state.metrics.clone();
    engine.observe_turns(move |ns| watched.turned(ns));
    engine.spawn(housekeeping(state.clone()));
    if let Some(interval) = beat {
        engine.spawn(beats(engine.clone(), line.clone(), interval));
    }
    if let Some(placement) = &state.placement {
        engine.spawn(placement::take_in(state.clone(), placement.clone()));
        engine.spawn(placement::balance(state.clone(), placement.clone()));
    }
    loop {
        match line.next().await {
            ToCore::Offer(offer) => {
                let epoch = offer.epoch;
                line.tell(FromCore::Prepared(epoch, state.prepare(*offer)));
            }
            ToCore::Commit(epoch) => state.commit(epoch),
            ToCore::Withdraw(epoch) => state.withdraw(epoch),
            ToCore::Endpoints(drained) => state.drain_endpoints(drained),
            ToCore::Tickets(keys) => state.tls.tickets.set(keys),
            ToCore::Look => line.tell(FromCore::Seen(state.sight())),
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
    engine.spawn(ending(state.clone(), line));
    let cut = state.drained(engine.now() + state.running().plan.cores.drain_timeout).await;
    state.report_engine();
    Ok(Ended { cut })
}

/// What a core still hears once it is to end: that it has no more time for connections between two requests.
async fn ending(state: Rc<CoreState>, line: Rc<Line>) {
    loop {
        match line.next().await {
            ToCore::Drain => state.begin_drain(),
            ToCore::Look => line.tell(FromCore::Seen(state.sight())),
            _ => {}
        }
    }
}

/// Shows that the core's loop turns.
async fn beats(engine: Engine, line: Rc<Line>, interval: Duration) {
    loop {
        line.tell(FromCore::Beat);
        engine.sleep(interval).await;
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
