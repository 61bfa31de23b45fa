//! Many upgrades, many requests: none is lost, and what was counted stays counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use ringway::observe::read_run;
use ringway_runtime::histogram::{Snapshot, Value};

use super::{Place, echo, take_over};
use crate::support::{Client, Engine, on_both_engines};

on_both_engines!(twenty_upgrades_lose_no_request_and_no_count);

/// Requests until told to stop, on connections that are kept for so many. Any that fails, fails the test.
fn ask(
    address: SocketAddr,
    stop: &Arc<AtomicBool>,
    asked: &Arc<AtomicUsize>,
    per_connection: usize,
) -> thread::JoinHandle<()> {
    let (stop, asked) = (stop.clone(), asked.clone());
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let mut client = Client::connect(address);
            for at in 0..per_connection {
                let close = if at + 1 == per_connection { "Connection: close\r\n" } else { "" };
                client.send(format!("GET /{at} HTTP/1.1\r\nHost: test\r\n{close}\r\n"));
                let answer = client.response();
                assert_eq!((answer.status(), answer.text()), (200, &*format!("GET /{at} HTTP/1.1")));
                asked.fetch_add(1, Ordering::SeqCst);
                if answer.head.get("connection") == Some("close") {
                    client.expect_end();
                    break;
                }
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        }
    })
}

fn counts(found: &Snapshot) -> HashMap<String, u64> {
    let count = |value: &Value| match value {
        Value::Counter(count) => Some(*count),
        Value::Histogram(values) => Some(values.count()),
        Value::Gauge(_) => None,
    };
    let named = found
        .metrics
        .iter()
        .filter_map(|metric| Some((format!("{} {:?}", metric.name, metric.labels), count(&metric.value)?)));
    named.collect()
}

/// Reads the metrics files until told to stop. No number may ever be less than it was; returns how often it read.
fn watch(dir: &Path, stop: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (dir, stop) = (dir.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut before = HashMap::new();
        for reads in 1.. {
            let is_last = stop.load(Ordering::SeqCst);
            let run = read_run(&dir).expect("metrics");
            assert!(run.unread.is_empty() && run.left_out.is_empty(), "{run:?}");
            let now = counts(&run.merged().expect("one schema"));
            for (name, count) in &before {
                assert!(now.get(name).is_some_and(|now| now >= count), "{name}: {count}, then {:?}", now.get(name));
            }
            before = now;
            if is_last {
                return reads;
            }
        }
        0
    })
}

fn twenty_upgrades_lose_no_request_and_no_count(engine: Engine) {
    const UPGRADES: usize = 20;
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).data(2).origin(&origin);
    let mut gateway = config.start();
    let (stop, asked) = (Arc::default(), Arc::default());
    let clients: Vec<_> = [1, 1, 3, 50, 100_000].map(|each| ask(gateway.address, &stop, &asked, each)).into();
    let watcher = watch(&place.metrics(), &stop);
    for upgrade in 0..UPGRADES {
        let seen = asked.load(Ordering::SeqCst);
        let next = take_over(&config);
        assert_eq!(next.addresses, gateway.addresses);
        assert!(place.ask("/readyz").starts_with("HTTP/1.1 200 "), "the admin API goes on");
        assert!(place.ask("/metrics").contains("ringway_requests_total"));
        let ended = std::mem::replace(&mut gateway, next).child.wait();
        assert_eq!(ended.exit.code(), Some(0), "upgrade {upgrade}: {}", ended.errors);
        assert!(!ended.errors.contains("cut"), "upgrade {upgrade}: {}", ended.errors);
        // The new one serves by itself.
        while asked.load(Ordering::SeqCst) < seen + 20 {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("no request failed");
    }
    assert!(watcher.join().expect("nothing went backwards") > UPGRADES);
    let status = gateway.stop();
    assert_eq!(status.exit.code(), Some(0), "{}", status.errors);
    let run = read_run(&place.metrics()).expect("metrics");
    let counted = run.merged().expect("one schema").counter("ringway_requests_total", &[("status", "2xx")]);
    assert_eq!(counted, Some(asked.load(Ordering::SeqCst) as u64), "every request counts once");
}
