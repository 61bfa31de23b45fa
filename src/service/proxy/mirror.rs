//! Copies of requests for another upstream. The client's request never waits for one, and nobody gets its answer.

use ringway_proto::http1::{Framing, Method};
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Timer};

use super::discard::{Bounds, Rest, read_to_end};
use super::hedge::{Late, late_head};
use super::preamble::preamble;
use super::relay::stream_buffer;
use crate::flow::{Client, Exchange, encode};
use crate::observe::{Mirrored, UpstreamFailure};
use crate::plan::{Headers, MIRROR_MARK, Mirror, Priority};
use crate::upstream::{Asked, CopyPlace, Outcome};

/// A copy that is made while its request goes out.
pub(super) struct Copy {
    place: CopyPlace,
    /// The body, as it is sent, and the most that there may be of it.
    body: Vec<u8>,
    most: usize,
    is_too_large: bool,
    /// All of the request went out.
    pub(super) is_whole: bool,
}

/// The plan's word on the route of a request.
fn planned<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Mirror> {
    client.running.plan.route(exchange.route?)?.mirror.as_deref()
}

/// Begins a copy, where this request is one of those that are copied and there is room for it.
#[cold]
pub(super) fn begin(client: &Client, exchange: &mut Exchange) -> Option<Box<Copy>> {
    let mirror = planned(client, exchange)?;
    if exchange.fields().any(MIRROR_MARK, &mut |_| true) {
        // A copy of a copy could go round in circles. What a stranger marks is no copy.
        if !client.listener().trusts(client.peer.ip()) {
            exchange.edits.remove(MIRROR_MARK.as_bytes());
        }
        return None;
    }
    let draw = client.state.engine.random() % 1_000_000;
    if exchange.head.upgrade || draw >= u64::from(mirror.share) {
        return None;
    }
    let pool = client.running.pools.get(mirror.upstream.0 as usize)?;
    if matches!(exchange.head.framing, Framing::Length(length) if length > u64::from(mirror.body)) {
        pool.series().mirrored(Mirrored::TooLarge);
        return None;
    }
    // Copies are the first to go where there is much to do.
    let has_room = client.state.admission.admits(Priority::Low);
    let Some(place) = has_room.then(|| CopyPlace::take(pool, mirror.max_active)).flatten() else {
        pool.series().mirrored(Mirrored::Busy);
        return None;
    };
    let most = mirror.body as usize;
    Some(Box::new(Copy { place, body: Vec::new(), most, is_too_large: false, is_whole: false }))
}

impl Copy {
    /// So many more bytes of the body go out, which `keep` appends.
    pub(super) fn add(&mut self, bytes: usize, keep: impl Fn(&mut Vec<u8>)) {
        if self.is_too_large || self.body.len() + bytes > self.most.saturating_add(super::relay::ROOM) {
            self.is_too_large = true;
            self.body = Vec::new();
        } else {
            keep(&mut self.body);
        }
    }

    /// Sends it, or says why not. Its request is answered, or about to be.
    #[cold]
    pub(super) fn send(self, client: &Client, exchange: &Exchange) {
        let series = self.place.pool().series();
        if self.is_too_large {
            return series.mirrored(Mirrored::TooLarge);
        }
        let Some(mirror) = planned(client, exchange).filter(|_| self.is_whole) else {
            return series.mirrored(Mirrored::Incomplete);
        };
        let mut head = Vec::new();
        encode::request_head(&mut head, client, exchange);
        let mut request = marked(&head, &mirror.remove);
        request.extend_from_slice(&self.body);
        let engine = &client.state.engine;
        let until = client.now() + mirror.timeout;
        let bounds = || Bounds {
            limits: client.listener().limits.of_responses(),
            metrics: client.state.metrics.clone(),
            timer: engine.timer(),
            until,
            most: stream_buffer(client),
        };
        client.state.metrics.upstream_sent(request.len() as u64);
        // It takes no place from those who wait for an answer.
        let preamble = preamble(client, self.place.pool().upstream());
        let asked = Asked { at_once: true, preamble, ..Asked::default() };
        engine.spawn(ask(engine.clone(), self.place, asked, request, exchange.head.method, bounds(), engine.timer()));
    }
}

/// The head without these fields, and with the mark.
fn marked(head: &[u8], remove: &[Box<str>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + MIRROR_MARK.len() + 7);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" {
            break;
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !remove.iter().any(|removed| name.eq_ignore_ascii_case(removed.as_bytes())) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(MIRROR_MARK.as_bytes());
    out.extend_from_slice(b": 1\r\n\r\n");
    out
}

/// Asks the mirror, and reads its answer within bounds.
async fn ask(
    engine: Engine,
    place: CopyPlace,
    asked: Asked,
    request: Vec<u8>,
    method: Method,
    bounds: Bounds,
    timer: Timer,
) {
    let pool = place.pool().clone();
    let mut fresh = false;
    loop {
        let acquired = pool.acquire(&timer, bounds.until, &asked, fresh).await;
        let Ok(connection) = acquired else { return pool.series().mirrored(Mirrored::NoConnection) };
        connection.stream().with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(&request)));
        connection.stream().flush();
        let sent: Instant = engine.now();
        let (endpoint, was_reused) = (connection.endpoint(), connection.reused);
        let kind = match late_head(&connection, method, &bounds).await {
            Late::Answered(response, input) => {
                connection.went(Outcome::Answered(response.status, engine.now().since(sent)));
                pool.series().mirrored(Mirrored::of(response.status));
                let rest = Rest::new(&response, input, response.keep_alive);
                return read_to_end(connection, rest, bounds).await;
            }
            // It went stale before the copy came.
            Late::Failed if was_reused && !fresh && method.is_idempotent() => {
                fresh = true;
                continue;
            }
            Late::Failed => UpstreamFailure::Reset,
            Late::Silent => UpstreamFailure::Timeout,
        };
        connection.went(Outcome::Failed(engine.now().since(sent)));
        pool.failed(endpoint, kind);
        return pool.series().mirrored(Mirrored::NoAnswer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_marked_and_has_what_it_may_have() {
        let head = b"GET /a:b HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nauthorization-not: y\r\nCookie: c\r\n\r\n";
        let remove = ["authorization".into(), "cookie".into()];
        let wanted = "GET /a:b HTTP/1.1\r\nHost: a\r\nauthorization-not: y\r\nx-ringway-mirror: 1\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&marked(head, &remove)), wanted);
    }
}
