//! What happened in a world, in order.

use std::collections::VecDeque;
use std::fmt;

use crate::clock::Instant;

/// Entries kept; of older ones only the digest tells.
const KEEP: usize = 4096;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What: "run", or the packet that arrived, or the fault that struck.
    pub what: &'static str,
    /// Which connection, or which of the ready tasks.
    pub subject: u64,
    /// How many bytes or ready tasks.
    pub amount: u64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.at.as_nanos();
        let (secs, micros, rest) = (nanos / 1_000_000_000, nanos / 1000 % 1_000_000, nanos % 1000);
        write!(f, "{secs}.{micros:06}_{rest:03} {} #{} {}", self.what, self.subject, self.amount)
    }
}

/// The latest entries, and a digest of all.
pub(super) struct Trace {
    latest: VecDeque<Entry>,
    digest: u64,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { latest: VecDeque::new(), digest: 0xcbf2_9ce4_8422_2325 }
    }

    pub(super) fn note(&mut self, at: Instant, what: &'static str, subject: u64, amount: u64) {
        let numbers = [at.as_nanos(), subject, amount].into_iter().flat_map(u64::to_le_bytes);
        for byte in what.bytes().chain(numbers) {
            // FNV-1a: it need only differ where the entries do.
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.latest.len() == KEEP {
            self.latest.pop_front();
        }
        self.latest.push_back(Entry { at, what, subject, amount });
    }

    pub(super) fn latest(&self) -> impl Iterator<Item = &Entry> {
        self.latest.iter()
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }
}
