//! The systems: the recipes of `docs/recipes` as they stand, and the gateway as a process of a machine.

mod config;
mod lifecycle;
mod s01_basic;
mod s04_load_balancing;
mod s07_retry;
mod s10_health_aggregator;
mod s16_websocket;
mod s17_grpc;
mod s26_certificates;

use std::process::Command;

/// The file of a recipe, which is in order as it stands.
fn recipe(name: &str) -> String {
    let file = format!("{}/docs/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    ringway(&["check", &file]);
    file
}

/// What the command says, which has nothing to complain of.
fn ringway(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).args(words).output().expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
