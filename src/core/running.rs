//! A plan as one core runs it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use ringway_runtime::engine::Engine;

use super::{FromCore, Line, Offer};
use crate::observe::records::Recorder;
use crate::observe::{Metrics, Series};
use crate::plan::{Plan, UpstreamId};
use crate::policy::States;
use crate::service;
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
    /// What the plan's policies keep. A policy that a later plan left as it is has the same there.
    pub policies: States,
    /// What the plan's services keep. A service that a later plan left as it is has the same there.
    pub services: service::States,
    /// The metrics of the plan's routes and policies.
    pub series: Series,
    /// Goes last: by then nothing above holds the plan.
    _released: Released,
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
    pub(super) fn new(
        engine: &Engine,
        metrics: &Rc<Metrics>,
        offer: &Offer,
        before: Option<&Running>,
        line: &Rc<Line>,
        records: &Rc<Recorder>,
    ) -> Rc<Self> {
        let series = metrics.series(&offer.slots);
        let pools = offer.shared.iter().enumerate().map(|(at, shared)| {
            let kept = offer.kept.get(at).copied().flatten();
            let of = |id: Option<UpstreamId>| before.zip(id).and_then(|(before, id)| before.pools.get(id.0 as usize));
            of(kept).cloned().unwrap_or_else(|| {
                let follows = offer.follows.get(at).copied().flatten();
                Pool::new(engine, shared, metrics, series.upstream(at), records, of(follows).map(|pool| &**pool))
            })
        });
        let before_services = before.map(|before| &before.services);
        Rc::new(Self {
            epoch: offer.epoch,
            plan: offer.plan.clone(),
            pools: pools.collect(),
            policies: States::new(&offer.plan, &offer.policies, before.map(|before| &before.policies)),
            services: service::States::new(&offer.services, metrics, &series, before_services),
            series,
            _released: Released { epoch: offer.epoch, line: line.clone() },
        })
    }
}
