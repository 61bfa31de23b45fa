//! Who may ask, how much, and for how long.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::{Place, TOKEN, ask_tcp, tcp_of};
use crate::support::{Engine, PATIENCE, on_both_engines};

on_both_engines!(
    over_tcp_the_token_is_wanted_and_other_sites_are_refused,
    what_is_wrong_with_a_request_is_said,
    slow_clients_and_too_many_are_turned_away_and_others_served,
    a_stale_socket_is_taken_over_and_a_live_one_is_not,
);

fn over_tcp_the_token_is_wanted_and_other_sites_are_refused(engine: Engine) {
    let place = Place::new();
    let gateway = place.config(engine).more(&place.section_with_tcp()).start();
    let tcp = tcp_of(&gateway);
    let get =
        |path: &str, fields: &str| ask_tcp(tcp, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n"));
    let host = format!("Host: {tcp}\r\n");
    let bearer = format!("{host}Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(get("/v1/plan", &bearer).status, 200);
    let refused = get("/v1/plan", &host);
    assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
    for wrong in ["Bearer wrong", "Bearer ", "Basic YTpi", &format!("Bearer {TOKEN}x")] {
        assert_eq!(get("/v1/plan", &format!("{host}Authorization: {wrong}\r\n")).status, 401, "{wrong}");
    }
    // The page and the probes tell nothing that is worth a token.
    for open in ["/", "/page.js", "/livez", "/readyz"] {
        assert_eq!(get(open, &host).status, 200, "{open}");
    }
    let foreign = format!("Host: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(get("/v1/plan", &foreign).problem(), (403, "host_not_allowed".to_owned()));
    let other = format!("{bearer}Origin: http://evil.example\r\n");
    assert_eq!(get("/v1/plan", &other).problem(), (403, "other_site".to_owned()));
    assert!(!get("/v1/plan", &bearer).head.contains("access-control"));
    // A new token holds from the reload on.
    let new = place.section_with_tcp().replace(TOKEN, "another-token-of-some-length");
    let said = gateway.run(&place.config(engine).more(&new));
    assert!(!said.contains("another-token"), "{said}");
    assert_eq!(get("/v1/plan", &bearer).status, 401);
    assert_eq!(get("/v1/plan", &bearer.replace(TOKEN, "another-token-of-some-length")).status, 200);
}

fn what_is_wrong_with_a_request_is_said(engine: Engine) {
    let place = Place::new();
    let _gateway = place.config(engine).more(&place.section("")).start();
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.get("/v2/plan").problem(), (404, "not_found".to_owned()));
    let method = place.get("/v1/reload");
    assert_eq!(method.problem(), (405, "method_not_allowed".to_owned()));
    assert!(method.head.contains("allow: post"), "{}", method.head);
    for wrong in ["[]", "{", "{\"confirm\": 1}", "{\"confirm_seconds\": 0}", "{\"confirm_seconds\": \"1\"}"] {
        assert_eq!(place.post("/v1/reload", wrong).problem(), (400, "invalid_body".to_owned()), "{wrong}");
    }
    let big = format!("{{\"x\": \"{}\"}}", "x".repeat(20_000));
    assert_eq!(place.post("/v1/reload", &big).problem(), (413, "body_too_large".to_owned()));
    let form = "POST /v1/drain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(place.ask(form).problem(), (415, "not_json".to_owned()));
    assert_eq!(place.json("/v1/plan")["draining"], false);
}

fn slow_clients_and_too_many_are_turned_away_and_others_served(engine: Engine) {
    let place = Place::new();
    let config = place.config(engine).more(&place.section("connections = 2\ntimeout = \"100ms\""));
    let _gateway = config.start();
    let connect = || {
        let stream = UnixStream::connect(place.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    // One that never sends, one whose head never ends, and one whose body never comes: each ends by itself.
    for begun in ["", "GET /v1/plan HTTP/1.1\r\nHo"] {
        let mut stream = connect();
        stream.write_all(begun.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", rest.escape_ascii());
    }
    let slow = "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{";
    assert_eq!(place.ask(slow).problem(), (408, "body_timeout".to_owned()));
    // Those past the bound are closed at once; the places come free again.
    let held = [connect(), connect()];
    let mut third = connect();
    let mut rest = Vec::new();
    let _ = third.read_to_end(&mut rest);
    assert!(rest.is_empty());
    for mut held in held {
        let _ = held.read_to_end(&mut rest);
    }
    assert_eq!(place.json("/v1/plan")["epoch"], 1);
}

fn a_stale_socket_is_taken_over_and_a_live_one_is_not(engine: Engine) {
    let place = Place::new();
    let config = place.config(engine).more(&place.section(""));
    let first = config.clone().start();
    let (second, _dir) = config.spawn();
    let ended = second.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains("admin.sock is in use: another process answers there"), "{}", ended.errors);
    assert_eq!(place.json("/v1/plan")["epoch"], 1, "the first one is unhurt");
    first.child.signal(Signal::KILL);
    let ended = first.child.wait();
    assert_eq!(ended.exit.code(), None);
    assert!(place.socket().exists(), "nobody was left to remove it");
    let again = config.start();
    assert_eq!(place.json("/v1/plan")["epoch"], 1);
    assert_eq!(again.stop().exit.code(), Some(0));
}
