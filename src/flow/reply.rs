//! Answers of the gateway's own: fixed responses, redirects, and problems (RFC 9457).

use std::io::Write;

use ringway_proto::http1::{EventKind, Method, RequestHead, Version, encode as http1};

use super::client::Client;
use super::edits::Fate;
use super::encode::{self, begin_own};
use super::exchange::Exchange;
use super::{After, chain, rpc, timing};
use crate::observe::Reason;
use crate::plan::Respond;

/// A whole response. What differs from request to request is among the edits of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: Option<&'a str>,
    /// Further fields.
    pub fields: &'a [(Box<str>, Box<str>)],
    /// The body; left out for HEAD, 204 and 304.
    pub body: &'a [u8],
}

impl Reply<'static> {
    /// A response that is its status and what is among the edits of the answer.
    pub fn status(status: u16) -> Self {
        Self { status, content_type: None, fields: &[], body: b"" }
    }
}

impl<'a> From<&'a Respond> for Reply<'a> {
    fn from(respond: &'a Respond) -> Self {
        let Respond { status, content_type, headers, body } = respond;
        Self { status: *status, content_type: content_type.as_deref(), fields: headers, body }
    }
}

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    status: u16,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, status: reason.status() }
    }
}

impl Refusal {
    /// With another status than the reason's own.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// Writes a whole response, as the policies that the request met would have it, and says whether the connection goes on.
pub fn reply(client: &mut Client, exchange: &mut Exchange, reply: &Reply<'_>) -> After {
    let close = !body_is_behind(client, exchange) || encode::must_close(client, exchange);
    exchange.ledger.status = reply.status;
    chain::way_out(client, exchange);
    let state = client.state.clone();
    client.stream.with_outbox(|outbox| {
        outbox.write(|out| {
            let before = out.len();
            let edits = &exchange.answer;
            http1::status_line(out, Version::Http11, reply.status, None);
            if begin_own(out, edits, b"date: ") {
                state.write_date(out);
                out.extend_from_slice(http1::CRLF);
            }
            let mut field = |name: &[u8], value: &[u8]| match edits.fate(name) {
                Fate::Keep => http1::field(out, name, value),
                Fate::Drop => {}
                Fate::Rename(to) => http1::field(out, to, value),
            };
            if let Some(content_type) = reply.content_type {
                field(b"content-type", content_type.as_bytes());
            }
            for (name, value) in reply.fields {
                field(name.as_bytes(), value.as_bytes());
            }
            if reply.status != 204 && reply.status != 304 {
                out.extend_from_slice(b"content-length: ");
                http1::decimal(out, reply.body.len() as u64);
                out.extend_from_slice(http1::CRLF);
            }
            timing::write(out, client, exchange);
            edits.append(out);
            encode::connection(out, exchange.head.version, close);
            out.extend_from_slice(http1::CRLF);
            exchange.traffic.heads += (out.len() - before) as u64;
            if exchange.head.method != Method::Head && reply.status != 204 && reply.status != 304 {
                out.extend_from_slice(reply.body);
            }
            exchange.traffic.sent += (out.len() - before) as u64;
            state.metrics.client_sent((out.len() - before) as u64);
        });
    });
    client.stream.flush();
    if close { After::Close } else { After::KeepAlive }
}

/// Refuses a request: problem details with the reason's stable code and the correlation id, and nothing internal. A call of
/// gRPC has them in its status.
pub(crate) fn refuse(client: &mut Client, exchange: &mut Exchange, refusal: impl Into<Refusal>) -> After {
    let Refusal { reason, status } = refusal.into();
    client.state.metrics.refused(reason);
    exchange.reason = Some(reason);
    if status == 503 {
        let seconds = exchange.retry_after.max(1);
        exchange.answer.set(b"retry-after", |out| http1::decimal(out, seconds));
    }
    // Nothing that follows a request that could not be read can be trusted to be one.
    if matches!(reason, Reason::Request(_) | Reason::HeadTimeout) {
        exchange.head = RequestHead { fields: std::mem::take(&mut exchange.head.fields), ..RequestHead::default() };
    } else if matches!(reason, Reason::Body(_) | Reason::Grpc(_) | Reason::BodyTooLarge | Reason::ConnectNotSupported) {
        exchange.head.keep_alive = false;
    }
    if let Some(wire) = exchange.rpc {
        return rpc::refuse(client, exchange, wire, reason, status);
    }
    let mut body = std::mem::take(&mut exchange.scratch);
    body.clear();
    let (code, id) = (reason.code(), exchange.id);
    let title = http1::reason_phrase(status);
    // Writing to a Vec cannot fail; the texts are our own and need no escapes.
    let _ = writeln!(
        body,
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\
         \"detail\":\"{reason}\",\"correlation_id\":\"{id:016x}\"}}"
    );
    let content_type = Some("application/problem+json");
    let after = reply(client, exchange, &Reply { status, content_type, fields: &[], body: &body });
    exchange.scratch = body;
    after
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
                exchange.traffic.received += event.consumed as u64;
                if event.kind == EventKind::NeedMore {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
