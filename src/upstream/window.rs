//! What came of the requests of the last while, counted by all cores together.
//!
//! A window is [`PARTS`] parts of time, each one word: the part's number and its counts. A count and the forgetting of
//! an old part are one compare-and-swap, so no core ever sees half of either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringway_runtime::clock::Instant;

/// The window moves in steps of so many parts of it.
const PARTS: u64 = 10;
/// Bits of each of the three counts; what is left numbers the part.
const BITS: u32 = 14;
const MOST: u64 = (1 << BITS) - 1;

/// Requests, and those of them that failed or were slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u64,
    pub(super) failed: u64,
    pub(super) slow: u64,
}

impl Counts {
    fn of(word: u64) -> Self {
        Self { all: word & MOST, failed: word >> BITS & MOST, slow: word >> (2 * BITS) & MOST }
    }

    fn word(self, number: u64) -> u64 {
        number << (3 * BITS) | self.slow << (2 * BITS) | self.failed << BITS | self.all
    }

    fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, failed: self.failed + other.failed, slow: self.slow + other.slow }
    }

    /// Whether `some` of them are at least this many millionths.
    pub(super) fn are_at_least(self, some: u64, ratio: u32) -> bool {
        some > 0 && some * 1_000_000 >= self.all * u64::from(ratio)
    }
}

/// A sliding window.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Window([AtomicU64; PARTS as usize]);

impl Window {
    /// The number of the part that is now. It comes again after four million of them: what nobody asked for so long
    /// may then find a part of that time.
    fn number(window: Duration, now: Instant) -> u64 {
        let part = (window.as_nanos() as u64 / PARTS).max(1);
        // Never 0, which no part of an empty window has.
        (now.as_nanos() / part + 1) & (u64::MAX >> (3 * BITS))
    }

    /// Counts one request, and says what the window has then.
    pub(super) fn add(&self, window: Duration, failed: bool, slow: bool, now: Instant) -> Counts {
        let number = Self::number(window, now);
        let one = Counts { all: 1, failed: failed.into(), slow: slow.into() };
        let counted = |word: u64| {
            let before = if word >> (3 * BITS) == number { Counts::of(word) } else { Counts::default() };
            // A part that is full goes on with half of all it has: the ratios stay.
            let before = if before.all == MOST {
                Counts { all: before.all / 2, failed: before.failed / 2, slow: before.slow / 2 }
            } else {
                before
            };
            Some(before.plus(one).word(number))
        };
        if let Some(part) = self.0.get((number % PARTS) as usize) {
            let _ = part.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        }
        self.sum(number)
    }

    fn sum(&self, number: u64) -> Counts {
        let parts = self.0.iter().map(|part| part.load(Ordering::Relaxed));
        let recent = parts.filter(|word| number.wrapping_sub(word >> (3 * BITS)) < PARTS && *word != 0);
        recent.fold(Counts::default(), |sum, word| sum.plus(Counts::of(word)))
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for part in &self.0 {
            part.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    proptest! {
        /// Against a list of all requests, each of which is forgotten with its second.
        #[test]
        fn it_counts_what_a_list_counts(steps in prop::collection::vec((0u64..4_000, any::<bool>(), any::<bool>()), 1..200)) {
            let window = Window::default();
            let mut list: VecDeque<(u64, bool, bool)> = VecDeque::new();
            let mut now = 0;
            for (gone, failed, slow) in steps {
                now += gone;
                list.push_back((now / 1_000, failed, slow));
                list.retain(|(second, _, _)| now / 1_000 - second < 10);
                let wanted = Counts {
                    all: list.len() as u64,
                    failed: list.iter().filter(|(_, failed, _)| *failed).count() as u64,
                    slow: list.iter().filter(|(_, _, slow)| *slow).count() as u64,
                };
                prop_assert_eq!(window.add(TEN, failed, slow, at(now)), wanted);
            }
        }
    }

    #[test]
    fn a_part_that_is_full_keeps_its_ratio() {
        let window = Window::default();
        let mut counts = Counts::default();
        for request in 0..100_000 {
            counts = window.add(TEN, request % 4 == 0, false, at(5));
        }
        assert!(counts.all > 8_000, "{counts:?}");
        let ratio = counts.failed as f64 / counts.all as f64;
        assert!((ratio - 0.25).abs() < 0.01, "{counts:?}");
    }

    #[test]
    fn no_count_of_any_core_is_lost() {
        let window = Arc::new(Window::default());
        let cores: Vec<_> = (0..4)
            .map(|core| {
                let window = window.clone();
                thread::spawn(move || {
                    for _ in 0..1_000 {
                        window.add(TEN, core == 0, core == 1, at(1));
                    }
                })
            })
            .collect();
        for core in cores {
            core.join().expect("a core");
        }
        assert_eq!(window.add(TEN, false, false, at(2)), Counts { all: 4_001, failed: 1_000, slow: 1_000 });
    }

    #[test]
    fn what_is_cleared_is_forgotten() {
        let window = Window::default();
        window.add(TEN, true, true, at(0));
        window.clear();
        assert_eq!(window.add(TEN, false, false, at(0)), Counts { all: 1, failed: 0, slow: 0 });
    }
}
