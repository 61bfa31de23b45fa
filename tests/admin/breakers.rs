//! Breakers that are opened and closed by hand, and what is shown of health.

use serde_json::{Value, json};

use super::Place;
use crate::support::{Engine, Origin, on_both_engines};

on_both_engines!(a_breaker_is_opened_and_closed_by_hand, what_cannot_be_opened_is_refused);

fn upstream(place: &Place) -> Value {
    place.json("/v1/upstreams")["upstreams"][0].clone()
}

fn a_breaker_is_opened_and_closed_by_hand(engine: Engine) {
    let place = Place::new();
    let (origin, _) = Origin::serve(|_, connection| {
        connection.answer("here");
        true
    });
    let config = place.config(engine).data(2).origin(&origin).more(&place.section(""));
    let gateway = config.upstream("breaker = { of = \"both\" }\nhealth = { jitter = 0 }").start();
    let status = || gateway.connect().get("/a").status();
    assert_eq!(status(), 200);
    assert_eq!(
        (&upstream(&place)["breaker"], &upstream(&place)["endpoints"][0]["breaker"]),
        (&json!("closed"), &json!("closed"))
    );
    let endpoint = origin.address.to_string();
    // The endpoint's, then the upstream's.
    for (words, body) in [
        (&["origin", &endpoint][..], json!({ "upstream": "origin", "endpoint": endpoint })),
        (&["origin"], json!({ "upstream": "origin" })),
    ] {
        assert_eq!(place.post("/v1/breakers/open", &body.to_string()).status, 200);
        for _ in 0..6 {
            let refused = gateway.connect().get("/a");
            assert!(refused.text().contains("\"breaker_open\""), "{}", refused.text());
        }
        let shown = upstream(&place);
        let (own, at) = (&shown["breaker"], &shown["endpoints"][0]);
        if words.len() == 1 {
            assert_eq!((own, &at["breaker"]), (&json!("held open"), &json!("closed")), "{shown}");
        } else {
            assert_eq!((own, &at["breaker"]), (&json!("closed"), &json!("held open")), "{shown}");
            assert_eq!(at["unavailable_because"], json!(["broken"]));
        }
        gateway.child.says(" is held open\n");
        let closed = place.command(&[&["breaker", "close"], words].concat());
        assert_eq!(String::from_utf8_lossy(&closed.stdout), "the breaker is closed\n");
        assert_eq!([(); 6].map(|()| status()), [200; 6]);
    }
    let checked = || upstream(&place)["endpoints"][0]["last_check"].clone();
    while checked() == "never" {}
    assert_eq!(checked(), "passed");
}

fn what_cannot_be_opened_is_refused(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let config = place.config(engine).origin(&origin).more(&place.section(""));
    let _gateway = config.upstream("breaker = { failure_ratio = 0.5 }").start();
    let open = |body: Value| place.post("/v1/breakers/open", &body.to_string()).problem();
    assert_eq!(open(json!({ "upstream": "origin" })), (409, "refused".to_owned()));
    assert_eq!(open(json!({ "upstream": "none" })), (404, "unknown_endpoint".to_owned()));
    assert_eq!(open(json!({ "upstream": "origin", "endpoint": "none:1" })), (404, "unknown_endpoint".to_owned()));
    assert_eq!(open(json!({ "endpoint": origin.address.to_string() })), (400, "invalid_body".to_owned()));
    assert_eq!(upstream(&place)["endpoints"][0]["last_check"], Value::Null);
}
