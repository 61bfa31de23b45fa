//! Answers of the gateway's own: fixed responses, redirects, and problems (RFC 9457).

use std::io::Write;

use ringway_proto::http1::{EventKind, Method, RequestHead, Version, encode as http1};

use super::After;
use super::client::Client;
use super::encode::{self, Edits, begin_own};
use super::exchange::Exchange;
use crate::observe::Reason;
use crate::plan::MethodSet;
use crate::policy::Fate;

/// A whole response.
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: Option<&'a [u8]>,
    /// Further fields.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// The body; left out for HEAD, 204 and 304.
    pub body: &'a [u8],
}

/// Writes a whole response and says whether the connection goes on.
pub fn reply(client: &mut Client, exchange: &mut Exchange, reply: &Reply<'_>) -> After {
    let close = !body_is_behind(client, exchange) || encode::must_close(client, exchange);
    exchange.ledger.status = reply.status;
    let (state, running) = (client.state.clone(), client.running.clone());
    client.stream.with_outbox(|outbox| {
        outbox.write(|out| {
            let before = out.len();
            http1::status_line(out, Version::Http11, reply.status, None);
            let edits = exchange.route.and_then(|id| running.plan.route(id)).and_then(Edits::response);
            if begin_own(out, edits.as_ref(), b"date: ") {
                state.write_date(out);
                out.extend_from_slice(http1::CRLF);
            }
            let content_type = reply.content_type.map(|value| (&b"content-type"[..], value));
            for (name, value) in content_type.iter().chain(reply.fields) {
                match edits.as_ref().map_or(Fate::Keep, |edits| edits.fate(name)) {
                    Fate::Keep => http1::field(out, name, value),
                    Fate::Drop => {}
                    Fate::Rename(to) => http1::field(out, to.as_bytes(), value),
                }
            }
            if reply.status != 204 && reply.status != 304 {
                out.extend_from_slice(b"content-length: ");
                http1::decimal(out, reply.body.len() as u64);
                out.extend_from_slice(http1::CRLF);
            }
            if let Some(edits) = &edits {
                edits.append(out, exchange);
            }
            encode::connection(out, exchange.head.version, close);
            out.extend_from_slice(http1::CRLF);
            if exchange.head.method != Method::Head && reply.status != 204 && reply.status != 304 {
                out.extend_from_slice(reply.body);
            }
            state.metrics.client_sent((out.len() - before) as u64);
        });
    });
    client.stream.flush();
    if close { After::Close } else { After::KeepAlive }
}

/// Refuses a request: problem details with the reason's stable code and the correlation id, and nothing internal.
pub(crate) fn refuse(client: &mut Client, exchange: &mut Exchange, reason: Reason) -> After {
    refuse_with(client, exchange, reason, None)
}

/// The same, with the methods that would do.
pub(super) fn refuse_with(
    client: &mut Client,
    exchange: &mut Exchange,
    reason: Reason,
    allow: Option<MethodSet>,
) -> After {
    client.state.metrics.refused(reason);
    let mut body = Vec::with_capacity(256);
    let (status, code, id) = (reason.status(), reason.code(), exchange.id);
    let title = http1::reason_phrase(status);
    // Writing to a Vec cannot fail; the texts are our own and need no escapes.
    let _ = writeln!(
        body,
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\
         \"detail\":\"{reason}\",\"correlation_id\":\"{id:016x}\"}}"
    );
    let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
    let mut methods = Vec::new();
    if let Some(allow) = allow {
        for (at, method) in client.running.plan.router.methods(allow).enumerate() {
            methods.extend_from_slice(if at == 0 { b"" } else { b", " });
            methods.extend_from_slice(method.as_bytes());
        }
        fields.push((b"allow", &methods));
    }
    if status == 503 {
        fields.push((b"retry-after", b"1"));
    }
    // Nothing that follows a request that could not be read can be trusted to be one.
    if matches!(reason, Reason::Request(_) | Reason::HeadTimeout) {
        exchange.head = RequestHead { fields: std::mem::take(&mut exchange.head.fields), ..RequestHead::default() };
    } else if matches!(reason, Reason::Body(_) | Reason::BodyTooLarge | Reason::ConnectNotSupported) {
        exchange.head.keep_alive = false;
    }
    let content_type = Some(&b"application/problem+json"[..]);
    reply(client, exchange, &Reply { status, content_type, fields: &fields, body: &body })
}

/// Deals with what is there of the request body. True when it was all of it.
fn body_is_behind(client: &mut Client, exchange: &mut Exchange) -> bool {
    if !exchange.head.keep_alive {
        // The connection ends anyway.
        return exchange.body.is_done();
    }
    let limits = client.listener().limits.of_requests();
    loop {
        if exchange.body.is_done() {
            return true;
        }
        match exchange.body.decode(client.input.bytes(), &limits) {
            Ok(event) => {
                client.input.consume(event.consumed);
                if event.kind == EventKind::NeedMore {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
