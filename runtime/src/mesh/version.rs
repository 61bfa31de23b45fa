//! What one thread writes and others read without waiting for it: a version tells readers when what they read may not
//! belong together (a sequence lock).
//!
//! What is written must be atomics, and relaxed accesses are enough for them. A reader that meets a writer finds nothing
//! and goes on with what it had, so nobody waits for anybody.

use std::sync::atomic::Ordering;

use super::sync::{AtomicU64, fence};

/// Counts what was written. It is odd while something is, and 0 before anything was.
#[derive(Debug, Default)]
pub struct Version(AtomicU64);

impl Version {
    /// How it is now. Who sees a version sees all that was written before it.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Writes with `write`. For one thread at a time.
    pub fn write<R>(&self, write: impl FnOnce() -> R) -> R {
        let version = self.0.load(Ordering::Relaxed);
        self.0.store(version | 1, Ordering::Relaxed);
        // Whoever reads something of what comes now, and then looks here again, sees at least the odd version.
        fence(Ordering::Release);
        let written = write();
        self.0.store((version | 1) + 1, Ordering::Release);
        written
    }

    /// What `read` finds and its version, or nothing where something was written meanwhile.
    pub fn read<R>(&self, read: impl FnOnce() -> R) -> Option<(u64, R)> {
        let version = self.now();
        if !version.is_multiple_of(2) {
            return None;
        }
        let found = read();
        // The accesses of `read` come before the one below.
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == version).then_some((version, found))
    }
}
