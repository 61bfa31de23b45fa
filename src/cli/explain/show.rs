//! An explanation as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::decide::{Answer, Explanation};
use crate::plan::{Balance, Plan, RouteId, Upstream, UpstreamId};

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
        Answer::Upstream(id, target) => {
            let Some(upstream) = plan.upstream(*id) else { return };
            let balance = balance(upstream);
            let _ = writeln!(out, "answer     upstream {}, {balance}, target {target}", upstream.name);
            let mut endpoints = upstream.endpoints.iter();
            endpoints.try_for_each(|endpoint| writeln!(out, "  {}, weight {}", endpoint.name, endpoint.weight))
        }
        Answer::Redirect(status, location) => writeln!(out, "answer     redirect {status} to {location}"),
        Answer::Respond(respond) => {
            let kind = respond.content_type.as_deref().map_or(String::new(), |kind| format!(" of {kind}"));
            writeln!(out, "answer     fixed response {}, {} bytes{kind}", respond.status, respond.body.len())
        }
    };
}

fn balance(upstream: &Upstream) -> &'static str {
    match upstream.balance {
        Balance::RoundRobin => "round-robin",
    }
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
        Answer::Upstream(id, target) => upstream_json(plan, *id, target),
        Answer::Redirect(status, location) => json!({ "redirect": { "status": status, "location": location } }),
        Answer::Respond(respond) => json!({ "respond": {
            "status": respond.status,
            "content_type": respond.content_type,
            "bytes": respond.body.len(),
        } }),
    }
}

fn upstream_json(plan: &Plan, id: UpstreamId, target: &str) -> Json {
    let Some(upstream) = plan.upstream(id) else { return Json::Null };
    let endpoints: Vec<Json> = (upstream.endpoints.iter())
        .map(|endpoint| json!({ "address": *endpoint.name, "weight": endpoint.weight }))
        .collect();
    json!({ "upstream": {
        "name": *upstream.name,
        "balance": balance(upstream),
        "target": target,
        "endpoints": endpoints,
    } })
}
