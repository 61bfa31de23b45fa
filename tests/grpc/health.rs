//! Health checks by `grpc.health.v1`.

use std::net::SocketAddr;

use super::{call, server};
use crate::admin::Place;
use crate::support::{Config, Engine, on_both_engines};
use crate::tls::{Authority, with};

on_both_engines!(a_server_says_how_its_services_are, the_same_over_tls, an_endpoint_is_left_while_it_is_not_serving);

/// What the admin API says of the last check of the endpoint of each upstream.
fn last_checks(place: &Place) -> Vec<(String, String)> {
    let all = place.json("/v1/upstreams");
    let of = |upstream: &serde_json::Value| {
        let check = upstream["endpoints"][0]["last_check"].as_str().unwrap_or("none").to_owned();
        (upstream["name"].as_str().unwrap().to_owned(), check)
    };
    all["upstreams"].as_array().unwrap().iter().map(of).collect()
}

fn upstreams(endpoint: SocketAddr, without: SocketAddr, keys: &str) -> String {
    let all = [
        ("all", endpoint, ""),
        ("well", endpoint, "service = \"well\""),
        ("ill", endpoint, "service = \"ill\""),
        ("unknown", endpoint, "service = \"unknown\""),
        ("without", without, ""),
    ];
    let one = |(name, endpoint, service): &(&str, SocketAddr, &str)| {
        format!(
            "[upstream.{name}]\nendpoints = \"{endpoint}\"\nprotocol = \"h2\"\n{keys}\n\
             health = {{ type = \"grpc\", interval = \"50ms\", timeout = \"5s\", {service} }}\n\
             [[route]]\nname = \"{name}\"\npath = \"/{name}/{{rest...}}\"\nupstream = \"{name}\"\n"
        )
    };
    all.iter().map(one).collect()
}

fn says_how_they_are(config: Config) {
    let place = Place::new();
    let gateway = config.more(&place.section("")).start();
    let wanted = [
        ("all", "passed"),
        ("well", "passed"),
        ("ill", "not-serving"),
        ("unknown", "grpc-status"),
        ("without", "grpc-status"),
    ];
    let until = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let found = last_checks(&place);
        let is = |(name, check): &(&str, &str)| found.iter().any(|(is, last)| is == name && last == check);
        if wanted.iter().all(is) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{found:?}");
    }
    drop(gateway);
}

fn a_server_says_how_its_services_are(engine: Engine) {
    let ((_server, endpoint), (_other, without)) = (server(&["--health"], &[]), server(&[], &[]));
    says_how_they_are(Config::new(engine).more(&upstreams(endpoint, without, "")));
}

fn the_same_over_tls(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost", "127.0.0.1"]);
    let files = [&*issued.key, &*issued.certificate];
    let ((_server, endpoint), (_other, without)) = (server(&["--health"], &files), server(&[], &files));
    let keys = format!("tls = {{ ca = \"{}\" }}", authority.file.display());
    says_how_they_are(with(engine, &issued).more(&upstreams(endpoint, without, &keys)));
}

fn an_endpoint_is_left_while_it_is_not_serving(engine: Engine) {
    let ((_first, first), (_second, second)) = (server(&["--health"], &[]), server(&["--health"], &[]));
    let health =
        "health = { type = \"grpc\", service = \"well\", interval = \"20ms\", unhealthy_after = 1, healthy_after = 1 }";
    let gateway =
        Config::new(engine).endpoint(first).endpoint(second).upstream(&format!("protocol = \"h2\"\n{health}")).start();
    let script = format!(
        r#"
def seen(wanted):
    # Both count the calls that they had.
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        before = [tries(at) for at in servers]
        unary("Fail", json.dumps({{"key": "seen", "codes": []}}).encode())
        unary("Fail", json.dumps({{"key": "seen", "codes": []}}).encode())
        after = [tries(at) for at in servers]
        got = [was < now for was, now in zip(before, after)]
        if got == wanted:
            return
    raise AssertionError(got)
servers = [grpc.insecure_channel("{first}"), grpc.insecure_channel("{second}")]
def tries(at):
    return int(at.unary_unary("/test.Calls/Tries")(b"seen", timeout=PATIENCE))
def set_health(at, status):
    servers[at].unary_unary("/test.Calls/SetHealth")(b"well=%d" % status, timeout=PATIENCE)
seen([True, True])
set_health(0, 2)
seen([False, True])
set_health(0, 1)
seen([True, True])
"#
    );
    call(gateway.address, &[], &script);
}
