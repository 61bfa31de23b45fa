//! Unix sockets that come, go, and change hands.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use super::{ask, connect, told};
use crate::support::{Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    a_unix_listener_comes_and_goes_with_a_reload,
    what_waits_for_accept_is_answered_when_the_listener_goes,
    an_upgrade_under_load_loses_no_client_of_a_unix_socket,
    an_upgrade_to_other_cores_and_another_engine_keeps_the_socket,
    the_file_of_a_listener_that_an_upgrade_drops_goes,
);

fn local(socket: &str) -> String {
    format!("[listener.local]\naddress = \"unix:{socket}\"\n")
}

fn a_unix_listener_comes_and_goes_with_a_reload(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("a.sock").display().to_string();
    let config = Config::new(engine).data(2).origin(&origin);
    let gateway = config.start();
    for _ in 0..3 {
        gateway.run(&config.clone().more(&local(&socket)));
        assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
        // A listener of another name goes on with the same socket.
        gateway.run(&config.clone().more(&local(&socket).replace("local", "other")));
        assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
        gateway.run(&config);
        assert!(connect(&socket).is_err());
        assert!(!fs::exists(&socket).unwrap());
        assert_eq!(gateway.connect().get("/").status(), 200);
    }
    // One that cannot be had changes nothing.
    fs::write(&socket, "precious").unwrap();
    let said = gateway.reload(&config.clone().more(&local(&socket)));
    assert!(said.contains("is no socket"), "{said}");
    assert_eq!(gateway.connect().get("/").status(), 200);
    assert_eq!(gateway.stop().exit.code(), Some(0));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

fn what_waits_for_accept_is_answered_when_the_listener_goes(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("a.sock").display().to_string();
    let config = Config::new(engine).data(2).origin(&origin);
    let gateway = config.clone().more(&local(&socket)).start();
    gateway.child.signal(Signal::STOP);
    let waiting: Vec<UnixStream> = (0..60)
        .map(|_| {
            let mut stream = connect(&socket).unwrap();
            stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    fs::write(gateway.file(), config.text()).unwrap();
    gateway.child.signal(Signal::HUP);
    gateway.child.signal(Signal::CONT);
    for mut stream in waiting {
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    gateway.child.says("plan 1 -> 2");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

/// A config with an upgrade socket and a Unix listener, both in `dir`.
fn upgradable(engine: Engine, origin: &Origin, dir: &std::path::Path) -> Config {
    let at = dir.display();
    Config::new(engine)
        .origin(origin)
        .more(&format!("[control]\nupgrade_socket = \"{at}/upgrade.sock\"\n{}", local(&format!("{at}/a.sock"))))
}

fn take_over(before: &Gateway, config: &Config) -> Gateway {
    let new = config.clone().flag("--take-over").start();
    before.child.says("has taken over");
    new
}

/// Asks over and over until told to stop, with a connection for each request.
fn keep_asking(socket: &str, stop: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> thread::JoinHandle<()> {
    let (socket, stop, asked) = (socket.to_owned(), stop.clone(), asked.clone());
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            assert_eq!(ask(connect(&socket).expect("somebody always listens"), b""), "unknown http");
            asked.fetch_add(1, Ordering::SeqCst);
        }
    })
}

fn an_upgrade_under_load_loses_no_client_of_a_unix_socket(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("a.sock").display().to_string();
    let config = upgradable(engine, &origin, dir.path()).data(2);
    let mut gateway = config.start();
    let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..3).map(|_| keep_asking(&socket, &stop, &asked)).collect();
    let inode = |socket: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(socket).unwrap());
    let first = inode(&socket);
    for _ in 0..3 {
        let before = asked.load(Ordering::SeqCst);
        let start = std::time::Instant::now();
        while asked.load(Ordering::SeqCst) < before + 20 {
            assert!(start.elapsed() < PATIENCE, "nobody gets an answer");
            thread::yield_now();
        }
        let new = take_over(&gateway, &config);
        let old = std::mem::replace(&mut gateway, new);
        assert_eq!(old.child.wait().exit.code(), Some(0));
        assert_eq!(inode(&socket), first, "it is the same socket");
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(gateway.stop().exit.code(), Some(0));
    assert!(!fs::exists(&socket).unwrap(), "the last one removes the file");
}

fn an_upgrade_to_other_cores_and_another_engine_keeps_the_socket(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("a.sock").display().to_string();
    let other = if engine == Engine::Ring { Engine::Glommio } else { Engine::Ring };
    let mut gateway = upgradable(engine, &origin, dir.path()).start();
    for (engine, cores) in [(engine, 2), (other, 1), (engine, 2)] {
        let new = take_over(&gateway, &upgradable(engine, &origin, dir.path()).data(cores));
        std::mem::replace(&mut gateway, new).child.wait();
        for _ in 0..10 {
            assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
        }
    }
    // It is the new process's now, and goes with its listener.
    let without = upgradable(engine, &origin, dir.path()).data(2).text().replace(&local(&socket), "");
    fs::write(gateway.file(), without).unwrap();
    gateway.child.signal(Signal::HUP);
    gateway.child.says("plan ");
    assert!(connect(&socket).is_err() && !fs::exists(&socket).unwrap());
}

fn the_file_of_a_listener_that_an_upgrade_drops_goes(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("b.sock").display().to_string();
    let config = upgradable(engine, &origin, dir.path());
    let gateway = config.clone().more(&local(&socket).replace("local", "more")).start();
    assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
    let new = take_over(&gateway, &config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    assert!(!fs::exists(&socket).unwrap());
    let kept = dir.path().join("a.sock").display().to_string();
    assert_eq!(ask(connect(&kept).unwrap(), b""), "unknown http");
    drop(new);
}
