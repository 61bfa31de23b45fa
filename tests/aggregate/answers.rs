//! Services of type `health` through a running gateway: what they find out, how often they ask, and what they tell.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::{Client, Config, Engine, Gateway, Message, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    the_whole_is_what_its_checks_are,
    what_needs_something_that_is_down_says_so,
    an_upstream_is_as_well_as_its_endpoints_are,
    what_is_known_of_an_upstream_is_a_check,
    a_thing_that_hangs_holds_nobody_up,
    however_many_ask_each_endpoint_is_asked_once,
    a_first_request_waits_for_the_first_round,
    what_is_stale_is_told_while_a_round_is_under_way,
    an_answer_is_in_the_form_that_was_asked_for,
    an_answer_tells_no_addresses_unless_it_may,
    a_history_has_the_last_changes,
    what_stays_is_known_after_a_reload,
    only_what_is_there_can_be_asked_for,
    metrics_tell_states_and_results,
);

/// Something with a health endpoint: what it says, and how often it was asked.
struct Thing {
    origin: Origin,
    status: Arc<AtomicU16>,
    /// It does not answer.
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Thing {
    fn new() -> Self {
        let (status, hangs) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicBool::new(false)));
        let asked = Arc::<AtomicUsize>::default();
        let (says, stalls, count) = (status.clone(), hangs.clone(), asked.clone());
        let (origin, _) = Origin::serve(move |_, connection| {
            count.fetch_add(1, Ordering::SeqCst);
            if stalls.load(Ordering::SeqCst) {
                return true;
            }
            let status = says.load(Ordering::SeqCst);
            connection.try_send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())
        });
        Self { origin, status, hangs, asked }
    }

    fn say(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A check of it.
    fn check(&self, name: &str, more: &str) -> String {
        format!("{{ name = \"{name}\", http = \"{}\", path = \"/well\", {more} }},\n", self.origin.address)
    }
}

const ROUTES: &str = "[[route]]\nname = \"health\"\npath = \"/health\"\nservice = \"health\"\n\
                      [[route]]\nname = \"history\"\npath = \"/health/history\"\nservice = \"health\"\n";

/// A gateway on two cores with a service of these keys and checks.
fn config(engine: Engine, keys: &str, checks: &str) -> Config {
    let service = format!("[service.health]\ntype = \"health\"\n{keys}\nchecks = [\n{checks}]\n{ROUTES}");
    Config::new(engine).data(2).more(&service)
}

const QUICK: &str = "ttl = \"20ms\"\ntimeout = \"2s\"";
/// Nothing is asked a second time.
const ONCE: &str = "ttl = \"1h\"\ntimeout = \"2s\"";

fn json(answer: &Message) -> Value {
    serde_json::from_str(answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// The states of all checks, and what the report says of one of them.
fn states(report: &Value) -> HashMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().expect("checks").iter();
    checks.map(|check| (text(&check["name"]), text(&check["status"]))).collect()
}

fn one<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["checks"].as_array().and_then(|all| all.iter().find(|check| check["name"] == name)).expect("a check")
}

/// Asks until the answer has this status, and as many of these checks are in these states.
fn until(gateway: &Gateway, status: u16, wanted: &[(&str, &str)]) -> Value {
    let begun = Instant::now();
    let mut client = gateway.connect();
    loop {
        let answer = client.get("/health");
        let report = json(&answer);
        let states = states(&report);
        let is_so = wanted.iter().all(|(name, state)| states.get(*name).map(String::as_str) == Some(*state));
        if answer.status() == status && is_so {
            return report;
        }
        assert!(begun.elapsed() < PATIENCE, "never {status} {wanted:?}, but {} {report}", answer.status());
    }
}

fn ask(client: &mut Client, method: &str, path: &str, fields: &str) -> Message {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).response()
}

fn the_whole_is_what_its_checks_are(engine: Engine) {
    let (users, search) = (Thing::new(), Thing::new());
    let (db, gone) = (Thing::new(), Origin::refusing());
    let checks = |db: std::net::SocketAddr| {
        users.check("users", "critical = true")
            + &search.check("search", "")
            + &format!("{{ name = \"db\", tcp = \"{db}\" }},")
    };
    let gateway = config(engine, QUICK, &checks(db.origin.address)).start();
    let all = |state| [("users", state), ("search", "healthy"), ("db", "healthy")];
    for _ in 0..2 {
        assert_eq!(until(&gateway, 200, &all("healthy"))["status"], "healthy");
        search.say(500);
        assert_eq!(until(&gateway, 207, &[("search", "down"), ("users", "healthy")])["status"], "degraded");
        users.say(503);
        assert_eq!(until(&gateway, 503, &[("search", "down"), ("users", "down")])["status"], "down");
        search.say(204);
        until(&gateway, 503, &all("down"));
        users.say(200);
    }
    until(&gateway, 200, &all("healthy"));
    gateway.run(&config(engine, QUICK, &checks(gone)));
    until(&gateway, 207, &[("db", "down")]);
    // The status of what is degraded is for the config to say.
    gateway.run(&config(engine, &format!("{QUICK}\ndegraded_status = 200"), &checks(gone)));
    assert_eq!(until(&gateway, 200, &[("db", "down")])["status"], "degraded");
}

fn what_needs_something_that_is_down_says_so(engine: Engine) {
    let (db, users, orders, shop) = (Thing::new(), Thing::new(), Thing::new(), Thing::new());
    // A check may be written before what it needs.
    let checks = |critical: &str| {
        shop.check("shop", "needs = [\"orders\", \"users\"]")
            + &orders.check("orders", "needs = \"db\"")
            + &users.check("users", "")
            + &db.check("db", critical)
    };
    let gateway = config(engine, QUICK, &checks("")).start();
    until(&gateway, 200, &[("shop", "healthy")]);
    db.say(500);
    let report = until(&gateway, 207, &[("db", "down"), ("orders", "degraded"), ("shop", "degraded")]);
    assert_eq!(states(&report)["users"], "healthy");
    assert_eq!(one(&report, "shop")["causes"], serde_json::json!(["db"]));
    assert_eq!(one(&report, "db")["causes"], serde_json::json!([]));
    gateway.run(&config(engine, QUICK, &checks("critical = true")));
    let report = until(&gateway, 503, &[("db", "down"), ("orders", "down"), ("shop", "degraded")]);
    assert_eq!(one(&report, "orders")["causes"], serde_json::json!(["db"]));
    users.say(500);
    let report = until(&gateway, 503, &[("users", "down")]);
    assert_eq!(one(&report, "shop")["causes"], serde_json::json!(["users", "db"]));
}

fn an_upstream_is_as_well_as_its_endpoints_are(engine: Engine) {
    let (one, two) = (Thing::new(), Thing::new());
    let gateway =
        config(engine, QUICK, "{ name = \"users\", upstream = \"origin\", path = \"/well\", critical = true },")
            .origin(&one.origin)
            .origin(&two.origin)
            .start();
    until(&gateway, 200, &[("users", "healthy")]);
    one.say(500);
    until(&gateway, 207, &[("users", "degraded")]);
    two.say(500);
    until(&gateway, 503, &[("users", "down")]);
    one.say(200);
    until(&gateway, 207, &[("users", "degraded")]);
}

fn what_is_known_of_an_upstream_is_a_check(engine: Engine) {
    let (one, two) = (Thing::new(), Thing::new());
    let health = "health = { path = \"/well\", interval = \"20ms\", unhealthy_after = 1, healthy_after = 1 }";
    let check = "{ name = \"users\", upstream = \"origin\", critical = true },";
    let service = config(engine, &format!("{QUICK}\ndetail = \"full\""), check);
    let gateway = service.upstream(health).origin(&one.origin).origin(&two.origin).start();
    until(&gateway, 200, &[("users", "healthy")]);
    one.say(500);
    let report = until(&gateway, 207, &[("users", "degraded")]);
    let endpoints = &self::one(&report, "users")["endpoints"];
    let ill = serde_json::json!({ "address": one.origin.address.to_string(), "result": "unhealthy" });
    assert!(endpoints.as_array().is_some_and(|all| all.len() == 2 && all.contains(&ill)), "{endpoints}");
    two.say(500);
    until(&gateway, 503, &[("users", "down")]);
    one.say(200);
    two.say(200);
    until(&gateway, 200, &[("users", "healthy")]);
}

fn a_thing_that_hangs_holds_nobody_up(engine: Engine) {
    let (hangs, well) = (Thing::new(), Thing::new());
    hangs.hangs.store(true, Ordering::SeqCst);
    let keys = "ttl = \"20ms\"\ntimeout = \"50ms\"\ndetail = \"full\"";
    let gateway = config(engine, keys, &(hangs.check("hangs", "") + &well.check("well", ""))).start();
    let report = until(&gateway, 207, &[("hangs", "down"), ("well", "healthy")]);
    assert_eq!(one(&report, "hangs")["endpoints"][0]["result"], "timeout");
    hangs.hangs.store(false, Ordering::SeqCst);
    until(&gateway, 200, &[("hangs", "healthy")]);
    // A round ends when its time is over, however long single questions may take.
    hangs.hangs.store(true, Ordering::SeqCst);
    let keys = "ttl = \"20ms\"\ntimeout = \"1h\"\ntotal_timeout = \"50ms\"";
    gateway.run(&config(engine, keys, &(hangs.check("hangs", "") + &well.check("well", ""))));
    until(&gateway, 207, &[("hangs", "down"), ("well", "healthy")]);
}

fn however_many_ask_each_endpoint_is_asked_once(engine: Engine) {
    const CLIENTS: usize = 32;
    let things: Vec<Thing> = (0..50).map(|_| Thing::new()).collect();
    let checks: String = things.iter().enumerate().map(|(at, thing)| thing.check(&format!("s{at}"), "")).collect();
    let gateway = config(engine, ONCE, &checks).start();
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (mut client, start) = (gateway.connect(), start.clone());
            thread::spawn(move || {
                start.wait();
                (0..20).map(|_| client.get("/health").status()).collect::<Vec<_>>()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("answers"), [200; 20]);
    }
    assert!(things.iter().all(|thing| thing.asked() == 1), "{:?}", things.iter().map(Thing::asked).collect::<Vec<_>>());
    // A reload that changes something else asks nobody either.
    gateway.run(&config(engine, ONCE, &checks).limits("headers = 77"));
    assert_eq!(gateway.connect().get("/health").status(), 200);
    assert!(things.iter().all(|thing| thing.asked() == 1));
}

fn a_first_request_waits_for_the_first_round(engine: Engine) {
    let origin = Origin::listen();
    let checks = format!("{{ name = \"late\", http = \"{}\" }},", origin.address);
    let gateway = config(engine, "ttl = \"1h\"\ntimeout = \"1h\"", &checks).start();
    // On every core.
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET /health HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    origin.accept().answer("well");
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    origin.expect_no_connection();
}

fn what_is_stale_is_told_while_a_round_is_under_way(engine: Engine) {
    let thing = Thing::new();
    let gateway = config(engine, "ttl = \"20ms\"\ntimeout = \"1h\"", &thing.check("thing", "")).start();
    until(&gateway, 200, &[("thing", "healthy")]);
    thing.hangs.store(true, Ordering::SeqCst);
    // A question that is not answered is under way, and nobody waits for it or asks once more.
    let mut client = gateway.connect();
    let (begun, mut before) = (Instant::now(), thing.asked());
    let mut same = 0;
    while same < 200 {
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(client.get("/health").status(), 200);
        (same, before) = if thing.asked() == before { (same + 1, before) } else { (0, thing.asked()) };
    }
}

fn an_answer_is_in_the_form_that_was_asked_for(engine: Engine) {
    let thing = Thing::new();
    let gateway = config(engine, ONCE, &thing.check("thing", "critical = true")).start();
    let mut client = gateway.connect();
    for (accept, kind, begins) in [
        ("", "application/json", "{\"status\":\"healthy\","),
        ("Accept: */*\r\n", "application/json", "{\"status\":\"healthy\","),
        ("Accept: application/health+json\r\n", "application/health+json", "{\"status\":\"pass\","),
        ("Accept: text/html, */*;q=0.8\r\n", "text/html; charset=utf-8", "<!doctype html>"),
    ] {
        let answer = ask(&mut client, "GET", "/health", accept);
        assert_eq!((answer.status(), answer.head.get("content-type")), (200, Some(kind)), "{accept}");
        assert!(answer.text().starts_with(begins), "{}", answer.text());
        assert_eq!(answer.head.get("cache-control"), Some("no-store"));
        assert_eq!(answer.head.get("vary"), Some("accept"));
        let policy = answer.head.get("content-security-policy").unwrap_or_default();
        assert_eq!(policy.contains("default-src 'none'"), kind.starts_with("text/html"), "{policy}");
        assert!(!answer.text().contains("<script") && !answer.text().contains("http://"), "{}", answer.text());
        // The same without a body.
        client.send(format!("HEAD /health HTTP/1.1\r\nHost: test\r\n{accept}\r\n"));
        let head = client.head();
        assert_eq!(head.get("content-length"), answer.head.get("content-length"));
    }
    let report = json(&client.get("/health"));
    assert_eq!(report["ttl_ms"], 3_600_000);
    assert!(one(&report, "thing")["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{report}");
    assert!(report["checked_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{report}");
    let history = ask(&mut client, "GET", "/health/history", "Accept: text/html\r\n");
    assert!(history.text().starts_with("<!doctype html>") && history.text().contains("history"));
}

fn an_answer_tells_no_addresses_unless_it_may(engine: Engine) {
    let (thing, gone) = (Thing::new(), Origin::refusing());
    let checks = thing.check("thing", "") + &format!("{{ name = \"gone\", tcp = \"{gone}\", critical = true }},");
    for (detail, names, addresses) in [("status", false, false), ("names", true, false), ("full", true, true)] {
        let gateway = config(engine, &format!("{ONCE}\ndetail = \"{detail}\""), &checks).start();
        let mut client = gateway.connect();
        for path in ["/health", "/health/history"] {
            for accept in ["application/json", "application/health+json", "text/html"] {
                let answer = ask(&mut client, "GET", path, &format!("Accept: {accept}\r\n"));
                let text = answer.text();
                assert_eq!(text.contains("gone"), names, "{detail} {path} {accept}: {text}");
                let tells = addresses && path == "/health" && accept != "application/health+json";
                assert_eq!(text.contains("127.0.0.1"), tells, "{detail} {path} {accept}: {text}");
                assert_eq!(answer.status(), if path == "/health" { 503 } else { 200 });
            }
        }
    }
}

fn a_history_has_the_last_changes(engine: Engine) {
    let thing = Thing::new();
    let gateway = config(engine, &format!("{QUICK}\nhistory = 3"), &thing.check("thing", "critical = true")).start();
    until(&gateway, 200, &[]);
    let mut client = gateway.connect();
    let history = json(&client.get("/health/history"));
    assert_eq!((&history["limit"], history["changes"].as_array().map(Vec::len)), (&3.into(), Some(0)));
    for _ in 0..2 {
        thing.say(500);
        until(&gateway, 503, &[]);
        thing.say(200);
        until(&gateway, 200, &[]);
    }
    let history = json(&client.get("/health/history"));
    let told = |nth: usize| {
        let change = &history["changes"][nth];
        let text = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
        assert!(change["at"].as_str().is_some_and(|at| at.ends_with('Z')));
        [text("check"), text("from"), text("to"), text("cause")]
    };
    assert_eq!(history["changes"].as_array().map(Vec::len), Some(3));
    assert_eq!(told(0), ["-", "down", "healthy", "-"]);
    assert_eq!(told(1), ["thing", "down", "healthy", "-"]);
    assert_eq!(told(2), ["-", "healthy", "down", "thing"]);
}

fn what_stays_is_known_after_a_reload(engine: Engine) {
    let (stays, goes, comes) = (Thing::new(), Thing::new(), Thing::new());
    stays.say(500);
    let first = config(engine, ONCE, &(stays.check("stays", "") + &goes.check("goes", "")));
    let gateway = first.start();
    let before = until(&gateway, 207, &[("stays", "down"), ("goes", "healthy")]);
    stays.say(200);
    // One check less: what is known of the other counts until its time is over.
    gateway.run(&config(engine, ONCE, &stays.check("stays", "")));
    let after = until(&gateway, 207, &[("stays", "down")]);
    assert_eq!(one(&after, "stays")["since"], one(&before, "stays")["since"]);
    assert_eq!(stays.asked(), 1);
    let changes = json(&gateway.connect().get("/health/history"));
    assert_eq!(changes["changes"].as_array().map(Vec::len), Some(2), "{changes}");
    // Of a check that is new nothing is known: all are asked at once.
    gateway.run(&config(engine, ONCE, &(stays.check("stays", "") + &comes.check("comes", ""))));
    until(&gateway, 200, &[("stays", "healthy"), ("comes", "healthy")]);
    assert_eq!((stays.asked(), goes.asked(), comes.asked()), (2, 1, 1));
}

fn only_what_is_there_can_be_asked_for(engine: Engine) {
    let thing = Thing::new();
    let open = "[[route]]\nname = \"open\"\npath = \"/open/{rest...}\"\nservice = \"health\"\n";
    let gateway = config(engine, ONCE, &thing.check("thing", "")).more(open).start();
    let mut client = gateway.connect();
    for (path, status) in [("/open/", 200), ("/open/history", 200), ("/open/thing", 404), ("/open/history/x", 404)] {
        assert_eq!(client.get(path).status(), status, "{path}");
    }
    assert!(client.get("/open/history").text().contains("\"changes\":["));
    let refused = ask(&mut client, "DELETE", "/health", "");
    assert_eq!((refused.status(), refused.head.get("allow")), (405, Some("GET, HEAD")));
    let posted = ask(&mut client, "POST", "/health", "Content-Length: 0\r\n");
    assert_eq!(posted.status(), 405);
    assert_eq!(thing.asked(), 1);
}

fn metrics_tell_states_and_results(engine: Engine) {
    let (thing, gone) = (Thing::new(), Origin::refusing());
    let dir = tempfile::tempdir().expect("a directory");
    let checks = thing.check("thing", "") + &format!("{{ name = \"gone\", tcp = \"{gone}\", critical = true }},");
    let metrics = format!("metrics_dir = \"{}\"", dir.path().display());
    let gateway = config(engine, ONCE, &checks).cores(&metrics).start();
    until(&gateway, 503, &[]);
    let read = || {
        ringway_runtime::histogram::read_dir(dir.path()).expect("metrics").into_iter().map(|file| file.expect("one"))
    };
    let gauge = |check: &str| {
        read().filter_map(|file| file.gauge("ringway_health_check_state", &[("check", check)])).sum::<i64>()
    };
    let begun = Instant::now();
    // The page may be there a moment before the metric is.
    while (gauge("health/thing"), gauge("health/gone")) != (1, 3) {
        assert!(begun.elapsed() < PATIENCE);
    }
    let count = |check: &str, result: &str| {
        let labels = [("check", check), ("result", result)];
        read().filter_map(|file| file.counter("ringway_health_check_results_total", &labels)).sum::<u64>()
    };
    assert_eq!((count("health/thing", "passed"), count("health/gone", "connect")), (1, 1));
    let took = read().filter_map(|file| Some(file.histogram("ringway_health_check_duration_seconds", &[])?.count()));
    assert_eq!(took.sum::<u64>(), 2);
    // What is no more has no state.
    gateway.run(&config(engine, ONCE, &thing.check("thing", "")).cores(&metrics));
    assert_eq!((gauge("health/thing"), gauge("health/gone")), (1, 0));
}
