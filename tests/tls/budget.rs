//! Handshakes that are slow, too many, or none at all.

use std::time::Instant;

use super::{Authority, Client, HELLO, get, total, with};
use crate::support::{Client as Tcp, Engine, on_both_engines};

on_both_engines!(
    a_slow_handshake_is_cut,
    too_many_at_once_are_turned_away_and_others_served_later,
    one_source_begins_only_so_many,
    what_is_no_tls_gets_an_alert_and_an_end,
    what_becomes_of_handshakes_is_counted,
);

/// The first bytes of a client hello: more are to come.
const PART: [u8; 6] = [22, 3, 1, 2, 0, 1];

fn a_slow_handshake_is_cut(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).listener("tls.handshake_timeout = \"300ms\"");
    let gateway = config.more(HELLO).start();
    let begun = Instant::now();
    let mut silent = gateway.connect();
    let mut slow = gateway.connect();
    slow.send(PART);
    silent.rest_or_reset();
    slow.rest_or_reset();
    assert!(begun.elapsed().as_millis() >= 300);
}

fn too_many_at_once_are_turned_away_and_others_served_later(engine: Engine) {
    let authority = Authority::new("authority");
    let config = with(engine, &authority.issue("server", &["localhost"])).limits("handshakes = 2").more(HELLO);
    let gateway = config.start();
    let mut held: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut held {
        client.send(PART);
    }
    // Whether they were accepted before shows when a third is turned away.
    assert!(Tcp::try_connect(gateway.address).is_none_or(|mut third| third.rest_or_reset().1));
    held.clear();
    let client = Client::trusting(&authority);
    // That they are gone may be heard a little later.
    let mut stream = loop {
        if let Ok(stream) = client.connect(gateway.address, "localhost") {
            break stream;
        }
    };
    assert_eq!(get(&mut stream, "/").unwrap().1, b"hello");
}

fn one_source_begins_only_so_many(engine: Engine) {
    let authority = Authority::new("authority");
    let limit = "handshakes_per_source = \"5/h\"";
    let gateway = with(engine, &authority.issue("server", &["localhost"])).limits(limit).more(HELLO).start();
    let client = Client::trusting(&authority);
    for _ in 0..5 {
        client.connect(gateway.address, "localhost").unwrap();
    }
    assert!(client.connect(gateway.address, "localhost").is_err());
}

fn what_is_no_tls_gets_an_alert_and_an_end(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.rest();
    // A fatal alert: decode_error, or unexpected_message.
    assert!(answer.starts_with(&[21, 3]) && answer.len() == 7 && answer[5] == 2, "{answer:?}");
}

fn what_becomes_of_handshakes_is_counted(engine: Engine) {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let dir = tempfile::tempdir().unwrap();
    let config = with(engine, &authority.issue("server", &["localhost"])).more(HELLO);
    let gateway = config.cores(&format!("metrics_dir = \"{}\"", dir.path().display())).start();
    let client = Client::trusting(&authority);
    for _ in 0..3 {
        get(&mut client.connect(gateway.address, "localhost").unwrap(), "/").unwrap();
    }
    assert!(Client::trusting(&stranger).connect(gateway.address, "localhost").is_err());
    let mut odd = gateway.connect();
    odd.send("GET / HTTP/1.1\r\n\r\n").rest();
    gateway.stop();
    let done = |resumed| {
        let labels = [("side", "client"), ("version", "1.3"), ("resumed", resumed)];
        total(dir.path(), "ringway_tls_handshakes_total", &labels)
    };
    assert_eq!((done("false"), done("true")), (1, 2));
    let failed =
        |reason| total(dir.path(), "ringway_tls_handshake_failures_total", &[("side", "client"), ("reason", reason)]);
    assert_eq!((failed("alert"), failed("protocol"), failed("timeout")), (1, 1, 0));
}
