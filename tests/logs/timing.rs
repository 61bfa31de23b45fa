//! `Server-Timing`, for clients that may see it.

use super::Place;
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(server_timing_has_the_stages_of_the_request, server_timing_is_for_those_who_may_see_it);

/// The names and durations of the field.
fn metrics(timing: &str) -> Vec<(&str, f64)> {
    let metric = |metric: &'_ str| -> (String, f64) {
        let (name, duration) = metric.split_once(";dur=").unwrap_or_else(|| panic!("{metric:?}"));
        assert_eq!(duration.split_once('.').map(|(_, decimals)| decimals.len()), Some(3), "{metric:?}");
        (name.to_owned(), duration.parse().expect("a number"))
    };
    timing.split(", ").map(|text| (text.split_once(';').map_or(text, |(name, _)| name), metric(text).1)).collect()
}

fn server_timing_has_the_stages_of_the_request(engine: Engine) {
    let place = Place::new();
    let (origin, _) = Origin::serve(|_, upstream| {
        upstream.try_send(b"HTTP/1.1 200 OK\r\nServer-Timing: db;dur=5\r\nContent-Length: 2\r\n\r\nok")
    });
    let gateway = place.config(engine).origin(&origin).listener("server_timing = true").start();
    let mut client = gateway.connect();
    let answer = client.get("/x");
    let fields: Vec<&str> = answer.head.all("server-timing");
    assert_eq!(fields.len(), 2, "the upstream's own stays: {fields:?}");
    assert_eq!(fields[0], "db;dur=5");
    let found = metrics(fields[1]);
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["head", "admit", "connect", "first_byte", "total"]);
    let parts: f64 = found[..4].iter().map(|(_, duration)| duration).sum();
    assert!(parts <= found[4].1 + 0.005, "{found:?}");
    for (path, expected) in [("/hello/x", &["head", "admit", "total"][..]), ("/a//b", &["head", "total"])] {
        let answer = client.get(path);
        let names: Vec<&str> =
            metrics(answer.head.get("server-timing").expect("the field")).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "{path}");
    }
}

fn server_timing_is_for_those_who_may_see_it(engine: Engine) {
    let has_it = |keys: &str| {
        let place = Place::new();
        let config: Config = place.config(engine).listener(keys);
        let gateway = config.start();
        gateway.connect().get("/hello/x").head.get("server-timing").is_some()
    };
    assert!(!has_it(""));
    assert!(!has_it("server_timing = false"));
    assert!(!has_it("server_timing = \"trusted\""));
    assert!(!has_it("server_timing = \"trusted\"\ntrusted_proxies = \"10.0.0.0/8\""));
    assert!(has_it("server_timing = \"trusted\"\ntrusted_proxies = \"127.0.0.0/8\""));
    // A policy may take it off.
    let hidden = "server_timing = true\npolicies = [{ type = \"headers\", response = { remove = \"server-timing\" } }]";
    assert!(!has_it(hidden));
}
