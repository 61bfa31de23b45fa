//! What the gateway tells of requests and of itself.

mod access;
mod events;
mod level;
mod losses;
mod moves;
mod timing;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::observe::{hdr_json, total};
use crate::support::{Config, Engine};

/// A route that answers by itself.
const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello/{rest...}\"\nservice = \"hello\"\n";

/// Where logs and metrics go.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A gateway with metrics and the route `hello`.
    fn config(&self, engine: Engine) -> Config {
        Config::new(engine)
            .cores(&format!("metrics_dir = \"{}\"", self.file("metrics").display()))
            .more(HELLO)
            .limits("keep_alive_requests = 1000000")
    }

    /// The same with an access log in this file, and further keys of it.
    fn logged(&self, engine: Engine, name: &str, keys: &str) -> Config {
        self.config(engine).more(&self.section(name, keys))
    }

    fn section(&self, name: &str, keys: &str) -> String {
        format!("[access_log]\nto = \"{}\"\nflush = \"1ms\"\n{keys}\n", self.file(name).display())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The lines of an access log in JSON.
    fn lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
    }

    /// A counter of the gateway, which may have ended.
    fn total(&self, name: &str) -> u64 {
        total(&hdr_json(&self.file("metrics")), name)
    }
}
