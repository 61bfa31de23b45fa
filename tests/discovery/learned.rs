//! What the gateway has learned and counted goes on when endpoints come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ringway_runtime::histogram::read_dir;
use serde_json::{Value, json};

use super::{Place, endpoint};
use crate::support::{Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    the_times_that_hedges_go_by_stay_known,
    copies_under_way_still_count,
    a_health_page_sees_the_endpoints_of_now,
);

const DISCOVER: &str = "discover = { type = \"registration\", allow = \"127.0.0.0/8\", ttl = \"10m\" }";

/// An origin that answers, but for one request after `stalls` was set.
fn origin(stalls: &Arc<AtomicBool>) -> Origin {
    let stalls = stalls.clone();
    let (origin, _) = Origin::serve(move |_, connection| {
        stalls.swap(false, Ordering::SeqCst) || connection.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    origin
}

fn comes(place: &Place, gateway: &Gateway, origin: &Origin) {
    assert_eq!(place.register(&endpoint(origin.address)).0, 200);
    gateway.child.says("+1 endpoint from registration");
}

fn goes(place: &Place, gateway: &Gateway, origin: &Origin) {
    assert_eq!(place.post("/v1/endpoints/deregister", &endpoint(origin.address)).0, 200);
    gateway.child.says("-1 endpoint from registration");
}

fn the_times_that_hedges_go_by_stay_known(engine: Engine) {
    let place = Place::new(engine);
    let stalls = Arc::<AtomicBool>::default();
    let origins = [origin(&stalls), origin(&stalls), origin(&stalls)];
    let hedge =
        "retry = { backoff = \"off\", hedge = { after = \"p90\", at_least = \"40ms\", samples = 10, budget = 1 } }";
    let gateway = place.config(&format!("{DISCOVER}\n{hedge}")).start();
    comes(&place, &gateway, &origins[0]);
    comes(&place, &gateway, &origins[1]);
    let mut client = gateway.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "ok");
    }
    comes(&place, &gateway, &origins[2]);
    goes(&place, &gateway, &origins[0]);
    stalls.store(true, Ordering::SeqCst);
    // Without a hedge nobody would ever answer.
    assert_eq!(client.get("/").text(), "ok");
    assert!(!stalls.load(Ordering::SeqCst), "the first endpoint was asked");
}

fn copies_under_way_still_count(engine: Engine) {
    let place = Place::new(engine);
    let stalls = Arc::<AtomicBool>::default();
    let (main, silent, other) = (origin(&stalls), Origin::listen(), Origin::listen());
    let route = format!(
        "[upstream.main]\nendpoints = \"{}\"\n\
         [[route]]\nname = \"main\"\npath = \"/main\"\nupstream = \"main\"\n\
         mirror = {{ upstream = \"origin\", max_active = 1, timeout = \"1h\" }}\n",
        main.address
    );
    let metrics = place.path("metrics");
    let config = place.config(DISCOVER).cores(&format!("metrics_dir = \"{}\"", metrics.display())).more(&route);
    let gateway = config.start();
    comes(&place, &gateway, &silent);
    let mut client = gateway.connect();
    assert_eq!(client.get("/main").text(), "ok");
    let mut copy = silent.accept();
    copy.request();
    comes(&place, &gateway, &other);
    assert_eq!(client.get("/main").text(), "ok");
    let labels = [("upstream", "origin"), ("outcome", "busy")];
    let busy = || -> u64 {
        let files = read_dir(&metrics).unwrap().into_iter().map(Result::unwrap);
        files.filter_map(|file| file.counter("ringway_upstream_mirrored_total", &labels)).sum()
    };
    let begun = Instant::now();
    while busy() < 1 {
        assert!(begun.elapsed() < PATIENCE, "the copy of before was not counted");
        std::thread::yield_now();
    }
    other.expect_no_connection();
}

fn a_health_page_sees_the_endpoints_of_now(engine: Engine) {
    let place = Place::new(engine);
    let stalls = Arc::<AtomicBool>::default();
    let (one, two) = (origin(&stalls), origin(&stalls));
    let service = "[service.health]\ntype = \"health\"\nttl = \"20ms\"\ndetail = \"full\"\n\
                   checks = [{ name = \"asked\", upstream = \"origin\", path = \"/well\" }, { name = \"known\", upstream = \"origin\" }]\n\
                   [[route]]\nname = \"health\"\npath = \"/health\"\nservice = \"health\"\n";
    let gateway = place.config(DISCOVER).data(2).more(service).start();
    let until = |status: &str, origins: &[&Origin]| {
        let passed = |origin: &&Origin| json!({ "address": origin.address.to_string(), "result": "passed" });
        let wanted: Vec<Value> = origins.iter().map(passed).collect();
        let begun = Instant::now();
        let mut client = gateway.connect();
        loop {
            let report: Value = serde_json::from_str(client.get("/health").text()).expect("a report");
            let is_so = |check: &Value| {
                let endpoints = check["endpoints"].as_array().cloned().unwrap_or_default();
                check["status"] == status
                    && endpoints.len() == wanted.len()
                    && wanted.iter().all(|wanted| endpoints.contains(wanted))
            };
            if report["checks"].as_array().is_some_and(|checks| checks.len() == 2 && checks.iter().all(is_so)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never {status} with {wanted:?}, but {report}");
        }
    };
    until("down", &[]);
    comes(&place, &gateway, &one);
    until("healthy", &[&one]);
    comes(&place, &gateway, &two);
    until("healthy", &[&one, &two]);
    goes(&place, &gateway, &one);
    until("healthy", &[&two]);
    goes(&place, &gateway, &two);
    until("down", &[]);
}
