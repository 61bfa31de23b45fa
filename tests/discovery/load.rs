//! Endpoints come and go while requests do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Place, endpoint};
use crate::support::{Client, Engine, Origin, on_both_engines};

on_both_engines!(no_request_fails_whatever_endpoints_come_and_go, an_endpoint_that_stays_keeps_its_connections);

const DISCOVER: &str = "discover = { type = \"registration\", allow = \"127.0.0.0/8\", ttl = \"10m\" }";

fn origin() -> (Origin, Arc<AtomicUsize>) {
    Origin::serve(|_, connection| connection.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
}

fn no_request_fails_whatever_endpoints_come_and_go(engine: Engine) {
    const CHANGES: usize = 40;
    let place = Place::new(engine);
    let origins = [origin(), origin(), origin()];
    let gateway = place.config(DISCOVER).data(2).start();
    for (origin, _) in &origins {
        place.register(&endpoint(origin.address));
    }
    while place.names().len() < origins.len() {}
    let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (address, stop, asked) = (gateway.address, stop.clone(), asked.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get("/");
                    assert_eq!((answer.status(), answer.text()), (200, "ok"));
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for change in 0..CHANGES {
        let one = endpoint(origins[change % origins.len()].0.address);
        assert_eq!(place.post("/v1/endpoints/deregister", &one).0, 200);
        gateway.child.says("-1 endpoint from registration");
        assert_eq!(place.register(&one).0, 200);
        gateway.child.says("+1 endpoint from registration");
    }
    stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("no request failed");
    }
    assert!(asked.load(Ordering::SeqCst) > CHANGES, "the changes met requests");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn an_endpoint_that_stays_keeps_its_connections(engine: Engine) {
    let place = Place::new(engine);
    let ((stays, connections), (goes, _)) = (origin(), origin());
    let gateway = place.config(DISCOVER).start();
    place.register(&endpoint(stays.address));
    gateway.child.says("+1 endpoint");
    let mut client = gateway.connect();
    assert_eq!(client.get("/").status(), 200);
    for _ in 0..5 {
        place.register(&endpoint(goes.address));
        gateway.child.says("+1 endpoint");
        assert_eq!((client.get("/").status(), client.get("/").status()), (200, 200));
        place.post("/v1/endpoints/deregister", &endpoint(goes.address));
        gateway.child.says("-1 endpoint");
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let seen = &place.get("/v1/upstreams")["upstreams"][0]["endpoints"][0];
    assert_eq!((&seen["connections"], &seen["idle"]), (&1.into(), &1.into()));
}
