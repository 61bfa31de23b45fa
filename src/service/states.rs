//! What services keep beyond a request: what the cores share of them, and what each core has.
//!
//! A service that keeps something has a line in each of the two.

use std::rc::Rc;
use std::sync::Arc;

use ringway_runtime::engine::Engine;

use super::health::{self, Histories};
use crate::observe::{Metrics, Series};
use crate::plan::Plan;
use crate::upstream::{self, Checks, Seat};

/// What the cores share of the services of a plan. Control makes it with the plan.
#[derive(Debug, Default)]
pub struct Shared {
    health: health::Shared,
}

impl Shared {
    /// For a new plan whose upstreams are `upstreams`, with what is known from the plan before.
    pub fn new(plan: &Plan, upstreams: &[Arc<upstream::Shared>], before: Option<&Self>) -> Self {
        Self { health: health::Shared::new(plan, upstreams, before.map(|before| &before.health)) }
    }

    /// What a process that takes over goes on with.
    pub fn histories(&self) -> Histories {
        self.health.histories()
    }

    /// Goes on with what the process before had. For a plan that no core has yet.
    pub fn inherit(&self, histories: &Histories) {
        self.health.inherit(histories);
    }
}

/// What one core has of the services of a plan.
pub struct States {
    pub(super) health: health::Askers,
}

impl States {
    /// The states for a plan. A service that is no different in the plan before goes on with its own.
    pub fn new(shared: &Shared, metrics: &Rc<Metrics>, series: &Series, before: Option<&Self>) -> Self {
        Self { health: health::Askers::new(&shared.health, metrics, series, before.map(|before| &before.health)) }
    }

    /// The plan of these runs from now on.
    pub fn settle(&self, engine: &Engine, checks: &Rc<Checks>, seat: Seat) {
        self.health.settle(engine, checks, seat);
    }

    /// The plan of `next` runs from now on: what it has not is over.
    pub fn retire(&self, next: &Self) {
        self.health.retire(&next.health);
    }
}
