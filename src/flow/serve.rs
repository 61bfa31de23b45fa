//! Serve: the policies of the listener and the route on the way in, then the service of the route.

use std::rc::Rc;

use ringway_proto::http1::Framing;
use ringway_runtime::clock::Instant;

use super::chain::{self, Ran};
use super::client::Client;
use super::exchange::Exchange;
use super::{After, deadline, early, forwarded, reply, route, rpc, tell};
use crate::core::Running;
use crate::observe::{Reason, Timeout};
use crate::plan::{Action, PolicyStep, Priority};
use crate::service;

/// Answers one request.
pub(super) async fn serve(client: &mut Client, exchange: &mut Exchange) -> After {
    exchange.rpc = rpc::wire(exchange);
    if let Err(reason) = route::normalize(exchange) {
        return reply::refuse(client, exchange, reason);
    }
    exchange.client_ip = forwarded::client_ip(client, exchange);
    exchange.secure = forwarded::is_secure(client, exchange);
    exchange.tls.clone_from(&client.tls);
    let running = Rc::clone(&client.running);
    let plan = &running.plan;
    // Before all else: an authority that wants to see that a name leads here comes to no route and meets no policy.
    if client.tls.is_none()
        && let Some(answer) = plan.http_challenges.answer(exchange.path())
    {
        let answer = reply::Reply {
            status: 200,
            content_type: Some("application/octet-stream"),
            fields: &[],
            body: answer.as_bytes(),
        };
        return reply::reply(client, exchange, &answer);
    }
    let found = route::find(client, exchange);
    let route = found.as_ref().ok().and_then(|&id| plan.route(id));
    // Before anything that a replay would change.
    if early::needs(client, exchange) {
        let may_be_early = early::may_be_early(route, &exchange.head);
        if let Some(after) = Box::pin(early::hold(client, exchange, may_be_early)).await {
            return after;
        }
    }
    let priority = route.map_or(Priority::Normal, |route| route.priority);
    let state = Rc::clone(&client.state);
    if !state.admission.admits(priority) {
        client.state.metrics.shed(priority, state.admission.cause(priority));
        tell::shed(client, exchange, state.admission.cause(priority));
        return reply::refuse(client, exchange, Reason::Overloaded);
    }
    let _in_flight = state.admission.enter();
    let mut deadline = client.now() + plan.total_timeout(found.as_ref().ok().copied());
    if let Some(said) = route.and_then(|route| deadline::of(client.listener_in(plan), route)) {
        deadline = deadline::bound(client, exchange, said, deadline);
    }
    if exchange.rpc.is_some()
        && let Some(route) = route
    {
        deadline = rpc::bound(client, exchange, client.listener_in(plan), route, deadline);
    }
    // The listener's policies meet every request whose path is clear, so that what they guard is guarded everywhere and
    // what they add is on every answer.
    let policies = &client.listener_in(plan).policies;
    if !policies.is_empty()
        && let Some(after) = pass(client, exchange, &running, policies, deadline).await
    {
        return after;
    }
    let found = match found {
        Ok(id) => plan.route(id),
        Err(miss) => return route::refuse(client, exchange, miss),
    };
    let Some(route) = found else { return reply::refuse(client, exchange, Reason::Internal) };
    if !route.policies.is_empty()
        && let Some(after) = pass(client, exchange, &running, &route.policies, deadline).await
    {
        return after;
    }
    if matches!(exchange.head.framing, Framing::Length(length) if length > exchange.body_limit) {
        return reply::refuse(client, exchange, Reason::BodyTooLarge);
    }
    exchange.ledger.admitted = client.now();
    match &route.action {
        Action::Proxy(_) if exchange.has_deadline && deadline <= client.now() => {
            client.state.metrics.timed_out(Timeout::Deadline);
            reply::refuse(client, exchange, Reason::DeadlineExceeded)
        }
        Action::Proxy(proxy) => {
            let proxy = *proxy;
            // What becomes a tunnel may outlive the plan: the client has the one that it needs.
            drop(running);
            service::proxy(client, exchange, proxy, deadline).await
        }
        Action::Health(health) => service::health::health(client, exchange, *health).await,
        Action::Redirect(redirect) => service::redirect(client, exchange, redirect),
        Action::Respond(respond) => service::respond(client, exchange, respond),
    }
}

/// Has the request meet the policies of one chain. Nothing when it goes on.
async fn pass(
    client: &mut Client,
    exchange: &mut Exchange,
    running: &Running,
    policies: &[PolicyStep],
    deadline: Instant,
) -> Option<After> {
    let mut ran = chain::run(client, exchange, &running.policies, policies, 0);
    loop {
        match ran {
            Ran::Through => return None,
            Ran::Answered(after) => return Some(after),
            // A request that waits may allocate: a connection then has no room for what most of them never need.
            Ran::Waits(at) => {
                ran = Box::pin(chain::wait(client, exchange, &running.policies, policies, at, deadline)).await;
            }
        }
    }
}

/// Builds the new target in the exchange's scratch; parts that stay are taken from the target before.
pub(super) fn retarget(
    exchange: &mut Exchange,
    path: impl FnOnce(&[u8], &Exchange, &mut Vec<u8>) -> bool,
    query: impl FnOnce(&Exchange, &mut Vec<u8>) -> bool,
) {
    let mut target = std::mem::take(&mut exchange.scratch);
    target.clear();
    let before = exchange.rewritten.iter().position(|&byte| byte == b'?');
    let old = match (exchange.rewritten.is_empty(), before) {
        (true, _) => exchange.path(),
        (false, Some(at)) => exchange.rewritten.get(..at).unwrap_or_default(),
        (false, None) => &exchange.rewritten,
    };
    if !path(old, exchange, &mut target) {
        target.extend_from_slice(old);
    }
    let end = target.len();
    target.push(b'?');
    if query(exchange, &mut target) {
        if target.len() == end + 1 {
            target.truncate(end);
        }
    } else {
        let query = match (exchange.rewritten.is_empty(), before) {
            (true, _) => exchange.query(),
            (false, Some(at)) => exchange.rewritten.get(at + 1..),
            (false, None) => None,
        };
        match query {
            Some(query) => target.extend_from_slice(query),
            None => target.truncate(end),
        }
    }
    exchange.scratch = std::mem::replace(&mut exchange.rewritten, target);
}
