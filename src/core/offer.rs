//! What control and a core tell each other about plans.
//!
//! Control offers a plan; the core prepares everything that can fail and says how that went. Control then commits the
//! plan, or withdraws it where a core could not prepare it. In all of this the core goes on with the plan it runs.

use std::sync::Arc;

use ringway_runtime::engine::ListenSource;

use crate::observe::{NAMED, Segment, Slots};
use crate::plan::{ListenerId, Plan, UpstreamId};
use crate::policy::Origins;
use crate::service;
use crate::tls::TicketKeys;
use crate::upstream::{BreakerState, Drained, EndpointSight, Seat, Shared};

/// One listening address of a gateway, for as long as plans keep it: each core has a socket for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoorId(pub u64);

/// A door as a plan has it.
#[derive(Debug)]
pub struct OfferedDoor {
    /// Which one.
    pub id: DoorId,
    /// The listener of the plan that it belongs to.
    pub listener: ListenerId,
    /// What to accept from, where the core does not have it yet: a socket of its own, and those that the gateway before
    /// had for more cores. A core that has none of its own gets one with [`ToCore::TookOver`].
    pub sources: Vec<ListenSource>,
}

/// A plan for one core, with all that the core cannot make by itself.
#[derive(Debug)]
pub struct Offer {
    /// Counts the plans that were offered, from 1.
    pub epoch: u64,
    /// What to run.
    pub plan: Arc<Plan>,
    /// For each upstream of the plan, the one of the plan before that is no different: its pool is kept.
    pub kept: Arc<[Option<UpstreamId>]>,
    /// For each upstream of the plan, the one of its name in the plan before: what is known of its endpoints stays known.
    pub follows: Arc<[Option<UpstreamId>]>,
    /// Where the states of the plan's policies come from.
    pub policies: Arc<Origins>,
    /// Which core it is for.
    pub seat: Seat,
    /// What all cores share of each upstream of the plan.
    pub shared: Arc<[Arc<Shared>]>,
    /// What all cores share of the services of the plan.
    pub services: Arc<service::Shared>,
    /// Where the metrics of the plan's names are.
    pub slots: Arc<Slots>,
    /// The metrics of names that are new with this plan.
    pub segment: Option<Segment>,
    /// What the core reports of [`Slots::in_other`]: all of it on one core, nothing on the others.
    pub names_in_other: [usize; NAMED],
    /// Where to accept. A door that is not here any more closes.
    pub doors: Vec<OfferedDoor>,
}

/// What control tells a core. A core deals with it in order. None of it is lost: control keeps what a core has no room
/// for, and asks nothing more of a core that it keeps something for.
#[derive(Debug)]
pub enum ToCore {
    /// Prepare this plan.
    Offer(Box<Offer>),
    /// Run the plan of this epoch, which is prepared.
    Commit(u64),
    /// Forget the plan of this epoch, which may be prepared.
    Withdraw(u64),
    /// Send no new requests to these endpoints, and to all others again.
    Endpoints(Arc<Drained>),
    /// Seal TLS session tickets with these keys from now on.
    Tickets(Arc<TicketKeys>),
    /// Tell how connections are, as [`FromCore::Seen`].
    Look,
    /// Take no more connections and end with the last request. What waits at a listening socket is served first.
    Drain,
    /// The same, but another process goes on with the sockets of these doors and with what waits there. Connections
    /// between two requests may make one more.
    HandOver(Arc<[DoorId]>),
    /// The gateway before this one has let go of the listening sockets. Accept from these as well, and no more from
    /// those that are one too many.
    TookOver(Vec<(DoorId, ListenSource)>),
}

/// What a core tells control. What control counts on is never lost: a core keeps what control has no room for. There
/// are no more of these than a few for each plan and question of control. What is only news may be dropped.
#[derive(Debug)]
pub enum FromCore {
    /// The plan of this epoch can be run from now on, or why it cannot.
    Prepared(u64, Result<(), String>),
    /// The core runs the plan of this epoch.
    Runs(u64),
    /// Nothing on the core refers to the plan of this epoch any more.
    Released(u64),
    /// How its connections are.
    Seen(CoreSight),
    /// Clients took all file descriptors that they may: some are turned away. It is said once.
    ShortOfFiles,
    /// After [`ToCore::HandOver`]: the core accepts no more.
    LetGo,
    /// The core's loop turns.
    Beat,
}

impl FromCore {
    /// Whether it is dropped, and counted, where control has no room for it: the next of its kind says the same, or it
    /// has been said in the metrics.
    pub fn is_news(&self) -> bool {
        match self {
            Self::Prepared(..) | Self::Runs(_) | Self::Released(_) | Self::Seen(_) | Self::LetGo => false,
            Self::ShortOfFiles | Self::Beat => true,
        }
    }
}

/// How the connections of one core are.
#[derive(Clone, Debug, Default)]
pub struct CoreSight {
    /// The plan that it runs.
    pub epoch: u64,
    /// Client connections.
    pub connections: usize,
    /// The upstreams of its plan, by their index.
    pub upstreams: Vec<UpstreamSight>,
}

/// How one upstream is, as one core sees it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamSight {
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Its own breaker, where it has one.
    pub breaker: Option<BreakerState>,
    /// Its endpoints, by their index.
    pub endpoints: Vec<EndpointSight>,
}
