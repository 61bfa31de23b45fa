//! Where connections go: with `placement = "least-loaded"` a core hands what it accepts to the core that has least to
//! do, and a core that has much more than the others lets go of connections between two requests.
//!
//! Nothing is lost on the way. A connection is counted for the core it goes to before it goes ([`Loads`]), a core ends
//! only when that count is zero, and what finds no room on the way stays where it is.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Detached, Engine};
use ringway_runtime::mesh::{Capacity, Load, Loads, Mesh, Peer, Port, PortStats, Seat};

use super::{CoreState, DoorId};
use crate::flow::{self, Caller};
use crate::observe::{MeshPeer, Metrics};
use crate::plan;

/// Connections on their way from one core to another; with more, they stay where they are.
const ON_THE_WAY: usize = 256;
/// How often a core tells how busy it is, and sees whether it has too much.
const TICK: Duration = Duration::from_millis(100);
/// Connections that a core lets go of in a tick.
const MOVES: u32 = 32;
/// Idle connections that are asked in a tick whether they go.
const ASKED: usize = 64;
/// How long a connection stays where it came to.
pub const SETTLES: Duration = Duration::from_secs(5);
/// How long connections may come late for a door that has closed: cores change plans within this.
pub const LATE: Duration = Duration::from_secs(1);
/// The busy share, in thousandths, up to which only connections count. From there to 1000 their weight doubles.
const BUSY: u64 = 500;
/// The weight of a connection on a core that is not busy.
const ONE: u64 = 1000;
/// A core keeps what it accepts while it has at most one in so many more than the least loaded.
const KEEPS_ONE_IN: u64 = 16;
/// The same of what it has already.
const LETS_GO_ONE_IN: u64 = 8;

/// A connection on its way to another core.
#[derive(Debug)]
pub struct Passed {
    /// The connection.
    pub socket: Detached,
    /// Whom it is from.
    pub peer: Caller,
    /// Where it was accepted.
    pub door: DoorId,
    /// What it has done, where it is not new.
    pub history: Option<History>,
    /// Whether it comes back from a core that has no such door.
    pub returned: bool,
}

/// What an open connection takes along to another core.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Requests it has made.
    pub requests: u64,
    /// Since when it has had nothing to do.
    pub idle_since: Instant,
}

/// What a core needs to pass connections on, before its thread starts.
pub struct Place {
    own: usize,
    seat: Seat<Passed>,
    loads: Loads,
}

impl Place {
    /// What all cores count.
    pub fn loads(&self) -> &Loads {
        &self.loads
    }
}

/// One for each core; none where the kernel's choice stands.
pub fn places(cores: usize, placement: plan::Placement) -> Vec<Option<Place>> {
    if placement != plan::Placement::LeastLoaded || cores < 2 {
        return (0..cores).map(|_| None).collect();
    }
    // Control sends nothing here.
    let capacity = Capacity { between_cores: ON_THE_WAY, with_control: 1 };
    let mesh = Mesh::new(u16::try_from(cores).unwrap_or(u16::MAX), capacity);
    let loads = Loads::new(cores);
    let place = |(own, seat)| Some(Place { own, seat, loads: loads.clone() });
    mesh.cores.into_iter().enumerate().map(place).collect()
}

/// A core's side of placement.
pub struct Placement {
    own: usize,
    port: Port<Passed>,
    loads: Loads,
    /// Connections that may still go in this tick.
    leaving: Cell<u32>,
    /// Where the search for the least loaded begins: those with the same load take turns.
    turn: Cell<usize>,
    /// What the metrics have of the port's counts.
    reported: Cell<PortStats>,
}

/// A place for one connection at another core, given up when it is dropped.
pub struct Reserved<'a> {
    loads: &'a Loads,
    core: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.loads.remove(self.core);
    }
}

/// What `connections` weigh on a core that is so busy.
fn weight(connections: u64, busy: u16) -> u64 {
    connections * (ONE + 2 * u64::from(busy).saturating_sub(BUSY))
}

impl Placement {
    pub(super) fn start(engine: &Engine, place: Place) -> io::Result<Rc<Self>> {
        let Place { own, seat, loads } = place;
        let port = seat.attach(engine)?;
        Ok(Rc::new(Self {
            own,
            port,
            loads,
            leaving: Cell::new(0),
            turn: Cell::new(own + 1),
            reported: Cell::default(),
        }))
    }

    /// A place at the least loaded core for a connection that is accepted now; `None` where it may as well stay.
    pub fn for_new(&self) -> Option<Reserved<'_>> {
        let own = self.loads.of(self.own)?;
        let connections = u64::from(own.connections);
        self.reserve(weight(connections, own.busy).checked_sub(connections / KEEPS_ONE_IN * ONE)?)
    }

    /// The same for one of the connections that the core has.
    pub fn for_present(&self) -> Option<Reserved<'_>> {
        let own = self.loads.of(self.own)?;
        let left = u64::from(own.connections).checked_sub(1)?;
        self.reserve(weight(left, own.busy).checked_sub((1 + left / LETS_GO_ONE_IN) * ONE)?)
    }

    /// A place at a core whose load with one connection more is at most `most`.
    fn reserve(&self, most: u64) -> Option<Reserved<'_>> {
        let cores = self.loads.cores();
        for _ in 0..cores {
            let turn = self.turn.get();
            let others = (turn..turn + cores).map(|core| core % cores).filter(|&core| core != self.own);
            let open = others.filter_map(|core| Some((core, self.loads.of(core)?)));
            let after = |&(_, load): &(usize, Load)| weight(u64::from(load.connections) + 1, load.busy);
            let (core, seen) = open.min_by_key(after).filter(|least| after(least) <= most)?;
            if self.loads.reserve(core, seen) {
                self.turn.set((core + 1) % cores);
                return Some(Reserved { loads: &self.loads, core });
            }
            // Others choose at the same time: look again.
        }
        None
    }

    /// A place at the core that a connection came from.
    pub fn for_return(&self, to: Peer) -> Option<Reserved<'_>> {
        let Peer::Core(core) = to else { return None };
        let core = usize::from(core);
        while let Some(seen) = self.loads.of(core) {
            if self.loads.reserve(core, seen) {
                return Some(Reserved { loads: &self.loads, core });
            }
        }
        None
    }

    /// Sends a connection to where there is a place for it, or gives it back.
    pub fn send(&self, to: Reserved<'_>, passed: Passed) -> Result<(), Passed> {
        self.port.send(Peer::Core(to.core as u16), passed).map_err(ringway_runtime::mesh::SendError::into_inner)?;
        // From now on it is the other core that counts it down.
        std::mem::forget(to);
        Ok(())
    }

    /// Whether a connection between two requests should try to go.
    #[inline]
    pub fn lets_go(&self) -> bool {
        self.leaving.get() > 0
    }

    /// One tries to go.
    pub fn tries(&self) {
        self.leaving.set(self.leaving.get().saturating_sub(1));
    }

    /// Counts a connection that was not sent here by another core.
    pub(super) fn entered(&self) {
        self.loads.add(self.own);
    }

    /// A connection of this core is gone, or was refused.
    pub fn is_gone(&self) {
        self.loads.remove(self.own);
    }

    /// Connections of this core, those included that are on their way.
    pub(super) fn connections(&self) -> u32 {
        self.loads.connections(self.own)
    }

    /// Nothing more is sent here from now on.
    pub(super) fn close(&self) {
        self.loads.close(self.own);
        self.leaving.set(0);
    }

    /// Copies what the port counted into the metrics.
    pub(super) fn report(&self, metrics: &Metrics) {
        let now = self.port.stats();
        metrics.mesh(MeshPeer::Core, &now, &self.reported.replace(now));
    }

    /// Its load, in connections.
    fn load(&self) -> u64 {
        self.loads.of(self.own).map_or(0, |own| weight(own.connections.into(), own.busy) / ONE)
    }

    /// How many connections the core has too many: none unless its load is a quarter above the mean, and two.
    fn excess(&self) -> u64 {
        let loads = (0..self.loads.cores()).filter_map(|core| self.loads.of(core));
        let all: Vec<u64> = loads.map(|load| weight(load.connections.into(), load.busy)).collect();
        let Some(own) = self.loads.of(self.own).map(|own| weight(own.connections.into(), own.busy)) else { return 0 };
        let mean = all.iter().sum::<u64>() / all.len().max(1) as u64;
        if own < mean + mean / 4 + 2 * ONE { 0 } else { (own - mean) / ONE }
    }
}

/// Takes in what other cores send.
pub(super) async fn take_in(state: Rc<CoreState>, placement: Rc<Placement>) {
    loop {
        let (from, passed) = placement.port.receive().await;
        flow::arrived(&state, &placement, from, passed);
    }
}

/// Tells how busy the core is, and lets go of connections while it has too many.
pub(super) async fn balance(state: Rc<CoreState>, placement: Rc<Placement>) {
    let mut before = (state.engine.now(), state.engine.stats().cpu_ns);
    let mut busy = 0;
    loop {
        state.engine.sleep(TICK).await;
        let now = (state.engine.now(), state.engine.stats().cpu_ns);
        let share = (now.1 - before.1) * ONE / now.0.nanos_since(before.0).max(1);
        before = now;
        // Over about a second.
        busy = (busy * 7 + share.min(ONE)) / 8;
        placement.loads.set_busy(placement.own, busy as u16);
        state.metrics.set_load(placement.load());
        let excess = placement.excess();
        placement.leaving.set(excess.min(MOVES.into()) as u32);
        if excess > 0 {
            // Those that have requests come by themselves.
            state.wake_some(ASKED);
        }
    }
}
