//! What the gateway shows of itself, read by others: Prometheus and its tools, and after a crash.

mod crash;
mod prometheus;
mod top;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Config, Engine, Origin};

/// A config with one route, `/hello`, to an origin that says `hello`, and metrics in `dir`.
fn config(engine: Engine, dir: &Path) -> Config {
    let (origin, _) = Origin::serve(|_, connection| {
        connection.answer("hello");
        true
    });
    Config::new(engine)
        .cores(&format!("metrics_dir = {:?}", dir.display().to_string()))
        .origin(&origin)
        .route("path = \"/hello\"")
}

/// Standard output of a command that succeeds.
fn ringway(arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).output().expect("ringway runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

pub(crate) fn hdr_json(dir: &Path) -> Value {
    let json = ringway(&["hdr", &dir.display().to_string(), "--json"]);
    serde_json::from_slice(&json).expect("JSON")
}

/// The sum of a counter over all its labels.
pub(crate) fn total(found: &Value, name: &str) -> u64 {
    let counters = found["counters"].as_array().expect("counters");
    counters.iter().filter(|counter| counter["name"] == name).filter_map(|counter| counter["value"].as_u64()).sum()
}
