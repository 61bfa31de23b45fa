//! Start, drain and end, and what the exit code says of them.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Child, Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    it_says_when_it_is_ready_and_ends_well_on_sigterm,
    sigterm_finishes_what_is_in_flight_and_refuses_what_is_new,
    idle_connections_end_with_the_drain,
    what_outlasts_the_drain_timeout_is_cut_off,
    a_second_signal_ends_it_at_once,
    a_second_instance_on_the_port_names_the_first,
    the_port_is_free_again_at_once,
);

fn it_says_when_it_is_ready_and_ends_well_on_sigterm(engine: Engine) {
    let (gateway, _origin) = Gateway::before(engine);
    let ready = format!("ringway ready: 1 core, engine {}, listening on web {}\n", engine.name(), gateway.address);
    assert_eq!(gateway.ready, ready);
    let ended = gateway.stop();
    assert_eq!((ended.exit.code(), ended.errors.as_str()), (Some(0), ""));
}

fn sigterm_finishes_what_is_in_flight_and_refuses_what_is_new(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut waiting = gateway.connect();
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = origin.accept();
    first.request();
    let mut receiving = gateway.connect();
    receiving.send("GET /receiving HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    second.request();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    receiving.head();
    let mut idle = gateway.connect();
    idle.send("GET /idle HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut third = origin.accept();
    third.request();
    third.answer("");
    idle.response();
    gateway.terminate();
    // The idle one ends: from then on the gateway drains.
    idle.expect_end();
    // The listener ends at about the same time.
    while TcpStream::connect(gateway.address).is_ok() {}
    first.answer("still");
    let answer = waiting.response();
    assert_eq!((answer.text(), answer.head.get("connection")), ("still", Some("close")));
    waiting.expect_end();
    second.send("half");
    assert_eq!(receiving.take(8), b"halfhalf");
    receiving.expect_end();
    drop((waiting, receiving, idle));
    let ended = gateway.child.wait();
    assert_eq!((ended.exit.code(), ended.errors.as_str()), (Some(0), ""));
}

fn idle_connections_end_with_the_drain(engine: Engine) {
    let (gateway, _origin) = Gateway::before(engine);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    // A refusal shows that the gateway has accepted it.
    for client in &mut clients {
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().status(), 404);
    }
    gateway.terminate();
    for client in &mut clients {
        client.expect_end();
    }
    drop(clients);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

fn what_outlasts_the_drain_timeout_is_cut_off(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).cores("drain_timeout = \"300ms\"").start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let ended = gateway.stop();
    assert_eq!(ended.exit.code(), Some(0));
    assert!(ended.errors.contains("1 connections were cut after the drain timeout of 300ms"), "{}", ended.errors);
    assert!(client.rest_or_reset().0.is_empty());
    upstream.expect_end();
}

fn a_second_signal_ends_it_at_once(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let mut idle = gateway.connect();
    idle.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.response();
    gateway.terminate();
    idle.expect_end();
    gateway.child.signal(Signal::INT);
    let ended = gateway.child.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains("during the drain"), "{}", ended.errors);
}

fn a_second_instance_on_the_port_names_the_first(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let (second, _dir) = Config::new(engine).origin(&origin).address(gateway.address).spawn();
    let ended = second.wait();
    assert_eq!(ended.exit.code(), Some(3));
    let holder = format!("process {} (ringway)", gateway.child.id());
    for part in [&*holder, &gateway.address.to_string(), "listener `web`"] {
        assert!(ended.errors.contains(part), "{}", ended.errors);
    }
}

fn the_port_is_free_again_at_once(engine: Engine) {
    let origin = Origin::listen();
    let mut address = None;
    for kill in [false, true, false] {
        let mut config = Config::new(engine).origin(&origin);
        if let Some(address) = address {
            config = config.address(address);
        }
        let gateway = config.start();
        address = Some(gateway.address);
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.answer("ok");
        assert_eq!(client.response().text(), "ok");
        gateway.child.signal(if kill { Signal::KILL } else { Signal::TERM });
        drop((client, upstream));
        assert_eq!(gateway.child.wait().exit.success(), !kill);
    }
}

fn ringway(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let ended = Child::start(command.args(arguments).stdout(Stdio::null())).wait();
    (ended.exit.code(), ended.errors)
}

#[test]
fn exit_codes_tell_wrong_input_from_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, "[listener.web]\naddres = \"127.0.0.1:0\"\n").unwrap();
    let (code, errors) = ringway(&["run", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(errors.contains(":2:1: error: ") && errors.contains("address"), "{errors}");
    let (code, errors) = ringway(&["run", dir.path().join("absent.toml").to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("absent.toml"), "{errors}");
    for arguments in [&["run"][..], &["fly"], &["run", "a", "b"], &[]] {
        assert_eq!(ringway(arguments).0, Some(2), "{arguments:?}");
    }
    assert_eq!(ringway(&["version"]).0, Some(0));
}

#[test]
fn an_address_of_another_machine_is_the_machines_failure() {
    let (child, _dir) = Config::new(Engine::Ring).address("192.0.2.1:1").endpoint(Origin::refusing()).spawn();
    let ended = child.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains("no such address"), "{}", ended.errors);
}
