//! Serve: the policies of the route on the way in, then its service.

use std::rc::Rc;

use super::client::Client;
use super::exchange::Exchange;
use super::reply::{self, Reply};
use super::{After, forwarded, route};
use crate::plan::{Action, Template};
use crate::policy::Policy;
use crate::service;

/// Answers one request.
pub(super) async fn serve(client: &mut Client, exchange: &mut Exchange) -> After {
    if let Err(refusal) = route::route(client, exchange) {
        return reply::refuse_with(client, exchange, refusal.reason, refusal.allow);
    }
    exchange.ledger.admitted = client.now();
    exchange.client_ip = forwarded::client_ip(client, exchange);
    let running = Rc::clone(&client.running);
    let Some(route) = exchange.route.and_then(|id| running.plan.route(id)) else {
        return reply::refuse(client, exchange, crate::observe::Reason::Internal);
    };
    for policy in &route.policies {
        if let Policy::Rewrite(rewrite) = policy {
            rewrite_target(
                exchange,
                |exchange, path, out| rewrite.path(path, exchange, out),
                |exchange, out| rewrite.query(exchange, out),
            );
        }
    }
    match &route.action {
        Action::Proxy(upstream) => service::proxy(client, exchange, route, *upstream).await,
        Action::Redirect(redirect) => {
            let mut location = std::mem::take(&mut exchange.scratch);
            location.clear();
            Template::render(&redirect.location, exchange, &mut location);
            let fields = [(&b"location"[..], &location[..])];
            let after = reply::reply(
                client,
                exchange,
                &Reply { status: redirect.status, content_type: None, fields: &fields, body: b"" },
            );
            exchange.scratch = location;
            after
        }
        Action::Respond(respond) => service::respond(client, exchange, respond),
    }
}

/// Builds the new target in the exchange's scratch; parts that stay are taken from the target before.
fn rewrite_target(
    exchange: &mut Exchange,
    path: impl FnOnce(&Exchange, &[u8], &mut Vec<u8>) -> bool,
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
    if !path(exchange, old, &mut target) {
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
