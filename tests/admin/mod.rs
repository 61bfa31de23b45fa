//! The admin API, its command and its page, on a running gateway.

mod api;
mod breakers;
mod drains;
mod gate;
mod others;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Config, Engine, Gateway, PATIENCE};

const TOKEN: &str = "correct-horse-battery-staple";
const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";

/// A config with the admin API, and the directory of its socket and metrics.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// `[admin]` with further keys.
    pub(crate) fn section(&self, keys: &str) -> String {
        format!("[admin]\nsocket = \"{}\"\n{keys}\n{HELLO}", self.socket().display())
    }

    /// The same with a TCP port.
    pub(crate) fn section_with_tcp(&self) -> String {
        self.section(&format!("tcp = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\""))
    }

    pub(crate) fn config(&self, engine: Engine) -> Config {
        Config::new(engine).cores(&format!("metrics_dir = \"{}\"", self.dir.path().join("metrics").display()))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        reply.json()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn ask(&self, request: &str) -> Reply {
        let stream = UnixStream::connect(self.socket()).expect("the admin socket answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        exchange(stream, request)
    }

    /// `ringway admin` with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        command(&self.socket(), words)
    }
}

fn command(socket: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("admin").args(words).arg("--socket").arg(socket).output().expect("the command runs")
}

/// Where the gateway says that its TCP port is.
fn tcp_of(gateway: &Gateway) -> SocketAddr {
    let said = gateway.child.says("admin API at ");
    let address = said.trim_end().rsplit_once("http://").expect("a TCP address").1;
    address.trim_end_matches('/').parse().expect("an address")
}

fn ask_tcp(address: SocketAddr, request: &str) -> Reply {
    let stream = TcpStream::connect(address).expect("the admin port answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    exchange(stream, request)
}

/// Sends a request and reads until the end.
fn exchange(mut stream: impl Read + Write, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut bytes = Vec::new();
    // A reset behind the answer is no matter.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Reply { status, head: head.to_ascii_lowercase(), text: body.to_owned() }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Its status and its problem's code.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let code = self.json()["code"].as_str().expect("a code").to_owned();
        (self.status, code)
    }
}
