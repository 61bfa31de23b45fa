//! Every path of the admin API and what it does.

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use serde_json::{Map, Value, json};

use super::problem::{Problem, Reply};
use super::serve::wait;
use super::{Shared, live, views};
use crate::control::command::{Answer, Command};
use crate::control::page;
use crate::plan::Level;

/// A method on a path.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) call: Call,
    /// Whether it wants no token: it tells nothing that is worth one.
    pub(super) is_open: bool,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Page(usize),
    Alive,
    Ready,
    Plan,
    Plans,
    Routes,
    Upstreams,
    Connections,
    Cores,
    Live,
    Metrics,
    OpenApi,
    Reload,
    Confirm,
    RollBack,
    Drain,
    DrainEndpoint(bool),
    LogLevel,
    SetLogLevel,
    Upgrade,
    HoldBreaker(bool),
}

const fn open(path: &'static str, call: Call) -> Endpoint {
    Endpoint { method: "GET", path, call, is_open: true }
}

const fn get(path: &'static str, call: Call) -> Endpoint {
    Endpoint { method: "GET", path, call, is_open: false }
}

const fn post(path: &'static str, call: Call) -> Endpoint {
    Endpoint { method: "POST", path, call, is_open: false }
}

/// All of them. `docs/openapi.json` describes each.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    open("/", Call::Page(0)),
    open("/page.css", Call::Page(1)),
    open("/page.js", Call::Page(2)),
    open("/livez", Call::Alive),
    open("/readyz", Call::Ready),
    get("/metrics", Call::Metrics),
    get("/v1/plan", Call::Plan),
    get("/v1/plans", Call::Plans),
    get("/v1/routes", Call::Routes),
    get("/v1/upstreams", Call::Upstreams),
    get("/v1/connections", Call::Connections),
    get("/v1/cores", Call::Cores),
    get("/v1/live", Call::Live),
    get("/v1/log", Call::LogLevel),
    get("/v1/openapi.json", Call::OpenApi),
    post("/v1/reload", Call::Reload),
    post("/v1/confirm", Call::Confirm),
    post("/v1/rollback", Call::RollBack),
    post("/v1/drain", Call::Drain),
    post("/v1/upgrade", Call::Upgrade),
    post("/v1/endpoints/drain", Call::DrainEndpoint(true)),
    post("/v1/endpoints/undrain", Call::DrainEndpoint(false)),
    post("/v1/log/level", Call::SetLogLevel),
    post("/v1/breakers/open", Call::HoldBreaker(true)),
    post("/v1/breakers/close", Call::HoldBreaker(false)),
];

const OPENAPI: &str = include_str!("../../../docs/openapi.json");
/// The longest time a new plan may wait to be confirmed, in seconds.
const CONFIRM_MAX: u64 = 86_400;

/// What a path takes.
pub(super) fn allowed(path: &str) -> Vec<&'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.path == path).collect()
}

/// Its methods, as `Allow` has them.
pub(super) fn allow(endpoints: &[&Endpoint]) -> Option<&'static str> {
    match endpoints.first()?.method {
        "GET" => Some("GET, HEAD"),
        _ => Some("POST"),
    }
}

pub(super) async fn call(
    call: Call,
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Map<String, Value>,
) -> Result<Reply, Problem> {
    let handle = &shared.handle;
    let body = Body(body);
    let ok = |value: &Value| Ok(Reply::json(200, value));
    match call {
        Call::Page(file) => Ok(page::file(file)),
        Call::OpenApi => Ok(Reply::new(200, "application/json", OPENAPI)),
        Call::Alive => {
            wait(handle.status()).await?;
            ok(&json!({ "alive": true }))
        }
        Call::Ready => views::readiness(&wait(handle.status()).await?),
        Call::Plan => ok(&views::plan(&wait(handle.status()).await?)),
        Call::Plans => match wait(handle.send(Command::Plans)).await? {
            Answer::Plans(notes) => ok(&json!({ "plans": notes.iter().map(views::note).collect::<Vec<_>>() })),
            other => done(other),
        },
        Call::Routes => {
            let status = wait(handle.status()).await?;
            ok(&views::routes(&status, live::latest(shared).await.ok().as_deref()))
        }
        Call::Upstreams => ok(&views::upstreams(&wait(handle.look()).await?)),
        Call::Connections => ok(&views::connections(&wait(handle.look()).await?)),
        Call::Cores => {
            let sight = wait(handle.look()).await?;
            ok(&views::cores(&sight, live::latest(shared).await.ok().as_deref()))
        }
        Call::Live => {
            let sight = wait(handle.look()).await?;
            let plans = wait(handle.send(Command::Plans)).await?;
            let Answer::Plans(plans) = plans else { return done(plans) };
            let figures = live::latest(shared).await;
            ok(&views::live(&sight, &plans, figures.as_deref()))
        }
        Call::Metrics => live::exposition(shared, headers).await,
        Call::Reload => {
            body.only(&["confirm_seconds"])?;
            let command = match body.number("confirm_seconds", 1, CONFIRM_MAX)? {
                Some(seconds) => Command::ReloadUnlessUndone(Duration::from_secs(seconds)),
                None => Command::Reload,
            };
            done(wait(handle.send(command)).await?)
        }
        Call::Confirm => {
            body.only(&[])?;
            done(wait(handle.send(Command::Confirm)).await?)
        }
        Call::RollBack => {
            body.only(&["epoch"])?;
            let to = body.number("epoch", 1, i64::MAX as u64)?;
            done(wait(handle.send(Command::RollBack(to))).await?)
        }
        Call::Drain => {
            body.only(&[])?;
            done(wait(handle.send(Command::Drain)).await?)
        }
        Call::LogLevel => done(wait(handle.send(Command::LogLevel(None))).await?),
        Call::SetLogLevel => {
            body.only(&["level"])?;
            let level = Level::from_name(&body.text("level")?).ok_or_else(|| {
                let known = Level::ALL.map(Level::name).join(", ");
                Problem::new(400, "invalid_body", format!("level: one of {known} is wanted"))
            })?;
            done(wait(handle.send(Command::LogLevel(Some(level)))).await?)
        }
        Call::Upgrade => {
            body.only(&[])?;
            done(wait(handle.send(Command::Upgrade)).await?)
        }
        Call::DrainEndpoint(is_drained) => {
            body.only(&["upstream", "endpoint"])?;
            let (upstream, endpoint) = (body.text("upstream")?, body.text("endpoint")?);
            done(wait(handle.send(Command::DrainEndpoint { upstream, endpoint, is_drained })).await?)
        }
        Call::HoldBreaker(is_open) => {
            body.only(&["upstream", "endpoint"])?;
            let upstream = body.text("upstream")?;
            let endpoint = if body.0.contains_key("endpoint") { Some(body.text("endpoint")?) } else { None };
            done(wait(handle.send(Command::HoldBreaker { upstream, endpoint, is_open })).await?)
        }
    }
}

/// What came of a command.
fn done(answer: Answer) -> Result<Reply, Problem> {
    match answer {
        Answer::Runs { epoch, changes } => Ok(Reply::json(200, &json!({ "epoch": epoch, "changes": changes }))),
        Answer::Done | Answer::Plans(_) => Ok(Reply::json(200, &json!({ "done": true }))),
        Answer::LogLevel(level) => Ok(Reply::json(200, &json!({ "level": level.name() }))),
        Answer::Upgraded { pid } => Ok(Reply::json(200, &json!({ "pid": pid }))),
        Answer::Unknown(why) => Err(Problem::new(404, "unknown_endpoint", why)),
        Answer::Refused { report, why } if report.is_empty() => Err(Problem::new(409, "refused", why)),
        Answer::Refused { report, why } => Err(Problem::new(409, "config_refused", why).with("report", report)),
    }
}

/// The members of a body.
struct Body(Map<String, Value>);

impl Body {
    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Problem::new(400, "invalid_body", format!("unknown member {name:?}; known here: {known}")))
            }
        }
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let wrong =
            || Problem::new(400, "invalid_body", format!("{name}: a whole number from {least} to {most} is wanted"));
        let Some(value) = self.0.get(name) else { return Ok(None) };
        // 2.0 is a whole number, too (JSON Schema 2020-12, section 6.3 of its core).
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number < 1e15);
        let number = value.as_u64().or_else(|| whole.filter(|number| *number >= 0.0).map(|number| number as u64));
        number.filter(|number| (least..=most).contains(number)).map(Some).ok_or_else(wrong)
    }

    fn text(&self, name: &str) -> Result<String, Problem> {
        match self.0.get(name) {
            Some(Value::String(text)) if (1..=1024).contains(&text.chars().count()) => Ok(text.clone()),
            _ => Err(Problem::new(400, "invalid_body", format!("{name}: a string of 1 to 1,024 characters is wanted"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_every_path_and_method_and_no_other() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                described.insert((path.clone(), method.to_uppercase()));
                let security = operation.get("security").map(|security| security.as_array().unwrap().is_empty());
                let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == path).unwrap();
                assert_eq!(security.unwrap_or(false), endpoint.is_open, "{path}: whether it wants a token");
            }
        }
        let known = ENDPOINTS.iter().map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_owned()));
        assert_eq!(described, known.collect());
        assert_eq!(description["openapi"], "3.1.0");
    }

    #[test]
    fn a_path_takes_one_method_as_allow_says() {
        for endpoint in ENDPOINTS {
            assert_eq!(allowed(endpoint.path).len(), 1, "{}", endpoint.path);
        }
    }
}
