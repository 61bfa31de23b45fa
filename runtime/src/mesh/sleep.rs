//! The flag by which a thread that is about to block and one that has work for it agree on who sees whom.

use std::sync::atomic::Ordering;

use super::padded::Padded;
use super::sync::{AtomicBool, fence};

/// Whether a thread sleeps, or is just about to.
///
/// The sleeper raises its flag and then looks for work; the other publishes work and then looks at the flag. Each has a
/// sequentially consistent fence between its store and its load, so not both can miss the other's store (C++20,
/// 33.5.4, atomics.fences): either the sleeper finds the work and stays awake, or the other finds the flag and rings.
/// The flag has a cache line of its own; while its owner stays awake, looking at it costs the others a cached load.
pub(crate) struct Sleep {
    asleep: Padded<AtomicBool>,
}

impl Sleep {
    pub(crate) fn new() -> Self {
        Self { asleep: Padded(AtomicBool::new(false)) }
    }

    /// Announces sleep, unless `has_work` finds some. False: do not sleep.
    pub(crate) fn may_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if has_work() {
            self.awake();
            return false;
        }
        true
    }

    /// The owner is back.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the caller has to ring. Of several callers one does, and none while the owner is awake. Publish the work
    /// and call [`published`] before.
    pub(crate) fn rouse(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
            && self.asleep.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The fence between publishing work and [`Sleep::rouse`].
pub(crate) fn published() {
    fence(Ordering::SeqCst);
}
