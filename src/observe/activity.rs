//! What a task of a data core does, in one word that other threads can read.

use crate::plan::RouteId;

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It has not said yet: the core starts, or a client connection has had no request that found a route.
    Connection,
    /// It accepts connections.
    Accept,
    /// It sweeps pools and copies counters.
    Housekeeping,
    /// It serves a request of this route of the plan of this epoch, or waits for the next on the same connection.
    Route {
        /// Counts the plans of one process; the last 24 bits of it.
        epoch: u32,
        /// The route in that plan.
        route: RouteId,
    },
}

/// Bits of an epoch in a label.
const EPOCH_BITS: u32 = 24;

impl Activity {
    /// What a request of this route does.
    pub fn route(epoch: u64, route: RouteId) -> Self {
        Self::Route { epoch: epoch as u32 & ((1 << EPOCH_BITS) - 1), route }
    }

    /// Whether it is of the plan of this epoch.
    pub fn is_of(self, epoch: u64) -> bool {
        matches!(self, Self::Route { route, .. } if Self::route(epoch, route) == self)
    }

    /// The word: kind, epoch, route.
    #[inline]
    pub fn label(self) -> u64 {
        match self {
            Self::Connection => 0,
            Self::Accept => 1 << 56,
            Self::Housekeeping => 2 << 56,
            Self::Route { epoch, route } => 3 << 56 | u64::from(epoch) << 32 | u64::from(route.0),
        }
    }

    /// Reads the word.
    pub fn of_label(label: u64) -> Self {
        match label >> 56 {
            1 => Self::Accept,
            2 => Self::Housekeeping,
            3 => Self::Route { epoch: (label >> 32) as u32 & ((1 << EPOCH_BITS) - 1), route: RouteId(label as u32) },
            _ => Self::Connection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written() {
        let route = Activity::route(1 << 24 | 5, RouteId(u32::MAX));
        for activity in [Activity::Connection, Activity::Accept, Activity::Housekeeping, route] {
            assert_eq!(Activity::of_label(activity.label()), activity);
        }
        assert!(route.is_of(5) && !route.is_of(6) && !Activity::Accept.is_of(0));
    }
}
