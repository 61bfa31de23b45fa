//! `ringway top`, as scripts and as people use it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use super::{config, ringway};
use crate::support::{Engine, PATIENCE};

#[test]
fn scripts_get_the_figures_of_one_interval() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(Engine::Ring, dir.path()).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/hello").status(), 200);
    }
    let target = dir.path().display().to_string();
    let json = ringway(&["top", &target, "--json", "--interval", "50ms"]);
    let live: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((live["state"].as_str(), live["connections"].as_i64()), (Some("running"), Some(1)));
    assert_eq!(live["cores"].as_array().unwrap().len(), 1);
    drop(client);
    gateway.stop();
    // Of a run that is over, all of it is shown.
    let over: Value = serde_json::from_slice(&ringway(&["top", &target, "--json"])).unwrap();
    assert_eq!(over["state"], "ended");
    let all = over["requests"].as_f64().unwrap() * over["interval"].as_f64().unwrap();
    assert!((all - 20.0).abs() < 1e-6, "{over}");
    assert_eq!(
        (over["routes"][0]["name"].as_str(), over["upstreams"][0]["name"].as_str()),
        (Some("all"), Some("origin"))
    );
    let text = String::from_utf8(ringway(&["top", &target, "--once"])).unwrap();
    assert!(text.starts_with("ringway ended") && text.contains("\nupstream") && text.contains("\nroute"), "{text}");
}

#[test]
fn without_a_terminal_or_files_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let top = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("top").args(arguments).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let target = dir.path().display().to_string();
    let (code, said) = top(&[&target]);
    assert!(code == Some(2) && said.contains("no terminal"), "{said}");
    let (code, said) = top(&[&target, "--once"]);
    assert!(code == Some(1) && said.contains("no metrics files"), "{said}");
}

/// Takes what comes from a terminal until `wanted` has come.
fn until(seen: &mut String, came: &mpsc::Receiver<String>, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !seen.contains(wanted) {
        let left = deadline.saturating_duration_since(Instant::now());
        *seen += &came.recv_timeout(left).unwrap_or_else(|_| panic!("no {wanted:?} came:\n{seen}"));
    }
    seen.clear();
}

#[test]
fn a_person_at_a_terminal_sees_it_live_sees_it_die_and_quits() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(Engine::Ring, dir.path()).start();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let mut flags = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut flags, OFlags::NOCTTY.bits().cast_signed());
    let side = flags.read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(side.as_fd(), Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let stdio = || Stdio::from(side.try_clone().unwrap());
    let mut top = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["top", &dir.path().display().to_string(), "--interval", "50ms"])
        .env("TERM", "xterm")
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    drop(side);
    let mut keys = File::from(terminal);
    let mut screen = keys.try_clone().unwrap();
    let (send, came) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // The terminal ends with its program.
        while let Ok(count) = screen.read(&mut bytes) {
            if count == 0 || send.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut seen = String::new();
    until(&mut seen, &came, "requests/s");
    keys.write_all(b"s").unwrap();
    // Only what changed is drawn.
    until(&mut seen, &came, "request");
    gateway.child.signal(Signal::KILL);
    until(&mut seen, &came, "died");
    keys.write_all(b"q").unwrap();
    assert!(top.wait().unwrap().success());
}
