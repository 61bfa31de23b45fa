//! A plan as one core runs it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use ringway_runtime::engine::Engine;

use super::{CoreTls, FromCore, Line, Offer};
use crate::observe::records::Recorder;
use crate::observe::{Metrics, Series};
use crate::plan::{Listener, ListenerId, Plan, UpstreamId};
use crate::policy::States;
use crate::service;
use crate::tls::CoreServer;
use crate::upstream::Pool;

/// A plan with what the core adds to it. Requests hold the one they began with; when the last of them ends, control
/// hears of it and frees the plan.
pub struct Running {
    /// Which plan it is.
    pub epoch: u64,
    /// What to do with requests.
    pub plan: Arc<Plan>,
    /// One pool an upstream, by the upstream's index. An upstream that a later plan left as it is has the same one there.
    pub pools: Box<[Rc<Pool>]>,
    /// The TLS of each listener, by its index.
    servers: Box<[Option<CoreServer>]>,
    /// What the plan's policies keep. A policy that a later plan left as it is has the same there.
    pub policies: States,
    /// What the plan's services keep. A service that a later plan left as it is has the same there.
    pub services: service::States,
    /// The metrics of the plan's routes and policies.
    pub series: Series,
    /// Goes last: by then nothing above holds the plan.
    _released: Released,
}

/// What a core has whatever plan it runs.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) engine: &'a Engine,
    pub(super) metrics: &'a Rc<Metrics>,
    pub(super) line: &'a Rc<Line>,
    pub(super) records: &'a Rc<Recorder>,
    pub(super) tls: &'a CoreTls,
}

struct Released {
    epoch: u64,
    line: Rc<Line>,
}

impl Drop for Released {
    fn drop(&mut self) {
        self.line.tell(FromCore::Released(self.epoch));
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Running {
    /// Builds what `offer` asks for, with the pools of `before` and what its policies keep, where it keeps them.
    pub(super) fn new(own: Own<'_>, offer: &Offer, before: Option<&Running>) -> Result<Rc<Self>, String> {
        let Own { engine, metrics, line, records, tls } = own;
        let series = metrics.series(&offer.slots);
        let pools = offer.shared.iter().enumerate().map(|(at, shared)| {
            let kept = offer.kept.get(at).copied().flatten();
            let of = |id: Option<UpstreamId>| before.zip(id).and_then(|(before, id)| before.pools.get(id.0 as usize));
            if let Some(kept) = of(kept) {
                return Ok(kept.clone());
            }
            let follows = of(offer.follows.get(at).copied().flatten()).map(|pool| &**pool);
            Pool::new(engine, shared, metrics, series.upstream(at), records, &tls.room, follows)
        });
        let pools = pools.collect::<Result<_, String>>()?;
        let servers = offer.plan.listeners.iter().map(|listener| {
            let Some(wanted) = &listener.tls else { return Ok(None) };
            before
                .and_then(|before| before.server_like(listener))
                .map_or_else(|| wanted.server.on_core(&tls.tickets, &tls.suites), Ok)
                .map(Some)
        });
        let servers = servers.collect::<Result<_, String>>()?;
        let before_services = before.map(|before| &before.services);
        Ok(Rc::new(Self {
            epoch: offer.epoch,
            plan: offer.plan.clone(),
            pools,
            servers,
            policies: States::new(&offer.plan, &offer.policies, before.map(|before| &before.policies)),
            services: service::States::new(&offer.services, metrics, &series, before_services),
            series,
            _released: Released { epoch: offer.epoch, line: line.clone() },
        }))
    }

    /// The TLS of a listener; nothing where its clients speak none.
    pub fn server(&self, listener: ListenerId) -> Option<&CoreServer> {
        self.servers.get(listener.0 as usize)?.as_ref()
    }

    /// What the core has of the TLS of this listener already, with the sessions it knows.
    fn server_like(&self, listener: &Listener) -> Option<CoreServer> {
        let same = |known: &Listener| {
            known.name == listener.name
                && known.tls.as_ref().map(|tls| &tls.server) == listener.tls.as_ref().map(|tls| &tls.server)
        };
        self.servers.get(self.plan.listeners.iter().position(same)?)?.clone()
    }
}
