//! Every path of the admin API and what it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use serde_json::{Map, Value, json};

use super::problem::{Problem, Reply};
use super::serve::wait;
use super::{Shared, certificates as certificates_of, live, views};
use crate::config::{EndpointSays, is_name};
use crate::control::certificates;
use crate::control::command::{Answer, Command};
use crate::control::discovery::Ask;
use crate::control::page;
use crate::plan::{self, Level};

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
    Discovery,
    LookAgain,
    AcceptSet,
    Register,
    Deregister,
    Certificates,
    PutCertificate,
    DeleteCertificate,
    RenewCertificate,
}

impl Call {
    /// Bytes of a request body at most.
    pub(super) fn body_max(self) -> usize {
        match self {
            // A chain and a key.
            Self::PutCertificate => 128 << 10,
            _ => 16 << 10,
        }
    }

    /// Whether endpoints make it themselves, who may have a token for nothing else.
    pub(super) fn is_for_endpoints(self) -> bool {
        matches!(self, Self::Register | Self::Deregister)
    }
}

/// What a client may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// All.
    Everything,
    /// Register and deregister endpoints of these upstreams.
    Upstreams(Vec<Arc<str>>),
}

impl Allowed {
    fn want(&self, upstream: &str) -> Result<(), Problem> {
        match self {
            Self::Everything => Ok(()),
            Self::Upstreams(names) if names.iter().any(|name| **name == *upstream) => Ok(()),
            // The same as with a wrong token: nothing is told of other upstreams.
            Self::Upstreams(_) => Err(Problem::unauthorized()),
        }
    }
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
    get("/v1/discovery", Call::Discovery),
    get("/v1/certificates", Call::Certificates),
    get("/v1/openapi.json", Call::OpenApi),
    post("/v1/reload", Call::Reload),
    post("/v1/confirm", Call::Confirm),
    post("/v1/rollback", Call::RollBack),
    post("/v1/drain", Call::Drain),
    post("/v1/upgrade", Call::Upgrade),
    post("/v1/endpoints/drain", Call::DrainEndpoint(true)),
    post("/v1/endpoints/undrain", Call::DrainEndpoint(false)),
    post("/v1/endpoints/register", Call::Register),
    post("/v1/endpoints/deregister", Call::Deregister),
    post("/v1/discovery/refresh", Call::LookAgain),
    post("/v1/discovery/accept", Call::AcceptSet),
    post("/v1/log/level", Call::SetLogLevel),
    post("/v1/certificates/put", Call::PutCertificate),
    post("/v1/certificates/delete", Call::DeleteCertificate),
    post("/v1/certificates/renew", Call::RenewCertificate),
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
    allowed: &Allowed,
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
        Call::Discovery => done(wait(handle.send(Command::Discovery(Ask::Sources))).await?),
        Call::LookAgain => {
            body.only(&["upstream"])?;
            let upstream = if body.0.contains_key("upstream") { Some(body.text("upstream")?) } else { None };
            done(wait(handle.send(Command::Discovery(Ask::LookAgain(upstream)))).await?)
        }
        Call::AcceptSet => {
            body.only(&["upstream"])?;
            let upstream = body.text("upstream")?;
            done(wait(handle.send(Command::Discovery(Ask::Accept(upstream)))).await?)
        }
        Call::Register => {
            body.only(&["upstream", "address", "weight", "priority", "zone", "metadata"])?;
            let upstream = body.text("upstream")?;
            allowed.want(&upstream)?;
            let endpoint = body.endpoint()?;
            done(wait(handle.send(Command::Discovery(Ask::Register { upstream, endpoint }))).await?)
        }
        Call::Deregister => {
            body.only(&["upstream", "address"])?;
            let upstream = body.text("upstream")?;
            allowed.want(&upstream)?;
            let address = body.address()?.into();
            done(wait(handle.send(Command::Discovery(Ask::Deregister { upstream, address }))).await?)
        }
        Call::Certificates => ok(&certificates_of::view(&wait(handle.status()).await?)),
        Call::PutCertificate => {
            body.only(&["name", "certificate", "key"])?;
            let name = body.text("name")?;
            let (chain, key) = (body.long_text("certificate")?, body.long_text("key")?);
            let ask = certificates::Ask::Put { name, chain, key };
            done(wait(handle.send(Command::Certificates(ask))).await?)
        }
        Call::DeleteCertificate => {
            body.only(&["name"])?;
            let ask = certificates::Ask::Delete(body.text("name")?);
            done(wait(handle.send(Command::Certificates(ask))).await?)
        }
        Call::RenewCertificate => {
            body.only(&["name"])?;
            let ask = certificates::Ask::Renew(body.text("name")?);
            done(wait(handle.send(Command::Certificates(ask))).await?)
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
        Answer::Wrong(why) => Err(Problem::new(400, "invalid_certificate", why)),
        Answer::Done | Answer::Plans(_) => Ok(Reply::json(200, &json!({ "done": true }))),
        Answer::LogLevel(level) => Ok(Reply::json(200, &json!({ "level": level.name() }))),
        Answer::Registered { ttl } => Ok(Reply::json(200, &json!({ "ttl": ttl.as_secs_f64() }))),
        Answer::Sources(sources) => {
            let sources: Vec<Value> = sources.iter().map(views::source).collect();
            Ok(Reply::json(200, &json!({ "sources": sources })))
        }
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

    /// Where an endpoint is.
    fn address(&self) -> Result<SocketAddr, Problem> {
        let wrong = || {
            let wanted = "address: an IP address and a port are wanted, such as \"10.0.0.1:9000\"";
            Problem::new(409, "refused", wanted)
        };
        let address: SocketAddr = self.text("address")?.parse().map_err(|_| wrong())?;
        let is_one = address.port() > 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
        // One that is written in another way is the same.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if is_one { Ok(address) } else { Err(wrong()) }
    }

    /// What an endpoint says of itself.
    fn endpoint(&self) -> Result<plan::Endpoint, Problem> {
        let invalid = |why: &str| Problem::new(400, "invalid_body", why);
        let address = self.address()?;
        let mut says = EndpointSays::default();
        if let Some(weight) = self.number("weight", 1, 1_000)? {
            says.weight = weight as u32;
        }
        if let Some(priority) = self.number("priority", 0, 15)? {
            says.priority = priority as u32;
        }
        if self.0.contains_key("zone") {
            let zone = self.text("zone")?;
            if !is_name(&zone) {
                return Err(invalid("zone: 1 to 64 letters, digits, `-`, `_` and `.` are wanted"));
            }
            says.zone = Some(zone.into());
        }
        if let Some(metadata) = self.0.get("metadata") {
            let wrong = || invalid("metadata: an object of strings is wanted");
            let mut all: Vec<(Arc<str>, Arc<str>)> = Vec::new();
            for (name, value) in metadata.as_object().ok_or_else(wrong)? {
                all.push((name.as_str().into(), value.as_str().ok_or_else(wrong)?.into()));
            }
            all.sort();
            says.metadata = all.into();
        }
        Ok(says.at(address.to_string().into(), address))
    }

    /// A text of any length that the body has room for.
    fn long_text(&self, name: &str) -> Result<String, Problem> {
        match self.0.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(Problem::new(400, "invalid_body", format!("{name}: a string is wanted"))),
        }
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
