//! Tell: the access log's record of a request, and what an operator should hear of at once. The core only fills a record;
//! the log thread writes.

use ringway_proto::http1::Version;
use ringway_runtime::clock::Instant;

use super::client::Client;
use super::exchange::Exchange;
use crate::observe::records::{Access, Cut, Event, EventKind, Spans, Texts, Who};
use crate::observe::{Cause, Reason};
use crate::plan::AccessLog;

/// Tells of a request that is done, where the plan wants to hear of it.
pub(super) fn done(client: &Client, exchange: &Exchange, status: u16, now: Instant) {
    let plan = &client.running.plan;
    if let Some(log) = &plan.access_log {
        let route = exchange.route.and_then(|id| plan.route(id));
        if client.listener().access_log && route.is_none_or(|route| route.access_log) {
            access(client, exchange, log, status, now);
        }
    }
    if let Some(slow) = plan.log.slow_request
        && now.since(exchange.ledger.received) >= slow
        && status != 101
    {
        let duration = now.nanos_since(exchange.ledger.received);
        let code = exchange.reason.map_or("", Reason::code);
        tell(
            client,
            exchange,
            &Event { amount: duration, code: code.as_bytes(), ..event(client, EventKind::SlowRequest) },
        );
    }
}

/// Tells that the endpoint which was asked last failed.
#[cold]
pub(crate) fn upstream_failed(client: &Client, exchange: &Exchange, reason: Reason, detail: &str) {
    let code = if detail.is_empty() { reason.code() } else { detail };
    tell(client, exchange, &Event { code: code.as_bytes(), ..event(client, EventKind::UpstreamFailed) });
}

/// Tells that the request is shed.
#[cold]
pub(super) fn shed(client: &Client, exchange: &Exchange, cause: Cause) {
    tell(client, exchange, &Event { code: cause.name().as_bytes(), ..event(client, EventKind::Shed) });
}

/// Tells that a connection does not begin with the PROXY header that it has to begin with.
#[cold]
pub(super) fn proxy_header_refused(client: &Client, code: &str) {
    let (listener, peer) = (client.listener().name.as_bytes(), client.peer.peer().to_string());
    let event = event(client, EventKind::ProxyHeaderRefused);
    let event = Event { listener, peer: peer.as_bytes(), code: code.as_bytes(), ..event };
    client.state.records.event(&event, client.now());
}

fn event(client: &Client, kind: EventKind) -> Event<'static> {
    Event::new(kind, client.state.engine.wall().as_nanos())
}

/// Tells of something that happened to the request.
fn tell(client: &Client, exchange: &Exchange, event: &Event<'_>) {
    let names = Names::of(client, exchange);
    let Names { route, upstream, endpoint } = names;
    let event = Event { id: Some(exchange.id), route, upstream, endpoint, ..*event };
    client.state.records.event(&event, client.now());
}

/// What the config calls what the request met.
struct Names<'a> {
    route: &'a [u8],
    upstream: &'a [u8],
    endpoint: &'a [u8],
}

impl<'a> Names<'a> {
    fn of(client: &'a Client, exchange: &Exchange) -> Self {
        let plan = &client.running.plan;
        let route = exchange.route.and_then(|id| plan.route(id)).map_or(&b""[..], |route| route.name.as_bytes());
        let asked = exchange.asked.and_then(|(id, endpoint)| Some((plan.upstream(id)?, endpoint)));
        let Some((upstream, endpoint)) = asked else { return Self { route, upstream: b"", endpoint: b"" } };
        let endpoint = upstream.endpoints.get(endpoint).map_or(&b""[..], |endpoint| endpoint.name.as_bytes());
        Self { route, upstream: upstream.name.as_bytes(), endpoint }
    }
}

fn access(client: &Client, exchange: &Exchange, log: &AccessLog, status: u16, now: Instant) {
    let took = spans(exchange, now);
    let bytes = exchange.head_bytes();
    let head = &exchange.head;
    // Where there is no head, what is in its place is of a request before.
    let has_head = !bytes.is_empty();
    let (mut user_agent, mut referer) = (&b""[..], &b""[..]);
    for field in head.fields.iter().filter(|_| has_head) {
        let name = field.name.of(bytes);
        if name.eq_ignore_ascii_case(b"user-agent") {
            user_agent = field.value.of(bytes);
        } else if name.eq_ignore_ascii_case(b"referer") {
            referer = field.value.of(bytes);
        }
    }
    let Names { route, upstream, endpoint } = Names::of(client, exchange);
    let traffic = &exchange.traffic;
    let is_told = client.state.records.access(
        &Access {
            at_unix_ns: client.state.engine.wall().as_nanos().saturating_sub(took.total),
            id: exchange.id,
            client: exchange.client_ip.map_or_else(|| Who::of(client.peer.remote()), Who::Ip),
            peer: client.told().map(|told| Who::of(told.by)),
            status,
            version: match head.version {
                _ if client.is_carried() => Some(2),
                _ if !has_head => None,
                Version::Http10 => Some(0),
                Version::Http11 => Some(1),
            },
            attempts: exchange.attempts,
            received: traffic.received,
            sent: traffic.sent,
            sent_body: traffic.sent.saturating_sub(traffic.heads),
            websocket: exchange.websocket,
            took,
            texts: Texts {
                listener: client.listener().name.as_bytes(),
                route,
                reason: exchange.reason.map_or("", Reason::code).as_bytes(),
                upstream,
                endpoint,
                method: head.method_span.of(bytes),
                host: head.host.of(bytes),
                path: head.target.whole.of(bytes),
                user_agent,
                referer,
            },
            cut: Cut::default(),
        },
        log.field as usize,
    );
    client.state.metrics.access_recorded(is_told);
}

fn spans(exchange: &Exchange, now: Instant) -> Spans {
    let ledger = &exchange.ledger;
    let span = |from: Instant, to: Instant| {
        (from != Instant::default() && to != Instant::default()).then(|| to.nanos_since(from))
    };
    Spans {
        total: now.nanos_since(ledger.received),
        head: span(ledger.received, ledger.parsed),
        admit: span(ledger.parsed, ledger.admitted),
        connect: span(ledger.admitted, ledger.sent),
        first_byte: span(ledger.sent, ledger.first_byte),
        answer: span(ledger.first_byte, now),
    }
}
