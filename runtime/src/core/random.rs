//! Random numbers that are not secrets: jitter, sampling, the choice between equals.

use std::cell::Cell;

/// A generator of one core: splitmix64 (Steele, Lea and Flood, 2014). A few instructions a number, every seed is good,
/// and the same seed gives the same numbers. Whoever sees some can tell the next, so nothing secret comes from it.
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// Numbers that follow from `seed`.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// Numbers nobody knows beforehand, seeded by the kernel.
    pub(crate) fn from_kernel() -> Self {
        let mut seed = [0; 8];
        // SAFETY: `seed` is eight writable bytes, and its true length is passed.
        let filled = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), libc::GRND_NONBLOCK) };
        // Only before the kernel has gathered any entropy, early in boot, is it not filled; the clock tells cores apart.
        let clock = if filled == seed.len() as isize { 0 } else { crate::clock::Instant::now().as_nanos() };
        Self::from_seed(u64::from_ne_bytes(seed) ^ clock)
    }

    /// The next number, uniform over all of `u64`.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_of_the_published_generator() {
        let random = Random::from_seed(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn cores_draw_different_numbers() {
        assert_ne!(Random::from_kernel().next(), Random::from_kernel().next());
    }
}
