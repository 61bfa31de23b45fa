//! Maglev (Eisenbud and others, 2016): a table with a prime number of places, in which every endpoint has its share to a
//! place. A request looks at one place. Adding or removing an endpoint moves few keys of others.

use super::random::mix;

/// Which endpoint has each place.
#[derive(Debug)]
pub(crate) struct Maglev(Box<[u32]>);

/// An endpoint that takes places: in an order of its own, as often as its weight says.
struct Taker {
    endpoint: u32,
    /// Its next place.
    at: u64,
    step: u64,
    weight: u64,
    /// Turns it has taken, times the greatest weight.
    taken: u64,
}

impl Maglev {
    /// Of endpoints with the hashes of their names and their weights. `places` is a prime.
    pub(super) fn build(members: impl Iterator<Item = (u32, u64, u32)>, places: u32) -> Self {
        /// No endpoint has this number.
        const FREE: u32 = u32::MAX;
        let count = u64::from(places);
        let mut takers: Vec<Taker> = members
            .map(|(endpoint, name, weight)| {
                let (at, step) = (mix(name ^ 0x6f66_6673_6574) % count, mix(name ^ 0x736b_6970) % (count - 1) + 1);
                Taker { endpoint, at, step, weight: u64::from(weight), taken: 0 }
            })
            .collect();
        // The order of turns must not follow from the config's.
        takers.sort_by_key(|taker| (taker.step, taker.at));
        let greatest = takers.iter().map(|taker| taker.weight).max().unwrap_or(0);
        let mut table = vec![FREE; places as usize].into_boxed_slice();
        let mut left = table.len();
        let mut round = 0;
        while left > 0 && greatest > 0 {
            round += 1;
            for taker in &mut takers {
                // In each round the heaviest has one turn, and others by their weight.
                if left == 0 || taker.taken + greatest > round * taker.weight {
                    continue;
                }
                taker.taken += greatest;
                loop {
                    let at = taker.at as usize;
                    taker.at = (taker.at + taker.step) % count;
                    if let Some(place) = table.get_mut(at).filter(|place| **place == FREE) {
                        *place = taker.endpoint;
                        left -= 1;
                        break;
                    }
                }
            }
        }
        Self(if greatest == 0 { Box::default() } else { table })
    }

    pub(super) fn get(&self, hash: u64) -> Option<u32> {
        // The upper half of the product, where the remainder would cost a division.
        let at = (u128::from(hash) * self.0.len() as u128) >> 64;
        self.0.get(at as usize).copied()
    }
}
