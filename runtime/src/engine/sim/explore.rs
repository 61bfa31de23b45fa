//! Many seeds over one scenario.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::World;

/// Names the one seed to replay.
const REPLAY: &str = "SIM_SEED";
/// Entries of the trace printed with a seed that failed.
const PRINTED: usize = 30;

/// Runs `scenario` in a new world for each of `seeds`. One that panics prints `SIM_SEED=n` and what happened last, and
/// panics on. With `SIM_SEED=n` in the environment only that seed runs.
pub fn explore(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(&World)) {
    match std::env::var(REPLAY) {
        Ok(text) => explore_only(seed_of(&text), scenario),
        Err(_) => explore_only(seeds, scenario),
    }
}

#[expect(clippy::panic, reason = "a test that silently ran other seeds would mislead")]
fn seed_of(text: &str) -> [u64; 1] {
    match text.parse() {
        Ok(seed) => [seed],
        Err(error) => panic!("{REPLAY}={text} is no seed: {error}"),
    }
}

/// As [`explore`], whatever the environment says.
pub(super) fn explore_only(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(&World)) {
    for seed in seeds {
        let world = World::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(&world))) {
            let trace = world.trace();
            for entry in trace.iter().skip(trace.len().saturating_sub(PRINTED)) {
                eprintln!("{entry}");
            }
            eprintln!("{REPLAY}={seed}");
            resume_unwind(panic);
        }
    }
}
