//! `docs/recipes/01-basic.toml`: five services of three instances each behind one address.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Child, Client, Engine, Head, Message, Origin, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/01-basic.toml");
/// The services, with the first two digits of their ports in the recipe.
const SERVICES: [(&str, u16); 5] = [("users", 91), ("orders", 92), ("catalog", 93), ("payments", 94), ("reports", 95)];

/// The recipe at a free port, before instances that say who they are and what they were sent.
struct Basic {
    _child: Child,
    _dir: TempDir,
    address: SocketAddr,
}

/// Changes `from`, which the recipe must have.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the recipe has no {from}");
    text.replace(from, to)
}

impl Basic {
    fn start(engine: Engine) -> Self {
        Self::start_without(engine, &[])
    }

    /// With these instances away, named as in `users-1`.
    fn start_without(engine: Engine, away: &[&str]) -> Self {
        let cores = format!("data = 1\nengine = \"{}\"\nbuffers = 64 #", engine.name());
        let mut text = replace(&replace(RECIPE, "data = \"all\"", &cores), "127.0.0.1:8080", "127.0.0.1:0");
        for (service, ports) in SERVICES {
            for instance in 1..=3 {
                let name = format!("{service}-{instance}");
                let address = if away.contains(&&*name) { Origin::refusing() } else { instance_of(name) };
                text = replace(&text, &format!("127.0.0.1:{ports}0{instance}"), &address.to_string());
            }
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("basic.toml");
        fs::write(&file, &text).expect("the config is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
        let mut ready = String::new();
        BufReader::new(child.stdout()).read_line(&mut ready).expect("the gateway says when it is ready");
        let address = ready.trim_end().rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
        Self { _child: child, _dir: dir, address: address.unwrap_or_else(|| panic!("no ready line: {ready:?}")) }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

/// An instance that answers with the head it was sent.
fn instance_of(name: String) -> SocketAddr {
    let (origin, _) = Origin::serve(move |request, connection| {
        let body = String::from_utf8(request.head.raw.clone()).expect("a head is ASCII here");
        let fields = "Server: inside/1\r\nX-Powered-By: php\r\nX-Runtime: 7\r\nX-Backend-Version: 12";
        let length = body.len();
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nX-Instance: {name}\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        true
    });
    origin.address
}

/// Who answered.
fn instance(message: &Message) -> &str {
    assert_eq!(message.status(), 200, "{:?}", message.head);
    message.head.get("x-instance").expect("an instance answered")
}

/// The request head that the instance got.
fn seen(message: &Message) -> Head {
    instance(message);
    Head::parse(&message.body)
}

on_both_engines!(
    each_path_reaches_its_service_and_each_instance_in_turn,
    a_heavier_instance_gets_its_share,
    an_instance_that_is_away_is_passed_over,
    request_fields_are_set_removed_and_renamed,
    response_fields_are_added_set_removed_and_renamed,
    paths_and_queries_are_rewritten,
    what_needs_no_service_is_answered_by_the_gateway,
    a_body_beyond_the_route_s_limit_is_refused,
);

#[test]
fn the_recipe_is_in_order_as_it_stands() {
    super::recipe("01-basic");
}

fn each_path_reaches_its_service_and_each_instance_in_turn(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    for service in ["users", "orders", "payments", "reports"] {
        let mut instances: Vec<String> =
            (0..3).map(|id| instance(&client.get(&format!("/api/{service}/{id}"))).to_owned()).collect();
        instances.sort();
        assert_eq!(instances, [1, 2, 3].map(|at| format!("{service}-{at}")));
    }
}

fn a_heavier_instance_gets_its_share(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    let answers: Vec<Message> = (0..8).map(|_| client.get("/api/catalog/shoes")).collect();
    let share = |name| answers.iter().filter(|answer| instance(answer) == name).count();
    assert_eq!(["catalog-1", "catalog-2", "catalog-3"].map(share), [4, 2, 2]);
}

fn an_instance_that_is_away_is_passed_over(engine: Engine) {
    let basic = Basic::start_without(engine, &["users-2"]);
    let mut client = basic.connect();
    for _ in 0..6 {
        assert_ne!(instance(&client.get("/api/users/7")), "users-2");
    }
}

fn request_fields_are_set_removed_and_renamed(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    client.send(
        "GET /api/users/7 HTTP/1.1\r\nHost: test\r\nX-Debug: 1\r\nX-Internal-User: root\r\nX-Api-Token: secret\r\n\
         X-Client-Ip: 192.0.2.1\r\nX-Request-Id: mine\r\n\r\n",
    );
    let seen = seen(&client.response());
    assert_eq!(seen.get("x-client-ip"), Some("127.0.0.1"));
    assert!(seen.get("x-request-id").is_some_and(|id| id.len() == 16 && id != "mine"), "{:?}", seen.fields);
    assert_eq!(seen.get("x-token"), Some("secret"));
    for gone in ["x-debug", "x-internal-user", "x-api-token"] {
        assert!(!seen.has(gone), "{gone} came through");
    }
}

fn response_fields_are_added_set_removed_and_renamed(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    let answer = client.get("/api/users/7").head;
    assert_eq!(answer.get("x-gateway"), Some("ringway"));
    assert_eq!(answer.get("server"), Some("gateway"));
    assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.get("x-version"), Some("12"));
    for gone in ["x-powered-by", "x-runtime", "x-backend-version"] {
        assert!(!answer.has(gone), "{gone} came through");
    }
    assert!(!answer.has("cache-control"));
    assert_eq!(client.get("/api/reports/7").head.get("cache-control"), Some("private, no-store"));
}

fn paths_and_queries_are_rewritten(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    for (asked, sent) in [
        ("/api/users/7?full=1", "/users/7?full=1"),
        ("/api/users/", "/users/"),
        ("/api/orders/9", "/orders/9"),
        ("/api/orders/9/lines?page=2", "/v2/orders/9/lines"),
        ("/api/./reports/x/../2026", "/reports/2026"),
    ] {
        assert_eq!(seen(&client.get(asked)).line, format!("GET {sent} HTTP/1.1"), "{asked}");
    }
}

fn what_needs_no_service_is_answered_by_the_gateway(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    let health = client.get("/health");
    assert_eq!((health.status(), health.text()), (200, "{\"status\":\"ok\"}\n"));
    assert_eq!(health.head.get("cache-control"), Some("no-store"));

    let moved = client.get("/shop/shoes/9");
    assert_eq!((moved.status(), moved.head.get("location")), (308, Some("/api/catalog/shoes/9")));

    let answer = client.send("DELETE /api/catalog/9 HTTP/1.1\r\nHost: test\r\n\r\n").response();
    assert_eq!((answer.status(), answer.head.get("allow")), (405, Some("GET, HEAD")));
    assert_eq!(answer.code(), "method_not_allowed");

    assert_eq!(client.get("/api/nobody/9").code(), "no_route");
}

fn a_body_beyond_the_route_s_limit_is_refused(engine: Engine) {
    let basic = Basic::start(engine);
    let mut client = basic.connect();
    let answer = client.send("POST /api/orders/9 HTTP/1.1\r\nHost: test\r\nContent-Length: 1048577\r\n\r\n").response();
    assert_eq!((answer.status(), answer.code().as_str()), (413, "body_too_large"));
    client.expect_end();
}
