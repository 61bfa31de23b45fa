//! An explanation as text and as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::decide::{Answer, Explanation};
use crate::plan::{
    Aggregate, AggregateCheck, Check, CheckTarget, Endpoint, Fallback, Plan, Proxy, RouteId, Upstream, is_in,
};

pub(super) fn to_text(plan: &Plan, found: &Explanation<'_>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", found.request);
    let addresses: Vec<String> = found.listener.addresses.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "listener   {}, {}", found.listener.name, addresses.join(", "));
    if let Some((received, path)) = &found.path {
        let was = if received == path { String::new() } else { format!(" (as received: {received})") };
        let _ = writeln!(out, "path       {path}{was}");
    }
    if let Some(route) = found.route {
        let _ = writeln!(out, "route      {}, {}", route.name, route.path);
    }
    if found.may_be_early {
        out.push_str("early data it may be served before the TLS handshake is done\n");
    }
    for (name, value) in &found.captures {
        let _ = writeln!(out, "  {} = {value}", if name.is_empty() { "*" } else { name });
    }
    if !found.steps.is_empty() {
        out.push_str("policies\n");
    }
    for (at, step) in found.steps.iter().enumerate() {
        let shadow = if step.shadow { ", in shadow" } else { "" };
        let _ = writeln!(out, "  {} {}, {}{shadow}", at + 1, step.name, step.kind);
        for does in &step.does {
            let _ = writeln!(out, "    {does}");
        }
    }
    answer(&mut out, plan, &found.answer);
    if !found.lost.is_empty() {
        out.push_str("not chosen\n");
    }
    for (route, why) in &found.lost {
        let _ = writeln!(out, "  {}: {why}", name_of(plan, *route));
    }
    out
}

fn answer(out: &mut String, plan: &Plan, answer: &Answer<'_>) {
    let _ = match answer {
        Answer::Refused(refused) => {
            let reason = refused.reason;
            let _ = writeln!(out, "answer     {} {}: {reason}", refused.status, reason.code());
            if refused.allow.is_empty() { Ok(()) } else { writeln!(out, "  allow: {}", refused.allow.join(", ")) }
        }
        Answer::Policy(status, fields) => {
            let _ = writeln!(out, "answer     {status} by the last policy");
            fields.iter().try_for_each(|(name, value)| writeln!(out, "  {name}: {value}"))
        }
        Answer::Upstream(proxy, target) => {
            let Some(upstream) = plan.upstream(proxy.upstream) else { return };
            let by = upstream.balance.key().map_or_else(String::new, |key| format!(" by {key}"));
            let (name, balance) = (&upstream.name, upstream.balance.name());
            let _ = writeln!(out, "answer     upstream {name}, {balance}{by}, target {target}");
            let subset: Vec<String> =
                subset(upstream, *proxy).iter().map(|(name, value)| format!("{name} = {value}")).collect();
            if !subset.is_empty() {
                let _ = writeln!(out, "  of these endpoints: {}", subset.join(", "));
            }
            if let Some((kind, name)) = fallback(plan, upstream) {
                let _ = writeln!(out, "  while none of them may be used: {kind} {name}");
            }
            endpoints(upstream, *proxy).try_for_each(|endpoint| {
                let priority = match endpoint.priority {
                    0 => String::new(),
                    priority => format!(", priority {priority}"),
                };
                let zone = endpoint.zone.as_ref().map_or_else(String::new, |zone| format!(", zone {zone}"));
                writeln!(out, "  {}, weight {}{priority}{zone}", endpoint.name, endpoint.weight)
            })
        }
        Answer::Redirect(status, location) => writeln!(out, "answer     redirect {status} to {location}"),
        Answer::Health(health, true) => {
            writeln!(out, "answer     the last {} changes of health {}", health.history, health.name)
        }
        Answer::Health(health, false) => {
            let (name, ttl, most) = (&health.name, health.ttl, health.total_timeout);
            let _ = writeln!(out, "answer     health {name}, asked every {ttl:?} for at most {most:?}");
            health.checks.iter().try_for_each(|check| {
                let needs: Vec<&str> = needs(health, check).collect();
                let needs = if needs.is_empty() { String::new() } else { format!(", needs {}", needs.join(" and ")) };
                let critical = if check.critical { ", critical" } else { "" };
                writeln!(out, "  {}: {}{critical}{needs}", check.name, asks(plan, check))
            })
        }
        Answer::Respond(respond) => {
            let kind = respond.content_type.as_deref().map_or(String::new(), |kind| format!(" of {kind}"));
            writeln!(out, "answer     fixed response {}, {} bytes{kind}", respond.status, respond.body.len())
        }
    };
}

/// The names of what a check needs.
fn needs<'p>(health: &'p Aggregate, check: &'p AggregateCheck) -> impl Iterator<Item = &'p str> {
    check.needs.iter().filter_map(|&need| Some(&*health.checks.get(usize::from(need))?.name))
}

/// What a check asks, and where.
fn asks(plan: &Plan, check: &AggregateCheck) -> String {
    let at = match &check.target {
        CheckTarget::Upstream(id) => {
            plan.upstream(*id).map_or(String::new(), |upstream| format!("upstream {}", upstream.name))
        }
        CheckTarget::Addresses(addresses) => addresses.first().map_or(String::new(), |(name, _)| name.to_string()),
    };
    match &check.check {
        None => format!("what is known of the endpoints of {at}"),
        Some(Check::Tcp) => format!("a connection to {at}"),
        Some(Check::Grpc { service, .. }) => format!("how gRPC service \"{service}\" is at {at}"),
        Some(Check::Http { path, .. }) => format!("GET {path} at {at}"),
    }
}

/// What the route wants of endpoints.
fn subset(upstream: &Upstream, proxy: Proxy) -> &[(Arc<str>, Arc<str>)] {
    upstream.subsets.get(usize::from(proxy.subset)).map_or(&[], |subset| subset)
}

/// What answers while no endpoint may be used: what it is, and its name.
fn fallback<'p>(plan: &'p Plan, upstream: &'p Upstream) -> Option<(&'static str, &'p str)> {
    match upstream.fallback() {
        Fallback::Refuse => None,
        Fallback::Upstream(other) => plan.upstream(*other).map(|other| ("upstream", &*other.name)),
        Fallback::Respond(service, _) => Some(("service", service)),
    }
}

/// The endpoints that may answer.
fn endpoints(upstream: &Upstream, proxy: Proxy) -> impl Iterator<Item = &Endpoint> {
    let wanted = subset(upstream, proxy);
    upstream.endpoints.iter().filter(move |endpoint| is_in(wanted, &endpoint.metadata))
}

fn name_of(plan: &Plan, route: RouteId) -> &str {
    plan.route(route).map_or("?", |route| &*route.name)
}

pub(super) fn to_json(plan: &Plan, found: &Explanation<'_>) -> Json {
    let route = found.route.map(|route| {
        let captures = found.captures.iter().filter(|(name, _)| !name.is_empty());
        let captures: Map<String, Json> = captures.map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "name": *route.name, "path": *route.path, "captures": captures })
    });
    let steps: Vec<Json> = (found.steps.iter())
        .map(|step| json!({ "name": step.name, "type": step.kind, "shadow": step.shadow, "does": step.does }))
        .collect();
    let lost: Vec<Json> =
        found.lost.iter().map(|(route, why)| json!({ "route": name_of(plan, *route), "why": why })).collect();
    json!({
        "request": found.request,
        "listener": *found.listener.name,
        "path": found.path.as_ref().map(|(_, path)| path),
        "route": route,
        "may_be_early": found.may_be_early,
        "policies": steps,
        "answer": answer_json(plan, &found.answer),
        "lost": lost,
    })
}

fn answer_json(plan: &Plan, answer: &Answer<'_>) -> Json {
    match answer {
        Answer::Refused(refused) => json!({ "refused": {
            "status": refused.status,
            "code": refused.reason.code(),
            "detail": refused.reason.to_string(),
            "allow": refused.allow,
        } }),
        Answer::Policy(status, fields) => {
            let fields: Map<String, Json> = fields.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            json!({ "policy": { "status": status, "fields": fields } })
        }
        Answer::Upstream(proxy, target) => upstream_json(plan, *proxy, target),
        Answer::Redirect(status, location) => json!({ "redirect": { "status": status, "location": location } }),
        Answer::Health(health, is_history) => {
            let check = |check: &AggregateCheck| {
                json!({
                    "name": *check.name, "asks": asks(plan, check), "critical": check.critical,
                    "needs": needs(health, check).collect::<Vec<_>>(),
                })
            };
            json!({ "health": {
                "name": *health.name,
                "history": is_history,
                "ttl": health.ttl.as_secs_f64(),
                "checks": health.checks.iter().map(check).collect::<Vec<_>>(),
            } })
        }
        Answer::Respond(respond) => json!({ "respond": {
            "status": respond.status,
            "content_type": respond.content_type,
            "bytes": respond.body.len(),
        } }),
    }
}

fn upstream_json(plan: &Plan, proxy: Proxy, target: &str) -> Json {
    let Some(upstream) = plan.upstream(proxy.upstream) else { return Json::Null };
    let endpoints: Vec<Json> = endpoints(upstream, proxy)
        .map(|endpoint| {
            json!({
                "address": *endpoint.name,
                "weight": endpoint.weight,
                "priority": endpoint.priority,
                "zone": endpoint.zone.as_deref(),
            })
        })
        .collect();
    let subset = subset(upstream, proxy).iter().map(|(name, value)| (name.to_string(), json!(**value)));
    json!({ "upstream": {
        "name": *upstream.name,
        "balance": upstream.balance.name(),
        "fallback": fallback(plan, upstream).map(|(_, name)| name),
        "key": upstream.balance.key().map(ToString::to_string),
        "subset": subset.collect::<Map<_, _>>(),
        "target": target,
        "endpoints": endpoints,
    } })
}
