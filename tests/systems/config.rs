//! A config of several files, with the environment and secrets in it, as the gateway starts with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Child, Client, Origin};

fn files() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("conf.d")).expect("a directory");
    for (file, text) in [
        ("main.toml", "include = \"conf.d/*.toml\"\n[cores]\ndata = 1\nbuffers = \"${BUFFERS:-64}\"\n"),
        ("conf.d/10-listener.toml", "[listener.web]\naddress = \"127.0.0.1:${PORT:-0}\"\n"),
        (
            "conf.d/20-users.toml",
            "[upstream.users]\nendpoints = [\"${ORIGIN}\"]\n[[route]]\nname = \"users\"\npath = \"/{rest...}\"\n\
             upstream = \"users\"\npolicies = [{ type = \"headers\", request.set.authorization = { file = \"token\" } }]\n",
        ),
        ("conf.d/token", "Bearer {s3cret}\n"),
    ] {
        fs::write(dir.path().join(file), text).expect("the file is written");
    }
    dir
}

#[test]
fn a_gateway_runs_on_several_files_the_environment_and_a_secret() {
    let (dir, origin) = (files(), Origin::listen());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.env("ORIGIN", origin.address.to_string()).arg("run").arg(dir.path().join("main.toml"));
    let mut child = Child::start(command.stdout(Stdio::piped()));
    let mut ready = String::new();
    BufReader::new(child.stdout()).read_line(&mut ready).expect("the gateway says when it is ready");
    let address = ready.trim_end().rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
    let mut client = Client::connect(address.unwrap_or_else(|| panic!("no ready line: {ready:?}")));
    client.send("GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut asked = origin.accept();
    assert_eq!(asked.request().head.get("authorization"), Some("Bearer {s3cret}"));
    asked.answer("yes");
    assert_eq!(client.response().text(), "yes");
}

#[test]
fn an_error_points_at_the_file_that_was_written() {
    let dir = files();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let output = command.env_remove("ORIGIN").arg("run").arg(dir.path().join("main.toml")).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let place = format!("{}:2:15: error: ", dir.path().join("conf.d/20-users.toml").display());
    assert!(errors.contains(&(place + "the environment variable `ORIGIN` is not set")), "{errors}");
}
