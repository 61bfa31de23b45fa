//! What the service manager is told, and when.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::is_there;
use crate::support::{Client, Config, Engine, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    ready_is_told_when_the_port_accepts_then_each_reload_and_the_drain,
    the_watchdog_is_pinged_while_the_gateway_idles_and_while_it_drains,
    an_upgrade_makes_the_new_process_the_main_one,
);

/// Listens as a service manager does.
pub(super) struct Manager {
    ear: UnixDatagram,
    address: String,
    _dir: TempDir,
}

impl Manager {
    pub(super) fn listen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { ear, address: path.to_str().unwrap().to_owned(), _dir: dir }
    }

    /// What is told next, pings aside.
    pub(super) fn next(&self) -> String {
        loop {
            let told = self.any().expect("the gateway tells its service manager");
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    /// What is told next, if it is soon enough.
    fn any(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.ear.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// What `NOTIFY_SOCKET` is for those who are to tell it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn environment(&self) -> Vec<String> {
        vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", self.address)]
    }
}

pub(super) fn address_in(told: &str) -> SocketAddr {
    told.rsplit_once(' ').and_then(|(_, address)| address.parse().ok()).expect("an address")
}

fn ready_is_told_when_the_port_accepts_then_each_reload_and_the_drain(engine: Engine) {
    let origin = Origin::listen();
    let manager = Manager::listen();
    let (child, _dir) = Config::new(engine).origin(&origin).under(manager.environment()).spawn();
    let ready = manager.next();
    assert!(ready.starts_with("READY=1\nSTATUS=ringway ready: 1 core, engine "), "{ready}");
    // No waiting for the port: it accepts by now.
    let mut client = Client::connect(address_in(&ready));
    child.signal(Signal::HUP);
    let reloading = manager.next();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|usec| usec.parse::<u64>().ok());
    assert!(since.is_some_and(|usec| usec > 0), "{reloading}");
    assert_eq!(manager.next(), ready, "the status is told anew");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    child.signal(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
    upstream.answer("still");
    assert_eq!(client.response().text(), "still");
    assert_eq!(child.wait().exit.code(), Some(0));
}

fn the_watchdog_is_pinged_while_the_gateway_idles_and_while_it_drains(engine: Engine) {
    let origin = Origin::listen();
    let manager = Manager::listen();
    let mut environment = manager.environment();
    environment.push("WATCHDOG_USEC=200000".to_owned());
    let (child, _dir) = Config::new(engine).origin(&origin).under(environment).spawn();
    let ready = manager.next();
    let mut client = Client::connect(address_in(&ready));
    for _ in 0..3 {
        assert_eq!(manager.any().as_deref(), Some("WATCHDOG=1"));
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    child.signal(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
    for _ in 0..3 {
        assert_eq!(manager.any().as_deref(), Some("WATCHDOG=1"));
    }
    upstream.answer("late");
    assert_eq!(client.response().text(), "late");
    assert_eq!(child.wait().exit.code(), Some(0));
}

fn an_upgrade_makes_the_new_process_the_main_one(engine: Engine) {
    let origin = Origin::listen();
    let manager = Manager::listen();
    let mut environment = manager.environment();
    // As a manager does that means this process alone.
    environment.extend(["sh", "-c", "WATCHDOG_USEC=200000 WATCHDOG_PID=$$ exec \"$@\"", "sh"].map(str::to_owned));
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("upgrade.sock");
    let control = format!("[control]\nupgrade_socket = \"{}\"\n", socket.display());
    let (child, _dir) = Config::new(engine).origin(&origin).more(&control).under(environment).spawn();
    let ready = manager.next();
    child.signal(Signal::USR2);
    let told = manager.next();
    let pid = told.strip_prefix("MAINPID=").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let pid = pid.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(manager.next(), ready, "it goes on at the same address");
    assert_eq!(manager.any().as_deref(), Some("WATCHDOG=1"), "the new one pings");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
    assert_eq!(child.wait().exit.code(), Some(0));
}

#[test]
fn a_name_in_the_abstract_namespace_serves_as_well() {
    let name = format!("ringway-test-notify-{}", std::process::id());
    let ear = UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    ear.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = vec!["env".to_owned(), format!("NOTIFY_SOCKET=@{name}")];
    let gateway = Config::new(Engine::Ring).endpoint(Origin::refusing()).under(environment).start();
    let mut buffer = [0; 64];
    let length = ear.recv(&mut buffer).expect("it is told");
    assert!(buffer[..length].starts_with(b"READY=1\n"));
    assert_eq!(gateway.stop().errors, "");
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_named_and_does_not_stop_the_gateway() {
    let environment = vec!["env".to_owned(), "NOTIFY_SOCKET=vsock:2:1".to_owned()];
    let gateway = Config::new(Engine::Ring).endpoint(Origin::refusing()).under(environment).start();
    let ended = gateway.stop();
    assert_eq!(ended.exit.code(), Some(0));
    assert!(ended.errors.contains("cannot use NOTIFY_SOCKET vsock:2:1"), "{}", ended.errors);
}

/// Pings come some 40 times a second until the core hangs; a hundred without a break of a second mean that it never was
/// taken for hung.
#[test]
fn the_watchdog_is_pinged_no_more_once_a_core_hangs() {
    if !is_there("strace") {
        return;
    }
    let manager = Manager::listen();
    // Some turns into its life each entry of the core into the kernel takes three seconds. -D: the gateway stays our child.
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_enter"];
    let mut launcher = manager.environment();
    launcher.push("WATCHDOG_USEC=100000".to_owned());
    launcher.extend(strace.map(str::to_owned));
    launcher.extend(["-e".to_owned(), "inject=io_uring_enter:delay_enter=3s:when=100+".to_owned()]);
    let (child, _dir) = Config::new(Engine::Ring).endpoint(Origin::refusing()).under(launcher).spawn();
    assert!(manager.next().starts_with("READY=1"));
    assert_eq!(manager.any().as_deref(), Some("WATCHDOG=1"));
    manager.ear.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let pings = std::iter::from_fn(|| manager.any()).inspect(|told| assert_eq!(told, "WATCHDOG=1")).take(100).count();
    assert!(pings < 100, "the core hangs and is called alive");
    // Control is well: it hears the signal and says so.
    manager.ear.set_read_timeout(Some(PATIENCE)).unwrap();
    child.signal(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
}
