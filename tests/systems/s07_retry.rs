//! `docs/recipes/07-retry.toml`: services that fail now and then, and what is asked again. Figures are counted: how many
//! clients got their answer, and how many calls that cost the instances.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Child, Client, Engine, Origin, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/07-retry.toml");
const CORES: usize = 2;
const CATALOG: usize = 10;
const CLIENTS: usize = 4;
const REQUESTS: usize = 1_500;
/// Retries that one core may make in a window in any case.
const FLOOR: usize = 100;

/// What instances of the catalogue do, and what came to them.
#[derive(Default)]
struct Catalog {
    /// Of a thousand calls, so many fail.
    fails: AtomicUsize,
    calls: AtomicUsize,
    random: AtomicU64,
}

impl Catalog {
    /// Whether the next call fails.
    fn next_fails(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let number = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % 1_000) < self.fails.load(Ordering::SeqCst) as u64
    }
}

/// The recipe at a free port, before its services.
struct Retry {
    _child: Child,
    dir: TempDir,
    address: SocketAddr,
    catalog: Arc<Catalog>,
    orders: Vec<Origin>,
    reports: Origin,
}

fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the recipe has no {from}");
    text.replace(from, to)
}

impl Retry {
    /// With instances of the catalogue that are there, or not.
    fn start(engine: Engine, cores: usize, catalog_is_up: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (name, metrics) = (engine.name(), dir.path().join("metrics"));
        fs::create_dir(&metrics).expect("a directory");
        let cores =
            format!("data = {cores}\nengine = \"{name}\"\nbuffers = 64\nmetrics_dir = \"{}\" #", metrics.display());
        let mut text = replace(&replace(RECIPE, "data = \"all\"", &cores), "127.0.0.1:8080", "127.0.0.1:0");
        let catalog = Arc::new(Catalog::default());
        for port in 1..=CATALOG {
            let own = catalog.clone();
            let (mut address, up) = (Origin::refusing(), catalog_is_up);
            if up {
                let (origin, _) = Origin::serve(move |_, connection| {
                    let status = if own.next_fails() { "503 Service Unavailable" } else { "200 OK" };
                    connection.try_send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes())
                });
                address = origin.address;
            }
            text = replace(&text, &format!("127.0.0.1:97{port:02}\""), &format!("{address}\""));
        }
        let orders = vec![Origin::listen(), Origin::listen()];
        for (origin, port) in orders.iter().zip([11, 12]) {
            text = replace(&text, &format!("127.0.0.1:97{port}\""), &format!("{}\"", origin.address));
        }
        let reports = Origin::listen();
        text = replace(&text, "127.0.0.1:9721\"", &format!("{}\"", reports.address));
        let file = dir.path().join("retry.toml");
        fs::write(&file, &text).expect("the config is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
        let mut ready = String::new();
        BufReader::new(child.stdout()).read_line(&mut ready).expect("the gateway says when it is ready");
        let address = ready.trim_end().rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no ready line: {ready:?}"));
        Self { _child: child, dir, address, catalog, orders, reports }
    }

    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Client {
        let mut client = Client::connect(self.address);
        let length = body.len();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n{body}"));
        client
    }

    /// How many of these requests for the catalogue were answered, and how many calls that took.
    fn read_catalog(&self, fails: usize) -> (usize, usize) {
        self.catalog.fails.store(fails, Ordering::SeqCst);
        let before = self.catalog.calls.load(Ordering::SeqCst);
        let one = |_| {
            let mut client = Client::connect(self.address);
            thread::spawn(move || (0..REQUESTS).filter(|_| client.get("/catalog/x").status() == 200).count())
        };
        let clients: Vec<_> = (0..CLIENTS).map(one).collect();
        let good = clients.into_iter().map(|client| client.join().expect("every request has its answer")).sum();
        (good, self.catalog.calls.load(Ordering::SeqCst) - before)
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        let files = read_dir(&self.dir.path().join("metrics")).expect("metrics").into_iter();
        files.filter_map(|file| file.expect("counters").counter(name, labels)).sum::<u64>() as usize
    }
}

on_both_engines!(
    where_one_call_in_ten_fails_clients_do_not_notice,
    however_much_fails_the_load_is_bounded,
    while_every_instance_is_down_connects_stay_within_the_budget,
    orders_are_placed_once_unless_they_have_a_key,
    reports_are_never_asked_for_twice,
);

#[test]
fn the_recipe_is_in_order_as_it_stands() {
    super::recipe("07-retry");
}

fn where_one_call_in_ten_fails_clients_do_not_notice(engine: Engine) {
    let retry = Retry::start(engine, CORES, true);
    let (good, calls) = retry.read_catalog(100);
    let asked = CLIENTS * REQUESTS;
    println!("{}: one call in ten fails: {good} of {asked} answered, {calls} calls", engine.name());
    assert!(good * 1_000 > asked * 998, "{good} of {asked}");
    assert!(calls * 10 <= asked * 12, "{calls} calls for {asked} requests");
}

fn however_much_fails_the_load_is_bounded(engine: Engine) {
    let retry = Retry::start(engine, CORES, true);
    let asked = CLIENTS * REQUESTS;
    let (good, calls) = retry.read_catalog(500);
    println!("{}: every second call fails: {good} of {asked} answered, {calls} calls", engine.name());
    // Where this takes longer than a window, what is counted in steps may be a little off.
    assert!(calls * 10 <= asked * 12 + CORES * FLOOR * 10, "{calls} calls for {asked} requests");
    assert!(good * 10 > asked * 5, "{good} of {asked}");
}

fn while_every_instance_is_down_connects_stay_within_the_budget(engine: Engine) {
    let retry = Retry::start(engine, CORES, false);
    let (good, _) = retry.read_catalog(0);
    assert_eq!(good, 0);
    let asked = CLIENTS * REQUESTS;
    let labels = [("upstream", "catalog"), ("kind", "connect")];
    let connects = retry.counter("ringway_upstream_failures_total", &labels);
    println!("{}: all are down: {connects} connects for {asked} requests", engine.name());
    assert!(connects * 10 <= asked * 12 + CORES * FLOOR * 10, "{connects} connects for {asked} requests");
    assert!(retry.counter("ringway_upstream_retries_out_of_budget_total", &[("upstream", "catalog")]) > 0);
}

fn orders_are_placed_once_unless_they_have_a_key(engine: Engine) {
    const BUSY: &str = "HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let retry = Retry::start(engine, 1, true);
    let mut with_key = retry.ask("POST", "/orders/", "Idempotency-Key: 7\r\n", "two of those");
    let mut first = retry.orders[0].accept();
    assert_eq!(first.request().text(), "two of those");
    first.send(BUSY);
    let mut second = retry.orders[1].accept();
    assert_eq!(second.request().text(), "two of those");
    second.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(with_key.response().status(), 201);
    let mut without = retry.ask("POST", "/orders/", "", "two of those");
    let mut first = retry.orders[0].accept();
    first.request();
    first.send(BUSY);
    assert_eq!(without.response().status(), 503);
    retry.orders[1].expect_no_connection();
}

fn reports_are_never_asked_for_twice(engine: Engine) {
    let retry = Retry::start(engine, CORES, true);
    let mut client = retry.ask("GET", "/reports/all", "", "");
    let mut upstream = retry.reports.accept();
    upstream.request();
    upstream.reset();
    assert_eq!(client.response().status(), 502);
    retry.reports.expect_no_connection();
}
