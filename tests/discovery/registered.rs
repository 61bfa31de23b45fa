//! Endpoints that register themselves.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Place, answer, endpoint, exchange, named_origin};
use crate::support::{Engine, Gateway, on_both_engines};

const ADMIN_TOKEN: &str = "correct-horse-battery-staple";
const TOKEN: &str = "only-for-registration";

on_both_engines!(
    an_endpoint_that_registers_gets_requests_and_one_that_goes_gets_none,
    an_endpoint_that_says_nothing_for_too_long_goes,
    registered_endpoints_stay_in_an_upgrade,
);

fn discover(more: &str) -> String {
    format!("discover = {{ type = \"registration\", allow = [\"127.0.0.0/8\", \"10.0.0.0/8\"]{more} }}")
}

fn an_endpoint_that_registers_gets_requests_and_one_that_goes_gets_none(engine: Engine) {
    let place = Place::new(engine);
    let (one, two) = (named_origin(), named_origin());
    let gateway = place.config(&discover("")).start();
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
    let said = place.register(&endpoint(one.address));
    assert_eq!(said, (200, json!({ "ttl": 15.0 })));
    gateway.child.says("upstream origin: +1 endpoint from registration");
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    // Saying so again is a sign of life and no change.
    assert_eq!(place.register(&endpoint(one.address)).0, 200);
    let mut other = endpoint(two.address);
    other["weight"] = json!(7);
    other["zone"] = json!("b");
    other["metadata"] = json!({ "version": "2" });
    assert_eq!(place.register(&other).0, 200);
    gateway.child.says("upstream origin: +1 endpoint from registration");
    let seen = place.get("/v1/upstreams")["upstreams"][0]["endpoints"].clone();
    let seen = seen.as_array().unwrap().iter().find(|seen| seen["weight"] == 7).unwrap();
    assert_eq!((&seen["zone"], &seen["metadata"]), (&json!("b"), &json!({ "version": "2" })));
    other["weight"] = json!(8);
    assert_eq!(place.register(&other).0, 200);
    gateway.child.says("upstream origin: ~1 endpoint from registration");
    assert_eq!(place.post("/v1/endpoints/deregister", &endpoint(one.address)).0, 200);
    gateway.child.says("upstream origin: -1 endpoint from registration");
    assert_eq!(answer(&gateway), (200, two.address.to_string()));
    assert_eq!(place.post("/v1/endpoints/deregister", &endpoint(one.address)).0, 404);
    // The same by the command.
    let command = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"));
        let socket = place.path("admin.sock");
        let done = command.arg("admin").args(words).arg("--socket").arg(socket).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        (done.status.code(), said)
    };
    let address = one.address.to_string();
    let (code, said) = command(&["register", "origin", &address, "--weight", "9", "--metadata", "version=3"]);
    assert_eq!((code, said.as_str()), (Some(0), "registered for 15 s; say so again before then\n"));
    gateway.child.says("upstream origin: +1 endpoint from registration");
    let seen = place.get("/v1/upstreams")["upstreams"][0]["endpoints"].clone();
    let seen = seen.as_array().unwrap().iter().find(|seen| seen["weight"] == 9).unwrap();
    assert_eq!(seen["metadata"], json!({ "version": "3" }));
    assert_eq!(command(&["deregister", "origin", &address]).0, Some(0));
    gateway.child.says("upstream origin: -1 endpoint from registration");
    assert_eq!(command(&["deregister", "origin", &address]).0, Some(1));
    assert_eq!(command(&["register", "origin", "8.8.8.8:80"]).0, Some(1));
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn an_endpoint_that_says_nothing_for_too_long_goes(engine: Engine) {
    let place = Place::new(engine);
    let (alive, dead) = (named_origin(), named_origin());
    let gateway = place.config(&discover(", ttl = \"300ms\"")).start();
    place.register(&endpoint(dead.address));
    gateway.child.says("+1 endpoint");
    let started = Instant::now();
    // This one says so all the time.
    let mut names = Vec::new();
    while names != [alive.address.to_string()] {
        assert_eq!(place.register(&endpoint(alive.address)).0, 200);
        names = place.names();
        assert!(started.elapsed() < crate::support::PATIENCE, "{names:?}");
    }
    assert_eq!(answer(&gateway), (200, alive.address.to_string()));
    gateway.child.says("-1 endpoint from registration");
    gateway.child.says("-1 endpoint from registration");
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
}

fn registered_endpoints_stay_in_an_upgrade(engine: Engine) {
    let place = Place::new(engine);
    let origin = named_origin();
    let control = format!("upgrade_socket = \"{}\"", place.path("upgrade.sock").display());
    let gateway = place.config_with(&discover(""), "", &control).start();
    place.register(&endpoint(origin.address));
    gateway.child.says("+1 endpoint");
    let mut client = gateway.connect();
    assert_eq!(client.get("/").text(), origin.address.to_string());
    let (status, said) = place.post("/v1/upgrade", &json!({}));
    assert_eq!(status, 200, "{said}");
    // Whoever answers now has not heard of the endpoint itself.
    assert_eq!(place.names(), [origin.address.to_string()]);
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    assert_eq!(place.source()["sets"], 0);
    assert_eq!(place.post("/v1/drain", &json!({})).0, 200);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

#[test]
fn a_thousand_registrations_make_few_plans() {
    const COUNT: u16 = 1000;
    let place = Place::new(Engine::Ring);
    let gateway = place.config_with(&discover(", ttl = \"10m\""), "", "").start();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let socket = place.path("admin.sock");
            std::thread::spawn(move || {
                for n in (0..COUNT).filter(|n| n % 8 == thread) {
                    let address = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80));
                    let stream = std::os::unix::net::UnixStream::connect(&socket).expect("the socket");
                    let (status, said) =
                        exchange(stream, "POST", "/v1/endpoints/register", Some(&endpoint(address)), "");
                    assert_eq!(status, 200, "{said}");
                }
            })
        })
        .collect();
    let started = Instant::now();
    for thread in threads {
        thread.join().expect("every registration is taken");
    }
    while place.names().len() < usize::from(COUNT) {
        assert!(started.elapsed() < crate::support::PATIENCE);
    }
    let plans = place.get("/v1/plan")["endpoints_epoch"].as_u64().unwrap() - 1;
    // One in 20 ms at most, as this test's config has it.
    let most = started.elapsed().as_millis() as u64 / 20 + 2;
    assert!(plans <= most && plans < 500, "{plans} plans, at most {most}");
    let (status, said) = place.register(&endpoint(SocketAddr::from(([10, 1, 0, 0], 80))));
    assert_eq!((status, said["code"].as_str()), (409, Some("refused")));
    assert!(said["detail"].as_str().unwrap().contains("max_endpoints"), "{said}");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

#[test]
fn what_may_not_be_an_endpoint_is_refused() {
    let place = Place::new(Engine::Ring);
    let _gateway = place.config("discover = { type = \"registration\" }").start();
    let with = |name: &str, value: Value| {
        let mut body = json!({ "upstream": "origin", "address": "10.0.0.1:80" });
        body[name] = value;
        let (status, said) = place.register(&body);
        (status, said["detail"].as_str().unwrap_or_default().to_owned())
    };
    for address in
        ["127.0.0.1:80", "169.254.169.254:80", "8.8.8.8:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[fe80::1]:1"]
    {
        let (status, why) = with("address", json!(address));
        assert!(status == 409 && why.contains("allowed: 10.0.0.0/8"), "{address}: {why}");
    }
    for address in ["10.0.0.1", "10.0.0.1:0", "0.0.0.0:80", "224.0.0.1:80", "users:80", "10.0.0.1:99999"] {
        assert_eq!(with("address", json!(address)).0, 409, "{address}");
    }
    for (name, wrong) in [
        ("address", json!(7)),
        ("weight", json!(0)),
        ("weight", json!(1001)),
        ("priority", json!(16)),
        ("zone", json!("a b")),
        ("metadata", json!({ "a": 1 })),
        ("metadata", json!([])),
        ("wieght", json!(1)),
    ] {
        assert_eq!(with(name, wrong.clone()).0, 400, "{name} {wrong}");
    }
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
    assert_eq!(with("metadata", Value::Object(many)).0, 409);
    assert_eq!(with("metadata", json!({ "a": "x".repeat(257) })).0, 409);
    assert_eq!(with("upstream", json!("other")).0, 404);
    assert_eq!(place.names(), [] as [String; 0]);
}

#[test]
fn a_token_for_registration_is_good_for_its_upstream_and_nothing_else() {
    let place = Place::new(Engine::Ring);
    let admin = format!("tcp = \"127.0.0.1:0\"\ntoken = \"{ADMIN_TOKEN}\"");
    let other = "[upstream.other]\ndiscover = { type = \"registration\", token = \"the-token-of-another\" }\n\
                 [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"other\"\n";
    let gateway = place.config_with(&discover(&format!(", token = \"{TOKEN}\"")), &admin, "").more(other).start();
    let port = tcp_of(&gateway);
    let ask = |path: &str, body: Option<&Value>, token: &str| {
        let stream = TcpStream::connect(port).unwrap();
        let method = if body.is_some() { "POST" } else { "GET" };
        exchange(stream, method, path, body, &format!("Authorization: Bearer {token}\r\n")).0
    };
    let address = SocketAddr::from(([10, 0, 0, 1], 80));
    let register = "/v1/endpoints/register";
    let of_other = json!({ "upstream": "other", "address": "10.0.0.1:80" });
    assert_eq!(ask(register, Some(&endpoint(address)), TOKEN), 200);
    assert_eq!(ask(register, Some(&endpoint(address)), ADMIN_TOKEN), 200);
    assert_eq!(ask(register, Some(&endpoint(address)), "wrong"), 401);
    assert_eq!(ask(register, Some(&of_other), TOKEN), 401);
    assert_eq!(ask("/v1/endpoints/deregister", Some(&of_other), TOKEN), 401);
    assert_eq!(ask("/v1/endpoints/drain", Some(&json!({})), TOKEN), 401);
    assert_eq!(ask("/v1/discovery", None, TOKEN), 401);
    assert_eq!(ask("/v1/discovery", None, ADMIN_TOKEN), 200);
    assert_eq!(ask("/v1/endpoints/deregister", Some(&endpoint(address)), TOKEN), 200);
}

fn tcp_of(gateway: &Gateway) -> SocketAddr {
    let said = gateway.child.says("admin API at ");
    let address = said.trim_end().rsplit_once("http://").expect("a TCP address").1;
    address.trim_end_matches('/').parse().expect("an address")
}
