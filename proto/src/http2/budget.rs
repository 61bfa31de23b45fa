//! What a peer may cost.

use std::time::Duration;

use super::config::Budget;
use super::error::Fault;

/// The tokens of one connection, in millionths, so that what comes in a microsecond can be counted.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    left: u64,
    at: Duration,
    capacity: u64,
    per_second: u64,
}

const TOKEN: u64 = 1_000_000;

impl Tokens {
    pub(super) fn new(budget: &Budget, now: Duration) -> Self {
        let capacity = u64::from(budget.capacity) * TOKEN;
        Self { left: capacity, at: now, capacity, per_second: u64::from(budget.per_second) }
    }

    /// Pays.
    pub(super) fn spend(&mut self, cost: u32, now: Duration) -> Result<(), Fault> {
        let cost = u64::from(cost) * TOKEN;
        if self.left < cost {
            let micros = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(micros.saturating_mul(self.per_second)).min(self.capacity);
            self.at = self.at.max(now);
        }
        self.left = self.left.checked_sub(cost).ok_or(Fault::Calm)?;
        Ok(())
    }

    pub(super) fn earn(&mut self, tokens: u32) {
        self.left = (self.left + u64::from(tokens) * TOKEN).min(self.capacity);
    }

    /// Whole tokens that are left, as far as they were counted.
    pub(super) fn left(&self) -> u64 {
        self.left / TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Costs;
    use super::*;

    #[test]
    fn it_fills_with_time_and_use_up_to_its_capacity() {
        let budget = Budget { capacity: 100, per_second: 10, costs: Costs::default() };
        let second = Duration::from_secs;
        let mut tokens = Tokens::new(&budget, second(5));
        assert_eq!(tokens.spend(100, second(5)), Ok(()));
        assert_eq!(tokens.spend(1, second(5)), Err(Fault::Calm));
        assert_eq!(tokens.spend(10, second(6)), Ok(()));
        assert_eq!(tokens.spend(1, second(6)), Err(Fault::Calm));
        tokens.earn(3);
        assert_eq!(tokens.spend(3, second(6)), Ok(()));
        assert_eq!(tokens.spend(101, second(1000)), Err(Fault::Calm));
        assert_eq!(tokens.left(), 100);
        tokens.earn(1000);
        assert_eq!(tokens.left(), 100);
        // A clock that goes back gives nothing.
        assert_eq!(tokens.spend(100, second(2)), Ok(()));
        assert_eq!(tokens.spend(1, second(3)), Err(Fault::Calm));
    }
}
