//! A gate's word, and how long it stays open. `src/upstream/breaker.rs` has what it is used for, with its tests.

use proptest::prelude::*;

use crate::mesh::gate::{GateState, Rule, State};

#[test]
fn chance_makes_it_longer_by_no_more_than_its_part() {
    let rule = Rule { open_for: 30_000, max_open_for: 300_000, jitter: 200_000, probes: 3 };
    let times = [0, u64::from(u32::MAX) / 2, u64::MAX].map(|random| State::default().opened(&rule, random, 0).until);
    assert_eq!(times, [30_000, 32_999, 35_999]);
}

proptest! {
    #[test]
    fn a_state_is_read_as_it_was_written(until in 0u64..1 << 41, kind in 0usize..4, level in 0u8..32, sent: u8, well: u8) {
        let kind = [GateState::Closed, GateState::Open, GateState::HalfOpen, GateState::HeldOpen][kind];
        let state = State { until, kind, level, sent, well };
        prop_assert_eq!(State::of(state.word()), state);
    }
}
