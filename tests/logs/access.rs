//! Every request has one line, with all that it should say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Place;
use crate::support::{Config, Engine, Origin, Transfer, on_both_engines};

on_both_engines!(
    every_request_has_exactly_one_line_whatever_came_of_it,
    a_line_says_what_was_sent_and_who_answered,
    bytes_are_counted_as_they_go_over_the_connection,
    hostile_bytes_stay_inside_their_member,
    the_combined_format_survives_them_too,
    long_texts_are_cut_off_and_the_line_says_so,
    routes_and_listeners_can_be_left_out,
    an_upgraded_connection_has_its_line_when_it_ends,
);

fn every_request_has_exactly_one_line_whatever_came_of_it(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let refusing = Origin::refusing();
    let gateway = place
        .logged(engine, "log", "")
        .timeouts("head = \"200ms\"")
        .origin(&origin)
        .route("path = \"/proxied\"\nmethods = [\"GET\", \"POST\"]")
        .more(&format!(
            "[upstream.none]\nendpoints = [\"{refusing}\"]\n\
             [[route]]\nname = \"none\"\npath = \"/none\"\nupstream = \"none\"\n"
        ))
        .start();
    let mut client = gateway.connect();
    client.send("GET /hello/a HTTP/1.1\r\nHost: a\r\n\r\nGET /hello/b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((client.response().status(), client.response().status()), (200, 200));
    assert_eq!(client.get("/absent").status(), 404);
    assert_eq!(client.get("/a//b").status(), 400);
    assert_eq!(client.get("/none").status(), 502);
    assert_eq!(client.send("PUT /proxied HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").response().status(), 405);
    client.send("POST /proxied HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("done");
    assert_eq!(client.response().text(), "done");
    // It leaves before its answer.
    client.send("GET /proxied HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    client.reset();
    upstream.expect_end();
    let mut client = gateway.connect();
    assert_eq!(client.send("no request\r\n\r\n").response().status(), 400);
    let mut client = gateway.connect();
    assert_eq!(client.send("GET /slo").response().status(), 408);
    // One that breaks off in the middle.
    let mut client = gateway.connect();
    client.send("GET /proxied HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.head();
    drop(upstream);
    client.rest_or_reset();
    drop(client);
    assert_eq!(gateway.stop().exit.code(), Some(0));
    let lines = place.lines("log");
    let told = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("path"), line["status"].as_u64().unwrap_or_default(), text("reason"))
    };
    let told: Vec<(String, u64, String)> = lines.iter().map(told).collect();
    let told: Vec<(&str, u64, &str)> =
        told.iter().map(|(path, status, reason)| (&**path, *status, &**reason)).collect();
    let expected = [
        ("/hello/a", 200, ""),
        ("/hello/b", 200, ""),
        ("/absent", 404, "no_route"),
        ("/a//b", 400, "path_empty_segment"),
        ("/none", 502, "upstream_connect_failed"),
        ("/proxied", 405, "method_not_allowed"),
        ("/proxied", 200, ""),
        ("/proxied", 499, ""),
        ("", 400, "bad_request_line"),
        ("", 408, "head_timeout"),
        ("/proxied", 200, "upstream_reset"),
    ];
    assert_eq!(told, expected);
    let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), lines.len());
    assert_eq!(place.total("ringway_access_log_records_total"), lines.len() as u64);
    assert_eq!(place.total("ringway_access_log_dropped_total"), 0);
    assert_eq!(place.total("ringway_requests_total"), lines.len() as u64);
}

fn a_line_says_what_was_sent_and_who_answered(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place
        .logged(engine, "log", "")
        .listener("trusted_proxies = \"127.0.0.0/8\"")
        .endpoint(Origin::refusing())
        .origin(&origin)
        .start();
    let mut client = gateway.connect();
    client.send(
        "GET /a/%62?x=1&y HTTP/1.1\r\nHost: api.example.com\r\nX-Forwarded-For: 203.0.113.9\r\n\
         User-Agent: probe/1.0\r\nReferer: http://a/b\r\n\r\n",
    );
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("hello");
    assert_eq!(client.response().text(), "hello");
    let refused = client.get("/hello//x");
    let id = refused.member("correlation_id");
    drop(client);
    gateway.stop();
    let lines = place.lines("log");
    let line = &lines[0];
    for (name, expected) in [
        ("core", json!(0)),
        ("listener", json!("web")),
        ("route", json!("all")),
        ("client", json!("203.0.113.9")),
        ("method", json!("GET")),
        ("host", json!("api.example.com")),
        ("path", json!("/a/%62?x=1&y")),
        ("version", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("reason", Value::Null),
        ("upstream", json!("origin")),
        ("endpoint", json!(origin.address.to_string())),
        ("attempts", json!(2)),
        ("user_agent", json!("probe/1.0")),
        ("referer", json!("http://a/b")),
        ("sent_body", json!(5)),
        ("cut", Value::Null),
    ] {
        assert_eq!(line[name], expected, "{name}: {line}");
    }
    let time = line["time"].as_str().expect("a time");
    assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let seconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    let parts: f64 = ["head", "admit", "connect", "first_byte", "answer"].map(seconds).iter().sum();
    assert!((parts - seconds("duration")).abs() < 1e-5, "{line}");
    // A refused request can be found by what its client was shown.
    assert_eq!(lines[1]["id"], json!(id), "{}", lines[1]);
    assert_eq!((&lines[1]["route"], &lines[1]["upstream"]), (&Value::Null, &Value::Null));
    assert_eq!(lines[1]["attempts"], 0);
}

fn bytes_are_counted_as_they_go_over_the_connection(engine: Engine) {
    let place = Place::new();
    let (origin, _) = Origin::serve(|request, upstream| {
        if request.transfer == Transfer::Chunked {
            upstream.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        } else {
            upstream.answer("whole");
        }
        true
    });
    let gateway = place.logged(engine, "log", "").origin(&origin).route("path = \"/up\"").start();
    let requests = [
        "GET /up HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
        "POST /hello/x HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nignored",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /hello/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    let mut client = gateway.connect();
    for request in requests {
        client.send(request);
        let mut head = client.head();
        while head.status() < 200 {
            head = client.head();
        }
        if !request.starts_with("HEAD") {
            client.body_of(head);
        }
    }
    drop(client);
    gateway.stop();
    let lines = place.lines("log");
    assert_eq!(lines.len(), requests.len());
    for (line, request) in lines.iter().zip(requests) {
        assert_eq!(line["received"], request.len(), "{line}");
    }
    let sum = |name: &str| lines.iter().map(|line| line[name].as_u64().expect("a number")).sum::<u64>();
    let found = crate::observe::hdr_json(&place.file("metrics"));
    let of_client = |name: &str| {
        let counters = found["counters"].as_array().expect("counters").iter();
        let of_client = |counter: &&Value| counter["name"] == name && counter["labels"]["side"] == "client";
        counters.clone().filter(of_client).filter_map(|counter| counter["value"].as_u64()).sum::<u64>()
    };
    assert_eq!(sum("received"), of_client("ringway_received_bytes_total"));
    assert_eq!(sum("sent"), of_client("ringway_sent_bytes_total"));
    let bodies: Vec<u64> = lines.iter().map(|line| line["sent_body"].as_u64().expect("a number")).collect();
    assert_eq!(bodies[0], 5);
    assert_eq!(bodies[1], "5\r\nhello\r\n0\r\n\r\n".len() as u64);
    assert_eq!((bodies[3], bodies[5]), (5, 0));
}

/// What an attacker would send to forge a line or to speak to the terminal of whoever reads it.
const HOSTILE: &[u8] = b"a\"}\t{\"status\":200,\"x\":\"\\\\ \\n \xc2\x9b31m \xe2\x80\xae \x80\xff\xc3\x28 end";

fn send_hostile(config: &Config) {
    let gateway = config.start();
    let mut client = gateway.connect();
    client.send(b"GET /hello/\"x?\\n\x22 HTTP/1.1\r\nHost: a\r\nUser-Agent: ");
    client.send(HOSTILE).send("\r\nReferer: ").send(HOSTILE).send("\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    drop(client);
    gateway.stop();
}

fn hostile_bytes_stay_inside_their_member(engine: Engine) {
    let place = Place::new();
    send_hostile(&place.logged(engine, "log", ""));
    let lines = place.lines("log");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["user_agent"], json!(String::from_utf8_lossy(HOSTILE)));
    assert_eq!(lines[0]["referer"], json!(String::from_utf8_lossy(HOSTILE)));
    assert_eq!(lines[0]["path"], json!("/hello/\"x?\\n\""));
    let text = place.text("log");
    assert!(!text.contains(['\t', '\u{9b}', '\u{202e}', '\u{1b}']), "{text}");
}

fn the_combined_format_survives_them_too(engine: Engine) {
    let place = Place::new();
    send_hostile(&place.logged(engine, "log", "format = \"combined\""));
    let text = place.text("log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{text}");
    // Six quotes are the line's own.
    assert_eq!(text.matches('"').count(), 6, "{text}");
    let (start, rest) = text.split_once(" - - [").expect("the form");
    assert_eq!(start, "127.0.0.1");
    let rest = rest.split_once("] \"GET /hello/").expect("a time and a request").1;
    assert!(rest.starts_with("\\x22x?\\x5Cn\\x22 HTTP/1.1\" 200 5 \"a\\x22}\\x09{\\x22status"), "{rest}");
    assert!(rest.contains("\\xC2\\x9B31m"), "{rest}");
}

fn long_texts_are_cut_off_and_the_line_says_so(engine: Engine) {
    let place = Place::new();
    let gateway = place.logged(engine, "log", "field = \"16B\"").start();
    let mut client = gateway.connect();
    client.send(format!("GET /hello/{} HTTP/1.1\r\nHost: a\r\nUser-Agent: short\r\n\r\n", "x".repeat(4000)));
    assert_eq!(client.response().status(), 200);
    drop(client);
    gateway.stop();
    let lines = place.lines("log");
    assert_eq!(lines[0]["path"], "/hello/xxxxxxxxx");
    assert_eq!((&lines[0]["user_agent"], &lines[0]["cut"]), (&json!("short"), &json!(["path"])));
}

fn routes_and_listeners_can_be_left_out(engine: Engine) {
    let place = Place::new();
    let gateway = place
        .logged(engine, "log", "")
        .more(
            "[listener.quiet]\naddress = \"127.0.0.1:0\"\naccess_log = false\n\
             [[route]]\nname = \"health\"\npath = \"/health\"\nservice = \"hello\"\naccess_log = false\n",
        )
        .start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/health").status(), 200);
    let mut quiet = crate::support::Client::connect(gateway.addresses[1]);
    assert_eq!((quiet.get("/hello/x").status(), quiet.get("/none").status()), (200, 404));
    assert_eq!(client.get("/hello/told").status(), 200);
    drop((client, quiet));
    gateway.stop();
    let lines = place.lines("log");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["path"], "/hello/told");
}

fn an_upgraded_connection_has_its_line_when_it_ends(engine: Engine) {
    let place = Place::new();
    let origin = Origin::listen();
    let gateway = place.logged(engine, "log", "").origin(&origin).start();
    let mut client = gateway.connect();
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
    client.send(request);
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nhello");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.take(5), b"hello");
    client.send("abc");
    assert_eq!(upstream.take(3), b"abc");
    assert_eq!(place.text("log"), "");
    client.finish();
    upstream.finish();
    client.expect_end();
    gateway.stop();
    let lines = place.lines("log");
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["status"], &lines[0]["sent_body"]), (&json!(101), &json!(5)), "{}", lines[0]);
    assert_eq!(lines[0]["received"], request.len() + 3);
}
