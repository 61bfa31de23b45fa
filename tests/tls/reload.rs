//! Certificates that change while clients come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::{Authority, Client, HELLO, get, with};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    new_certificates_are_shown_and_no_handshake_fails,
    a_certificate_that_is_wrong_keeps_the_plan,
    open_connections_stay,
    sessions_go_on_after_an_upgrade,
);

fn new_certificates_are_shown_and_no_handshake_fails(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"]))
        .data(2)
        .limits("handshakes_per_source = \"off\"")
        .more(HELLO);
    let gateway = config.start();
    let address = gateway.address;
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|turn| {
            let (done, count) = (done.clone(), count.clone());
            // Half of them go on with sessions.
            let clients = [Client::trusting(&authority), Client::trusting(&authority)];
            thread::spawn(move || {
                let [mut fresh, known] = clients;
                while !done.load(Ordering::Relaxed) {
                    fresh.config.resumption = rustls::client::Resumption::disabled();
                    let client = if turn % 2 == 0 { &fresh } else { &known };
                    let mut stream = client.connect(address, "localhost").expect("a handshake");
                    assert_eq!(get(&mut stream, "/").expect("an answer").1, b"hello");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let shown = || {
        let mut client = Client::trusting(&authority);
        client.config.resumption = rustls::client::Resumption::disabled();
        let stream = client.connect(address, "localhost").unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let mut before = shown();
    // As many handshakes as the machine can, and in all no fewer than a busy site has in a second.
    for turn in 1.. {
        let seen = count.load(Ordering::Relaxed);
        authority.issue("server", &["localhost"]);
        gateway.run(&config);
        let after = shown();
        assert_ne!(before, after);
        before = after;
        let enough = if turn < 8 { seen + 20 } else { 1000 };
        while count.load(Ordering::Relaxed) < enough && clients.iter().all(|client| !client.is_finished()) {
            thread::yield_now();
        }
        if turn >= 8 || clients.iter().any(thread::JoinHandle::is_finished) {
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

fn a_certificate_that_is_wrong_keeps_the_plan(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost"]);
    let config = with(engine, &issued).more(HELLO);
    let gateway = config.start();
    let other = authority.issue("other", &["localhost"]);
    std::fs::copy(&other.key, &issued.key).unwrap();
    let said = gateway.reload(&config);
    assert!(said.contains("does not belong to the certificate"), "{said}");
    let mut stream = Client::trusting(&authority).connect(gateway.address, "localhost").unwrap();
    assert_eq!(get(&mut stream, "/").unwrap().1, b"hello");
}

fn open_connections_stay(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).more(HELLO);
    let gateway = config.start();
    let mut stream = Client::trusting(&authority).connect(gateway.address, "localhost").unwrap();
    get(&mut stream, "/").unwrap();
    authority.issue("server", &["localhost"]);
    gateway.run(&config);
    assert_eq!(get(&mut stream, "/").unwrap().1, b"hello");
}

fn sessions_go_on_after_an_upgrade(engine: Engine) {
    let authority = Authority::new("authority");
    let socket = authority.path().join("upgrade.sock");
    let config = with(engine, &authority.issue("server", &["localhost"]))
        .data(2)
        .more(&format!("[control]\nupgrade_socket = \"{}\"\n", socket.display()))
        .more(HELLO);
    let before = config.start();
    let clients = [&TLS12, &TLS13].map(|version| Client::of(&authority, &[version]));
    let kinds = || {
        clients.each_ref().map(|client| {
            let mut stream = client.connect(before.address, "localhost").unwrap();
            assert_eq!(get(&mut stream, "/").unwrap().1, b"hello");
            stream.conn.handshake_kind().unwrap()
        })
    };
    assert_eq!(kinds(), [HandshakeKind::Full; 2]);
    let after = config.clone().flag("--take-over").start();
    assert_eq!(after.address, before.address);
    // Whoever accepted before does so no more.
    before.child.says("has taken over; this one ends what it has begun");
    for _ in 0..4 {
        assert_eq!(kinds(), [HandshakeKind::Resumed; 2]);
    }
    drop(after);
}
