//! Time in nanoseconds since the clock was made: one number to compare, subtract and record.

use std::time::{Duration, Instant};

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that shows zero now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        nanoseconds(self.0.elapsed())
    }
}

/// A duration in nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
