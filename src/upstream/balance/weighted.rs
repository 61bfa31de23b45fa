//! Smooth weighted round robin: each pick goes to the endpoint whose turn is due first, so that weighted picks are
//! spread rather than bunched.
//!
//! An endpoint of weight w has turns at the times 1/2w, 3/2w, 5/2w and so on: w of them in each unit of time, so each
//! round of as many picks as the weights sum up to gives every endpoint exactly its weight. A heap has the turn that is
//! due first at its top, so a pick costs the logarithm of the number of endpoints.

use std::cell::RefCell;

use super::View;

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Twice the time it is due, times the weight: odd, and 2 more with each turn.
    due: u64,
    weight: u32,
    endpoint: u32,
}

impl Turn {
    fn is_before(&self, other: &Self) -> bool {
        let (own, others) =
            (u128::from(self.due) * u128::from(other.weight), u128::from(other.due) * u128::from(self.weight));
        (own, self.weight, self.endpoint) < (others, other.weight, other.endpoint)
    }
}

/// Endpoints of different weights.
#[derive(Debug)]
pub(super) struct Weighted {
    heap: RefCell<Box<[Turn]>>,
}

impl Weighted {
    /// Each weight at least 1. `seat` tells cores apart: not all of them begin at the same place.
    pub(super) fn new(members: &[(u32, u32)], seat: usize) -> Self {
        let mut heap: Box<[Turn]> =
            members.iter().map(|&(endpoint, weight)| Turn { due: 1, weight: weight.max(1), endpoint }).collect();
        for at in (0..heap.len() / 2).rev() {
            sift(&mut heap, at);
        }
        for _ in 0..seat % members.len().max(1) {
            advance(&mut heap, 0);
        }
        Self { heap: RefCell::new(heap) }
    }

    pub(super) fn pick(&self, view: &View<'_>) -> Option<u32> {
        let mut heap = self.heap.borrow_mut();
        let top = heap.first()?.endpoint;
        if view.is_usable(top) {
            advance(&mut heap, 0);
            return Some(top);
        }
        let mut best: Option<usize> = None;
        for (at, turn) in heap.iter().enumerate() {
            let is_first = best.and_then(|best| heap.get(best)).is_none_or(|best| turn.is_before(best));
            if is_first && view.is_usable(turn.endpoint) {
                best = Some(at);
            }
        }
        let at = best?;
        let endpoint = heap.get(at)?.endpoint;
        advance(&mut heap, at);
        Some(endpoint)
    }
}

/// The turn at this place was taken: its endpoint's next one is later.
fn advance(heap: &mut [Turn], at: usize) {
    if let Some(turn) = heap.get_mut(at) {
        turn.due += 2;
        sift(heap, at);
    }
}

/// Moves what is at this place down to where it belongs.
fn sift(heap: &mut [Turn], mut at: usize) {
    loop {
        let mut first = at;
        for child in [2 * at + 1, 2 * at + 2] {
            if heap.get(child).zip(heap.get(first)).is_some_and(|(child, first)| child.is_before(first)) {
                first = child;
            }
        }
        if first == at {
            return;
        }
        heap.swap(at, first);
        at = first;
    }
}
