//! `kill -9` under load: what was counted is whole and right.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use rustix::process::Signal;

use super::{config, hdr_json, total};
use crate::support::{Engine, PATIENCE, on_both_engines};

on_both_engines!(a_killed_gateway_leaves_whole_histograms_that_agree_with_its_clients);

const CLIENTS: u64 = 8;
const ENOUGH: u64 = 2_000;
const ANSWER_END: &[u8] = b"hello";

fn a_killed_gateway_leaves_whole_histograms_that_agree_with_its_clients(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(engine, dir.path()).start();
    let answered = Arc::new(AtomicU64::new(0));
    let (enough, wait) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (answered, enough) = (answered.clone(), enough.clone());
            let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut piece = [0; 4096];
                while stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() {
                    while !bytes.ends_with(ANSWER_END) {
                        match stream.read(&mut piece) {
                            Ok(0) | Err(_) => return,
                            Ok(count) => bytes.extend_from_slice(&piece[..count]),
                        }
                    }
                    bytes.clear();
                    if answered.fetch_add(1, Ordering::SeqCst) + 1 == ENOUGH {
                        // The test waits for it unless it has failed.
                        let _ = enough.send(());
                    }
                }
            })
        })
        .collect();
    wait.recv_timeout(PATIENCE).expect("the gateway answers");
    gateway.child.signal(Signal::KILL);
    assert!(!gateway.child.wait().exit.success());
    for client in clients {
        client.join().unwrap();
    }
    let answered = answered.load(Ordering::SeqCst);
    let found = hdr_json(dir.path());
    assert_eq!(found["cores"][0]["state"], "died");
    let counted = total(&found, "ringway_requests_total");
    // Each client has one request at most whose answer and count the kill can part, either way round.
    assert!(answered.abs_diff(counted) <= CLIENTS, "{answered} answers seen, {counted} counted");
    for name in ["ringway_request_duration_seconds", "ringway_route_request_duration_seconds"] {
        let histograms = found["histograms"].as_array().unwrap();
        let histogram = histograms.iter().find(|histogram| histogram["name"] == name).unwrap();
        let count = histogram["count"].as_u64().unwrap();
        // The counter and the histogram are two stores: the kill may fall between them.
        assert!(counted.abs_diff(count) <= 1, "{name}: {count}, {counted} counted");
        let [p50, p999, max] = ["p50", "p99.9", "max"].map(|key| histogram[key].as_f64().unwrap());
        assert!(0.0 < max && p50 <= p999 && p999 <= max && max < PATIENCE.as_secs_f64(), "{histogram}");
    }
}
