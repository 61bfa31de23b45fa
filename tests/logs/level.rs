//! How much the log says, and in which form: by the config, by a reload, by the admin API.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Place;
use crate::support::{Config, Engine, Gateway, PATIENCE, on_both_engines};

on_both_engines!(a_reload_changes_level_and_form, the_admin_api_changes_the_level_until_the_next_plan);

/// Has it read another config.
fn reload(gateway: &Gateway, config: &Config) {
    std::fs::write(gateway.file(), config.text()).expect("the config is written");
    gateway.child.signal(Signal::HUP);
}

fn a_reload_changes_level_and_form(engine: Engine) {
    let place = Place::new();
    let config = |log: &str| place.config(engine).more(&format!("[log]\n{log}\n"));
    let gateway = config("level = \"error\"").start();
    reload(&gateway, &config("level = \"info\"\nformat = \"json\""));
    let said = gateway.child.says("plan 1 -> 2");
    let line: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["level"], "info");
    assert!(line["message"].as_str().is_some_and(|message| message.starts_with("plan 1 -> 2: ")), "{line}");
    assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    // A config that is wrong is one line, too.
    reload(&gateway, &config("level = \"loud\""));
    let said = gateway.child.says("kept plan 2");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0]["message"].as_str().is_some_and(|message| message.contains("log.level")), "{said}");
    assert_eq!((&lines[0]["level"], &lines[1]["level"]), (&json!("error"), &json!("error")));
    // The queue is made when the cores start.
    reload(&gateway, &config("queue = \"2MiB\""));
    gateway.child.says("a change of log.queue takes an upgrade or a restart");
}

fn the_admin_api_changes_the_level_until_the_next_plan(engine: Engine) {
    let place = Place::new();
    let socket = place.file("admin.sock");
    let config = place.config(engine).more(&format!("[admin]\nsocket = \"{}\"\n", socket.display()));
    let gateway = config.start();
    let ask = |method: &str, path: &str, body: &str| {
        let mut stream = UnixStream::connect(&socket).expect("the admin socket answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("the request goes out");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).expect("a status").to_owned();
        (status, serde_json::from_str::<Value>(body).expect("JSON"))
    };
    assert_eq!(ask("GET", "/v1/log", ""), ("200".to_owned(), json!({ "level": "info" })));
    assert_eq!(ask("POST", "/v1/log/level", "{\"level\":\"debug\"}"), ("200".to_owned(), json!({ "level": "debug" })));
    gateway.child.signal(Signal::USR1);
    gateway.child.says("ringway: debug: signal 10\n");
    let (status, problem) = ask("POST", "/v1/log/level", "{\"level\":\"loud\"}");
    assert_eq!((&*status, &problem["code"]), ("400", &json!("invalid_body")));
    assert_eq!(ask("GET", "/v1/log", "").1, json!({ "level": "debug" }));
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let done = command.args(["admin", "log"]).args(words).arg("--socket").arg(&socket).output();
        String::from_utf8(done.expect("the command runs").stdout).expect("text")
    };
    assert_eq!((command(&[]), command(&["warn"])), ("debug\n".to_owned(), "warn\n".to_owned()));
    assert_eq!(command(&["debug"]), "debug\n");
    reload(&gateway, &config.cores("drain_timeout = \"9s\""));
    gateway.child.says("ringway: plan 1 -> 2");
    assert_eq!(ask("GET", "/v1/log", "").1, json!({ "level": "info" }));
}
