//! Flow control, both ways (RFC 9113 sections 5.2 and 6.9).

use std::time::Duration;

use super::frame::MAX;

/// What a window is before anybody says otherwise.
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

/// What the peer may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    /// What is left of it; below zero only after we made the windows of streams smaller.
    left: i64,
    /// What it is filled up to, and what that may grow to.
    size: u32,
    max: u32,
    /// What was taken and not yet given back.
    taken: u32,
    /// When something was given back last.
    since: Duration,
}

impl Receiving {
    pub(super) fn new(size: u32, max: u32, now: Duration) -> Self {
        Self { left: i64::from(size), size, max: max.clamp(size, MAX), taken: 0, since: now }
    }

    /// Counts what came; false if that is more than allowed.
    #[must_use]
    pub(super) fn receive(&mut self, len: usize) -> bool {
        self.left -= len as i64;
        self.left >= 0
    }

    /// Counts what was taken out of the way, and says by how much the window should be updated, if it should.
    ///
    /// It is updated when half of it is used up. Where that took less than two round trips, the window is what holds
    /// the peer back, so it doubles.
    pub(super) fn take(&mut self, len: u32, now: Duration, round_trip: Option<Duration>) -> Option<u32> {
        self.taken = self.taken.saturating_add(len);
        if self.taken < self.size / 2 || self.taken == 0 {
            return None;
        }
        let mut more = self.taken;
        if self.size < self.max && round_trip.is_some_and(|trip| now.saturating_sub(self.since) < trip * 2) {
            let size = self.size.saturating_mul(2).min(self.max);
            more += size - self.size;
            self.size = size;
        }
        self.left += i64::from(more);
        (self.taken, self.since) = (0, now);
        Some(more)
    }

    /// Applies a change of the size that all windows start with.
    pub(super) fn shift(&mut self, from: u32, to: u32) {
        self.left += i64::from(to) - i64::from(from);
        self.size = to.max(1);
        self.max = self.max.max(self.size);
    }
}

/// What we may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending(i64);

impl Sending {
    pub(super) fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// What may be sent now.
    #[inline]
    pub(super) fn left(self) -> usize {
        usize::try_from(self.0).unwrap_or_default()
    }

    pub(super) fn send(&mut self, len: usize) {
        self.0 -= len as i64;
    }

    /// Adds an update; false if that is too much.
    #[must_use]
    pub(super) fn add(&mut self, more: i64) -> bool {
        self.0 += more;
        self.0 <= i64::from(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_window_is_given_back_in_halves_and_grows_only_when_it_is_in_the_way() {
        let mut window = Receiving::new(1000, 3000, MS);
        assert!(window.receive(1000));
        assert_eq!(window.take(499, MS * 2, Some(MS)), None);
        // Slowly: what was taken and no more.
        assert_eq!(window.take(1, MS * 3, Some(MS)), Some(500));
        // Fast: twice as much, and then the cap.
        assert_eq!(window.take(500, MS * 4, Some(MS)), Some(500 + 1000));
        assert!(window.receive(1000));
        assert_eq!(window.take(1000, MS * 4, Some(MS)), Some(1000 + 1000));
        assert_eq!(window.take(1499, MS * 4, Some(MS)), None);
        assert_eq!(window.take(1, MS * 4, Some(MS)), Some(1500));
        // Without a round trip to compare with, it stays.
        let mut window = Receiving::new(1000, 3000, MS);
        assert_eq!(window.take(500, MS, None), Some(500));
    }

    #[test]
    fn windows_never_pass_their_bounds() {
        let mut window = Receiving::new(10, 10, MS);
        assert!(window.receive(10));
        assert!(!window.receive(1));
        let mut window = Sending::new(MAX);
        assert!(!window.add(1));
        let mut window = Sending::new(10);
        window.send(10);
        assert!(window.add(-5));
        assert_eq!(window.left(), 0);
        assert!(window.add(7));
        assert_eq!(window.left(), 2);
    }
}
