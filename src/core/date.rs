//! The current date as a header value, written once a second.

use ringway_proto::http1::encode;
use ringway_runtime::clock::{Instant, Wall};

/// Bytes of an IMF-fixdate (RFC 9110 section 5.6.7): known, so that one is copied without a call.
const LENGTH: usize = 29;

/// Remembers the text of the current second.
#[derive(Debug, Default)]
pub struct DateCache {
    text: [u8; LENGTH],
    scratch: Vec<u8>,
    /// On the monotonic clock; the wall clock is asked when this has passed.
    valid_until: Instant,
}

impl DateCache {
    /// The IMF-fixdate of now. `wall` is called about once a second.
    pub fn get(&mut self, now: Instant, wall: impl FnOnce() -> Wall) -> &[u8; LENGTH] {
        if now >= self.valid_until {
            const SECOND: u64 = 1_000_000_000;
            let wall = wall();
            self.scratch.clear();
            encode::http_date(&mut self.scratch, wall.as_secs());
            if let Ok(text) = self.scratch.as_slice().try_into() {
                self.text = text;
            }
            self.valid_until = Instant::from_nanos(now.as_nanos() + SECOND - wall.as_nanos() % SECOND);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_changes_with_the_second_and_not_before() {
        let mut cache = DateCache::default();
        let at = Instant::from_nanos;
        let wall = |nanos: u64| move || Wall::from_nanos(784_111_777_000_000_000 + nanos);
        assert_eq!(cache.get(at(5), wall(400_000_000)), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.get(at(600_000_004), || panic!("still the same second")), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.get(at(600_000_005), wall(1_000_000_000)), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
