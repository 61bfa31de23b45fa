//! So many events of a kind in a second, and no more: a storm of errors must not flood the log.

use std::cell::Cell;

use ringway_runtime::clock::Instant;

const SECOND: u64 = 1_000_000_000;

/// Counts the events of one kind.
#[derive(Debug, Default)]
pub(super) struct Limit {
    /// When the second that is counted began; nothing before the first event.
    since: Cell<Option<Instant>>,
    told: Cell<u32>,
    untold: Cell<u64>,
}

impl Limit {
    /// Whether one more may be told.
    pub(super) fn admits(&self, now: Instant, most: u32) -> bool {
        if self.since.get().is_none_or(|since| now.nanos_since(since) >= SECOND) {
            self.since.set(Some(now));
            self.told.set(0);
        }
        let admits = self.told.get() < most;
        if admits {
            self.told.set(self.told.get() + 1);
        } else {
            self.untold.set(self.untold.get() + 1);
        }
        admits
    }

    /// So many could not be told.
    pub(super) fn is_untold(&self, count: u64) {
        self.untold.set(self.untold.get() + count);
    }

    /// How many were not told since this was last asked.
    pub(super) fn take_untold(&self) -> u64 {
        self.untold.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_to_so_many_a_second_and_the_rest_is_counted() {
        let limit = Limit::default();
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let told = (0..5000).filter(|&ms| limit.admits(at(ms), 10)).count();
        assert_eq!((told, limit.take_untold()), (50, 4950));
        assert_eq!(limit.take_untold(), 0);
        assert!(limit.admits(at(9_000), 1));
        assert!(!limit.admits(at(9_999), 1));
        assert!(limit.admits(at(10_000), 1));
        assert!(!limit.admits(at(20_000), 0));
    }
}
