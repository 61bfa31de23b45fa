//! Endpoints from the DNS.

use std::net::Ipv4Addr;

use serde_json::json;

use super::{Place, answer, named_origin};
use crate::support::dns::{A, NameServer, SRV, Says, addresses, server};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    addresses_come_and_go_as_the_name_says,
    servers_have_their_ports_weights_and_priorities,
    a_name_server_that_is_away_leaves_the_last_good_set,
    a_gateway_starts_without_its_name_server,
);

fn discover(servers: &NameServer, kind: &str, more: &str) -> String {
    format!(
        "discover = {{ type = \"{kind}\", servers = \"{}\", min_ttl = \"20ms\", timeout = \"100ms\", {more} }}",
        servers.address
    )
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn addresses_come_and_go_as_the_name_says(engine: Engine) {
    let (place, servers) = (Place::new(engine), NameServer::start());
    servers.says("users.test", A, addresses(0, &[at(1), at(2)]));
    let gateway = place.config(&discover(&servers, "dns", "name = \"Users.test.\", port = 80")).start();
    // The first set is there before the gateway is ready.
    assert_eq!(place.names(), ["10.0.0.1:80", "10.0.0.2:80"]);
    servers.says("users.test", A, addresses(0, &[at(3), at(2), at(1)]));
    gateway.child.says("upstream origin: +1 endpoint from dns");
    servers.says("users.test", A, addresses(0, &[at(3), at(1)]));
    gateway.child.says("upstream origin: -1 endpoint from dns");
    assert_eq!(place.names(), ["10.0.0.1:80", "10.0.0.3:80"]);
    // More than fits into a datagram.
    let many: Vec<Ipv4Addr> = (1..=200).map(at).collect();
    servers.says("users.test", A, addresses(0, &many));
    gateway.child.says("upstream origin: +198 endpoints from dns");
    // A name that is not there any more has no address: that is an answer, and one that takes too many away.
    servers.says("users.test", A, Says::Records(0, Vec::new()));
    gateway.child.says("dns says 0 endpoints, 200 fewer than it had are kept (max_shrink)");
    assert_eq!((place.names().len(), &place.source()["state"]), (200, &json!("kept")));
}

fn servers_have_their_ports_weights_and_priorities(engine: Engine) {
    let (place, servers) = (Place::new(engine), NameServer::start());
    let (one, two) = (named_origin(), named_origin());
    let [first, second] = [&one, &two].map(|origin| origin.address.port());
    let home = Ipv4Addr::LOCALHOST;
    servers.says("a.test", A, addresses(0, &[home]));
    servers.says("b.test", A, addresses(0, &[home]));
    let service = "_http._tcp.users.test";
    let all = vec![server(10, 5, first, "a.test"), server(20, 3, second, "b.test"), server(10, 1, 9, "gone.test")];
    servers.says(service, SRV, Says::Records(0, all));
    let keep = format!("name = \"{service}\", keep = \"newest\"");
    let gateway = place.config(&discover(&servers, "dns-srv", &keep)).start();
    let [a, b] = [format!("a.test:{first}"), format!("b.test:{second}")];
    let mut endpoints = place.endpoints();
    endpoints.sort();
    assert_eq!(endpoints, [(a.clone(), 5, 0), (b.clone(), 3, 1)]);
    // The lesser number is asked first; the other one when there is nobody else.
    for _ in 0..5 {
        assert_eq!(answer(&gateway), (200, one.address.to_string()));
    }
    servers.says(service, SRV, Says::Records(0, vec![server(20, 3, second, "b.test")]));
    gateway.child.says("upstream origin: -1 ~1 endpoints from dns-srv");
    assert_eq!(answer(&gateway), (200, two.address.to_string()));
    // A server whose address cannot be told is where it was.
    servers.says("b.test", A, Says::Failure);
    let failed = servers.asked("b.test", A);
    servers.says(service, SRV, Says::Records(0, vec![server(20, 3, second, "b.test"), server(20, 3, first, "a.test")]));
    gateway.child.says("+1 endpoint from dns-srv");
    assert_eq!(place.endpoints().len(), 2);
    assert!(servers.asked("b.test", A) > failed);
    // No such service (RFC 2782).
    servers.says(service, SRV, Says::Records(0, vec![server(0, 0, 0, "")]));
    gateway.child.says("upstream origin: -2 endpoints from dns-srv");
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
}

fn a_name_server_that_is_away_leaves_the_last_good_set(engine: Engine) {
    let (place, servers) = (Place::new(engine), NameServer::start());
    let origin = named_origin();
    let port = origin.address.port();
    servers.says("users.test", A, addresses(0, &[Ipv4Addr::LOCALHOST]));
    let discover = discover(&servers, "dns", &format!("name = \"users.test\", port = {port}, keep = \"newest\""));
    let gateway = place.config(&discover).start();
    for away in [Says::Failure, Says::Silence] {
        servers.says("users.test", A, away);
        gateway.child.says("nothing from dns, its endpoint stays: A users.test");
        assert_eq!(answer(&gateway), (200, origin.address.to_string()));
        let source = place.source();
        assert_eq!((&source["state"], &source["endpoints"]), (&json!("failing"), &json!(1)));
        assert!(source["age"].is_number() && source["failure"].is_string(), "{source}");
        servers.says("users.test", A, addresses(0, &[Ipv4Addr::LOCALHOST]));
        gateway.child.says("dns answers again");
    }
    // A reload meanwhile changes nothing of that.
    servers.says("users.test", A, Says::Silence);
    gateway.child.says("its endpoint stays");
    gateway.run(&place.config(&discover).limits("body = \"1KiB\""));
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
}

fn a_gateway_starts_without_its_name_server(engine: Engine) {
    let (place, servers) = (Place::new(engine), NameServer::start());
    let origin = named_origin();
    let (other, port) = (named_origin(), origin.address.port());
    servers.says("users.test", A, Says::Failure);
    let discover = discover(&servers, "dns", &format!("name = \"users.test\", port = {port}"));
    let gateway = place.config(&discover).start();
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
    servers.says("users.test", A, addresses(0, &[Ipv4Addr::LOCALHOST]));
    gateway.child.says("+1 endpoint from dns");
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    assert_eq!(gateway.stop().exit.code(), Some(0));
    // The endpoints of the config hold until the source has said something.
    servers.says("users.test", A, Says::Failure);
    let gateway = place.config(&format!("endpoints = \"{}\"\n{discover}", other.address)).start();
    assert_eq!(answer(&gateway), (200, other.address.to_string()));
    servers.says("users.test", A, addresses(0, &[Ipv4Addr::LOCALHOST]));
    gateway.child.says("+1 -1 endpoints from dns");
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
}

#[test]
fn an_answer_is_used_for_as_long_as_it_holds() {
    let (place, servers) = (Place::new(Engine::Ring), NameServer::start());
    servers.says("users.test", A, addresses(3600, &[at(1)]));
    let gateway = place.config(&discover(&servers, "dns", "name = \"users.test\", port = 80")).start();
    assert_eq!(servers.asked("users.test", A), 1);
    servers.says("users.test", A, addresses(3600, &[at(1), at(2)]));
    let left = place.source()["next_in"].as_f64().unwrap();
    // The ceiling is a minute.
    assert!(left > 30.0 && left <= 60.0, "{left}");
    assert_eq!(servers.asked("users.test", A), 1);
    assert_eq!(place.post("/v1/discovery/refresh", &json!({ "upstream": "origin" })).0, 200);
    gateway.child.says("+1 endpoint from dns");
    assert_eq!(servers.asked("users.test", A), 2);
}

#[test]
fn what_was_found_outlives_the_process() {
    let (place, servers) = (Place::new(Engine::Ring), NameServer::start());
    let origin = named_origin();
    let port = origin.address.port();
    servers.says("users.test", A, addresses(0, &[Ipv4Addr::LOCALHOST]));
    let cache = place.path("found.json");
    let control = format!("discovery_cache = \"{}\"", cache.display());
    let discover = discover(&servers, "dns", &format!("name = \"users.test\", port = {port}"));
    let config = place.config_with(&discover, "", &control);
    let gateway = config.start();
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    // It is written behind the plan that runs.
    while !cache.exists() {
        place.source();
    }
    assert_eq!(gateway.stop().exit.code(), Some(0));
    servers.says("users.test", A, Says::Failure);
    let gateway = config.start();
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    assert_eq!(gateway.stop().exit.code(), Some(0));
    // One that is broken is no reason not to start.
    std::fs::write(&cache, "{").unwrap();
    let gateway = config.start();
    gateway.child.says("endpoints that were found before are not known");
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
}
