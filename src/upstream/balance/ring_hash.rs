//! Ring hash (Karger and others, 1997): every endpoint has many points on a ring; a request goes to the endpoint whose
//! point is next. Adding or removing an endpoint moves only the keys between its points and those before them.

use super::random::mix;

/// Points in the order of the ring.
#[derive(Debug)]
pub(crate) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// Of endpoints with the hashes of their names and their weights; so many points for each unit of weight.
    pub(super) fn build(members: impl Iterator<Item = (u32, u64, u32)>, points: u32) -> Self {
        let mut all: Vec<(u64, u32)> = Vec::new();
        for (at, name, weight) in members {
            let count = u64::from(points) * u64::from(weight);
            all.extend(
                (1..=count).map(|point| (mix(name.wrapping_add(point.wrapping_mul(0x9e37_79b9_7f4a_7c15))), at)),
            );
        }
        all.sort_unstable();
        Self(all.into())
    }

    /// In the order of the ring: where each point is and whose it is.
    #[cfg(test)]
    pub(super) fn points(&self) -> &[(u64, u32)] {
        &self.0
    }

    /// The first good endpoint from a hash on. Passes over no more points than it takes to find `members` of them bad.
    pub(super) fn walk(&self, hash: u64, members: usize, is_good: impl Fn(u32) -> bool) -> Option<u32> {
        let from = self.0.partition_point(|(point, _)| *point < hash);
        let (before, behind) = self.0.split_at_checked(from)?;
        let mut last = None;
        let mut looks = 0;
        for &(_, at) in behind.iter().chain(before) {
            if last == Some(at) {
                continue;
            }
            if is_good(at) {
                return Some(at);
            }
            last = Some(at);
            looks += 1;
            // Nearly all are bad: the ring is long, and the rest of it would say the same.
            if looks > 8 * members + 64 {
                break;
            }
        }
        self.0.iter().map(|&(_, at)| at).find(|&at| is_good(at))
    }
}
