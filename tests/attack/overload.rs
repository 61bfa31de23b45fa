//! More than a core should do: who is turned away, who is served, and that it ends when the rush does.

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Client, Config, Engine, Gateway, Origin, OriginConn, on_both_engines};

on_both_engines!(
    requests_are_shed_by_priority_and_the_critical_never,
    what_was_shed_is_served_again_when_the_rush_is_over,
    a_shed_request_costs_no_policy_and_no_connection,
    too_much_memory_sheds_all_but_the_critical,
    connections_beyond_the_limit_are_reset_while_all_are_busy,
    an_idle_connection_makes_room_for_a_new_one,
    a_flood_of_idle_connections_locks_nobody_out,
);

const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];

/// A route for each priority, which answers itself, one to the origin for requests that stay in flight, and what
/// `limits` say of a core.
fn start(engine: Engine, origin: &Origin, limits: &str) -> (Gateway, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let route = |priority: &str| {
        // What nothing is said of is normal.
        let said = if priority == "normal" { String::new() } else { format!("priority = \"{priority}\"\n") };
        format!("[[route]]\nname = \"{priority}\"\npath = \"/{priority}\"\nservice = \"ok\"\n{said}")
    };
    let service = "[service.ok]\ntype = \"respond\"\nbody = \"ok\"\n";
    let routes = format!("{service}{}", PRIORITIES.map(route).concat());
    let hold = "path = \"/hold\"\npriority = \"critical\"";
    let config = Config::new(engine).origin(origin).route(hold).limits(limits).more(&routes);
    (config.cores(&format!("metrics_dir = \"{}\"", dir.path().display())).start(), dir)
}

fn counter(dir: &TempDir, name: &str, labels: &[(&str, &str)]) -> u64 {
    let files = read_dir(dir.path()).unwrap().into_iter().map(Result::unwrap);
    files.filter_map(|file| file.counter(name, labels)).sum()
}

/// So many requests that stay in flight.
fn hold(gateway: &Gateway, origin: &Origin, count: usize) -> Vec<(Client, OriginConn)> {
    let begin = |_| {
        let mut client = gateway.connect();
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        (client, upstream)
    };
    (0..count).map(begin).collect()
}

/// Ends the last of those.
fn release(held: &mut Vec<(Client, OriginConn)>) {
    let (mut client, mut upstream) = held.pop().unwrap();
    upstream.answer("");
    assert_eq!(client.response().status(), 200);
}

/// Which priorities are shed now.
fn shed(client: &mut Client) -> Vec<&'static str> {
    let is_shed = |priority: &&str| {
        let answer = client.get(&format!("/{priority}"));
        if answer.status() == 200 {
            return false;
        }
        assert_eq!((answer.status(), &*answer.code(), answer.head.get("retry-after")), (503, "overloaded", Some("1")));
        true
    };
    PRIORITIES.into_iter().filter(is_shed).collect()
}

fn requests_are_shed_by_priority_and_the_critical_never(engine: Engine) {
    let origin = Origin::listen();
    let (gateway, dir) = start(engine, &origin, "requests = 20");
    let mut client = gateway.connect();
    let mut held = Vec::new();
    // 80, 90 and 100 of a hundred.
    for (count, expected) in [
        (15, &[][..]),
        (16, &["low"]),
        (18, &["low", "normal"]),
        (20, &["low", "normal", "high"]),
        (25, &PRIORITIES[..3]),
    ] {
        held.extend(hold(&gateway, &origin, count - held.len()));
        assert_eq!(shed(&mut client), expected, "{count} in flight");
    }
    for (priority, count) in [("low", 4), ("normal", 3), ("high", 2)] {
        let labels = [("priority", priority), ("cause", "requests")];
        assert_eq!(counter(&dir, "ringway_shed_total", &labels), count, "{priority}");
    }
    // A request without a route is a normal one.
    assert_eq!(client.get("/absent").status(), 503);
    while !held.is_empty() {
        release(&mut held);
    }
    assert_eq!(shed(&mut client), [""; 0]);
}

fn what_was_shed_is_served_again_when_the_rush_is_over(engine: Engine) {
    let origin = Origin::listen();
    let (gateway, _dir) = start(engine, &origin, "requests = 100");
    let mut client = gateway.connect();
    let mut held = hold(&gateway, &origin, 80);
    assert_eq!(shed(&mut client), ["low"]);
    // Not at once, or it would come and go with every request.
    for _ in 0..5 {
        release(&mut held);
        assert_eq!(shed(&mut client), ["low"], "{} in flight", held.len());
    }
    release(&mut held);
    assert_eq!(shed(&mut client), [""; 0]);
    held.extend(hold(&gateway, &origin, 5));
    assert_eq!(shed(&mut client), [""; 0]);
}

fn a_shed_request_costs_no_policy_and_no_connection(engine: Engine) {
    let origin = Origin::listen();
    let dir = tempfile::tempdir().unwrap();
    let route = "[[route]]\nname = \"low\"\npath = \"/low\"\nupstream = \"origin\"\npriority = \"low\"\n\
                 policies = [\"p\"]\n[policy.p]\ntype = \"headers\"\n";
    let config = Config::new(engine).origin(&origin).route("path = \"/hold\"").limits("requests = 1").more(route);
    let config = config.cores(&format!("metrics_dir = \"{}\"", dir.path().display()));
    let gateway = config.listener("policies = [\"p\"]").start();
    let held = hold(&gateway, &origin, 1);
    let before = counter(&dir, "ringway_policy_evaluations_total", &[("policy", "p")]);
    let mut client = gateway.connect();
    for _ in 0..10 {
        client.send("POST /low HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.response().code(), "overloaded");
    }
    origin.expect_no_connection();
    assert_eq!(counter(&dir, "ringway_policy_evaluations_total", &[("policy", "p")]), before);
    drop(held);
}

fn too_much_memory_sheds_all_but_the_critical(engine: Engine) {
    let origin = Origin::listen();
    // No gateway fits in that.
    let (gateway, dir) = start(engine, &origin, "memory = \"1MiB\"");
    let mut client = gateway.connect();
    // It is looked at once a second.
    while shed(&mut client).is_empty() {}
    assert_eq!(shed(&mut client), PRIORITIES[..3]);
    assert!(counter(&dir, "ringway_shed_total", &[("priority", "high"), ("cause", "memory")]) > 0);
}

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";

fn connections_beyond_the_limit_are_reset_while_all_are_busy(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).limits("connections = 3").start();
    let mut held = hold(&gateway, &origin, 3);
    for _ in 0..5 {
        let refused = Client::try_connect(gateway.address);
        assert!(refused.is_none_or(|mut refused| refused.rest_or_reset().0.is_empty()));
    }
    for (client, upstream) in &mut held {
        upstream.answer("hello");
        assert_eq!(client.response().text(), "hello");
    }
}

fn an_idle_connection_makes_room_for_a_new_one(engine: Engine) {
    let (origin, dir) = (Origin::listen(), tempfile::tempdir().unwrap());
    let config = Config::new(engine).origin(&origin).route("path = \"/hold\"").limits("connections = 3").more(HELLO);
    let gateway = config.cores(&format!("metrics_dir = \"{}\"", dir.path().display())).start();
    let mut busy = hold(&gateway, &origin, 1);
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect();
        assert_eq!(client.get("/hello").text(), "hello");
        idle.push(client);
    }
    // The one that has been idle for longest goes, and nobody else.
    let mut new = gateway.connect();
    assert_eq!(new.get("/hello").text(), "hello");
    idle.remove(0).expect_end();
    assert_eq!(idle[0].get("/hello").text(), "hello");
    assert_eq!(counter(&dir, "ringway_connections_evicted_total", &[]), 1);
    let (client, upstream) = &mut busy[0];
    upstream.answer("kept");
    assert_eq!(client.response().text(), "kept");
}

fn a_flood_of_idle_connections_locks_nobody_out(engine: Engine) {
    let gateway = Config::new(engine).limits("connections = 50").more(HELLO).start();
    let mut flood: Vec<Client> = Vec::new();
    for round in 0..500 {
        flood.extend(Client::try_connect(gateway.address));
        // Fewer at once than may be open: of a whole turn's worth the last finds nobody idle any more.
        if round % 20 == 0 {
            let mut client = gateway.connect();
            assert_eq!(client.get("/hello").text(), "hello", "round {round}");
        }
    }
    let open = gateway.child.descriptors();
    assert!(open < 150, "{open} descriptors for 50 connections");
}
