//! Endpoints, and the whole gateway, that get no new requests.

use serde_json::json;

use super::Place;
use crate::support::{Client, Engine, Gateway, Origin, OriginConn, on_both_engines};

on_both_engines!(
    a_drained_endpoint_finishes_its_requests_and_gets_no_new_ones,
    with_every_endpoint_drained_requests_are_refused,
    others_help_when_the_first_are_drained,
    a_gateway_that_drains_is_not_ready_and_finishes_its_requests,
    websockets_of_a_drained_endpoint_are_closed_and_no_others,
    websockets_of_a_gateway_that_drains_are_closed,
);

fn drain(place: &Place, what: &str, origin: &Origin) {
    let body = json!({ "upstream": "origin", "endpoint": origin.address.to_string() }).to_string();
    let reply = place.post(&format!("/v1/endpoints/{what}"), &body);
    assert_eq!(reply.status, 200, "{}", reply.text);
    // Cores hear of things in order: once they have said how they are, they have heard of the drain.
    place.json("/v1/upstreams");
}

fn a_drained_endpoint_finishes_its_requests_and_gets_no_new_ones(engine: Engine) {
    let place = Place::new();
    let [one, other] = [(); 2].map(|()| Origin::listen());
    let config = place.config(engine).origin(&one).origin(&other).more(&place.section(""));
    let gateway = config.clone().start();
    // One request is under way at each, and one connection is idle at each.
    let mut under_way = [&one, &other].map(|origin| {
        let mut client = gateway.connect();
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        (client, upstream)
    });
    let mut idle = [&one, &other].map(|origin| {
        let mut client = gateway.connect();
        client.send("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut upstream = origin.accept();
        upstream.request();
        upstream.answer("quick");
        assert_eq!(client.response().text(), "quick");
        upstream
    });
    drain(&place, "drain", &one);
    idle[0].expect_end();
    let (client, upstream) = &mut under_way[0];
    upstream.answer("finished");
    assert_eq!(client.response().text(), "finished");
    upstream.expect_end();
    gateway.child.says(" is drained\n");
    // So it stays with another plan, in which the upstream is another one, too, but for what is idle at the other endpoint.
    let later = config.upstream("timeout = { connect = \"2s\" }");
    gateway.run(&later);
    assert_eq!(place.json("/v1/upstreams")["upstreams"][0]["endpoints"][0]["drained"], true);
    let mut client = gateway.connect();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let upstream = &mut idle[1];
    for _ in 0..4 {
        upstream.request();
        upstream.answer("other");
        assert_eq!(client.response().text(), "other");
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    upstream.request();
    upstream.answer("other");
    client.response();
    one.expect_no_connection();
    drain(&place, "undrain", &one);
    let mut clients = [(); 2].map(|()| {
        let mut client = gateway.connect();
        client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        client
    });
    let mut back = one.accept();
    back.request();
    back.answer("back");
    upstream.request();
    upstream.answer("other");
    let mut answers = clients.each_mut().map(|client| client.response().text().to_owned());
    answers.sort();
    assert_eq!(answers, ["back", "other"]);
}

fn with_every_endpoint_drained_requests_are_refused(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place.config(engine).origin(&origin).more(&place.section("")).start();
    drain(&place, "drain", &origin);
    let mut client = gateway.connect();
    let refused = client.get("/x");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("\"no_endpoint\""), "{}", refused.text());
    origin.expect_no_connection();
    drain(&place, "undrain", &origin);
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("back");
    assert_eq!(client.response().text(), "back");
    let unknown = place.post("/v1/endpoints/drain", "{\"upstream\": \"none\", \"endpoint\": \"a:1\"}");
    assert_eq!(unknown.problem(), (404, "unknown_endpoint".to_owned()));
}

fn a_gateway_that_drains_is_not_ready_and_finishes_its_requests(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place.config(engine).origin(&origin).more(&place.section("")).start();
    let mut client = gateway.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    assert_eq!(place.post("/v1/drain", "").status, 200);
    assert_eq!(place.get("/readyz").problem(), (503, "draining".to_owned()));
    assert_eq!(place.get("/livez").status, 200);
    assert_eq!(place.post("/v1/reload", "").problem(), (409, "refused".to_owned()));
    upstream.answer("finished");
    assert_eq!(client.response().text(), "finished");
    drop(client);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    assert!(!place.socket().exists());
}

fn others_help_when_the_first_are_drained(engine: Engine) {
    let place = Place::new();
    let [first, near, far] = [(); 3].map(|()| Origin::listen());
    let upstream = format!(
        "[upstream.origin]\nfailover = {{ zone = \"a\" }}\nendpoints = [{{ address = \"{}\", priority = 1 }},\n\
         {{ address = \"{}\", zone = \"b\" }}, {{ address = \"{}\", zone = \"a\", metadata = {{ version = \"v2\" }} }}]\n\
         [[route]]\nname = \"r\"\npath = \"/r\"\nupstream = \"origin\"\n",
        far.address, near.address, first.address
    );
    let gateway = place.config(engine).more(&place.section("")).more(&upstream).start();
    let mut client = gateway.connect();
    let mut asks = |origin: &Origin| {
        let mut connection = None;
        for _ in 0..3 {
            client.send("GET /r HTTP/1.1\r\nHost: a\r\n\r\n");
            let upstream = connection.get_or_insert_with(|| origin.accept());
            upstream.request();
            upstream.answer("here");
            assert_eq!(client.response().text(), "here");
        }
    };
    asks(&first);
    drain(&place, "drain", &first);
    asks(&near);
    drain(&place, "drain", &near);
    asks(&far);
    let seen = &place.json("/v1/upstreams")["upstreams"][0];
    assert_eq!(seen["balance"], "round-robin");
    let endpoints = &seen["endpoints"];
    assert_eq!((&endpoints[0]["available"], &endpoints[0]["priority"]), (&json!(true), &json!(1)));
    assert_eq!((&endpoints[1]["zone"], &endpoints[1]["unavailable_because"]), (&json!("b"), &json!(["drained"])));
    assert_eq!((&endpoints[2]["available"], &endpoints[2]["requests"]), (&json!(false), &json!(0)));
    assert_eq!(endpoints[2]["metadata"], json!({ "version": "v2" }));
    let told = place.command(&["status"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("0 failures, drained"), "{told:?}");
    drain(&place, "undrain", &first);
    asks(&first);
}

/// A WebSocket connection by way of the gateway, whichever endpoint it gets.
fn websocket(gateway: &Gateway, origin: &Origin) -> (Client, OriginConn) {
    let mut client = gateway.connect();
    client.send(crate::websocket::request(""));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send(crate::websocket::switch(""));
    assert_eq!(client.head().status(), 101);
    (client, upstream)
}

/// A close frame of the gateway with 1001, to a client and to an endpoint; what the mask makes of the code is not looked at.
fn expect_away(client: &mut Client, upstream: &mut OriginConn) {
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(upstream.take(8)[..2], [0x88, 0x82]);
    upstream.finish();
    client.expect_end();
}

fn websockets_of_a_drained_endpoint_are_closed_and_no_others(engine: Engine) {
    let place = Place::new();
    let [one, other] = [(); 2].map(|()| Origin::listen());
    let config = place.config(engine).origin(&one).more(&place.section("")).route("websocket = { drain = \"50ms\" }");
    let gateway = config.start();
    let (mut client, mut upstream) = websocket(&gateway, &one);
    let both = config.origin(&other);
    gateway.run(&both);
    drain(&place, "drain", &other);
    // It was told of the drain, which was not its own.
    client.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(upstream.take(7), b"\x81\x81\0\0\0\0x");
    drain(&place, "undrain", &other);
    drain(&place, "drain", &one);
    expect_away(&mut client, &mut upstream);
    // Another one goes elsewhere, and stays.
    let (mut client, mut upstream) = websocket(&gateway, &other);
    client.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(upstream.take(7), b"\x81\x81\0\0\0\0x");
}

fn websockets_of_a_gateway_that_drains_are_closed(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let config = place.config(engine).origin(&origin).more(&place.section(""));
    let gateway = config.route("websocket = { drain = \"50ms\" }").start();
    let (mut client, mut upstream) = websocket(&gateway, &origin);
    assert_eq!(place.post("/v1/drain", "").status, 200);
    expect_away(&mut client, &mut upstream);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}
