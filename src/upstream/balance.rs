//! Which endpoint is next.

use std::cell::{Cell, RefCell};

/// Smooth weighted round robin: each pick goes to the endpoint that is furthest behind its share, so that weighted
/// picks are spread rather than bunched. With equal weights it is plain round robin. Drained endpoints have no share.
#[derive(Debug)]
pub struct RoundRobin {
    weights: Box<[i64]>,
    shares: RefCell<Box<[Share]>>,
    /// The weights of all that are not drained.
    total: Cell<i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    behind: i64,
    is_drained: bool,
}

impl RoundRobin {
    /// One weight an endpoint, each at least 1.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Box<[i64]> = weights.into_iter().map(i64::from).collect();
        let shares = RefCell::new(vec![Share::default(); weights.len()].into());
        Self { total: Cell::new(weights.iter().sum()), weights, shares }
    }

    /// The index of the next endpoint, other than `avoid` where there is another. None where all are drained.
    pub fn pick(&self, avoid: Option<usize>) -> Option<usize> {
        let total = self.total.get();
        if total == 0 {
            return None;
        }
        if self.weights.len() == 1 {
            return Some(0);
        }
        let mut shares = self.shares.borrow_mut();
        let mut best: Option<(usize, i64)> = None;
        for (at, (share, weight)) in shares.iter_mut().zip(&self.weights).enumerate() {
            if share.is_drained {
                continue;
            }
            share.behind += weight;
            if avoid != Some(at) && best.is_none_or(|(_, most)| share.behind > most) {
                best = Some((at, share.behind));
            }
        }
        // Where the one to avoid is the only one left, it has to do.
        let at = best.map(|(at, _)| at).or(avoid)?;
        if let Some(share) = shares.get_mut(at) {
            share.behind -= total;
        }
        Some(at)
    }

    /// Whether this endpoint has no share now.
    pub fn is_drained(&self, endpoint: usize) -> bool {
        self.shares.borrow().get(endpoint).is_some_and(|share| share.is_drained)
    }

    /// Drains an endpoint, or gives it its share again. Shares begin anew where that changes anything.
    pub fn set_drained(&self, endpoint: usize, is_drained: bool) {
        let mut shares = self.shares.borrow_mut();
        if shares.get(endpoint).is_none_or(|share| share.is_drained == is_drained) {
            return;
        }
        let mut total = 0;
        for (at, (share, weight)) in shares.iter_mut().zip(&self.weights).enumerate() {
            *share = Share { behind: 0, is_drained: if at == endpoint { is_drained } else { share.is_drained } };
            total += if share.is_drained { 0 } else { *weight };
        }
        self.total.set(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weighted_picks_are_spread() {
        let robin = RoundRobin::new([5, 1, 1]);
        let picks: Vec<_> = (0..7).filter_map(|_| robin.pick(None)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn an_endpoint_that_just_failed_is_avoided_where_there_is_another() {
        let robin = RoundRobin::new([1, 1, 1]);
        assert!((0..30).all(|_| robin.pick(Some(1)) != Some(1)));
        assert_eq!(RoundRobin::new([3]).pick(Some(0)), Some(0));
    }

    #[test]
    fn a_drained_endpoint_is_not_picked_and_comes_back_with_its_share() {
        let robin = RoundRobin::new([1, 2, 1]);
        robin.set_drained(1, true);
        let picks: Vec<_> = (0..4).filter_map(|_| robin.pick(None)).collect();
        assert_eq!(picks, [0, 2, 0, 2]);
        assert!(robin.is_drained(1) && !robin.is_drained(0));
        robin.set_drained(2, true);
        assert_eq!(robin.pick(Some(0)), Some(0), "the one to avoid is the only one");
        robin.set_drained(0, true);
        assert_eq!((robin.pick(None), robin.pick(Some(1))), (None, None));
        for endpoint in 0..3 {
            robin.set_drained(endpoint, false);
        }
        let mut counts = [0; 3];
        for _ in 0..8 {
            counts[robin.pick(None).unwrap()] += 1;
        }
        assert_eq!(counts, [2, 4, 2]);
    }

    proptest! {
        #[test]
        fn over_one_round_each_endpoint_gets_exactly_its_weight(weights in proptest::collection::vec(1u32..20, 1..12)) {
            let robin = RoundRobin::new(weights.clone());
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..weights.iter().sum::<u32>() {
                counts[robin.pick(None).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
