//! Which endpoint is next.

use std::cell::RefCell;

/// Smooth weighted round robin: each pick goes to the endpoint that is furthest behind its share, so that weighted
/// picks are spread rather than bunched. With equal weights it is plain round robin.
#[derive(Debug)]
pub struct RoundRobin {
    weights: Box<[i64]>,
    total: i64,
    behind: RefCell<Box<[i64]>>,
}

impl RoundRobin {
    /// One weight an endpoint, each at least 1.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Box<[i64]> = weights.into_iter().map(i64::from).collect();
        let behind = RefCell::new(vec![0; weights.len()].into());
        Self { total: weights.iter().sum(), weights, behind }
    }

    /// The index of the next endpoint, other than `avoid` where there is another.
    pub fn pick(&self, avoid: Option<usize>) -> usize {
        if self.weights.len() == 1 {
            return 0;
        }
        let mut behind = self.behind.borrow_mut();
        let mut best: Option<(usize, i64)> = None;
        for (at, (behind, weight)) in behind.iter_mut().zip(&self.weights).enumerate() {
            *behind += weight;
            if avoid != Some(at) && best.is_none_or(|(_, most)| *behind > most) {
                best = Some((at, *behind));
            }
        }
        let at = best.map_or(0, |(at, _)| at);
        if let Some(behind) = behind.get_mut(at) {
            *behind -= self.total;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weighted_picks_are_spread() {
        let robin = RoundRobin::new([5, 1, 1]);
        let picks: Vec<_> = (0..7).map(|_| robin.pick(None)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn an_endpoint_that_just_failed_is_avoided_where_there_is_another() {
        let robin = RoundRobin::new([1, 1, 1]);
        assert!((0..30).all(|_| robin.pick(Some(1)) != 1));
        assert_eq!(RoundRobin::new([3]).pick(Some(0)), 0);
    }

    proptest! {
        #[test]
        fn over_one_round_each_endpoint_gets_exactly_its_weight(weights in proptest::collection::vec(1u32..20, 1..12)) {
            let robin = RoundRobin::new(weights.clone());
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..weights.iter().sum::<u32>() {
                counts[robin.pick(None)] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
