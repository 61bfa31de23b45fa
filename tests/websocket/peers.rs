//! A real client and a real server: the Python library `websockets`, with the gateway between them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Child, Config, Engine, on_both_engines};

on_both_engines!(
    a_real_client_and_a_real_server_understand_each_other,
    the_same_without_compression,
    the_same_where_the_gateway_compresses,
);

fn python(script: &str) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/python/bin/python");
    assert!(python.exists(), "tools/setup installs the Python library `websockets`");
    let mut command = Command::new(python);
    command.arg(root.join("tests/websocket").join(script));
    command
}

/// A real server, and where it is.
pub(super) fn server() -> (Child, SocketAddr) {
    let mut server = Child::start(python("server.py").stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(server.stdout()).read_line(&mut line).expect("the server says where it is");
    (server, format!("127.0.0.1:{}", line.trim()).parse().expect("a port"))
}

fn run(engine: Engine, keys: &str, compression: &str) {
    run_with(engine, keys, compression, compression);
}

/// The client finds this compression, and so does the server.
fn run_with(engine: Engine, keys: &str, with_client: &str, with_server: &str) {
    let (_server, address) = server();
    let gateway = Config::new(engine).endpoint(address).route(&format!("websocket = {{ {keys} }}")).start();
    let client = python("client.py")
        .arg(gateway.address.to_string())
        .args([with_client, with_server])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&client.stdout);
    assert!(client.status.success(), "{said}\n{}", String::from_utf8_lossy(&client.stderr));
    assert!(said.ends_with("all well\n"), "{said}");
}

fn a_real_client_and_a_real_server_understand_each_other(engine: Engine) {
    run(engine, "", "deflate");
}

fn the_same_without_compression(engine: Engine) {
    run(engine, "compression = \"off\", ping_interval = \"100ms\"", "none");
}

fn the_same_where_the_gateway_compresses(engine: Engine) {
    for (deflate, server) in [
        ("level = 1", "deflate"),
        ("context_takeover = true, window_bits = 9, min_size = \"1B\", level = 9", "deflate"),
        ("context_takeover = true, upstream = false", "none"),
    ] {
        // Messages of one byte over and over expand to a thousand times what comes.
        let keys = format!("compression = \"terminate\", deflate = {{ {deflate}, max_ratio = 2000 }}");
        run_with(engine, &keys, "deflate", server);
    }
}
