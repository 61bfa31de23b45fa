//! The gateway as JSON. Times are seconds, points in time are seconds since the Unix epoch.

use serde_json::{Map, Value, json};

use super::problem::{Problem, Reply};
use crate::control::command::PlanNote;
use crate::control::discovery::SourceSight;
use crate::control::sights::{Sight, Status};
use crate::core::CoreSight;
use crate::observe::figures::Figures;
use crate::plan::{Action, Upstream};
use crate::upstream::{BreakerState, Cause};

/// A plan that runs or ran.
pub(super) fn note(note: &PlanNote) -> Value {
    let PlanNote { epoch, since_unix_ns, changes, runs } = note;
    json!({ "epoch": epoch, "since": *since_unix_ns as f64 / 1e9, "changes": &**changes, "runs": runs })
}

/// The plan that runs.
pub(super) fn plan(status: &Status) -> Value {
    let listeners =
        status.addresses.iter().map(|(name, address)| json!({ "name": name, "address": address.to_string() }));
    json!({
        "epoch": status.note.epoch,
        "endpoints_epoch": status.epoch,
        "since": status.note.since_unix_ns as f64 / 1e9,
        "changes": &*status.note.changes,
        "undone_in": status.undone_in.map(|left| left.as_secs_f64()),
        "draining": status.is_draining,
        "cores": status.cores,
        "listeners": listeners.collect::<Vec<_>>(),
    })
}

/// Whether the gateway takes new connections; an error that says why not.
pub(super) fn readiness(status: &Status) -> Result<Reply, Problem> {
    let Status { cores, accepting, is_draining, .. } = status;
    if *is_draining {
        return Err(Problem::new(503, "draining", "the gateway drains"));
    }
    if accepting < cores {
        return Err(Problem::new(503, "starting", format!("{accepting} of {cores} cores accept")));
    }
    Ok(Reply::json(200, &json!({ "ready": true })))
}

/// The routes, with the figures of the last interval where there are some.
pub(super) fn routes(status: &Status, figures: Option<&Figures>) -> Value {
    let figures = figures.map_or(Value::Null, Figures::to_json);
    let routes = status.plan.routes.iter().map(|route| {
        let (answers, upstream) = match &route.action {
            Action::Proxy(proxy) => ("proxy", status.plan.upstream(proxy.upstream).map(|upstream| &*upstream.name)),
            Action::Redirect(_) => ("redirect", None),
            Action::Respond(_) => ("respond", None),
            Action::Health(_) => ("health", None),
        };
        let figures = named(&figures["routes"], &route.name);
        json!({
            "name": &*route.name, "path": &*route.path, "answers": answers, "upstream": upstream,
            "requests": figures["requests"], "latency": figures["latency"],
        })
    });
    json!({ "epoch": status.note.epoch, "interval": figures["interval"], "routes": routes.collect::<Vec<_>>() })
}

/// The entry of a list that has this name.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut list = list.as_array().into_iter().flatten();
    list.find(|entry| entry["name"] == name).unwrap_or(&Value::Null)
}

/// Cores that did not answer, or run another plan just now, by their number.
fn silent(sight: &Sight) -> Vec<usize> {
    let says_nothing = |core: &Option<CoreSight>| core.as_ref().is_none_or(|core| core.epoch != sight.status.epoch);
    (0..).zip(&sight.cores).filter(|(_, core)| says_nothing(core)).map(|(core, _)| core).collect()
}

/// The upstreams with the state of their endpoints, all cores together.
pub(super) fn upstreams(sight: &Sight) -> Value {
    let status = &sight.status;
    let upstreams = (0..).zip(&status.plan.upstreams).map(|(at, upstream)| one_upstream(sight, at, upstream));
    json!({ "epoch": status.note.epoch, "silent_cores": silent(sight), "upstreams": upstreams.collect::<Vec<_>>() })
}

fn one_upstream(sight: &Sight, at: usize, upstream: &Upstream) -> Value {
    let epoch = sight.status.epoch;
    let seen: Vec<_> = (sight.cores.iter().flatten())
        .filter(|core| core.epoch == epoch)
        .filter_map(|core| core.upstreams.get(at))
        .collect();
    let endpoints = (0..).zip(&upstream.endpoints).map(|(at, endpoint): (usize, _)| {
        let of_cores = || seen.iter().filter_map(|upstream| upstream.endpoints.get(at));
        let metadata: Map<String, Value> =
            endpoint.metadata.iter().map(|(name, value)| (name.to_string(), json!(**value))).collect();
        let causes = Cause::ALL.into_iter().filter(|cause| of_cores().any(|core| core.standing.has(*cause)));
        let causes: Vec<_> = causes.map(Cause::name).collect();
        // What all cores share; any of them tells it.
        let health = of_cores().next().map(|core| core.health);
        let (breaker, checked) = health.map(|health| (health.breaker.name(), health.checked.name())).unzip();
        json!({
            "name": &*endpoint.name,
            "address": endpoint.address.to_string(),
            "weight": endpoint.weight,
            "priority": endpoint.priority,
            "zone": endpoint.zone.as_deref(),
            "metadata": metadata,
            "drained": sight.status.drained.has(&upstream.name, &endpoint.name),
            "available": causes.is_empty(),
            "unavailable_because": causes,
            "breaker": upstream.breaker.as_ref().filter(|plan| plan.of_endpoints).and(breaker),
            "last_check": upstream.health.as_ref().and(checked),
            "requests": of_cores().map(|endpoint| u64::from(endpoint.requests)).sum::<u64>(),
            "connections": of_cores().map(|endpoint| u64::from(endpoint.open)).sum::<u64>(),
            "idle": of_cores().map(|endpoint| u64::from(endpoint.idle)).sum::<u64>(),
            "failures": of_cores().map(|endpoint| endpoint.failures).sum::<u64>(),
        })
    });
    json!({
        "name": &*upstream.name,
        "balance": upstream.balance.name(),
        "breaker": seen.iter().find_map(|upstream| upstream.breaker).map(BreakerState::name),
        "waiting": seen.iter().map(|upstream| upstream.waiting).sum::<usize>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// How the source of an upstream's endpoints is.
pub(super) fn source(source: &SourceSight) -> Value {
    let (good_at, age) = source.good_at.map(|(at, age)| (at as f64 / 1e9, age.as_secs_f64())).unzip();
    let (failure, failing_for) = source.failure.as_ref().map(|(why, time)| (why, time.as_secs_f64())).unzip();
    let state = match (failure.is_some(), source.kept, source.sets) {
        (true, ..) => "failing",
        (_, 0, 0) if source.kind != "registration" => "waiting",
        (_, 0, _) => "good",
        _ => "kept",
    };
    json!({
        "upstream": &*source.upstream,
        "type": source.kind,
        "place": source.place,
        "state": state,
        "endpoints": source.endpoints,
        "kept": source.kept,
        "last_good_at": good_at,
        "age": age,
        "failure": failure,
        "failing_for": failing_for,
        "next_in": source.again_in.map(|left| left.as_secs_f64()),
        "sets": source.sets,
        "failures": source.failures,
        "shrunk": source.shrunk,
    })
}

/// Client connections by core.
pub(super) fn connections(sight: &Sight) -> Value {
    let cores = (0..).zip(&sight.cores).map(
        |(core, seen): (usize, _)| json!({ "core": core, "connections": seen.as_ref().map(|seen| seen.connections) }),
    );
    let sum: usize = sight.cores.iter().flatten().map(|core| core.connections).sum();
    json!({ "connections": sum, "cores": cores.collect::<Vec<_>>() })
}

/// Each core: what it says itself, and what its metrics say of the last interval.
pub(super) fn cores(sight: &Sight, figures: Option<&Figures>) -> Value {
    let figures = figures.map_or(Value::Null, Figures::to_json);
    let cores = (0..).zip(&sight.cores).map(|(core, seen): (usize, _)| {
        let mut found = json!({
            "core": core,
            "answers": seen.is_some(),
            "epoch": seen.as_ref().map(|seen| seen.epoch),
            "connections": seen.as_ref().map(|seen| seen.connections),
        });
        let measured = figures["cores"].as_array().into_iter().flatten().find(|measured| measured["core"] == core);
        for name in ["cpu", "busy", "requests", "p99", "worst_stall", "heartbeat_age"] {
            found[name] = measured.map_or(Value::Null, |measured| measured[name].clone());
        }
        found
    });
    json!({ "interval": figures["interval"], "cores": cores.collect::<Vec<_>>() })
}

/// All that the web page shows.
pub(super) fn live(sight: &Sight, plans: &[PlanNote], figures: Result<&Figures, &Problem>) -> Value {
    let mut all = Map::new();
    let found = figures.ok();
    all.insert("plan".to_owned(), plan(&sight.status));
    all.insert("plans".to_owned(), plans.iter().map(note).collect());
    all.insert("cores".to_owned(), cores(sight, found)["cores"].take());
    all.insert("routes".to_owned(), routes(&sight.status, found)["routes"].take());
    all.insert("upstreams".to_owned(), upstreams(sight)["upstreams"].take());
    all.insert("silent_cores".to_owned(), json!(silent(sight)));
    all.insert("figures".to_owned(), found.map_or(Value::Null, Figures::to_json));
    all.insert("no_figures".to_owned(), json!(figures.err().map(Problem::detail)));
    Value::Object(all)
}
