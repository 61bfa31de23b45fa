//! By when a request must have its answer, where its client says so and is believed; and how upstreams are told.

use ringway_proto::http1::values;
use ringway_runtime::clock::Instant;

use super::client::Client;
use super::exchange::Exchange;
use crate::plan::{Action, Deadline, DeadlineTrust, Listener, Route};

/// What a route says of deadlines, or else the listener that the request came in at.
pub(super) fn of<'p>(listener: &'p Listener, route: &'p Route) -> Option<&'p Deadline> {
    let of_listener = || listener.deadline.as_deref().filter(|_| matches!(route.action, Action::Proxy(_)));
    route.deadline.as_deref().or_else(of_listener)
}

/// The sooner of the total time of a request and what its client says. Of several fields the soonest counts; one that is
/// malformed says nothing, as upstreams never see it.
pub(super) fn bound(client: &Client, exchange: &mut Exchange, deadline: &Deadline, total: Instant) -> Instant {
    let is_believed = match deadline.trust {
        DeadlineTrust::Proxies => client.listener().trusts(client.peer.ip()),
        DeadlineTrust::Anyone => true,
        DeadlineTrust::Nobody => false,
    };
    if !is_believed {
        return total;
    }
    let (wall, bytes) = (client.state.engine.wall(), exchange.head_bytes());
    let mut left = None;
    for field in &exchange.head.fields {
        if !field.name.of(bytes).eq_ignore_ascii_case(deadline.field.name.as_bytes()) {
            continue;
        }
        match deadline.field.format.read(values::trim(field.value.of(bytes)), wall) {
            Some(said) => left = Some(left.map_or(said, |before| said.min(before))),
            None => client.state.metrics.deadline_malformed(),
        }
    }
    let Some(left) = left else { return total };
    let bounded = client.now() + deadline.max.map_or(left, |max| left.min(max));
    exchange.has_deadline = bounded < total;
    bounded.min(total)
}

/// Has the next head for an upstream say how much time is left, in place of what came.
pub(crate) fn tell(client: &Client, exchange: &mut Exchange, until: Instant) {
    let plan = &client.running.plan;
    let route = exchange.route.and_then(|id| plan.route(id));
    let Some(deadline) = route.and_then(|route| of(client.listener(), route)) else { return };
    let (left, wall) = (until.since(client.now()), client.state.engine.wall());
    let edits = &mut exchange.edits;
    // What an earlier try was told goes with what came.
    edits.next_policy();
    edits.remove(deadline.field.name.as_bytes());
    for field in &deadline.send {
        edits.set(field.name.as_bytes(), |out| field.format.write(left, wall, out));
    }
}
