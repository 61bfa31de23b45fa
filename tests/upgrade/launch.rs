//! A gateway starts its own successor.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, echo};
use crate::support::{Child, Client, Engine, Reserved, on_both_engines};

on_both_engines!(
    sigusr2_and_the_admin_api_start_the_program_anew,
    a_successor_that_fails_is_reported_and_the_gateway_goes_on,
);

/// A process that is not the test's child, ended with the test.
struct Stranger(Pid);

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

fn start(file: &std::path::Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    Child::start(command.arg("run").arg(file).stdout(Stdio::null()))
}

fn pid_in(said: &str, before: &str) -> Pid {
    let pid = said.rsplit_once(before).map(|(_, rest)| rest).and_then(|rest| rest.split(' ').next());
    Pid::from_raw(pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no process in {said:?}"))).unwrap()
}

fn ready(place: &Place) {
    while !place.ask("/readyz").starts_with("HTTP/1.1 200 ") {}
}

fn sigusr2_and_the_admin_api_start_the_program_anew(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let reserved = Reserved::new();
    let address = reserved.address;
    let file = place.write(&place.config(engine).origin(&origin).cores("control = 0").address(address));
    let gateway = start(&file);
    gateway.says("admin API at");
    ready(&place);
    gateway.signal(Signal::USR2);
    let said = gateway.says("has taken over");
    let second = Stranger(pid_in(&said, "ringway: process "));
    gateway.says("took over from process");
    gateway.says("admin API at");
    ready(&place);
    assert_eq!(Client::connect(address).get("/").status(), 200);
    let socket = place.dir.path().join("admin.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["admin", "upgrade", "--socket"])
        .arg(&socket)
        .output()
        .expect("the command runs");
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let third = Stranger(pid_in(&told, "process "));
    assert_ne!(second.0, third.0);
    assert_eq!(Client::connect(address).get("/").status(), 200);
    // What they say comes over the first one's pipe, which closes with the last of them.
    kill_process(third.0, Signal::TERM).expect("it is there");
    let ended = gateway.wait();
    assert_eq!(ended.exit.code(), Some(0), "{}", ended.errors);
}

fn a_successor_that_fails_is_reported_and_the_gateway_goes_on(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let reserved = Reserved::new();
    let address = reserved.address;
    let config = place.config(engine).origin(&origin).address(address);
    let file = place.write(&config);
    let gateway = start(&file);
    gateway.says("admin API at");
    ready(&place);
    place.write(&config.clone().limits("haeders = 5"));
    gateway.signal(Signal::USR2);
    let said = gateway.says("this process goes on");
    assert!(said.contains("haeders") && said.contains("exit status: 1"), "{said}");
    let socket = place.dir.path().join("admin.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["admin", "upgrade", "--socket"])
        .arg(&socket)
        .output()
        .expect("the command runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit status: 1"));
    assert_eq!(Client::connect(address).get("/").status(), 200);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().exit.code(), Some(0));
}
