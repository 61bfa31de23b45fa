//! Slow requests and failed exchanges are told, and a storm of them cannot flood the log.

use serde_json::{Value, json};

use super::Place;
use crate::support::{Engine, Origin, on_both_engines};

on_both_engines!(
    a_slow_request_is_told_with_all_that_finds_it,
    a_failed_exchange_is_told_with_its_request,
    a_storm_of_failures_is_cut_short_and_counted,
    an_idle_connection_that_was_closed_is_no_failure,
    shed_requests_are_told,
);

/// The lines of a log in JSON that are events.
fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line:?}")));
    lines.filter(|line| line["kind"].is_string()).collect()
}

fn a_slow_request_is_told_with_all_that_finds_it(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let config = place.logged(engine, "log", "").origin(&origin).route("path = \"/up\"");
    let gateway = config.clone().more("[log]\nslow_request = \"1ns\"\nformat = \"json\"\n").start();
    let mut client = gateway.connect();
    client.send("GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("slow");
    assert_eq!(client.response().text(), "slow");
    drop(client);
    let said = gateway.stop().errors;
    let slow: Vec<Value> = events(&said).into_iter().filter(|event| event["route"] == "all").collect();
    let line = place.lines("log").into_iter().find(|line| line["path"] == "/up").expect("its line");
    assert_eq!(slow.len(), 1, "{said}");
    let event = &slow[0];
    assert_eq!((&event["kind"], &event["level"], &event["core"]), (&json!("slow_request"), &json!("warn"), &json!(0)));
    assert_eq!(
        (&event["id"], &event["upstream"], &event["endpoint"]),
        (&line["id"], &line["upstream"], &line["endpoint"])
    );
    assert!(event["duration_ms"].is_u64(), "{event}");
    // One that is quick enough is not told.
    let gateway = config.more("[log]\nslow_request = \"1h\"\n").start();
    let mut client = gateway.connect();
    client.send("GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("quick");
    assert_eq!(client.response().text(), "quick");
    drop(client);
    assert_eq!(gateway.stop().errors, "");
}

fn a_failed_exchange_is_told_with_its_request(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place.logged(engine, "log", "").origin(&origin).start();
    let mut client = gateway.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.status(), 502);
    let id = answer.member("correlation_id");
    let said = gateway.child.says(&format!("request {id} of route `all`"));
    let line = said.lines().last().expect("a line");
    let endpoint = origin.address;
    let expected = format!("ringway: warning: core 0: endpoint {endpoint} of upstream origin failed: ");
    assert!(line.starts_with(&expected), "{line}");
    // What is wrong with the answer, in the words of the codec.
    assert!(!line.contains("upstream_protocol_error"), "{line}");
}

fn a_storm_of_failures_is_cut_short_and_counted(engine: Engine) {
    const COUNT: u64 = 400;
    let place = Place::new();
    let config = place.config(engine).endpoint(Origin::refusing()).upstream("retry = { attempts = 1 }");
    let gateway = config.more("[log]\nevents = 3\nformat = \"json\"\n").start();
    let mut client = gateway.connect();
    for _ in 0..COUNT {
        assert_eq!(client.get("/x").status(), 502);
    }
    drop(client);
    let process = gateway.stop();
    let events = events(&process.errors);
    let told = events.iter().filter(|event| event["kind"] == "upstream_failed").count() as u64;
    let untold = events.iter().filter(|event| event["kind"] == "untold");
    let untold: u64 = untold.map(|event| event["count"].as_u64().expect("a number")).sum();
    assert_eq!(told + untold, COUNT, "{}", process.errors);
    assert!((3..=COUNT / 2).contains(&told), "{told}");
    assert_eq!(place.total("ringway_events_untold_total"), untold);
}

fn an_idle_connection_that_was_closed_is_no_failure(engine: Engine) {
    let place = Place::new();
    let (origin, _) = Origin::serve(|_, upstream| {
        upstream.answer("once");
        false
    });
    let gateway = place.config(engine).origin(&origin).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/x").text(), "once");
    }
    drop(client);
    let said = gateway.stop().errors;
    assert!(!said.contains("failed"), "{said}");
}

fn shed_requests_are_told(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let config =
        place.config(engine).limits("requests = 1").origin(&origin).route("path = \"/up\"\npriority = \"critical\"");
    let gateway = config.start();
    let mut first = gateway.connect();
    first.send("GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let mut second = gateway.connect();
    assert_eq!(second.get("/hello/x").status(), 503);
    let said = gateway.child.says("requests are shed");
    assert!(said.contains("too much of: requests; request "), "{said}");
    upstream.answer("done");
    assert_eq!(first.response().text(), "done");
}
