//! The plans that ran last, and those that a core may still refer to.

use std::collections::{BTreeMap, VecDeque};

use super::build::{Known, Version};
use super::command::PlanNote;
use super::offers::Parts;
use crate::config::Written;

/// Bytes of configs that go to the process that takes over.
const PAST_MAX: usize = 4 << 20;

/// A plan as another process can build it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) note: PlanNote,
    pub(super) written: Written,
}

/// A plan that runs or ran.
#[derive(Debug)]
struct Entry {
    note: PlanNote,
    known: Known,
}

/// The last plans, the running one included.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// Another plan runs. Of those before at most `keep` stay.
    pub(super) fn add(&mut self, note: PlanNote, version: Version, keep: usize) {
        for entry in &mut self.entries {
            entry.note.runs = false;
        }
        self.entries.push_back(Entry { note, known: Known::Built(version) });
        while self.entries.len() > keep + 1 {
            self.entries.pop_front();
        }
    }

    /// What the gateway before had, oldest first, comes before all of it.
    pub(super) fn inherit(&mut self, before: Vec<Past>, keep: usize) {
        for Past { note, written } in before.into_iter().rev() {
            if self.entries.len() > keep {
                return;
            }
            let note = PlanNote { runs: false, ..note };
            self.entries.push_front(Entry { note, known: Known::Written(written.into()) });
        }
    }

    /// All of it for the process that takes over, oldest first: of the newest as much as fits.
    pub(super) fn past(&self) -> Vec<Past> {
        let mut bytes = 0;
        let fits = self.entries.iter().rev().map_while(|entry| {
            let written = match &entry.known {
                Known::Built(version) => version.says.written(),
                Known::Written(written) => written,
            };
            bytes += written.bytes();
            (bytes <= PAST_MAX).then(|| Past { note: entry.note.clone(), written: (**written).clone() })
        });
        let mut past: Vec<Past> = fits.collect();
        past.reverse();
        past
    }

    /// The plan of an epoch; without one, the plan before the running one.
    pub(super) fn find(&self, epoch: Option<u64>) -> Result<(u64, Known), String> {
        let found = match epoch {
            Some(epoch) => self.entries.iter().find(|entry| entry.note.epoch == epoch),
            None => self.entries.iter().rev().nth(1),
        };
        let known = || self.entries.iter().map(|entry| entry.note.epoch.to_string()).collect::<Vec<_>>().join(", ");
        match (found, epoch) {
            (Some(found), _) => Ok((found.note.epoch, found.known.clone())),
            (None, Some(epoch)) => Err(format!("plan {epoch} is not kept; kept are {}", known())),
            (None, None) => Err("no plan before this one is kept".to_owned()),
        }
    }

    /// The one that runs.
    pub(super) fn newest(&self) -> PlanNote {
        let nothing = || PlanNote { epoch: 0, since_unix_ns: 0, changes: "".into(), runs: false };
        self.entries.back().map_or_else(nothing, |entry| entry.note.clone())
    }

    /// All of them, oldest first.
    pub(super) fn notes(&self) -> Vec<PlanNote> {
        self.entries.iter().map(|entry| entry.note.clone()).collect()
    }
}

/// Holds what cores refer to until none does, so that it is always freed here.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<u64, (usize, Parts)>);

impl Held {
    /// So many cores were offered this.
    pub(super) fn hold(&mut self, epoch: u64, cores: usize, parts: Parts) {
        self.0.insert(epoch, (cores, parts));
    }

    /// One of them has let go of it.
    pub(super) fn release(&mut self, epoch: u64) {
        if let Some((cores, _)) = self.0.get_mut(&epoch) {
            *cores -= 1;
            if *cores == 0 {
                self.0.remove(&epoch);
            }
        }
    }
}
