//! The seccomp profile for containers, and the filter of the service.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::{is_there, source};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    under_the_profile_the_gateway_serves_reloads_and_ends,
    under_the_filter_of_the_unit_the_gateway_serves_reloads_and_ends,
);

const PROFILE: &str = "tools/packaging/seccomp.json";
const LAUNCHER: &str = "tools/packaging/with-seccomp";

/// Whether filters can be tried here; says so where they cannot.
fn can_filter() -> bool {
    let tried = Command::new(source(LAUNCHER)).args([&source(PROFILE), "true"]).output().expect("Python is there");
    let missing = tried.status.code() == Some(77);
    if missing {
        eprintln!("left out: {}", String::from_utf8_lossy(&tried.stderr));
    }
    assert!(missing || tried.status.success(), "{}", String::from_utf8_lossy(&tried.stderr));
    !missing
}

fn profile() -> Json {
    serde_json::from_str(&fs::read_to_string(source(PROFILE)).unwrap()).expect("JSON")
}

fn under_the_profile_the_gateway_serves_reloads_and_ends(engine: Engine) {
    if can_filter() {
        serves_reloads_and_ends(engine, source(PROFILE));
    }
}

/// The calls of a set of systemd's, of which sets may be a part.
fn expand(set: &str, calls: &mut BTreeSet<String>) {
    let told = Command::new("systemd-analyze").args(["syscall-filter", set]).output().expect("it runs");
    assert!(told.status.success(), "{set}");
    for line in String::from_utf8(told.stdout).unwrap().lines().skip(1).map(str::trim) {
        match line.as_bytes().first() {
            None | Some(b'#') => {}
            Some(b'@') => expand(line, calls),
            Some(_) => _ = calls.insert(line.to_owned()),
        }
    }
}

/// What the unit allows, as systemd reads it: one line after the other, `~` takes out again.
fn allowed_by_the_unit() -> BTreeSet<String> {
    let unit = fs::read_to_string(source("tools/packaging/ringway.service")).unwrap();
    let mut allowed = BTreeSet::new();
    expand("@default", &mut allowed);
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (takes_out, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        let mut calls = BTreeSet::new();
        for name in names.split_whitespace() {
            if name.starts_with('@') {
                expand(name, &mut calls);
            } else {
                calls.insert(name.to_owned());
            }
        }
        if takes_out {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.extend(calls);
        }
    }
    allowed
}

fn under_the_filter_of_the_unit_the_gateway_serves_reloads_and_ends(engine: Engine) {
    if !is_there("systemd-analyze") || !can_filter() {
        return;
    }
    let allowed = allowed_by_the_unit();
    assert!(allowed.contains("io_uring_enter") && !allowed.contains("mount") && !allowed.contains("setuid"));
    let mut profile = profile();
    // EPERM, as the unit says.
    profile["defaultErrnoRet"] = 1.into();
    profile["syscalls"] = serde_json::json!([{ "names": allowed, "action": "SCMP_ACT_ALLOW" }]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unit.json");
    fs::write(&file, profile.to_string()).unwrap();
    serves_reloads_and_ends(engine, file.to_str().unwrap().to_owned());
}

fn serves_reloads_and_ends(engine: Engine, profile: String) {
    let origin = Origin::listen();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("a.sock");
    let access = "unix = { mode = \"0600\" }";
    let local = format!("[listener.local]\naddress = \"unix:{}\"\n{access}\n", socket.display());
    let config = Config::new(engine).origin(&origin).more(&local).under(vec![source(LAUNCHER), profile]);
    let gateway = config.start();
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
    std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut client = gateway.connect();
    for answer in ["one", "two"] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.answer(answer);
        assert_eq!(client.response().text(), answer);
        drop(upstream);
        gateway.run(&config.clone().limits("keep_alive_requests = 100"));
    }
    assert_eq!(gateway.stop().exit.code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn where_io_uring_is_refused_doctor_names_the_filter() {
    if !can_filter() {
        return;
    }
    let mut profile = profile();
    let refused = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
    for entry in profile["syscalls"].as_array_mut().unwrap() {
        entry["names"].as_array_mut().unwrap().retain(|name| !refused.iter().any(|refused| name == refused));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("without.json");
    fs::write(&file, profile.to_string()).unwrap();
    let doctor = Command::new(source(LAUNCHER))
        .arg(&file)
        .args([env!("CARGO_BIN_EXE_ringway"), "doctor", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(3));
    let found: Json = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let finding = found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "io_uring").unwrap();
    assert_eq!(finding["level"], "fail");
    assert!(finding["what"].as_str().unwrap().contains("a seccomp filter is on"), "{finding}");
}

#[test]
fn the_profile_is_a_list_of_what_is_allowed_each_once() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    // ENOSYS: libraries then take the older call they know.
    assert_eq!(profile["defaultErrnoRet"], 38);
    let mut names = Vec::new();
    for entry in profile["syscalls"].as_array().unwrap() {
        assert_eq!(entry["action"], "SCMP_ACT_ALLOW");
        assert!(entry["comment"].as_str().is_some_and(|comment| comment.ends_with('.')), "{entry}");
        // Several entries of one name must differ in what they look at.
        if entry["args"].is_null() {
            names.extend(entry["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "no name twice");
    for forbidden in ["bpf", "clone3", "keyctl", "mount", "perf_event_open", "ptrace", "setns", "unshare"] {
        assert!(!names.iter().any(|name| name == forbidden), "{forbidden}");
    }
}
