//! File descriptors that client connections leave for others: for connections to upstreams, the admin API, logs and new plans.
//!
//! A core counts only its own streams, which costs nothing; what the process has open beside them comes out of the reserve.

use std::cell::Cell;

use ringway_runtime::engine::Engine;

use crate::plan::Cores;

/// Of a core's share, when the config does not say.
const RESERVED_ONE_IN: u64 = 4;

/// What a core keeps back of its share of the process's descriptors.
#[derive(Debug, Default)]
pub(super) struct Files {
    reserved: Cell<u64>,
    was_told: Cell<bool>,
}

impl Files {
    /// Takes up what a plan says.
    pub(super) fn limit(&self, engine: &Engine, cores: &Cores) {
        let (share, _) = engine.descriptors();
        self.reserved.set(reserved(share, cores.reserved_files));
    }

    /// Whether a client may take one more.
    pub(super) fn has_room(&self, engine: &Engine) -> bool {
        engine.descriptors().1 > self.reserved.get()
    }

    /// True the first time.
    pub(super) fn is_news(&self) -> bool {
        !self.was_told.replace(true)
    }
}

/// Clients have a quarter of the share at the least, whatever the config says: a core that takes nobody is of no use.
fn reserved(share: u64, wanted: Option<u64>) -> u64 {
    wanted.unwrap_or(share / RESERVED_ONE_IN).min(share - share / RESERVED_ONE_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_quarter_and_never_leaves_less_than_that() {
        assert_eq!(reserved(1000, None), 250);
        assert_eq!(reserved(1000, Some(100)), 100);
        assert_eq!(reserved(1000, Some(5000)), 750);
        assert_eq!(reserved(3, None), 0);
        assert!(reserved(u64::MAX, Some(10)) == 10);
    }
}
