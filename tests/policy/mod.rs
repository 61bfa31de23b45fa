//! Policies: the contract that each must keep, chains of them, and what single ones do.

mod chain;
mod contract;
mod fault;
mod redirect;

pub(crate) use contract::CASES;

use tempfile::TempDir;

use ringway_runtime::histogram::{Snapshot, read_dir};

use crate::support::Config;

/// Where a gateway keeps its metrics.
struct Metrics(TempDir);

impl Metrics {
    /// Has the gateway of `config` keep them here.
    fn of(config: Config) -> (Self, Config) {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Self(dir);
        let config = config.cores(&metrics.directory());
        (metrics, config)
    }

    /// The line of `[cores]` that says where.
    fn directory(&self) -> String {
        format!("metrics_dir = \"{}\"", self.0.path().display())
    }

    fn read(&self) -> Snapshot {
        let mut files = read_dir(self.0.path()).unwrap().into_iter().map(Result::unwrap);
        let mut all = files.next().unwrap();
        files.for_each(|more| all.merge(more).unwrap());
        all
    }

    /// A counter of one policy.
    fn policy(&self, what: &str, policy: &str) -> u64 {
        let name = format!("ringway_policy_{what}_total");
        self.read().counter(&name, &[("policy", policy)]).unwrap_or_else(|| panic!("no {name} of {policy}"))
    }

    /// How often a policy in shadow would have had this outcome.
    fn shadow(&self, policy: &str, outcome: &str) -> u64 {
        let labels = [("policy", policy), ("outcome", outcome)];
        self.read().counter("ringway_policy_shadow_total", &labels).unwrap()
    }
}
