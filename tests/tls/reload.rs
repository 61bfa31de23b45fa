//! Certificates that change while clients come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Authority, Client, HELLO, get, with};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    new_certificates_are_shown_and_no_handshake_fails,
    a_certificate_that_is_wrong_keeps_the_plan,
    open_connections_stay,
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
    for _ in 0..5 {
        let seen = count.load(Ordering::Relaxed);
        authority.issue("server", &["localhost"]);
        gateway.run(&config);
        let after = shown();
        assert_ne!(before, after);
        before = after;
        while count.load(Ordering::Relaxed) < seen + 20 && clients.iter().all(|client| !client.is_finished()) {
            thread::yield_now();
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
