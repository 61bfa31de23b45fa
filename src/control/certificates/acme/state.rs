//! What failed lately, kept so that a restart does not hurry an authority.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::store::{self, Store};
use super::super::tell;
use super::AcmeSight;
use crate::control::events::Events;
use crate::plan::Level;

/// Failures since the last order that did not fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) failures_in_a_row: u32,
    /// When it is tried again, in seconds since 1970.
    pub(super) next: i64,
    pub(super) error: Option<String>,
}

fn file(store: &Store, name: &str) -> PathBuf {
    store.acme().join(format!("{name}.failed.json"))
}

impl State {
    pub(super) fn of(sight: &AcmeSight) -> Self {
        let AcmeSight { failures_in_a_row, next, error, .. } = sight.clone();
        Self { failures_in_a_row, next, error }
    }

    /// What is kept; that nothing failed where nothing is, or it makes no sense.
    pub(super) fn read(store: &Store, name: &str) -> Self {
        let bytes = store::read_whole(&file(store, name)).ok().flatten();
        let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let read = |value: Value| {
            let failures_in_a_row = u32::try_from(value["failures_in_a_row"].as_u64()?).ok()?;
            Some(Self {
                failures_in_a_row,
                next: value["next"].as_i64()?,
                error: value["error"].as_str().map(str::to_owned),
            })
        };
        value.and_then(read).unwrap_or_default()
    }

    pub(super) fn write(&self, store: &Store, name: &str, events: &Events) {
        let Self { failures_in_a_row, next, error } = self;
        let value = json!({ "failures_in_a_row": failures_in_a_row, "next": next, "error": error });
        if let Err(error) = store::write_whole(&file(store, name), value.to_string().as_bytes()) {
            tell(events, Level::Warn, format!("certificate {name}: what failed cannot be kept: {error}"));
        }
    }

    pub(super) fn forget(store: &Store, name: &str) {
        // Mostly it is not there.
        let _ = std::fs::remove_file(file(store, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1).unwrap();
        let (events, _queue) = crate::control::events::queue();
        assert_eq!(State::read(&store, "site"), State::default());
        let state = State { failures_in_a_row: 3, next: 99, error: Some("no".to_owned()) };
        state.write(&store, "site", &events);
        assert_eq!(State::read(&store, "site"), state);
        std::fs::write(file(&store, "site"), "{").unwrap();
        assert_eq!(State::read(&store, "site"), State::default());
        State::forget(&store, "site");
        assert!(!file(&store, "site").exists());
    }
}
