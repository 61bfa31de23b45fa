//! Groups: the endpoints that are asked before others, by their priority and zone, for each subset of an upstream.

use crate::plan::{Failover, Upstream, is_in};

/// The endpoints of one priority and nearness.
#[derive(Debug)]
pub(crate) struct Group {
    /// The priority, and whether it is another zone.
    order: (u32, bool),
    pub(crate) members: Box<[u32]>,
    /// The weights of them all.
    weight: u64,
}

/// The groups of every subset of an upstream, those first that are asked first. They follow from the plan alone.
#[derive(Debug)]
pub(crate) struct Groups {
    subsets: Box<[Box<[Group]>]>,
}

impl Groups {
    pub(crate) fn of(upstream: &Upstream) -> Self {
        let own_zone = upstream.failover.zone.as_deref();
        let groups = upstream.subsets.iter().map(|subset| {
            let mut found: Vec<((u32, bool), Vec<u32>)> = Vec::new();
            for (at, endpoint) in (0..).zip(&upstream.endpoints) {
                if !is_in(subset, &endpoint.metadata) {
                    continue;
                }
                let is_far = own_zone.is_some() && endpoint.zone.as_deref() != own_zone;
                let order = (endpoint.priority, is_far);
                match found.iter_mut().find(|(known, _)| *known == order) {
                    Some((_, members)) => members.push(at),
                    None => found.push((order, vec![at])),
                }
            }
            found.sort_by_key(|(order, _)| *order);
            let group = |(order, members): (_, Vec<u32>)| {
                let weight = members.iter().map(|&at| weight(upstream, at)).sum();
                Group { order, members: members.into(), weight }
            };
            found.into_iter().map(group).collect()
        });
        Self { subsets: groups.collect() }
    }

    /// The groups of each subset.
    pub(crate) fn subsets(&self) -> impl Iterator<Item = &[Group]> {
        self.subsets.iter().map(|groups| &**groups)
    }

    /// For each group its number among those of a plan before: the one of the same subset, priority and nearness.
    pub(crate) fn stay(&self, upstream: &Upstream, before: Option<(&Self, &Upstream)>) -> Vec<Option<usize>> {
        let named = |groups: &Self, upstream: &Upstream| -> Vec<_> {
            let subsets = upstream.subsets.iter().cloned().zip(&groups.subsets);
            subsets.flat_map(|(subset, groups)| groups.iter().map(move |group| (subset.clone(), group.order))).collect()
        };
        let known = before.map(|(groups, upstream)| named(groups, upstream)).unwrap_or_default();
        named(self, upstream).iter().map(|group| known.iter().position(|known| known == group)).collect()
    }

    /// All groups, one subset after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Group> {
        self.subsets.iter().flatten()
    }
}

pub(super) fn weight(upstream: &Upstream, endpoint: u32) -> u64 {
    upstream.endpoints.get(endpoint as usize).map_or(0, |endpoint| u64::from(endpoint.weight))
}

/// Where requests go: up to which part of 2^32 each group takes them. `available` says what part of a group's weight may
/// be used. A group that has `enough` takes all that is left, one with less its part of that; what no group takes is
/// spread as the rest is.
pub(super) fn shares(available: &[f64], failover: &Failover) -> Box<[u64]> {
    let enough = f64::from(failover.enough.max(1)) / 1e6;
    let mut left = 1.0;
    let takes: Vec<f64> = available
        .iter()
        .map(|available| {
            let takes = (available / enough).min(1.0) * f64::from(u8::from(*available > 0.0));
            let takes = takes.min(left);
            left -= takes;
            takes
        })
        .collect();
    let all: f64 = takes.iter().sum();
    let mut sum = 0.0;
    let limit = |takes: &f64| {
        sum += takes;
        if all > 0.0 { (sum / all * 4_294_967_296.0) as u64 } else { 0 }
    };
    takes.iter().map(limit).collect()
}

impl Group {
    /// What part of its weight may be used.
    pub(super) fn available(&self, upstream: &Upstream, may_be_used: impl Fn(u32) -> bool) -> f64 {
        let usable: u64 = self.members.iter().filter(|&&at| may_be_used(at)).map(|&at| weight(upstream, at)).sum();
        if self.weight == 0 { 0.0 } else { usable as f64 / self.weight as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(available: &[f64]) -> Vec<u64> {
        let shares = shares(available, &Failover::default());
        let mut before = 0;
        let part = |share: &u64| {
            let part = share - before;
            before = *share;
            (part as f64 / 4_294_967_296.0 * 100.0).round() as u64
        };
        shares.iter().map(part).collect()
    }

    #[test]
    fn what_a_group_cannot_take_goes_to_the_next() {
        for (available, wanted) in [
            (&[1.0, 1.0][..], &[100, 0][..]),
            (&[0.7, 1.0], &[100, 0]),
            (&[0.35, 1.0], &[50, 50]),
            (&[0.0, 1.0], &[0, 100]),
            (&[0.35, 0.14, 1.0], &[50, 20, 30]),
            // Nobody has enough: in the same proportions.
            (&[0.35, 0.14], &[71, 29]),
            (&[0.0, 0.0], &[0, 0]),
        ] {
            assert_eq!(percent(available), wanted, "{available:?}");
        }
    }
}
