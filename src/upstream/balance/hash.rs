//! What the hashing balancers have in common: hashes, the bound on load, and what to do where an endpoint cannot be
//! used.

use super::View;
use super::maglev::Maglev;
use super::random::{mix, scale};
use super::ring_hash::Ring;
use crate::plan::{Balance, Upstream};

/// Hashes bytes. The same on every core, gateway and machine, so that all of them send a key to the same endpoint; whoever
/// knows it can make keys that fall together, which `max_load` is for.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut state = 0x51_7c_c1_b7_27_22_0a_95 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    if let Some(room) = last.get_mut(..rest.len()) {
        room.copy_from_slice(rest);
    }
    mix(state ^ u64::from_le_bytes(last)).wrapping_add(state)
}

/// What a group's hashes are looked up in. Control builds it from the plan, all cores read it.
#[derive(Debug)]
pub(crate) enum Table {
    /// The balancer does not hash.
    Nothing,
    Ring(Ring),
    Maglev(Maglev),
}

impl Table {
    pub(crate) fn build(upstream: &Upstream, members: &[u32]) -> Self {
        let named = || {
            members.iter().filter_map(|&at| {
                let endpoint = upstream.endpoints.get(at as usize)?;
                Some((at, hash(endpoint.address.to_string().as_bytes()), endpoint.weight))
            })
        };
        match &upstream.balance {
            Balance::RingHash { points, .. } => Self::Ring(Ring::build(named(), *points)),
            Balance::Maglev { table, .. } => Self::Maglev(Maglev::build(named(), *table)),
            _ => Self::Nothing,
        }
    }

    /// The endpoint for a hash: the first of its line that may be used and is within its bound; where all are beyond
    /// it, the first that may be used.
    pub(super) fn pick(&self, hash: u64, members: &[u32], view: &View<'_>) -> Option<u32> {
        let bound = view.bound();
        let found =
            self.first(hash, members, |at| view.is_eligible(at) && view.is_usable(at) && bound.allows(view, at));
        match found {
            None if bound.is_some() => self.first(hash, members, |at| view.is_eligible(at) && view.is_usable(at)),
            found => found,
        }
    }

    fn first(&self, hash: u64, members: &[u32], is_good: impl Fn(u32) -> bool) -> Option<u32> {
        /// Looks that nearly always find one.
        const LOOKS: u64 = 32;
        let first = match self {
            Self::Ring(ring) => return ring.walk(hash, members.len(), is_good),
            Self::Nothing => None,
            // Whoever cannot be used has its keys spread over all others, and no other key moves.
            Self::Maglev(maglev) => {
                let line = (0..LOOKS).map(|look| if look == 0 { hash } else { mix(hash.wrapping_add(look)) });
                line.filter_map(|hash| maglev.get(hash)).find(|&at| is_good(at))
            }
        };
        first.or_else(|| {
            let (from, count) = (scale(mix(hash) as u32, members.len()), members.len());
            (from..from + count).filter_map(|at| members.get(at % count).copied()).find(|&at| is_good(at))
        })
    }
}

/// No bound is less: with next to nothing under way, two requests of one key at once are no hot key.
const LEAST_BOUND: f64 = 2.0;

/// The most that an endpoint of each weight may have under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Requests for each unit of weight, none where there is no bound.
    each: Option<f64>,
}

impl Bound {
    pub(super) const NONE: Self = Self { each: None };

    /// With `under_way` requests in a group whose usable endpoints have `weight`, the next one included.
    pub(super) fn new(max_load: u32, under_way: u32, weight: u64) -> Self {
        let each = f64::from(max_load) / 100.0 * (f64::from(under_way) + 1.0) / weight.max(1) as f64;
        Self { each: Some(each) }
    }

    fn is_some(self) -> bool {
        self.each.is_some()
    }

    fn allows(self, view: &View<'_>, endpoint: u32) -> bool {
        self.each.is_none_or(|each| {
            let most = (each * f64::from(view.plan_weight(endpoint))).ceil().max(LEAST_BOUND);
            f64::from(view.requests(endpoint)) < most
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_a_little_are_far_apart() {
        let mut seen: Vec<u64> = (0..1000).map(|at| hash(format!("user-{at}").as_bytes())).collect();
        seen.extend([&b""[..], b"\0", b"\0\0", b"12345678", b"12345678\0"].map(hash));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        let low = seen.iter().filter(|hash| **hash < 1 << 63).count();
        assert!((400..600).contains(&low), "{low}");
    }
}
