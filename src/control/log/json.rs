//! A line of the access log as JSON. Times are seconds, as everywhere; what a request does not have is null.

use std::io::Write;

use super::escape;
use crate::observe::WebsocketEnd;
use crate::observe::records::{Access, Spans, Texts, version_name};
use crate::observe::stamp;

/// Appends the line.
pub(super) fn write(out: &mut Vec<u8>, core: usize, access: &Access<'_>) {
    let Access { at_unix_ns, id, client, peer, status, version, attempts, received, sent, sent_body, .. } = access;
    let Access { websocket, took, texts, cut, .. } = access;
    out.extend_from_slice(b"{\"time\":\"");
    stamp::rfc3339(out, *at_unix_ns);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\",\"id\":\"{id:016x}\",\"core\":{core}");
    let Texts { listener, route, reason, upstream, endpoint, method, host, path, user_agent, referer } = *texts;
    text(out, "listener", listener);
    text(out, "route", route);
    let _ = write!(out, ",\"client\":\"{client}\"");
    let _ = match peer {
        None => write!(out, ",\"peer\":null"),
        Some(peer) => write!(out, ",\"peer\":\"{peer}\""),
    };
    text(out, "method", method);
    text(out, "host", host);
    text(out, "path", path);
    text(out, "version", version.map_or(&b""[..], |version| version_name(version).as_bytes()));
    let _ = write!(out, ",\"status\":{status}");
    text(out, "reason", reason);
    let _ = write!(out, ",\"received\":{received},\"sent\":{sent},\"sent_body\":{sent_body}");
    if let Some(WebsocketEnd { by, code, received, sent }) = websocket {
        let by = by.name();
        let _ =
            write!(out, ",\"websocket\":{{\"close\":{code},\"by\":\"{by}\",\"received\":{received},\"sent\":{sent}}}");
    }
    let Spans { total, head, admit, connect, first_byte, answer } = *took;
    span(out, "duration", Some(total));
    span(out, "head", head);
    span(out, "admit", admit);
    span(out, "connect", connect);
    span(out, "first_byte", first_byte);
    span(out, "answer", answer);
    text(out, "upstream", upstream);
    text(out, "endpoint", endpoint);
    let _ = write!(out, ",\"attempts\":{attempts}");
    text(out, "user_agent", user_agent);
    text(out, "referer", referer);
    for (at, name) in cut.names().enumerate() {
        let _ = write!(out, "{}\"{name}\"", if at == 0 { ",\"cut\":[" } else { "," });
    }
    if cut.names().next().is_some() {
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    name(out, key);
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        escape::json(out, text);
    }
}

fn span(out: &mut Vec<u8>, key: &str, nanos: Option<u64>) {
    name(out, key);
    match nanos {
        None => out.extend_from_slice(b"null"),
        Some(nanos) => {
            let _ = write!(out, "{}.", nanos / 1_000_000_000);
            stamp::micros(out, nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::records::tests::{request, texts};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        /// A parser that knows nothing of us finds what was put in, on one line.
        #[test]
        fn a_line_is_an_object_with_all_that_was_put_in((access, all) in request(), core in 0usize..100) {
            let access = Access { texts: texts(&all), ..access };
            let mut out = Vec::new();
            write(&mut out, core, &access);
            prop_assert_eq!(out.iter().position(|&byte| byte == b'\n'), Some(out.len() - 1));
            let line: Value = serde_json::from_slice(&out).unwrap();
            let text = |bytes: &[u8]| {
                if bytes.is_empty() { Value::Null } else { json!(String::from_utf8_lossy(bytes)) }
            };
            for (name, bytes) in [
                ("listener", access.texts.listener),
                ("route", access.texts.route),
                ("reason", access.texts.reason),
                ("upstream", access.texts.upstream),
                ("endpoint", access.texts.endpoint),
                ("method", access.texts.method),
                ("host", access.texts.host),
                ("path", access.texts.path),
                ("user_agent", access.texts.user_agent),
                ("referer", access.texts.referer),
            ] {
                prop_assert_eq!(&line[name], &text(bytes), "{}", name);
            }
            let websocket = access.websocket.map(|end| {
                json!({ "close": end.code, "by": end.by.name(), "received": end.received, "sent": end.sent })
            });
            prop_assert_eq!(line.get("websocket"), websocket.as_ref());
            prop_assert_eq!(&line["id"], &json!(format!("{:016x}", access.id)));
            prop_assert_eq!(&line["core"], &json!(core));
            prop_assert_eq!(&line["client"], &json!(access.client.to_string()));
            prop_assert_eq!(&line["peer"], &json!(access.peer.map(|peer| peer.to_string())));
            prop_assert_eq!(&line["status"], &json!(access.status));
            prop_assert_eq!(&line["attempts"], &json!(access.attempts));
            for (name, count) in [("received", access.received), ("sent", access.sent), ("sent_body", access.sent_body)] {
                prop_assert_eq!(&line[name], &json!(count));
            }
            let Spans { total, head, admit, connect, first_byte, answer } = access.took;
            for (name, nanos) in [
                ("duration", Some(total)), ("head", head), ("admit", admit), ("connect", connect),
                ("first_byte", first_byte), ("answer", answer),
            ] {
                match nanos {
                    None => prop_assert_eq!(&line[name], &Value::Null),
                    Some(nanos) => {
                        let seconds = line[name].as_f64().unwrap();
                        let exact = nanos as f64 / 1e9;
                        prop_assert!((seconds - exact).abs() <= 1e-6 + exact * 1e-12, "{}: {} for {}", name, seconds, exact);
                    }
                }
            }
            let cut: Vec<&str> = access.cut.names().collect();
            prop_assert_eq!(&line["cut"], &if cut.is_empty() { Value::Null } else { json!(cut) });
        }
    }
}
