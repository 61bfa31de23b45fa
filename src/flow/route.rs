//! Route: one normalization of the path, then the router.

use ringway_proto::http1::{Framing, Method, TargetForm};

use super::client::Client;
use super::exchange::{Exchange, HeadFields};
use crate::observe::{Activity, Reason};
use crate::plan::{self, BodyLimit, MethodSet, Miss, Normalized, Query};

/// Why a request has no route.
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// The methods there are, of a 405.
    pub(super) allow: Option<MethodSet>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, allow: None }
    }
}

/// Finds the route and notes it in the exchange.
pub(super) fn route(client: &Client, exchange: &mut Exchange) -> Result<(), Refusal> {
    let plan = &client.running.plan;
    // An absolute target without a path stands for `*` where the method is OPTIONS (RFC 9112 section 3.2.4).
    let target = &exchange.head.target;
    let is_asterisk = target.form == TargetForm::Asterisk
        || (target.form == TargetForm::Absolute && target.path.is_empty() && exchange.head.method == Method::Options);
    if is_asterisk {
        return Err(Reason::NoRoute.into());
    }
    let mut path = std::mem::take(&mut exchange.path);
    let normalized = plan::normalize(exchange.head.target.path_of(exchange.head_bytes()), &mut path);
    exchange.path = path;
    match normalized {
        Ok(Normalized::Unchanged | Normalized::Rewritten) => {}
        Err(error) => {
            exchange.path.clear();
            return Err(Reason::Path(error).into());
        }
    }
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
    let id = found.map_err(|miss| match miss {
        Miss::NotFound => Refusal::from(Reason::NoRoute),
        Miss::MethodNotAllowed(methods) => Refusal { reason: Reason::MethodNotAllowed, allow: Some(methods) },
    })?;
    exchange.route = Some(id);
    client.state.engine.label(Activity::route(plan.epoch, id).label());
    let own = plan.route(id).and_then(|route| route.body);
    exchange.body_limit = match own {
        Some(BodyLimit::Bytes(bytes)) => bytes,
        Some(BodyLimit::Unlimited) => u64::MAX,
        None => client.listener().limits.body.unwrap_or(u64::MAX),
    };
    match exchange.head.framing {
        Framing::Length(length) if length > exchange.body_limit => Err(Reason::BodyTooLarge.into()),
        _ => Ok(()),
    }
}
