//! `docs/recipes/10-health-aggregator.toml`: fifty things, what needs what, and one answer for all of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::{recipe, ringway};
use crate::support::{Child, Client, Engine, Message, Origin, PATIENCE, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/10-health-aggregator.toml");
/// The last two digits of the ports in the recipe: upstreams, stores, services.
const PORTS: [std::ops::RangeInclusive<u16>; 3] = [1..=6, 11..=14, 20..=62];
/// All of them are well.
const WELL: usize = 0;

/// The recipe at a free port, before everything that it asks.
struct Shop {
    _child: Child,
    _dir: TempDir,
    address: SocketAddr,
    _things: Vec<Origin>,
    /// The last two digits of the port of what is ill.
    ill: Arc<AtomicUsize>,
    /// Questions of the service.
    asked: Arc<AtomicUsize>,
}

fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the recipe has no {from}");
    text.replace(from, to)
}

impl Shop {
    fn start(engine: Engine, ttl: &str, refuses: Option<u16>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let cores = format!("data = 2\nengine = \"{}\"\nbuffers = 64 #", engine.name());
        let mut text = replace(&replace(RECIPE, "data = \"all\"", &cores), "127.0.0.1:8080", "127.0.0.1:0");
        text = replace(&text, "ttl = \"5s\"", &format!("ttl = \"{ttl}\""));
        text = replace(&text, "timeout = \"500ms\"\ntotal_timeout = \"1s\"", "timeout = \"10s\"");
        let (ill, asked) = (Arc::new(AtomicUsize::new(WELL)), Arc::<AtomicUsize>::default());
        let mut things = Vec::new();
        for port in PORTS.into_iter().flatten() {
            let (own_ill, own_asked) = (ill.clone(), asked.clone());
            let (thing, _) = Origin::serve(move |_, connection| {
                // Payments have checks of their own.
                if ![5, 6].contains(&port) {
                    own_asked.fetch_add(1, Ordering::SeqCst);
                }
                let is_ill = own_ill.load(Ordering::SeqCst) == usize::from(port);
                let status = if is_ill { "500 Internal Server Error" } else { "200 OK" };
                connection.try_send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            });
            let address = if refuses == Some(port) { Origin::refusing() } else { thing.address };
            text = replace(&text, &format!("127.0.0.1:98{port:02}\""), &format!("{address}\""));
            things.push(thing);
        }
        let file = dir.path().join("health.toml");
        fs::write(&file, &text).expect("the config is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
        let mut ready = String::new();
        BufReader::new(child.stdout()).read_line(&mut ready).expect("the gateway says when it is ready");
        let address = ready.trim_end().rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no ready line: {ready:?}"));
        Self { _child: child, _dir: dir, address, _things: things, ill, asked }
    }

    /// Asks until the answer has this status.
    fn until(&self, status: u16) -> Value {
        let (mut client, begun) = (Client::connect(self.address), Instant::now());
        loop {
            let answer = client.get("/health");
            if answer.status() == status {
                return json(&answer);
            }
            assert!(begun.elapsed() < PATIENCE, "never {status}: {}", answer.text());
        }
    }
}

fn json(answer: &Message) -> Value {
    serde_json::from_str(answer.text()).expect("JSON")
}

/// The names of the checks in this state.
fn named(report: &Value, state: &str) -> Vec<String> {
    let checks = report["checks"].as_array().expect("checks").iter().filter(|check| check["status"] == state);
    checks.map(|check| check["name"].as_str().unwrap_or_default().to_owned()).collect()
}

on_both_engines!(
    fifty_things_are_asked_once_a_round_however_many_look,
    what_is_down_takes_down_what_needs_it,
    a_store_that_is_gone_takes_the_shop_down,
);

#[test]
fn the_recipe_is_in_order_as_it_stands() {
    let file = recipe("10-health-aggregator");
    let explain = |path| ringway(&["explain", &file, "GET", path]);
    let said = explain("/health");
    assert!(said.contains("answer     health health, asked every 5s for at most 1s\n"), "{said}");
    assert!(said.contains("  orders: GET /health at upstream orders, critical, needs db and queue\n"), "{said}");
    assert!(explain("/health/history").contains("answer     the last 200 changes of health health\n"));
}

fn fifty_things_are_asked_once_a_round_however_many_look(engine: Engine) {
    let shop = Shop::start(engine, "1h", None);
    let one = |_| {
        let mut client = Client::connect(shop.address);
        thread::spawn(move || (0..100).map(|_| client.get("/health")).collect::<Vec<_>>())
    };
    let clients: Vec<_> = (0..8).map(one).collect();
    for client in clients {
        for answer in client.join().expect("answers") {
            let report = json(&answer);
            assert_eq!((answer.status(), &report["status"]), (200, &"healthy".into()), "{report}");
            assert_eq!(named(&report, "healthy").len(), 50);
        }
    }
    // 43 services, the index, and two upstreams of two endpoints.
    assert_eq!(shop.asked.load(Ordering::SeqCst), 43 + 1 + 4);
}

fn what_is_down_takes_down_what_needs_it(engine: Engine) {
    let shop = Shop::start(engine, "50ms", None);
    shop.until(200);
    // A gateway to text messages.
    shop.ill.store(50, Ordering::SeqCst);
    let report = shop.until(207);
    assert_eq!((named(&report, "down"), named(&report, "degraded")), (vec!["sms".to_owned()], Vec::new()));
    // Reviews, without which there are no ratings.
    shop.ill.store(25, Ordering::SeqCst);
    let report = shop.until(207);
    let begun = Instant::now();
    let mut report = report;
    while named(&report, "down") != ["reviews"] {
        assert!(begun.elapsed() < PATIENCE);
        report = shop.until(207);
    }
    assert_eq!(named(&report, "degraded"), ["ratings"]);
    // Prices, without which nobody checks out.
    shop.ill.store(21, Ordering::SeqCst);
    let report = shop.until(503);
    assert_eq!(named(&report, "down"), ["prices", "checkout", "discounts"]);
    assert_eq!(named(&report, "degraded"), ["vouchers"]);
    shop.ill.store(WELL, Ordering::SeqCst);
    shop.until(200);
    let history = json(&Client::connect(shop.address).get("/health/history"));
    let told = |check: &str, to: &str| {
        let mut changes = history["changes"].as_array().expect("changes").iter();
        changes.any(|change| change["check"] == check && change["to"] == to)
    };
    assert!(told("sms", "down") && told("ratings", "degraded") && told("checkout", "healthy"), "{history}");
}

fn a_store_that_is_gone_takes_the_shop_down(engine: Engine) {
    let shop = Shop::start(engine, "50ms", Some(11));
    let report = shop.until(503);
    let down = named(&report, "down");
    assert!(
        ["db", "users", "orders", "catalog", "prices"].iter().all(|name| down.contains(&name.to_string())),
        "{down:?}"
    );
    let cause = |name: &str| {
        let check = report["checks"].as_array().and_then(|all| all.iter().find(|check| check["name"] == name)).cloned();
        check.expect("a check")["causes"].clone()
    };
    assert_eq!(cause("checkout"), serde_json::json!(["db"]));
    assert!(named(&report, "healthy").contains(&"sms".to_owned()));
}
