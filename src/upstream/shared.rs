//! What the cores share of one upstream: which endpoints may be used, how many requests each has under way, and the
//! tables that hashes are looked up in.
//!
//! Control makes it with the plan. Everything that changes is a number by itself, so a relaxed access is enough; only
//! [`Shared::changes`] tells cores that there is something to look at.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ringway_runtime::clock::Instant;
use ringway_runtime::net::Address;

use super::balance::{Groups, Table, Tokens};
use super::breaker::Breaker;
use super::budget::Retries;
use super::health::Known;
use super::outlier::Outlier;
use crate::plan::{self, Upstream};

/// Why an endpoint gets no new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator took it out.
    Drained,
    /// Its health checks fail.
    Unhealthy,
    /// Its answers were much worse than those of the others.
    Ejected,
    /// Its breaker is open.
    Broken,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drained, Self::Unhealthy, Self::Ejected, Self::Broken];
    /// Those that count for nothing when too few endpoints are left: what they say of an endpoint may be wrong.
    const GUESSES: u32 = Self::Unhealthy.bit() | Self::Ejected.bit();

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Broken => "broken",
        }
    }
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing(u32);

impl Standing {
    /// Nothing speaks against it.
    pub fn is_available(self) -> bool {
        self.0 == 0
    }

    /// Whether this speaks against it.
    pub fn has(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Whether it may be used where too few are left.
    pub(super) fn is_usable_in_panic(self) -> bool {
        self.0 & !Cause::GUESSES == 0
    }

    /// What speaks against it.
    pub fn causes(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |cause| self.has(*cause))
    }
}

/// An endpoint whose time has not begun: the first core that runs its plan begins it.
const COMES: u64 = u64::MAX;

/// One endpoint, on cache lines of its own. It stays the same for as long as plans have it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Endpoint {
    /// Requests of all cores under way, where the balancer counts them.
    requests: AtomicU32,
    standing: AtomicU32,
    /// Since when it may be used, in nanoseconds; 0 where it could from the start.
    since: AtomicU64,
    pub(super) health: Known,
    pub(super) outlier: Outlier,
    pub(super) breaker: Breaker,
}

/// A count on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU32);

/// What the cores share of one upstream.
#[derive(Debug)]
pub struct Shared {
    upstream: Arc<Upstream>,
    /// Goes up with every change of a standing. One for all plans that have an upstream of this name.
    changes: Arc<AtomicU64>,
    pub(super) endpoints: Box<[Arc<Endpoint>]>,
    /// The breaker of the whole.
    pub(super) breaker: Arc<Breaker>,
    /// Its retries. One for all plans that have an upstream of this name.
    pub(super) retries: Arc<Retries>,
    /// When time itself changes a standing next, in nanoseconds.
    pub(super) due: AtomicU64,
    pub(super) groups: Groups,
    /// One a group.
    pub(super) tables: Box<[Table]>,
    /// Requests under way in each group. A group's stays the same for as long as plans have it.
    counts: Box<[Arc<Count>]>,
    tokens: Option<Tokens>,
    /// Cores that have taken it up.
    seats: AtomicU32,
}

/// For each endpoint its place in the upstream of a plan before, where it is there as well.
fn stays(upstream: &Upstream, before: Option<&Upstream>) -> Vec<Option<usize>> {
    let before = || before.iter().flat_map(|before| &before.endpoints);
    let known: HashMap<&Address, (usize, &plan::Endpoint)> =
        before().enumerate().map(|(at, endpoint)| (&endpoint.address, (at, endpoint))).collect();
    let place = |endpoint: &plan::Endpoint| {
        let found = known.get(&endpoint.address).filter(|(_, known)| known.name == endpoint.name);
        found.map(|(at, _)| *at)
    };
    upstream.endpoints.iter().map(place).collect()
}

impl Shared {
    /// For an upstream of a new plan, with what is known of its endpoints from the plan `before`.
    pub fn new(upstream: &Arc<Upstream>, before: Option<&Self>) -> Arc<Self> {
        let stays = stays(upstream, before.map(|before| &*before.upstream));
        let known = |at: &Option<usize>| at.and_then(|at| before?.endpoints.get(at).cloned());
        let since = if before.is_some() { COMES } else { 0 };
        let starts_healthy = upstream.health.as_ref().is_none_or(|health| health.starts_healthy);
        let standing = if starts_healthy { 0 } else { Cause::Unhealthy.bit() };
        let fresh = || {
            let (since, standing) = (AtomicU64::new(since), AtomicU32::new(standing));
            Arc::new(Endpoint { standing, since, ..Endpoint::default() })
        };
        let groups = Groups::of(upstream);
        let stay = groups.stay(upstream, before.map(|before| (&before.groups, &*before.upstream)));
        let count = |at: &Option<usize>| at.and_then(|at| before?.counts.get(at).cloned()).unwrap_or_default();
        let tables: Box<[Table]> = groups.all().map(|group| Table::build(upstream, &group.members)).collect();
        Arc::new(Self {
            upstream: upstream.clone(),
            changes: before.map_or_else(Arc::default, |before| before.changes.clone()),
            endpoints: stays.iter().map(|at| known(at).unwrap_or_else(fresh)).collect(),
            breaker: before.map_or_else(Arc::default, |before| before.breaker.clone()),
            retries: before.map_or_else(Arc::default, |before| before.retries.clone()),
            due: AtomicU64::new(0),
            counts: stay.iter().map(count).collect(),
            groups,
            tables,
            tokens: upstream.sticky.as_ref().map(|sticky| Tokens::new(sticky, upstream)),
            seats: AtomicU32::new(0),
        })
    }

    /// For each endpoint its place in the upstream of a plan before, where it is there as well.
    pub(crate) fn stays(&self, before: Option<&Upstream>) -> Vec<Option<usize>> {
        stays(&self.upstream, before)
    }

    /// What the plan says.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The endpoint that the value of a cookie names, if it is one of ours.
    pub fn by_cookie(&self, value: &[u8]) -> Option<usize> {
        self.tokens.as_ref()?.endpoint(value)
    }

    /// The value of the cookie that names an endpoint.
    pub fn cookie(&self, endpoint: usize) -> Option<&[u8]> {
        self.tokens.as_ref()?.value(endpoint)
    }

    /// Another core takes it up: how many have before.
    pub(super) fn take_seat(&self) -> u32 {
        self.seats.fetch_add(1, Ordering::Relaxed)
    }

    /// Differs from what it was when a standing has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether an endpoint may be used.
    pub fn standing(&self, endpoint: usize) -> Standing {
        Standing(self.endpoints.get(endpoint).map_or(u32::MAX, |at| at.standing.load(Ordering::Relaxed)))
    }

    /// Says whether `cause` speaks against an endpoint. Every core sees it at its next pick. True when that is new.
    pub fn set_standing(&self, endpoint: usize, cause: Cause, holds: bool, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return false };
        let before = if holds {
            endpoint.standing.fetch_or(cause.bit(), Ordering::Relaxed)
        } else {
            endpoint.standing.fetch_and(!cause.bit(), Ordering::Relaxed)
        };
        let is_new = (before & cause.bit() != 0) != holds;
        if is_new {
            if before == cause.bit() {
                endpoint.since.store(now.as_nanos(), Ordering::Relaxed);
            }
            self.changes.fetch_add(1, Ordering::Release);
        }
        is_new
    }

    /// Since when an endpoint may be used; the start of time where it always could.
    pub(super) fn since(&self, endpoint: usize, now: Instant) -> Instant {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return Instant::default() };
        let (since, order) = (&endpoint.since, Ordering::Relaxed);
        match since.compare_exchange(COMES, now.as_nanos(), order, order) {
            Ok(_) => now,
            Err(since) => Instant::from_nanos(since),
        }
    }

    /// Requests of all cores that an endpoint has under way.
    pub(super) fn requests(&self, endpoint: usize) -> u32 {
        self.endpoints.get(endpoint).map_or(0, |endpoint| endpoint.requests.load(Ordering::Relaxed))
    }

    /// Counts one more, unless that is more than `most`.
    pub(super) fn begin(&self, endpoint: usize, most: Option<u32>) -> bool {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return false };
        let before = endpoint.requests.fetch_add(1, Ordering::Relaxed);
        let fits = most.is_none_or(|most| before < most);
        if !fits {
            endpoint.requests.fetch_sub(1, Ordering::Relaxed);
        }
        fits
    }

    /// Counts one less.
    pub(super) fn end(&self, endpoint: usize) {
        if let Some(endpoint) = self.endpoints.get(endpoint) {
            endpoint.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Requests under way in a group.
    pub(super) fn in_group(&self, group: usize) -> u32 {
        self.counts.get(group).map_or(0, |count| count.0.load(Ordering::Relaxed))
    }

    /// Counts one more, or one less, in a group.
    pub(super) fn count_in_group(&self, group: usize, begins: bool) {
        let Some(count) = self.counts.get(group) else { return };
        if begins {
            count.0.fetch_add(1, Ordering::Relaxed);
        } else {
            count.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(endpoints: &str) -> Arc<Upstream> {
        let text = format!(
            "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nendpoints = [{endpoints}]\n\
             [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n"
        );
        let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
        let compiled = crate::config::compile("test", &text, 1, &mut resolve);
        compiled.unwrap_or_else(|report| panic!("{report}")).0.upstreams[0].clone()
    }

    /// Every field is named here, so that nobody adds one without a thought to what becomes of it when plans change.
    #[test]
    fn all_that_cores_know_goes_on() {
        let before = Shared::new(&upstream("\"10.0.0.1:80\", \"10.0.0.2:80\""), None);
        let next = upstream("\"10.0.0.9:80\", \"10.0.0.2:80\", \"10.0.0.1:80\"");
        let after = Shared::new(&next, Some(&before));
        let Shared {
            changes,
            endpoints,
            breaker,
            counts,
            retries,
            // From the plan alone.
            upstream: _,
            groups: _,
            tables: _,
            tokens: _,
            // Found again by whoever looks first.
            due: _,
            // Used by the first plan alone.
            seats: _,
        } = &*after;
        assert!(Arc::ptr_eq(changes, &before.changes) && Arc::ptr_eq(breaker, &before.breaker));
        assert!(Arc::ptr_eq(&endpoints[1], &before.endpoints[1]) && Arc::ptr_eq(&endpoints[2], &before.endpoints[0]));
        assert!(Arc::ptr_eq(&counts[0], &before.counts[0]) && Arc::ptr_eq(retries, &before.retries));
    }
}
