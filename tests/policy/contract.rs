//! What every policy must keep to, whatever it does. A policy without a row here fails the first test.

use std::fs;
use std::path::Path;

use super::Metrics;
use crate::support::{Client, Config, Engine, Gateway, Head, Message, Origin, on_both_engines};

on_both_engines!(
    a_policy_acts_in_a_route_and_in_a_listener,
    a_policy_in_shadow_counts_and_never_acts,
    a_policy_keeps_the_framing_of_every_kind_of_request,
    a_waiting_policy_ends_with_its_client,
    a_waiting_policy_ends_with_the_time_of_its_request,
    what_comes_while_a_policy_waits_is_not_lost,
    a_drain_lets_a_policy_wait_to_its_end,
    a_request_that_waits_stays_with_the_policies_it_began_with,
    a_new_plan_brings_new_policies_and_counters_go_on,
);

/// One type of policy.
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    /// Keys with which it acts on every request for `/api/x` of the host `a`.
    pub(crate) acts: &'static str,
    /// What it would have done to one such request.
    outcomes: &'static [&'static str],
    /// Whether it answers itself.
    pub(crate) replies: bool,
    /// Keys with which every request waits in it for so long, where it can wait.
    waits: Option<fn(&str) -> String>,
}

pub(crate) const CASES: [Case; 5] = [
    Case {
        kind: "fault",
        acts: "abort = { status = 418 }",
        outcomes: &["refuse"],
        replies: true,
        waits: Some(|time| format!("delay = {{ time = \"{time}\" }}")),
    },
    Case {
        kind: "headers",
        acts: "request = { set = { x-in = \"{host}\" } }, response = { set = { x-out = \"{path}\" } }",
        outcomes: &["change", "change_answer"],
        replies: false,
        waits: None,
    },
    Case {
        kind: "redirect",
        acts: "scheme = \"https\", trailing_slash = \"add\"",
        outcomes: &["reply"],
        replies: true,
        waits: None,
    },
    Case {
        kind: "respond",
        acts: "status = 203, body = \"hello\", headers = { x-out = \"1\" }",
        outcomes: &["reply"],
        replies: true,
        waits: None,
    },
    Case { kind: "rewrite", acts: "strip_prefix = \"/api\"", outcomes: &["change"], replies: false, waits: None },
];

fn waiting() -> impl Iterator<Item = (&'static str, fn(&str) -> String)> {
    CASES.iter().filter_map(|case| Some((case.kind, case.waits?)))
}

#[test]
fn every_policy_is_held_to_the_contract() {
    let mut kinds: Vec<&str> = CASES.iter().map(|case| case.kind).collect();
    kinds.sort_unstable();
    let mut types: Vec<&str> = ringway::policy::types().collect();
    types.sort_unstable();
    assert_eq!(kinds, types);
    assert!(waiting().count() > 0);
}

#[test]
fn the_errors_of_every_section_are_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Case { kind, .. } in CASES {
        let errors = fs::read_to_string(root.join(format!("tests/check/policy-{kind}.txt"))).unwrap();
        assert!(errors.contains("error: [policy.unknown]: unknown key"), "{kind}: {errors}");
        assert!(errors.contains("error: policy.types.shadow: true or false is wanted"), "{kind}: {errors}");
    }
}

#[test]
fn every_policy_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/policies.md")).unwrap();
    for Case { kind, .. } in CASES {
        assert!(page.contains(&format!("| `{kind}` |")), "docs/policies.md has no row for {kind}");
    }
}

/// What the origin gets of a request and the client of its answer; nothing where the origin is not asked.
fn exchange(gateway: &Gateway, origin: &Origin, replies: bool) -> (Option<Head>, Message) {
    let mut client = gateway.connect();
    client.send("GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n");
    if replies {
        let answer = client.response();
        origin.expect_no_connection();
        return (None, answer);
    }
    let mut upstream = origin.accept();
    let request = upstream.request().head;
    upstream.answer("from the origin");
    (Some(request), client.response())
}

/// All of it that can be compared: request head, status line, fields and body.
#[derive(Debug, PartialEq, Eq)]
struct Compared(Option<Vec<u8>>, String, Vec<(String, String)>, Vec<u8>);

fn comparable((request, mut answer): (Option<Head>, Message)) -> Compared {
    answer.head.fields.retain(|(name, _)| name != "date");
    Compared(request.map(|head| head.raw), answer.head.line, answer.head.fields, answer.body)
}

fn a_policy_acts_in_a_route_and_in_a_listener(engine: Engine) {
    let origin = Origin::listen();
    let bare = comparable(exchange(&Config::new(engine).origin(&origin).start(), &origin, false));
    for Case { kind, acts, replies, .. } in CASES {
        let policies = format!("policies = [{{ type = \"{kind}\", {acts} }}]");
        let config = || Config::new(engine).origin(&origin);
        let (in_route, config_of_route) = Metrics::of(config().route(&policies));
        let (in_listener, config_of_listener) = Metrics::of(config().listener(&policies));
        let routed = comparable(exchange(&config_of_route.start(), &origin, replies));
        let listened = comparable(exchange(&config_of_listener.start(), &origin, replies));
        assert_ne!(routed, bare, "{kind} does nothing");
        if !kind.starts_with("fault") {
            // A refusal names its request.
            assert_eq!(routed, listened, "{kind}");
        }
        for (metrics, name) in [(in_route, "route/all"), (in_listener, "listener/web")] {
            let name = format!("{name}/{kind}");
            assert_eq!(metrics.policy("evaluations", &name), 1, "{kind}");
            assert_eq!(metrics.policy("replies", &name), u64::from(replies), "{kind}");
            assert_eq!(metrics.policy("errors", &name), 0, "{kind}");
        }
    }
}

fn a_policy_in_shadow_counts_and_never_acts(engine: Engine) {
    let origin = Origin::listen();
    let bare = comparable(exchange(&Config::new(engine).origin(&origin).start(), &origin, false));
    let cases = CASES.iter().map(|case| (case.kind, case.acts.to_owned(), case.outcomes));
    let waits = waiting().map(|(kind, waits)| (kind, waits("1h"), &["wait"][..]));
    for (kind, acts, outcomes) in cases.chain(waits) {
        let policy = format!("[policy]\np = {{ type = \"{kind}\", shadow = true, {acts} }}\n");
        let (metrics, config) =
            Metrics::of(Config::new(engine).origin(&origin).route("policies = [\"p\"]").more(&policy));
        let gateway = config.start();
        let shadowed = comparable(exchange(&gateway, &origin, false));
        assert_eq!(shadowed, bare, "{kind}");
        for outcome in ["pass", "change", "change_answer", "reply", "refuse", "wait"] {
            let expected = u64::from(outcomes.contains(&outcome));
            assert_eq!(metrics.shadow("p", outcome), expected, "{kind} {outcome}");
        }
        assert_eq!((metrics.policy("evaluations", "p"), metrics.policy("replies", "p")), (1, 0), "{kind}");
    }
}

/// Sends one request of each kind on one connection, and shows that the last is answered as the first.
fn a_policy_keeps_the_framing_of_every_kind_of_request(engine: Engine) {
    let (origin, _) = Origin::serve(|request, upstream| {
        let has_body = !request.head.line.starts_with("HEAD");
        let body = if has_body { format!("got {}", request.body.len()) } else { String::new() };
        let length = if has_body { body.len() } else { 5 };
        upstream.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())
    });
    for Case { kind, acts, .. } in CASES {
        let policies = format!("policies = [{{ type = \"{kind}\", {acts} }}]");
        let gateway = Config::new(engine).origin(&origin).route(&policies).start();
        let mut client = gateway.connect();
        client.send("GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n");
        let first = client.response();
        client.send("HEAD /api/x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().status(), first.status(), "{kind}");
        client.send("POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / H");
        assert_eq!(client.response().status(), first.status(), "{kind}");
        client.send("POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(client.response().status(), first.status(), "{kind}");
        client.send("GET /api/x HTTP/1.1\r\nHost: a\r\n\r\nGET /api/x HTTP/1.1\r\nHost: a\r\n\r\n");
        let last = [client.response(), client.response()];
        assert!(last.iter().all(|answer| answer.head.line == first.head.line), "{kind}: {last:?}");
    }
}

/// A gateway whose one route waits in `kind`.
fn waiter(engine: Engine, kind: &str, keys: &str, route: &str, origin: &Origin) -> (Metrics, Gateway) {
    let policy = format!("policies = [{{ type = \"{kind}\", {keys} }}]\n{route}");
    let (metrics, config) = Metrics::of(Config::new(engine).origin(origin).route(&policy));
    (metrics, config.start())
}

fn a_waiting_policy_ends_with_its_client(engine: Engine) {
    for (kind, waits) in waiting() {
        let origin = Origin::listen();
        let (metrics, gateway) = waiter(engine, kind, &waits("1h"), "", &origin);
        let mut clients: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
        clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        clients[1].send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
        clients[2].send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for client in &mut clients {
            client.finish();
            client.expect_end();
        }
        origin.expect_no_connection();
        assert_eq!(metrics.policy("errors", &format!("route/all/{kind}")), 0);
        assert!(gateway.stop().exit.success());
    }
}

fn a_waiting_policy_ends_with_the_time_of_its_request(engine: Engine) {
    for (kind, waits) in waiting() {
        let origin = Origin::listen();
        let (metrics, gateway) = waiter(engine, kind, &waits("1h"), "timeout = { total = \"50ms\" }", &origin);
        let mut client = gateway.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status(), &*answer.code()), (504, "policy_timeout"), "{kind}");
        }
        origin.expect_no_connection();
        assert_eq!(metrics.policy("errors", &format!("route/all/{kind}")), 2);
        assert_eq!(metrics.read().counter("ringway_timeouts_total", &[("kind", "policy")]), Some(2));
    }
}

fn what_comes_while_a_policy_waits_is_not_lost(engine: Engine) {
    let (origin, _) = Origin::serve(|request, upstream| {
        let body = format!("{} {}", request.head.line, request.text());
        upstream.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    });
    for (kind, waits) in waiting() {
        let (_metrics, gateway) = waiter(engine, kind, &waits("300ms"), "", &origin);
        let mut client = gateway.connect();
        client.send("POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n").send("abc").send("def");
        client.send("GET /two HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "POST /one HTTP/1.1 abcdef", "{kind}");
        assert_eq!(client.response().text(), "GET /two HTTP/1.1 ", "{kind}");
    }
}

fn a_drain_lets_a_policy_wait_to_its_end(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    for (kind, waits) in waiting() {
        let (_metrics, gateway) = waiter(engine, kind, &waits("500ms"), "", &origin);
        let mut client = gateway.connect();
        let mut idle = gateway.connect();
        assert_eq!(idle.get("/").status(), 200);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        gateway.terminate();
        idle.expect_end();
        let answer = client.response().head;
        assert_eq!((answer.status(), answer.get("connection")), (200, Some("close")), "{kind}");
        client.expect_end();
    }
}

fn a_request_that_waits_stays_with_the_policies_it_began_with(engine: Engine) {
    for (kind, waits) in waiting() {
        let origin = Origin::listen();
        let marked = |mark: &str, waits: &str| {
            let mark = format!("{{ type = \"headers\", response = {{ set = {{ x-plan = \"{mark}\" }} }} }}");
            let policies = format!("policies = [{mark}, {{ type = \"{kind}\", {waits} }}]");
            Config::new(engine).origin(&origin).route(&policies)
        };
        let (metrics, config) = Metrics::of(marked("old", &waits("1s")));
        let gateway = config.start();
        let mut old = gateway.connect();
        old.send("GET /old HTTP/1.1\r\nHost: a\r\n\r\n");
        while metrics.policy("evaluations", &format!("route/all/{kind}")) == 0 {
            std::thread::yield_now();
        }
        let dir = metrics.directory();
        gateway.run(&marked("new", &waits("1ms")).cores(&dir));
        let mut new = gateway.connect();
        new.send("GET /new HTTP/1.1\r\nHost: a\r\n\r\n");
        // It overtakes the one that waits.
        let mut upstream = origin.accept();
        assert_eq!(upstream.request().head.line, "GET /new HTTP/1.1", "{kind}");
        upstream.answer("");
        assert_eq!(new.response().head.get("x-plan"), Some("new"), "{kind}");
        assert_eq!(upstream.request().head.line, "GET /old HTTP/1.1", "{kind}");
        upstream.answer("");
        assert_eq!(old.response().head.get("x-plan"), Some("old"), "{kind}");
    }
}

fn a_new_plan_brings_new_policies_and_counters_go_on(engine: Engine) {
    let origin = Origin::listen();
    for Case { kind, acts, replies, .. } in CASES {
        let policy = format!("[policy]\np = {{ type = \"{kind}\", {acts} }}\n");
        let (metrics, config) =
            Metrics::of(Config::new(engine).origin(&origin).route("policies = [\"p\"]").more(&policy));
        let gateway = config.start();
        exchange(&gateway, &origin, replies);
        let bare = Config::new(engine).origin(&origin).cores(&metrics.directory());
        gateway.run(&bare);
        let (request, answer) = exchange(&gateway, &origin, false);
        assert_eq!((request.is_some(), answer.text()), (true, "from the origin"), "{kind}");
        gateway.run(&config);
        exchange(&gateway, &origin, replies);
        assert_eq!(metrics.policy("evaluations", "p"), 2, "{kind}");
    }
}
