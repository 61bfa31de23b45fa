//! What the metrics and the access log say of WebSocket connections.

use serde_json::{Value, json};

use super::{BINARY, CLOSE, FIN, PING, TEXT, c, code, open, s};
use crate::observe::{hdr_json, total};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(a_connection_is_told_of,);

pub(super) fn counter(found: &Value, name: &str, labels: &Value) -> u64 {
    let counters = found["counters"].as_array().unwrap();
    let of = |counter: &&Value| {
        let wanted = labels.as_object().unwrap();
        counter["name"] == name && wanted.iter().all(|(label, value)| counter["labels"][label] == *value)
    };
    counters.iter().filter(of).filter_map(|counter| counter["value"].as_u64()).sum()
}

fn a_connection_is_told_of(engine: Engine) {
    let origin = Origin::listen();
    let dir = tempfile::tempdir().unwrap();
    let (metrics, log) = (dir.path().join("metrics"), dir.path().join("log"));
    let gateway = Config::new(engine)
        .origin(&origin)
        .cores(&format!("metrics_dir = \"{}\"", metrics.display()))
        .more(&format!("[access_log]\nto = \"{}\"\n", log.display()))
        .start();
    let mut first = open(&gateway, &origin);
    first.up([c(FIN | TEXT, "one"), c(BINARY, "tw"), c(FIN | PING, ""), c(FIN, "o")].concat());
    first.down(s(FIN | TEXT, "three"));
    first.up(c(FIN | CLOSE, code(4001)));
    first.down(s(FIN | CLOSE, code(4001)));
    first.upstream.finish();
    first.client.expect_end();
    drop(first);
    let mut second = open(&gateway, &origin);
    second.client.send(c(FIN | TEXT, b"\xff"));
    second.expect_closed(1007, 1001);
    let mut third = open(&gateway, &origin);
    third.upstream.finish();
    third.client.expect_end();
    drop(third);
    gateway.stop();
    let found = hdr_json(&metrics);
    assert_eq!(total(&found, "ringway_websocket_connections_total"), 3);
    for (name, labels, value) in [
        ("ringway_websocket_messages_total", json!({"side": "client", "kind": "text"}), 1),
        ("ringway_websocket_messages_total", json!({"side": "client", "kind": "binary"}), 1),
        ("ringway_websocket_messages_total", json!({"side": "upstream", "kind": "text"}), 1),
        ("ringway_websocket_control_frames_total", json!({"side": "client", "kind": "ping"}), 1),
        ("ringway_websocket_control_frames_total", json!({"side": "client", "kind": "close"}), 1),
        ("ringway_websocket_control_frames_total", json!({"side": "gateway", "kind": "close"}), 2),
        ("ringway_websocket_errors_total", json!({"side": "client", "error": "invalid_utf8"}), 1),
        ("ringway_websocket_errors_total", json!({}), 1),
        ("ringway_websocket_closes_total", json!({"by": "client", "code": "4xxx"}), 1),
        ("ringway_websocket_closes_total", json!({"by": "gateway", "code": "1007"}), 1),
        ("ringway_websocket_closes_total", json!({"by": "upstream", "code": "abnormal"}), 1),
        ("ringway_websocket_closes_total", json!({}), 3),
    ] {
        assert_eq!(counter(&found, name, &labels), value, "{name} {labels}");
    }
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<&Value> = lines.iter().map(|line| &line["websocket"]).collect();
    assert_eq!(ends[0], &json!({"close": 4001, "by": "client", "received": 2, "sent": 1}));
    assert_eq!(ends[1], &json!({"close": 1007, "by": "gateway", "received": 0, "sent": 0}));
    assert_eq!(ends[2], &json!({"close": 1006, "by": "upstream", "received": 0, "sent": 0}));
    assert_eq!((&lines[1]["reason"], &lines[1]["status"]), (&json!("websocket_client_error"), &json!(101)));
}
