//! How many retries there may be, counted at the origins.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_budget_bounds_the_load_of_an_upstream_whose_calls_fail,
    without_a_budget_every_attempt_is_made,
    a_storm_of_refused_connections_stays_within_the_budget_and_in_memory,
);

const CLIENTS: usize = 4;
const REQUESTS: usize = 500;

/// Origins of which each fails the calls that `fails` says by their number; and how many calls came to all of them.
fn pool(count: usize, fails: fn(usize) -> bool) -> (Vec<Origin>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = |_| {
        let (all, own) = (calls.clone(), AtomicUsize::new(0));
        let (origin, _) = Origin::serve(move |_, upstream| {
            all.fetch_add(1, Ordering::SeqCst);
            let status = if fails(own.fetch_add(1, Ordering::SeqCst)) { 503 } else { 200 };
            upstream.try_send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())
        });
        origin
    };
    ((0..count).map(origin).collect(), calls)
}

/// A gateway of one core before these, with its metrics.
fn before(engine: Engine, origins: &[Origin], retry: &str) -> (Gateway, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(engine).cores(&format!("metrics_dir = \"{}\"", dir.path().display())).upstream(retry);
    (origins.iter().fold(config, Config::origin).start(), dir)
}

fn counter(dir: &TempDir, name: &str) -> usize {
    let files = read_dir(dir.path()).unwrap().into_iter().map(Result::unwrap);
    files.filter_map(|file| file.counter(name, &[("upstream", "origin")])).sum::<u64>() as usize
}

/// How often clients got each status.
fn ask(gateway: &Gateway) -> HashMap<u16, usize> {
    let one = |_| {
        let mut client = gateway.connect();
        thread::spawn(move || (0..REQUESTS).map(|_| client.get("/").status()).collect::<Vec<_>>())
    };
    let clients: Vec<_> = (0..CLIENTS).map(one).collect();
    let mut statuses = HashMap::new();
    for status in clients.into_iter().flat_map(|client| client.join().unwrap()) {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

fn a_budget_bounds_the_load_of_an_upstream_whose_calls_fail(engine: Engine) {
    let (origins, calls) = pool(4, |call| call % 2 == 0);
    let retry = "retry = { attempts = 3, on = [\"5xx\"], backoff = \"off\", budget = 0.2, budget_floor = 0, budget_window = \"1h\" }";
    let (gateway, dir) = before(engine, &origins, retry);
    let statuses = ask(&gateway);
    let (asked, calls) = (CLIENTS * REQUESTS, calls.load(Ordering::SeqCst));
    assert_eq!(statuses.values().sum::<usize>(), asked, "{statuses:?}");
    assert!(calls <= asked * 12 / 10, "{calls} calls for {asked} requests");
    assert!(calls > asked * 11 / 10, "{calls} calls for {asked} requests");
    assert_eq!(counter(&dir, "ringway_upstream_retries_total"), calls - asked);
    assert!(counter(&dir, "ringway_upstream_retries_out_of_budget_total") >= statuses[&503] / 2);
}

fn without_a_budget_every_attempt_is_made(engine: Engine) {
    let (origins, calls) = pool(2, |_| true);
    let (gateway, dir) =
        before(engine, &origins, "retry = { attempts = 3, on = [\"503\"], backoff = \"off\", budget = \"off\" }");
    assert_eq!(ask(&gateway), HashMap::from([(503, CLIENTS * REQUESTS)]));
    assert_eq!(calls.load(Ordering::SeqCst), 3 * CLIENTS * REQUESTS);
    assert_eq!(counter(&dir, "ringway_upstream_retries_out_of_budget_total"), 0);
}

fn a_storm_of_refused_connections_stays_within_the_budget_and_in_memory(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let retry = "retry = { attempts = 10, backoff = \"off\", budget = 0.2, budget_floor = 0, budget_window = \"1h\" }";
    let config = Config::new(engine).cores(&format!("metrics_dir = \"{}\"", dir.path().display())).upstream(retry);
    let gateway = config.endpoint(Origin::refusing()).endpoint(Origin::refusing()).start();
    assert_eq!(ask(&gateway), HashMap::from([(502, CLIENTS * REQUESTS)]));
    let before = gateway.child.resident();
    for _ in 0..4 {
        assert_eq!(ask(&gateway), HashMap::from([(502, CLIENTS * REQUESTS)]));
    }
    let asked = 5 * CLIENTS * REQUESTS;
    let failures = read_dir(dir.path()).unwrap().into_iter().map(Result::unwrap);
    let labels = [("upstream", "origin"), ("kind", "connect")];
    let attempts: u64 = failures.filter_map(|file| file.counter("ringway_upstream_failures_total", &labels)).sum();
    assert!(attempts as usize <= asked * 12 / 10, "{attempts} attempts for {asked} requests");
    assert_eq!(attempts as usize, asked + counter(&dir, "ringway_upstream_retries_total"));
    let after = gateway.child.resident();
    assert!(after < before + (8 << 20), "{before} bytes before, {after} after");
}
