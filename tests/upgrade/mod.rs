//! One process takes over from another.

mod failures;
mod launch;
mod load;
mod sockets;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Config, Engine, Gateway, Origin, PATIENCE};

/// Where gateways that take over from each other meet.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("upgrade.sock")
    }

    fn metrics(&self) -> PathBuf {
        self.dir.path().join("metrics")
    }

    /// A config with the upgrade socket, the admin API and metrics.
    fn config(&self, engine: Engine) -> Config {
        self.config_with(engine, "")
    }

    /// The same with a further key of `[control]`.
    fn config_with(&self, engine: Engine, control: &str) -> Config {
        let admin = self.dir.path().join("admin.sock");
        Config::new(engine).cores(&format!("metrics_dir = \"{}\"", self.metrics().display())).more(&format!(
            "[control]\nupgrade_socket = \"{}\"\n{control}\n[admin]\nsocket = \"{}\"\n",
            self.socket().display(),
            admin.display()
        ))
    }

    /// What the admin API answers, the head included.
    fn ask(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("admin.sock")).expect("the admin socket answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the request goes out");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The file of a config, for a process that the test does not start itself.
    fn write(&self, config: &Config) -> PathBuf {
        let file = self.dir.path().join("ringway.toml");
        fs::write(&file, config.text()).expect("the config is written");
        file
    }
}

/// Takes over from the gateway of this place.
fn take_over(config: &Config) -> Gateway {
    config.clone().flag("--take-over").start()
}

/// Answers with the method and path.
fn echo() -> Origin {
    let (origin, _) = Origin::serve(|request, upstream| {
        let body = request.head.line.clone();
        upstream.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    });
    origin
}
