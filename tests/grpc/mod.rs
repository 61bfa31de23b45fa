//! gRPC through the gateway, between clients and servers of grpcio: what the gateway itself has to say, deadlines, retries by
//! status, health checks, and gRPC-Web before a server of gRPC.

mod calls;
mod deadlines;
mod health;
mod refusals;
mod retries;
mod web;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Child, Config, Engine};

const PRELUDE: &str = include_str!("client.py");

fn python() -> Command {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    assert!(python.exists(), "tools/setup installs grpcio");
    Command::new(python)
}

/// A server, and where it is.
pub(crate) fn server(words: &[&str], files: &[&Path]) -> (Child, SocketAddr) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/server.py");
    let mut command = python();
    let mut server = Child::start(command.arg(script).args(words).args(files).stdout(Stdio::piped()));
    let mut port = String::new();
    BufReader::new(server.stdout()).read_line(&mut port).expect("the server says where it is");
    (server, format!("127.0.0.1:{}", port.trim()).parse().expect("a port"))
}

/// Runs what a client does, which must go well.
pub(crate) fn call(address: SocketAddr, authorities: &[&Path], script: &str) {
    let script = format!("{PRELUDE}\n{script}\nprint('all well')\n");
    let client = python().args(["-c", &script, &address.to_string()]).args(authorities).output().expect("it runs");
    let (out, errors) = (String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
    assert_eq!((out.trim(), client.status.code()), ("all well", Some(0)), "{errors}");
}

/// A gateway that speaks HTTP/2 with this endpoint.
fn before(engine: Engine, endpoint: SocketAddr) -> Config {
    Config::new(engine).endpoint(endpoint).upstream("protocol = \"h2\"")
}

/// A call with one message as HTTP/1.1 has it: of a client that does nothing by itself.
fn raw(method: &str, fields: &str, message: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /test.Calls/{method} HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\n{fields}\r\n\
         Content-Length: {}\r\n\r\n",
        message.len() + 5
    );
    [head.as_bytes(), b"\0", &(message.len() as u32).to_be_bytes(), message].concat()
}
