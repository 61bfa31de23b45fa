//! What the gateway would decide. The head goes through the codec, the path through the one normalization, and the
//! route comes from the plan's own router; nothing is decided in another way here.

use std::net::IpAddr;

use ringway_proto::http1::{self, Framing, Method, Progress, TargetForm};
use ringway_runtime::buffer::Lease;

use crate::flow::{self, Edited, Edits, Exchange, Verdict, early};
use crate::observe::Reason;
use crate::plan::{
    self, Action, Aggregate, BodyLimit, Listener, Lost, Miss, Normalized, Plan, PolicyStep, Proxy, Query, Respond,
    Route, RouteId, Template,
};
use crate::policy::{Origins, States};
use crate::service::health;

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// A URL with a host, a path, or `*`; for CONNECT an authority.
    pub url: String,
    /// Header fields in order. Without `Host` there is one with the authority of the URL, or `localhost`.
    pub headers: Vec<(String, String)>,
    /// The name of the listener where it comes in.
    pub listener: Option<String>,
    /// The client's address, as seen through trusted proxies.
    pub client: IpAddr,
}

/// What the gateway would do, and why.
#[derive(Debug)]
pub struct Explanation<'p> {
    /// Method, host and target as they came.
    pub request: String,
    /// Where the request comes in.
    pub listener: &'p Listener,
    /// The path as received and in its normal form, where it got that far.
    pub path: Option<(String, String)>,
    /// The route chosen.
    pub route: Option<&'p Route>,
    /// Whether it may be served before the TLS handshake is done.
    pub may_be_early: bool,
    /// The captures of that route by name; `*` has none.
    pub captures: Vec<(String, String)>,
    /// Every other route, those that came closest first, and what is said against it.
    pub lost: Vec<(RouteId, String)>,
    /// The policies in the order in which the request meets them.
    pub steps: Vec<Step>,
    /// What answers in the end.
    pub answer: Answer<'p>,
}

/// One policy.
#[derive(Debug)]
pub struct Step {
    /// Its name, or the place of one that stands in its route or listener.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// Whether it only counts what it would do.
    pub shadow: bool,
    /// What it would do, rendered for this request.
    pub does: Vec<String>,
}

/// What answers in the end.
#[derive(Debug)]
pub enum Answer<'p> {
    /// The gateway refuses.
    Refused(Refused),
    /// The last of the policies, with this status and these fields.
    Policy(u16, Vec<(String, String)>),
    /// An upstream, asked for this target.
    Upstream(Proxy, String),
    /// A redirect with this status and location.
    Redirect(u16, String),
    /// A fixed response.
    Respond(&'p Respond),
    /// What is known of several things, or how that changed.
    Health(&'p Aggregate, bool),
}

/// A refusal.
#[derive(Debug)]
pub struct Refused {
    /// Its code and text.
    pub reason: Reason,
    /// Its status.
    pub status: u16,
    /// The methods there are, of a 405.
    pub allow: Vec<String>,
}

impl From<Reason> for Answer<'_> {
    fn from(reason: Reason) -> Self {
        Self::Refused(Refused { reason, status: reason.status(), allow: Vec::new() })
    }
}

/// Explains a request. An error is a request that cannot be put into words.
pub fn explain<'p>(plan: &'p Plan, asked: &Asked) -> Result<Explanation<'p>, String> {
    let url = Url::parse(&asked.url, &asked.method)?;
    let listener = listener(plan, asked, &url)?;
    let mut explanation = Explanation {
        request: String::new(),
        listener,
        path: None,
        route: None,
        may_be_early: false,
        captures: Vec::new(),
        lost: Vec::new(),
        steps: Vec::new(),
        answer: Reason::NoRoute.into(),
    };
    let bytes = head(asked, &url)?;
    let host = asked.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map_or(url.authority.unwrap_or("localhost"), |(_, value)| value);
    let host = if url.target.starts_with('/') { host } else { "" };
    explanation.request = format!("{} {host}{}", asked.method, url.target);
    let mut exchange = Exchange::default();
    (exchange.client_ip, exchange.rehearsed) = (Some(asked.client), true);
    match http1::decode_request(&bytes, &mut exchange.scan, &listener.limits.of_requests(), &mut exchange.head) {
        Ok(Progress::Complete) => {}
        // A head that ends with an empty line is whole.
        Ok(Progress::Partial) => return Err("the request has no end".to_owned()),
        Err(error) => {
            explanation.answer = Reason::Request(error).into();
            return Ok(explanation);
        }
    }
    exchange.head_bytes = Some(Lease::copied(&bytes));
    explanation.answer = match decide(plan, listener, &mut exchange, &mut explanation) {
        Ok(answer) => answer,
        Err(refused) => refused,
    };
    Ok(explanation)
}

/// From a whole head to what answers. The stages are those of `src/flow`, in their order.
fn decide<'p>(
    plan: &'p Plan,
    listener: &'p Listener,
    exchange: &mut Exchange,
    explanation: &mut Explanation<'p>,
) -> Result<Answer<'p>, Answer<'p>> {
    if exchange.head.method == Method::Connect {
        return Err(Reason::ConnectNotSupported.into());
    }
    let target = &exchange.head.target;
    // An absolute target without a path stands for `*` where the method is OPTIONS (RFC 9112 section 3.2.4).
    if target.form == TargetForm::Asterisk
        || (target.form == TargetForm::Absolute && target.path.is_empty() && exchange.head.method == Method::Options)
    {
        return Err(Reason::NoRoute.into());
    }
    let received = target.path_of(exchange.head_bytes()).to_vec();
    let mut path = Vec::new();
    match plan::normalize(&received, &mut path) {
        Ok(Normalized::Unchanged | Normalized::Rewritten) => exchange.path = path,
        Err(error) => return Err(Reason::Path(error).into()),
    }
    explanation.path = Some((text(&received), text(exchange.path())));
    let found = plan.router.explain(&Query {
        method: exchange.method(),
        host: exchange.host(),
        path: exchange.path(),
        query: exchange.query(),
        headers: &exchange.fields(),
    });
    explanation.lost = found.lost.iter().map(|&(route, why)| (route, why_lost(plan, route, why))).collect();
    exchange.captures = found.captures;
    exchange.route = found.result.ok();
    let route = found.result.ok().and_then(|id| plan.route(id));
    explanation.may_be_early = early::may_be_early(route, &exchange.head);
    if exchange.head.early_data && !explanation.may_be_early {
        return Err(Reason::TooEarly.into());
    }
    let states = States::new(plan, &Origins::new(plan, None), None);
    meet(plan, &states, &listener.policies, exchange, explanation)?;
    let id = found.result.map_err(|miss| match miss {
        Miss::NotFound => Reason::NoRoute.into(),
        Miss::MethodNotAllowed(methods) => {
            let allow = plan.router.methods(methods).map(str::to_owned).collect();
            Answer::Refused(Refused { allow, status: 405, reason: Reason::MethodNotAllowed })
        }
    })?;
    let Some(route) = plan.route(id) else { return Err(Reason::Internal.into()) };
    explanation.route = Some(route);
    let values = (0..).map_while(|at| exchange.captures.get(at));
    explanation.captures = (plan::capture_names(&route.path).into_iter().zip(values))
        .map(|(name, range)| (name, text(exchange.path().get(range).unwrap_or_default())))
        .collect();
    meet(plan, &states, &route.policies, exchange, explanation)?;
    let limit = match route.body {
        Some(BodyLimit::Bytes(bytes)) => Some(bytes),
        Some(BodyLimit::Unlimited) => None,
        None => listener.limits.body,
    };
    if let (Framing::Length(length), Some(limit)) = (exchange.head.framing, limit)
        && length > limit
    {
        return Err(Reason::BodyTooLarge.into());
    }
    Ok(match &route.action {
        Action::Proxy(proxy) => Answer::Upstream(*proxy, asked_for(exchange)),
        Action::Redirect(redirect) => Answer::Redirect(redirect.status, render(&redirect.location, exchange)),
        Action::Respond(respond) => Answer::Respond(respond),
        Action::Health(route) => {
            let asked_for = health::asks_for(exchange, *route).map_err(|reason| {
                let allow = health::METHODS.iter().filter(|_| reason == Reason::MethodNotAllowed);
                let allow = allow.map(ToString::to_string).collect();
                Answer::Refused(Refused { allow, status: reason.status(), reason })
            })?;
            let is_history = asked_for == health::AsksFor::History;
            plan.aggregate(route.id).map_or(Reason::Internal.into(), |health| Answer::Health(health, is_history))
        }
    })
}

/// Has the request meet the policies of one chain. An error is the answer of one of them.
fn meet<'p>(
    plan: &'p Plan,
    states: &States,
    steps: &'p [PolicyStep],
    exchange: &mut Exchange,
    explanation: &mut Explanation<'p>,
) -> Result<(), Answer<'p>> {
    for step in steps {
        let before = asked_for(exchange);
        let Some(verdict) = flow::rehearse(step, states, exchange) else { return Err(Reason::Internal.into()) };
        let mut does = Vec::new();
        if !step.shadow {
            does.extend(edits(&exchange.edits, "request", exchange));
            let after = asked_for(exchange);
            if after != before {
                does.push(format!("request: the target is now {after}"));
            }
            does.extend(edits(&flow::rehearse_answer(step, states, exchange), "response", exchange));
        }
        does.extend(match verdict {
            Verdict::Continue => None,
            Verdict::Reply(reply) => Some(format!("answers {}", reply.status)),
            Verdict::Refuse(refusal) => Some(format!("refuses with {}", refusal.status())),
            Verdict::Wait => Some("makes it wait".to_owned()),
        });
        let name = plan.policies.get(step.id.0 as usize).map_or_else(String::new, ToString::to_string);
        explanation.steps.push(Step { name, kind: step.policy.type_name(), shadow: step.shadow, does });
        match verdict {
            _ if step.shadow => {}
            Verdict::Continue | Verdict::Wait => {}
            Verdict::Reply(reply) => {
                let fields = exchange.answer.last_policy().filter_map(|edit| match edit {
                    Edited::Put(name, value) => Some((text(name), text(value))),
                    Edited::Drop(_) | Edited::Rename(..) => None,
                });
                return Err(Answer::Policy(reply.status, fields.collect()));
            }
            Verdict::Refuse(refusal) => {
                let (reason, status) = (refusal.reason(), refusal.status());
                return Err(Answer::Refused(Refused { reason, status, allow: Vec::new() }));
            }
        }
    }
    Ok(())
}

/// What the last policy would do to a head; a field that is not there is not dropped.
fn edits(edits: &Edits, side: &str, exchange: &Exchange) -> Vec<String> {
    let bytes = exchange.head_bytes();
    let there = |name: &[u8]| -> Vec<String> {
        // Nobody knows the head of an answer that was not given.
        if side == "response" {
            return vec![text(name)];
        }
        let names = exchange.head.fields.iter().map(|field| field.name.of(bytes));
        names.filter(|there| there.eq_ignore_ascii_case(name)).map(text).collect()
    };
    let told = |edit: Edited<'_>| -> Vec<String> {
        match edit {
            Edited::Drop(name) => there(name).iter().map(|name| format!("{side}: drops {name}")).collect(),
            Edited::Rename(from, to) => {
                there(from).iter().map(|from| format!("{side}: renames {from} to {}", text(to))).collect()
            }
            Edited::Put(name, value) => vec![format!("{side}: writes {}: {}", text(name), text(value))],
        }
    };
    // In an answer, what is set anew is written below.
    let is_set = |name: &[u8]| {
        let mut edits = edits.last_policy();
        side == "response" && edits.any(|edit| matches!(edit, Edited::Put(put, _) if put.eq_ignore_ascii_case(name)))
    };
    let tells = |edit: &Edited<'_>| !matches!(edit, Edited::Drop(name) if is_set(name));
    edits.last_policy().filter(tells).flat_map(told).collect()
}

/// What the service is asked for.
fn asked_for(exchange: &Exchange) -> String {
    if !exchange.rewritten.is_empty() {
        return text(&exchange.rewritten);
    }
    match exchange.query() {
        Some(query) => format!("{}?{}", text(exchange.path()), text(query)),
        None => text(exchange.path()),
    }
}

fn render(template: &Template, exchange: &Exchange) -> String {
    let mut value = Vec::new();
    template.render(exchange, &mut value);
    text(&value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn why_lost(plan: &Plan, route: RouteId, why: Lost) -> String {
    match (why, plan.router.predicate(route, why)) {
        (_, Some(predicate)) => format!("no {predicate}"),
        (Lost::Host, _) => "its hosts do not match".to_owned(),
        (Lost::Path, _) => "its path does not match".to_owned(),
        (Lost::Method, _) => "its methods do not match".to_owned(),
        (Lost::LessSpecific, _) => "it would match, but the chosen route is more specific".to_owned(),
        (Lost::Header(_) | Lost::Query(_), None) => "a header or query test does not hold".to_owned(),
    }
}

/// The listener of that name; else the one with the port of the URL; else the first.
fn listener<'p>(plan: &'p Plan, asked: &Asked, url: &Url<'_>) -> Result<&'p Listener, String> {
    if let Some(name) = &asked.listener {
        return plan.listeners.iter().find(|listener| *listener.name == **name).ok_or_else(|| {
            let names: Vec<&str> = plan.listeners.iter().map(|listener| &*listener.name).collect();
            format!("there is no listener `{name}`; there are: {}", names.join(", "))
        });
    }
    let port = url.authority.and_then(|authority| authority.rsplit_once(':')?.1.parse::<u16>().ok());
    let has_port = |listener: &&Listener| {
        listener.addresses.iter().any(|address| address.socket_addr().map(|address| address.port()) == port)
    };
    plan.listeners.iter().find(has_port).or(plan.listeners.first()).ok_or("the config has no listener".to_owned())
}

/// A URL as a client takes it apart.
struct Url<'a> {
    authority: Option<&'a str>,
    target: &'a str,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str, method: &str) -> Result<Self, String> {
        // A client keeps the fragment to itself (RFC 9110 section 4.2.5).
        let url = url.split('#').next().unwrap_or_default();
        let absolute = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        match absolute {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
                Ok(Self { authority: Some(authority), target: if target.is_empty() { "/" } else { target } })
            }
            None if url.starts_with('/') || url.starts_with('*') || method == "CONNECT" => {
                Ok(Self { authority: None, target: url })
            }
            None => Err(format!("`{url}` is neither `http://HOST/PATH` nor a path that begins with `/`")),
        }
    }
}

/// The head that a client would send.
fn head(asked: &Asked, url: &Url<'_>) -> Result<Vec<u8>, String> {
    let slash = if url.target.starts_with('?') { "/" } else { "" };
    let mut lines = vec![format!("{} {slash}{} HTTP/1.1", asked.method, url.target)];
    if !asked.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let host = if asked.method == "CONNECT" { url.target } else { url.authority.unwrap_or("localhost") };
        lines.push(format!("Host: {host}"));
    }
    lines.extend(asked.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if lines.iter().any(|line| line.contains(['\r', '\n'])) {
        return Err("a line break cannot be part of a method, a URL or a header field".to_owned());
    }
    Ok((lines.join("\r\n") + "\r\n\r\n").into_bytes())
}
