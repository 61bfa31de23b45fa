//! `[service.NAME]` of type `health`: several things that are asked how they are, and one answer for all of them.

use ringway_runtime::net::Address;
use std::sync::Arc;
use std::time::Duration;

use super::{Check, UpstreamId};

/// The index of a service of type `health` in [`super::Plan::aggregates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateId(pub u32);

/// A service of type `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Its name.
    pub name: Arc<str>,
    /// What is asked, in the order of the config.
    pub checks: Box<[AggregateCheck]>,
    /// Every check by its index, each after those that it needs.
    pub order: Box<[u16]>,
    /// From the begin of one round of checks to that of the next.
    pub ttl: Duration,
    /// When a round ends, whatever has not answered.
    pub total_timeout: Duration,
    /// The status of the answer where something is degraded.
    pub degraded_status: u16,
    /// Changes of state that are kept.
    pub history: u32,
    /// What the answer tells.
    pub detail: Detail,
}

/// One thing that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateCheck {
    /// Its name in the service.
    pub name: Arc<str>,
    /// Its name in metrics: that of the service, `/`, and its own.
    pub label: Arc<str>,
    /// Whether nothing that needs it works without it.
    pub critical: bool,
    /// What it needs, by index.
    pub needs: Box<[u16]>,
    /// Where it is.
    pub target: CheckTarget,
    /// How it is asked; by what is known of the upstream's endpoints where nothing is said.
    pub check: Option<Check>,
    /// For the whole answer.
    pub timeout: Duration,
    /// An answer that takes longer is a degraded one.
    pub slow: Option<Duration>,
}

/// Where a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// At every endpoint of an upstream.
    Upstream(UpstreamId),
    /// At every address of a name: as the config has it, and resolved.
    Addresses(Box<[(Arc<str>, Address)]>),
}

/// What the answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// How the whole is.
    Status,
    /// Each check by its name as well: its state, since when, how long it took, and what makes it so.
    Names,
    /// Addresses and how each ended, too.
    Full,
}

/// The service that answers, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateRoute {
    /// Which one.
    pub id: AggregateId,
    /// The capture of the path that says which page is wanted, where there is one.
    pub rest: Option<u8>,
}
