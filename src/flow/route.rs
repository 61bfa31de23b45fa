//! Route: one normalization of the path, then the router.

use ringway_proto::http1::{Method, TargetForm};

use super::After;
use super::client::Client;
use super::exchange::{Exchange, HeadFields};
use super::reply;
use crate::observe::{Activity, Reason};
use crate::plan::{self, BodyLimit, Captures, Miss, Normalized, Plan, Query, RouteId};

/// Brings the path into its one form.
pub(super) fn normalize(exchange: &mut Exchange) -> Result<(), Reason> {
    // An absolute target without a path stands for `*` where the method is OPTIONS (RFC 9112 section 3.2.4).
    let target = &exchange.head.target;
    let is_asterisk = target.form == TargetForm::Asterisk
        || (target.form == TargetForm::Absolute && target.path.is_empty() && exchange.head.method == Method::Options);
    if is_asterisk {
        return Err(Reason::NoRoute);
    }
    let mut path = std::mem::take(&mut exchange.path);
    let normalized = plan::normalize(exchange.head.target.path_of(exchange.head_bytes()), &mut path);
    exchange.path = path;
    match normalized {
        Ok(Normalized::Unchanged | Normalized::Rewritten) => Ok(()),
        Err(error) => {
            exchange.path.clear();
            Err(Reason::Path(error))
        }
    }
}

/// Finds the route and notes it in the exchange, with what it allows.
pub(super) fn find(client: &Client, exchange: &mut Exchange) -> Result<RouteId, Miss> {
    let plan = &client.running.plan;
    let bytes = exchange.head_bytes.as_deref().unwrap_or_default();
    let path = if exchange.path.is_empty() { exchange.head.target.path_of(bytes) } else { exchange.path.as_slice() };
    let found = plan.router.find(
        &Query {
            method: exchange.head.method_span.of(bytes),
            host: exchange.head.host.of(bytes),
            path,
            query: exchange.head.target.query.map(|query| query.of(bytes)),
            headers: &HeadFields { fields: &exchange.head.fields, bytes },
        },
        &mut exchange.captures,
    );
    let id = found?;
    exchange.route = Some(id);
    client.state.engine.label(Activity::route(plan.epoch, id).label());
    let own = plan.route(id).and_then(|route| route.body);
    exchange.body_limit = match own {
        Some(BodyLimit::Bytes(bytes)) => bytes,
        Some(BodyLimit::Unlimited) => u64::MAX,
        None => client.listener().limits.body.unwrap_or(u64::MAX),
    };
    Ok(id)
}

/// The route that the request would have in another plan.
pub(crate) fn in_plan(plan: &Plan, exchange: &Exchange) -> Option<RouteId> {
    let head = &exchange.head;
    let query = Query {
        method: exchange.method(),
        host: exchange.host(),
        path: exchange.path(),
        query: exchange.query(),
        headers: &HeadFields { fields: &head.fields, bytes: exchange.head_bytes() },
    };
    plan.router.find(&query, &mut Captures::default()).ok()
}

/// Refuses a request that has no route.
pub(super) fn refuse(client: &mut Client, exchange: &mut Exchange, miss: Miss) -> After {
    let Miss::MethodNotAllowed(methods) = miss else { return reply::refuse(client, exchange, Reason::NoRoute) };
    exchange.answer.set(b"allow", |out| {
        for (at, method) in client.running.plan.router.methods(methods).enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b", " });
            out.extend_from_slice(method.as_bytes());
        }
    });
    reply::refuse(client, exchange, Reason::MethodNotAllowed)
}
