//! What is told, and what is done.

use std::fs;

use serde_json::json;

use super::{HELLO, Place};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    what_runs_is_told,
    a_reload_is_done_confirmed_and_rolled_back,
    a_reload_that_is_not_confirmed_is_undone,
);

fn what_runs_is_told(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place.config(engine).origin(&origin).more(&place.section("")).start();
    let mut client = gateway.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    // One request is under way.
    let plan = place.json("/v1/plan");
    assert_eq!((&plan["epoch"], &plan["draining"], &plan["undone_in"]), (&json!(1), &json!(false), &json!(null)));
    assert_eq!(plan["listeners"], json!([{ "name": "web", "address": gateway.address.to_string() }]));
    assert_eq!(place.json("/v1/plans")["plans"][0]["runs"], true);
    let routes = place.json("/v1/routes");
    assert_eq!((&routes["routes"][0]["name"], &routes["routes"][0]["upstream"]), (&json!("all"), &json!("origin")));
    assert_eq!(routes["routes"][1]["answers"], "respond");
    let upstreams = place.json("/v1/upstreams");
    assert_eq!(upstreams["silent_cores"], json!([]));
    let endpoint = &upstreams["upstreams"][0]["endpoints"][0];
    assert_eq!(endpoint["name"], origin.address.to_string());
    let state = |name: &str| endpoint[name].clone();
    assert_eq!(
        [state("connections"), state("idle"), state("failures"), state("drained")],
        [json!(1), json!(0), json!(0), json!(false)]
    );
    assert_eq!(place.json("/v1/connections"), json!({ "connections": 1, "cores": [{ "core": 0, "connections": 1 }] }));
    let core = &place.json("/v1/cores")["cores"][0];
    assert_eq!((&core["answers"], &core["epoch"]), (&json!(true), &json!(1)));
    assert_eq!((place.get("/livez").status, place.get("/readyz").status), (200, 200));
    upstream.answer("done");
    assert_eq!(client.response().text(), "done");
    let endpoint = &place.json("/v1/upstreams")["upstreams"][0]["endpoints"][0];
    assert_eq!((&endpoint["connections"], &endpoint["idle"]), (&json!(1), &json!(1)));
    assert_eq!(gateway.stop().exit.code(), Some(0));
    assert!(!place.socket().exists(), "the socket goes with the gateway");
}

#[test]
fn failures_count_for_their_endpoint() {
    let place = Place::new();
    let gateway = place.config(Engine::Ring).endpoint(Origin::refusing()).more(&place.section("")).start();
    assert_eq!(gateway.connect().get("/x").status(), 502);
    let endpoint = &place.json("/v1/upstreams")["upstreams"][0]["endpoints"][0];
    // Two tries of one request.
    assert_eq!((&endpoint["failures"], &endpoint["connections"]), (&json!(2), &json!(0)));
}

fn a_reload_is_done_confirmed_and_rolled_back(engine: Engine) {
    let place = Place::new();
    let base = place.config(engine).more(&place.section(""));
    let gateway = base.clone().start();
    let other = "[[route]]\nname = \"other\"\npath = \"/other\"\nservice = \"hello\"\n";
    fs::write(gateway.file(), base.clone().more(other).text()).unwrap();
    let reply = place.post("/v1/reload", "{\"confirm_seconds\": 600}");
    assert_eq!((reply.status, &reply.json()["epoch"]), (200, &json!(2)));
    assert!(reply.json()["changes"].as_str().unwrap().contains("+1 route"), "{}", reply.text);
    assert!(place.json("/v1/plan")["undone_in"].as_f64().is_some_and(|left| left > 500.0));
    assert_eq!(gateway.connect().get("/other").status(), 200);
    assert_eq!(place.post("/v1/confirm", "").status, 200);
    assert_eq!(place.post("/v1/confirm", "{}").problem(), (409, "refused".to_owned()));
    assert_eq!(place.post("/v1/rollback", "{\"epoch\": 1}").json()["epoch"], 3);
    assert_eq!(gateway.connect().get("/other").status(), 404);
    assert_eq!(place.post("/v1/rollback", "{\"epoch\": 77}").problem(), (409, "refused".to_owned()));
    let plans = place.json("/v1/plans");
    let runs: Vec<_> = plans["plans"].as_array().unwrap().iter().map(|plan| plan["runs"] == true).collect();
    assert_eq!(runs, [false, false, true]);
    // One that is wrong changes nothing, and says what check says.
    fs::write(gateway.file(), base.more("[[route]]\nnam = \"x\"\n").text()).unwrap();
    let reply = place.post("/v1/reload", "");
    assert_eq!(reply.problem(), (409, "config_refused".to_owned()));
    assert!(reply.json()["report"].as_str().unwrap().contains("did you mean `name`?"), "{}", reply.text);
    assert_eq!(place.json("/v1/plan")["epoch"], 3);
}

fn a_reload_that_is_not_confirmed_is_undone(engine: Engine) {
    let place = Place::new();
    let base = place.config(engine).more(&place.section(""));
    let gateway = base.clone().start();
    fs::write(gateway.file(), base.limits("body = \"1KiB\"").text()).unwrap();
    assert_eq!(place.post("/v1/reload", "{\"confirm_seconds\": 1}").json()["epoch"], 2);
    gateway.child.says("(not confirmed, back to 1)");
    assert_eq!(place.json("/v1/plan")["undone_in"], json!(null));
}

#[test]
fn metrics_come_in_the_formats_of_prometheus_and_need_a_directory() {
    let place = Place::new();
    let gateway = place.config(Engine::Ring).more(&place.section("")).start();
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    let metrics = place.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.text.contains("\nringway_requests_total{status=\"2xx\"} 1\n"), "{}", metrics.text);
    let open = place.ask(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
    );
    assert!(open.text.ends_with("# EOF\n"), "{}", open.text);
    let route = place.json("/v1/routes");
    assert!(route["routes"][0]["latency"]["p99"].is_number(), "{route}");

    let place = Place::new();
    let _gateway = Config::new(Engine::Ring).more(&place.section("")).start();
    assert_eq!(place.get("/metrics").problem(), (503, "no_metrics".to_owned()));
    assert_eq!(place.json("/v1/routes")["routes"][0]["latency"], json!(null));
    assert!(place.json("/v1/live")["no_figures"].as_str().unwrap().contains("cores.metrics_dir"));
}

#[test]
fn the_command_does_what_the_api_does() {
    let place = Place::new();
    let origin = Origin::listen();
    let base = place.config(Engine::Ring).origin(&origin).more(&place.section(""));
    let gateway = base.clone().start();
    let text = |words: &[&str], exit: i32| {
        let output = place.command(words);
        let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {all}");
        all
    };
    assert!(text(&["status"], 0).contains(", ready\nlistener web at "));
    let endpoint = origin.address.to_string();
    text(&["drain", "origin", &endpoint], 0);
    assert!(text(&["status"], 0).contains(", drained\n"));
    assert!(text(&["drain", "origin", "10.0.0.1:1"], 1).contains(&format!("it has {endpoint}")));
    text(&["undrain", "origin", &endpoint], 0);
    text(&["drain", "origin"], 2);
    fs::write(gateway.file(), base.limits("body = \"1KiB\"").text()).unwrap();
    assert!(text(&["reload", "--confirm", "10m"], 0).contains("plan 1 -> 2: "));
    assert!(text(&["confirm"], 0).contains("confirmed"));
    assert!(text(&["rollback"], 0).contains("(back to 1)"));
    assert!(text(&["plans"], 0).lines().last().is_some_and(|line| line.starts_with("*     3 ")));
    assert!(text(&["plans", "--json"], 0).contains("\"runs\": true"));
    fs::write(gateway.file(), "x = 1\n").unwrap();
    assert!(text(&["reload"], 1).contains("unknown key `x`"));
    text(&["drain"], 0);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    assert!(text(&["status"], 3).contains("no gateway answers"));
}

#[test]
fn the_keys_that_take_a_restart_are_named_and_the_others_apply() {
    let place = Place::new();
    let gateway = place.config(Engine::Ring).more(&place.section("")).start();
    let said = gateway.reload(&place.config(Engine::Ring).more(&place.section_with_tcp()));
    assert!(said.ends_with("kept plan 1: a change of admin.tcp takes an upgrade or a restart\n"), "{said}");
    let said = gateway.reload(&place.config(Engine::Ring).more(HELLO));
    assert!(said.ends_with("kept plan 1: a change of admin takes an upgrade or a restart\n"), "{said}");
    gateway.run(&place.config(Engine::Ring).more(&place.section("timeout = \"1s\"")));
}
