//! `retry`: when a request is sent again, and how often that may be.

use std::time::Duration;

use super::Codes;

/// `retry` of an upstream. Only what provably was not sent, or may be done twice and can be replayed, is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included; at least 1.
    pub attempts: u32,
    /// After what.
    pub on: RetryOn,
    /// The most that the first wait before another try may be; it doubles with every try. No wait when absent.
    pub backoff: Option<Duration>,
    /// What that grows to.
    pub backoff_max: Duration,
    /// From a whole request sent to the whole head of its answer, for each try.
    pub per_try: Option<Duration>,
    /// The longest `Retry-After` of an answer that is waited for.
    pub retry_after: Duration,
    /// Requests whose method is not idempotent may be sent twice.
    pub non_idempotent: bool,
    /// Bytes of a request body that are kept for another try.
    pub body: u32,
    /// Bytes of all request bodies that one core keeps.
    pub bodies: u64,
    /// Retries as a part of the requests, in millionths; any number when absent.
    pub budget: Option<u32>,
    /// Retries a second that one core may make in any case.
    pub budget_floor: u32,
    /// The time over which both are counted.
    pub budget_window: Duration,
    /// Whether a request that has no answer yet is sent to another endpoint as well.
    pub hedge: Option<Hedge>,
}

/// `hedge`: when a request that has no answer yet is sent to another endpoint as well. The first answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// When.
    pub after: HedgeAfter,
    /// But not before, whatever the response times are.
    pub at_least: Duration,
    /// Answers that must be known of before they say anything.
    pub samples: u32,
    /// How many more times it is sent.
    pub max: u32,
    /// Hedges as a part of the requests, in millionths. They count as retries, too.
    pub budget: u32,
}

/// How long an answer is waited for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// As long as so many thousandths of the upstream's recent answers took.
    Quantile(u16),
    /// So long.
    Time(Duration),
}

impl Default for Hedge {
    fn default() -> Self {
        Self {
            after: HedgeAfter::Quantile(950),
            at_least: Duration::from_millis(1),
            samples: 100,
            max: 1,
            budget: 100_000,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn { connect: true, reset: true, ..RetryOn::default() },
            backoff: Some(Duration::from_millis(25)),
            backoff_max: Duration::from_secs(1),
            per_try: None,
            retry_after: Duration::from_secs(1),
            non_idempotent: false,
            body: 16 << 10,
            bodies: 4 << 20,
            budget: Some(500_000),
            budget_floor: 3,
            budget_window: Duration::from_secs(10),
            hedge: None,
        }
    }
}

/// `retry` of a route: what holds instead of that of its upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteRetry {
    /// See [`Retry::attempts`].
    pub attempts: Option<u32>,
    /// See [`Retry::non_idempotent`].
    pub non_idempotent: Option<bool>,
    /// Whether its requests are hedged where those of its upstream are.
    pub hedge: Option<bool>,
}

/// After what a request is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// A failed connect.
    pub connect: bool,
    /// A connection that ended before the first byte of the response.
    pub reset: bool,
    /// A call of gRPC that came to one of these, before anything else of its answer.
    pub codes: Codes,
    /// A timeout before the whole head of the response.
    pub timeout: bool,
    /// An answer of one of these.
    pub statuses: Statuses,
}

/// A set of statuses from 400 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses([u64; 4]);

impl Statuses {
    const FIRST: u16 = 400;

    /// Adds one; false where it is none of those that can be in the set.
    pub fn add(&mut self, status: u16) -> bool {
        let Some(at) = status.checked_sub(Self::FIRST).filter(|at| *at < 200) else { return false };
        match self.0.get_mut(usize::from(at / 64)) {
            Some(word) => *word |= 1 << (at % 64),
            None => return false,
        }
        true
    }

    /// Whether it is in the set.
    #[inline]
    pub fn has(&self, status: u16) -> bool {
        let Some(at) = status.checked_sub(Self::FIRST) else { return false };
        self.0.get(usize::from(at / 64)).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = Statuses::default();
        for status in [400, 463, 464, 502, 599] {
            assert!(set.add(status));
        }
        assert!(!set.add(399) && !set.add(600) && !set.add(u16::MAX));
        let has: Vec<u16> = (0..=u16::MAX).filter(|status| set.has(*status)).collect();
        assert_eq!(has, [400, 463, 464, 502, 599]);
    }
}
