//! Connections over the cores of a real gateway.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ringway_runtime::histogram::read_dir;

use crate::support::{Client, Config, Engine, Gateway, PATIENCE, on_both_engines};

on_both_engines!(
    connections_spread_over_the_cores,
    connections_of_a_hot_core_move_and_requests_go_on,
    connections_that_were_handed_over_end_with_the_drain,
);

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/{rest...}\"\nservice = \"hello\"\n";

fn start(engine: Engine, placement: &str, metrics: &Path) -> Gateway {
    Config::new(engine)
        .data(2)
        .cores(&format!("placement = \"{placement}\"\nmetrics_dir = \"{}\"", metrics.display()))
        .more(HELLO)
        .start()
}

/// A gauge of each core.
fn gauges(metrics: &Path, name: &str) -> BTreeMap<u32, i64> {
    let files = read_dir(metrics).expect("metrics").into_iter().map(|file| file.expect("a whole file"));
    files.filter_map(|file| Some((file.cores.first()?.core, file.gauge(name, &[])?))).collect()
}

fn open(metrics: &Path) -> Vec<i64> {
    gauges(metrics, "ringway_connections_open").into_values().collect()
}

fn counted(metrics: &Path, name: &str, direction: &str) -> u64 {
    let files = read_dir(metrics).expect("metrics").into_iter().map(|file| file.expect("a whole file"));
    files.filter_map(|file| file.counter(name, &[("direction", direction)])).sum()
}

/// Clients that have had an answer each, so that a core has them.
fn clients(gateway: &Gateway, count: usize) -> Vec<Client> {
    let client = |_| {
        let mut client = gateway.connect();
        assert_eq!(client.get("/").text(), "hello");
        client
    };
    (0..count).map(client).collect()
}

/// Messages of the mesh that ended so, over all cores.
fn outcome(dir: &Path, outcome: &str) -> u64 {
    let files = read_dir(dir).expect("metrics files").into_iter().map(Result::unwrap);
    files.filter_map(|file| file.counter("ringway_mesh_messages_total", &[("outcome", outcome), ("to", "core")])).sum()
}

fn connections_spread_over_the_cores(engine: Engine) {
    for count in [17, 64, 300] {
        let metrics = tempfile::tempdir().expect("a directory");
        let gateway = start(engine, "least-loaded", metrics.path());
        let clients = clients(&gateway, count);
        let open = open(metrics.path());
        println!("{count} connections, least-loaded: {open:?}");
        assert_eq!(open.iter().sum::<i64>(), count as i64);
        // A core that is busy for other reasons counts up to twice.
        assert!(open.iter().all(|&open| open >= count as i64 / 4), "{open:?}");
        let name = "ringway_connections_handed_over_total";
        assert_eq!(counted(metrics.path(), name, "in"), counted(metrics.path(), name, "out"));
        drop(clients);
        // A core copies its counts once a second, and when it ends.
        assert!(gateway.stop().exit.success());
        let moved = counted(metrics.path(), "ringway_connections_moved_total", "out");
        let sent = outcome(metrics.path(), "sent");
        assert_eq!(sent, counted(metrics.path(), name, "out") + moved, "each goes in one message");
        assert_eq!(outcome(metrics.path(), "refused") + outcome(metrics.path(), "dropped"), 0);
    }
}

/// Clients that have had an answer each, with the core that has each of them.
fn placed(gateway: &Gateway, metrics: &Path, count: usize) -> Vec<(usize, Client)> {
    let mut before = open(metrics);
    let client = |_| {
        let client = clients(gateway, 1).remove(0);
        let after = open(metrics);
        let core = after.iter().zip(&before).position(|(after, before)| after > before).expect("a core has it");
        before = after;
        (core, client)
    };
    (0..count).map(client).collect()
}

fn connections_of_a_hot_core_move_and_requests_go_on(engine: Engine) {
    let metrics = tempfile::tempdir().expect("a directory");
    let gateway = start(engine, "least-loaded", metrics.path());
    let mut all = placed(&gateway, metrics.path(), 80);
    // The clients of one core leave; the other has too many now.
    all.retain(|(core, _)| *core == 0);
    assert!(all.len() >= 20, "{}", all.len());
    let moved = || counted(metrics.path(), "ringway_connections_moved_total", "in");
    let start = Instant::now();
    while moved() == 0 {
        assert!(start.elapsed() < PATIENCE, "none moved: {:?}", open(metrics.path()));
        for (_, client) in &mut all {
            assert_eq!(client.get("/").text(), "hello");
        }
    }
    for (_, client) in &mut all {
        assert_eq!(client.get("/").text(), "hello", "a connection that moved goes on");
    }
    assert_eq!(open(metrics.path()).iter().sum::<i64>(), all.len() as i64);
}

fn connections_that_were_handed_over_end_with_the_drain(engine: Engine) {
    let metrics = tempfile::tempdir().expect("a directory");
    let gateway = start(engine, "least-loaded", metrics.path());
    let all = clients(&gateway, 40);
    gateway.terminate();
    for mut client in all {
        client.expect_end();
    }
    let ended = gateway.child.wait();
    assert_eq!((ended.exit.code(), ended.errors.as_str()), (Some(0), ""));
}
