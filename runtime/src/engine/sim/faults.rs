//! What goes wrong in a simulated network, and how often.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::Instant;
use crate::core::random::Random;

/// The manners of a network. The default is a calm one; chances are in a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long a packet is under way.
    pub delay: RangeInclusive<Duration>,
    /// Packets that are lost and come again 200 ms later, with all that follows them.
    pub loss_per_million: u32,
    /// Packets in whose place both ends get a reset.
    pub reset_per_million: u32,
    /// Packets after which their connection carries nothing more, and neither end is told. A sender gives up after
    /// 15 minutes.
    pub silence_per_million: u32,
    /// Connects that are refused though somebody listens.
    pub refuse_per_million: u32,
    /// Reads that get a part of what is there.
    pub short_read_per_million: u32,
    /// Writes of which the kernel takes a part first, and segments that are cut short.
    pub short_write_per_million: u32,
    /// Reads that find no free buffer and wait for one.
    pub starve_per_million: u32,
    /// Bytes that a socket takes from its sender ahead of the network.
    pub send_buffer: usize,
    /// Bytes that a new socket holds for its reader.
    pub receive_buffer: usize,
    /// Most bytes in one packet.
    pub segment: usize,
    /// Connections that wait to be accepted; a connect beyond is repeated a second later.
    pub backlog: usize,
    /// What a run of a task costs.
    pub turn: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(20)..=Duration::from_micros(100),
            loss_per_million: 0,
            reset_per_million: 0,
            silence_per_million: 0,
            refuse_per_million: 0,
            short_read_per_million: 0,
            short_write_per_million: 0,
            starve_per_million: 0,
            send_buffer: 64 * 1024,
            receive_buffer: 64 * 1024,
            segment: 8 * 1024,
            backlog: 1024,
            turn: Duration::from_micros(1),
        }
    }
}

impl Faults {
    /// Everything that TCP hides from a program, and often: what is right on a calm network must be right on this one.
    pub fn rough() -> Self {
        Self {
            delay: Duration::from_micros(5)..=Duration::from_millis(20),
            loss_per_million: 10_000,
            short_read_per_million: 300_000,
            short_write_per_million: 300_000,
            starve_per_million: 50_000,
            send_buffer: 16 * 1024,
            receive_buffer: 8 * 1024,
            segment: 1448,
            ..Self::default()
        }
    }
}

/// The seeded choices of a world.
pub(super) struct Dice(Random);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::from_seed(seed))
    }

    /// A number below `bound`, zero when that is zero.
    pub(super) fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.0.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(super) fn chance(&self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// From one to `most`; `most` itself except when a `short` chance comes true.
    pub(super) fn part(&self, most: usize, short_per_million: u32) -> usize {
        if most > 1 && self.chance(short_per_million) { 1 + self.below(most as u64) as usize } else { most }
    }

    /// `now` and a time out of `range`.
    pub(super) fn after(&self, now: Instant, range: &RangeInclusive<Duration>) -> Instant {
        let span = range.end().saturating_sub(*range.start()).as_nanos() as u64;
        now + *range.start() + Duration::from_nanos(self.below(span.saturating_add(1)))
    }
}
