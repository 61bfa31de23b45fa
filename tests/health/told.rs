//! What the log says of endpoints and breakers: each change once for all cores.

use serde_json::{Value, json};

use super::{Patient, QUICK, is_refused, name, until};
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    an_endpoint_that_is_ill_is_told_once_and_once_when_it_is_well,
    an_endpoint_that_is_ejected_is_told_once_and_once_when_it_is_back,
    a_breaker_that_opens_and_closes_is_told_once_for_each_step,
    a_breaker_that_stays_open_is_told_once_whatever_comes,
    what_a_plan_takes_back_is_told,
    a_storm_of_changes_is_cut_short_and_counted,
);

/// Two cores, and a log in JSON that may tell of so many changes in a second.
fn telling(engine: Engine, upstream: &str, events: usize) -> Config {
    let log = format!("[log]\nformat = \"json\"\nevents = {events}\n");
    Config::new(engine).data(2).upstream(upstream).more(&log)
}

fn config(engine: Engine, upstream: &str) -> Config {
    telling(engine, upstream, 1000)
}

/// What the log said of changes, in the order in which it was written.
fn changes(gateway: Gateway) -> Vec<Value> {
    let errors = gateway.stop().errors;
    let lines = errors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.filter(|line| line["kind"].as_str().is_some_and(|kind| kind.ends_with("_changed"))).collect()
}

/// Its level, kind and endpoint, what it was, what it is, and why.
fn told(change: &Value) -> Value {
    assert_eq!((&change["upstream"], change["core"].is_u64()), (&json!("origin"), true), "{change}");
    json!(["level", "kind", "endpoint", "old", "new", "code"].map(|name| change[name].clone()))
}

fn an_endpoint_that_is_ill_is_told_once_and_once_when_it_is_well(engine: Engine) {
    let (one, two) = (Patient::new("one"), Patient::new("two"));
    let health = format!("health = {{ {QUICK}, timeout = \"10s\" }}\nfailover = {{ panic = \"off\" }}");
    let gateway = config(engine, &health).origin(&one.origin).origin(&two.origin).start();
    let mut client = gateway.connect();
    one.is_well.store(false, std::sync::atomic::Ordering::SeqCst);
    until(&mut client, 20, |answer| name(answer) == "two");
    one.is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    until(&mut client, 1, |answer| name(answer) == "one");
    let endpoint = one.origin.address.to_string();
    let changes = changes(gateway);
    assert_eq!(
        changes.iter().map(told).collect::<Vec<_>>(),
        [
            json!(["warn", "endpoint_changed", endpoint, "healthy", "unhealthy", "status"]),
            json!(["info", "endpoint_changed", endpoint, "unhealthy", "healthy", "passed"]),
        ]
    );
    let message = format!("endpoint {endpoint} of upstream origin: healthy -> unhealthy: status");
    assert_eq!(changes[0]["message"], message);
}

fn an_endpoint_that_is_ejected_is_told_once_and_once_when_it_is_back(engine: Engine) {
    let (one, two) = (Patient::bad("one"), Patient::new("two"));
    let outlier = "outlier = { consecutive_failures = 1, eject_for = \"50ms\" }";
    let gateway = config(engine, outlier).origin(&one.origin).origin(&two.origin).start();
    let mut client = gateway.connect();
    let is_good = one.is_good.clone();
    until(&mut client, 1, |answer| answer.status() == 500);
    is_good.store(true, std::sync::atomic::Ordering::SeqCst);
    until(&mut client, 1, |answer| name(answer) == "one" && answer.status() == 200);
    let endpoint = one.origin.address.to_string();
    assert_eq!(
        changes(gateway).iter().map(told).collect::<Vec<_>>(),
        [
            json!(["warn", "endpoint_changed", endpoint, "used", "ejected", "consecutive_failures"]),
            json!(["info", "endpoint_changed", endpoint, "ejected", "used", "eject_for"]),
        ]
    );
}

fn a_breaker_that_opens_and_closes_is_told_once_for_each_step(engine: Engine) {
    for of in ["endpoints", "upstream"] {
        let one = Patient::bad("one");
        let breaker = format!(
            "breaker = {{ of = \"{of}\", consecutive_failures = 3, open_for = \"50ms\", max_open_for = \"50ms\", \
             probes = 1 }}"
        );
        let gateway = config(engine, &breaker).origin(&one.origin).start();
        // Both cores meet it.
        while !(0..10).all(|_| is_refused(&gateway.connect().get("/"))) {}
        one.is_good.store(true, std::sync::atomic::Ordering::SeqCst);
        until(&mut gateway.connect(), 1, |answer| answer.status() == 200);
        let endpoint = if of == "upstream" { Value::Null } else { json!(one.origin.address.to_string()) };
        let changes: Vec<Value> = changes(gateway).iter().map(told).collect();
        let count = |level: &str, old: &str, new: &str, why: &str| {
            let wanted = json!([level, "breaker_changed", endpoint, old, new, why]);
            changes.iter().filter(|change| **change == wanted).count()
        };
        let tries = count("info", "open", "half-open", "open_for");
        let failed = count("warn", "half-open", "open", "probe_failed");
        let closed = count("info", "half-open", "closed", "probes_passed");
        assert_eq!(count("warn", "closed", "open", "consecutive_failures"), 1, "{changes:?}");
        assert_eq!((closed, tries), (1, failed + 1), "{changes:?}");
        assert_eq!(changes.len(), 1 + tries + failed + closed, "{changes:?}");
    }
}

fn a_breaker_that_stays_open_is_told_once_whatever_comes(engine: Engine) {
    let one = Patient::bad("one");
    let breaker = "breaker = { min_requests = 4, failure_ratio = 0.5, open_for = \"1h\" }";
    let gateway = config(engine, breaker).origin(&one.origin).start();
    while !(0..50).all(|_| is_refused(&gateway.connect().get("/"))) {}
    let endpoint = one.origin.address.to_string();
    assert_eq!(
        changes(gateway).iter().map(told).collect::<Vec<_>>(),
        [json!(["warn", "breaker_changed", endpoint, "closed", "open", "failure_ratio"])]
    );
}

fn what_a_plan_takes_back_is_told(engine: Engine) {
    let one = Patient::bad("one");
    let breaker = "breaker = { of = \"both\", consecutive_failures = 2, open_for = \"1h\" }";
    let gateway = config(engine, breaker).origin(&one.origin).start();
    until(&mut gateway.connect(), 2, is_refused);
    gateway.run(&config(engine, "").origin(&one.origin));
    assert_eq!(gateway.connect().get("/").status(), 500);
    let endpoint = one.origin.address.to_string();
    let mut back: Vec<Value> = changes(gateway).iter().map(told).filter(|change| change[4] == "closed").collect();
    back.sort_by_key(|change| change[2].is_null());
    assert_eq!(
        back,
        [
            json!(["info", "breaker_changed", endpoint, "open", "closed", "plan"]),
            json!(["info", "breaker_changed", null, "open", "closed", "plan"]),
        ]
    );
}

fn a_storm_of_changes_is_cut_short_and_counted(engine: Engine) {
    const ENDPOINTS: usize = 40;
    let health =
        "health = { type = \"tcp\", interval = \"20ms\", unhealthy_after = 1 }\nfailover = { panic = \"off\" }";
    let config = telling(engine, health, 3);
    let gateway = (0..ENDPOINTS).map(|_| Origin::refusing()).fold(config, Config::endpoint).start();
    until(&mut gateway.connect(), 1, |answer| answer.text().contains("\"no_endpoint\""));
    let errors = gateway.stop().errors;
    let lines = || errors.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let told = lines().filter(|line| line["kind"] == "endpoint_changed").count();
    let untold = lines().filter(|line| line["kind"] == "untold" && line["code"] == "endpoint_changed");
    let untold: u64 = untold.filter_map(|line| line["count"].as_u64()).sum();
    assert!(told < ENDPOINTS && told > 0, "{errors}");
    assert_eq!(told as u64 + untold, ENDPOINTS as u64, "{errors}");
}
