//! What is otherwise for calls of gRPC and gRPC-Web: how the gateway refuses them, by when they end, and what servers are
//! told of earlier tries.

use ringway_proto::grpc::{Code, FrameError, Wire, content_type, message, timeout};
use ringway_proto::http1::{Known, Method, encode as http1, values};
use ringway_runtime::clock::Instant;

use super::After;
use super::client::Client;
use super::exchange::Exchange;
use super::reply::{Reply, reply};
use crate::observe::Reason;
use crate::plan::{Action, Deadline, Listener, Route};

const TIMEOUT: &[u8] = b"grpc-timeout";
const ATTEMPTS: &[u8] = b"grpc-previous-rpc-attempts";

/// Whether a request is a call, and how it goes over the wire. It costs other requests a look at their method.
#[inline]
pub(super) fn wire(exchange: &Exchange) -> Option<Wire> {
    if exchange.head.method != Method::Post {
        return None;
    }
    let kind = exchange.head.fields.iter().find(|field| field.known == Known::ContentType)?;
    content_type(kind.value.of(exchange.head_bytes())).map(|(wire, _)| wire)
}

/// What a refusal comes to for a client of gRPC: by its status of HTTP, unless there is a better word for it.
pub(crate) fn code(reason: Reason, status: u16) -> Code {
    match reason {
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::BodyTooLarge | Reason::Grpc(FrameError::MessageTooLarge) => Code::ResourceExhausted,
        _ => Code::of_http(status),
    }
}

/// Refuses a call with an answer that is a head alone. Clients of gRPC-Web take it as those of gRPC do.
#[cold]
pub(super) fn refuse(client: &mut Client, exchange: &mut Exchange, wire: Wire, reason: Reason, status: u16) -> After {
    let code = code(reason, status);
    let mut text = std::mem::take(&mut exchange.scratch);
    text.clear();
    why(reason, exchange.id, &mut text);
    exchange.answer.set(b"grpc-status", |out| code.write(out));
    exchange.answer.set(b"grpc-message", |out| message::write(&text, out));
    exchange.scratch = text;
    answered(client, code);
    let content_type = Some(wire.content_type());
    reply(client, exchange, &Reply { content_type, ..Reply::status(200) })
}

/// Appends why the gateway ends a call: what problem details would say.
pub(crate) fn why(reason: Reason, id: u64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = std::io::Write::write_fmt(out, format_args!("{reason} ({}, {id:016x})", reason.code()));
}

/// Counts what the gateway says of a call.
pub(crate) fn answered(client: &Client, code: Code) {
    let mut number = Vec::with_capacity(2);
    code.write(&mut number);
    client.state.metrics.grpc_answered(&number);
}

/// The sooner of what a request has already and what its `grpc-timeout` gives. Several count as the soonest; one that is
/// malformed is for the server to complain of.
pub(super) fn bound(
    client: &Client,
    exchange: &mut Exchange,
    listener: &Listener,
    route: &Route,
    total: Instant,
) -> Instant {
    let grpc = &route.grpc;
    // Where the config has its own word on the field, that is all that counts.
    let own = super::deadline::of(listener, route);
    if !grpc.ends_in_time || !matches!(route.action, Action::Proxy(_)) || own.is_some_and(is_told) {
        return total;
    }
    let bytes = exchange.head_bytes();
    let mut left = None;
    for field in exchange.head.fields.iter().filter(|field| field.name.of(bytes).eq_ignore_ascii_case(TIMEOUT)) {
        match timeout::read(values::trim(field.value.of(bytes))) {
            Some(said) => left = Some(left.map_or(said, |before| said.min(before))),
            None => client.state.metrics.deadline_malformed(),
        }
    }
    let Some(left) = left else { return total };
    let bounded = client.now() + grpc.max_timeout.map_or(left, |max| left.min(max));
    exchange.has_deadline |= bounded < total;
    exchange.tells_timeout = true;
    bounded.min(total)
}

/// Whether `deadline` of a route or listener is about `grpc-timeout`.
fn is_told(deadline: &Deadline) -> bool {
    let mut fields = deadline.send.iter().chain([&deadline.field]);
    fields.any(|field| field.name.as_bytes() == TIMEOUT)
}

/// Has the next head for a server say how much time is left, and how many tries were before this one.
#[cold]
pub(crate) fn tell(client: &Client, exchange: &mut Exchange, until: Instant, tries_before: u32) {
    if !exchange.tells_timeout && tries_before == 0 {
        return;
    }
    // The client may have tried before, too.
    let by_client = exchange.fields().all("grpc-previous-rpc-attempts").find_map(|value| {
        let is_number = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(value).ok().filter(|_| is_number)?.parse::<u32>().ok()
    });
    let left = until.since(client.now());
    let edits = &mut exchange.edits;
    // What an earlier try was told goes with what came.
    edits.next_policy();
    if exchange.tells_timeout {
        edits.set(TIMEOUT, |out| timeout::write(left, out));
    }
    if tries_before > 0 {
        let before = u64::from(by_client.unwrap_or(0)) + u64::from(tries_before);
        edits.set(ATTEMPTS, |out| http1::decimal(out, before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_code() {
        for (reason, expected) in [
            (Reason::NoRoute, Code::Unimplemented),
            (Reason::UpstreamConnectFailed, Code::Unavailable),
            (Reason::UpstreamTimeoutTotal, Code::Unavailable),
            (Reason::Overloaded, Code::Unavailable),
            (Reason::DeadlineExceeded, Code::DeadlineExceeded),
            (Reason::BodyTooLarge, Code::ResourceExhausted),
            (Reason::Internal, Code::Unknown),
        ] {
            assert_eq!(code(reason, reason.status()), expected, "{}", reason.code());
        }
        // What a policy makes of it counts.
        assert_eq!(code(Reason::FaultInjected, 403), Code::PermissionDenied);
    }
}
