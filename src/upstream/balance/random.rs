//! Numbers that are no secrets, and draws by weight in constant time.

use std::cell::Cell;

/// A generator: splitmix64 (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub(super) struct Random(Cell<u64>);

/// Spreads a number over all of `u64`.
pub(super) fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Random {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mix(state)
    }

    /// One of so many; 0 of none.
    pub(super) fn below(&self, count: usize) -> usize {
        scale(self.next() as u32, count)
    }
}

/// Where a number of 32 bits falls among so many places.
pub(super) fn scale(number: u32, count: usize) -> usize {
    ((u64::from(number) * count as u64) >> 32) as usize
}

/// An alias table (Walker, 1977, as Vose builds it): each place keeps its own endpoint with some chance, and otherwise
/// gives another one.
#[derive(Debug)]
pub(super) struct Draw(Box<[Place]>);

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Out of 2^32.
    keeps: u64,
    own: u32,
    other: u32,
}

impl Draw {
    /// Of endpoints and their weights.
    pub(super) fn new(members: &[(u32, u32)]) -> Self {
        let total: u64 = members.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let count = members.len() as u64;
        let whole = total.max(1);
        // Chances in units where a full place is `whole`.
        let mut chances: Vec<u64> = members.iter().map(|(_, weight)| u64::from(*weight) * count).collect();
        let mut places: Vec<Place> =
            members.iter().map(|&(own, _)| Place { keeps: 1 << 32, own, other: own }).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) = (0..members.len()).partition(|&at| chances[at] < whole);
        while let (Some(&from), Some(to)) = (rich.last(), poor.pop()) {
            let has = chances[to];
            places[to].keeps = ((u128::from(has) << 32) / u128::from(whole)) as u64;
            places[to].other = places[from].own;
            chances[from] -= whole - has;
            if chances[from] < whole {
                rich.pop();
                poor.push(from);
            }
        }
        Self(places.into())
    }

    /// One, by weight.
    pub(super) fn draw(&self, random: &Random) -> Option<u32> {
        let number = random.next();
        let place = self.0.get(scale((number >> 32) as u32, self.0.len()))?;
        Some(if u64::from(number as u32) < place.keeps { place.own } else { place.other })
    }

    /// One that is good for use, by weight; some other good one where draws do not find one soon.
    pub(super) fn draw_usable(&self, random: &Random, is_usable: impl Fn(u32) -> bool) -> Option<u32> {
        const TRIES: usize = 8;
        let drawn = (0..TRIES).find_map(|_| self.draw(random).filter(|&at| is_usable(at)));
        drawn.or_else(|| {
            let (from, count) = (random.below(self.0.len()), self.0.len());
            (from..from + count).map(|at| self.0[at % count].own).find(|&at| is_usable(at))
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The so many-th of them, by no order that means anything.
    pub(super) fn nth(&self, at: usize) -> Option<u32> {
        self.0.get(at).map(|place| place.own)
    }
}
