//! `[[route]]`.

use super::Config;
use super::balance::{METADATA, metadata};
use super::deadline::{DEADLINE, deadline};
use super::grpc::{GRPC, grpc};
use super::kind::Kind::{Duration, Either, Flag, List, Map, OneOf, Table, Text};
use super::kind::{Kind, METHOD, NAME, SIZE_OR_UNLIMITED, STRING};
use super::mirror::{MIRROR, MirrorSection, mirror};
use super::policy::{self, PolicyRef};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::retry;
use super::tree::Value;
use super::values::{boolean, duration, is_token, method, name, one_of, size_or_unlimited, string};
use super::websocket::{WEBSOCKET, websocket};
use crate::plan::{BodyLimit, Deadline, Grpc, HostPattern, Predicate, Priority, RouteRetry, Subset, Test, Websocket};
use std::ops::Range;
use std::time;

pub(super) const SECTION: Section = section(
    "[[route]]",
    &[
        key("name", NAME, Required),
        key("hosts", List("hosts", &HOST), Words("any host")),
        key("path", Text("path template", "^/"), Required),
        key("methods", List("methods", &METHOD), Words("any method")),
        key("headers", Map("tests", &PREDICATE), Is("{}")),
        key("query", Map("tests", &PREDICATE), Is("{}")),
        key("policies", policy::REFERENCES, Is("[]")),
        key("upstream", NAME, Words("a `service` instead")),
        key("subset", METADATA, Words("every endpoint")),
        key("service", NAME, Words("an `upstream` instead")),
        key("timeout", Table(&TIMEOUT), Words("that of the upstream")),
        key("deadline", Table(&DEADLINE), Words("that of the listener")),
        key("retry", Table(&retry::OF_ROUTE), Words("that of the upstream")),
        key("mirror", Table(&MIRROR), Words("nobody")),
        key("grpc", Table(&GRPC), Words("as its keys say")),
        key("websocket", Table(&WEBSOCKET), Words("as its keys say")),
        key("priority", OneOf(&["low", "normal", "high", "critical"]), Is("\"normal\"")),
        key("body", SIZE_OR_UNLIMITED, Words("`body` of the listener's limits")),
        key("access_log", Either(&[Flag(true), Flag(false)]), Is("true")),
        key("early_data", Either(&[Flag(true), Flag(false)]), Is("false")),
    ],
);

const HOST: Kind = Text("host", r"^(\*\.)?[^*/ ]+$");

/// The test of a header field or query parameter.
pub(super) const PREDICATE: Kind = Either(&[STRING, Flag(true), Table(&TEST)]);

const TIMEOUT: Section = section("[route.timeout]", &[key("total", Duration, Words("that of the upstream"))]);

const TEST: Section = section("Tests of headers and query", &[key("prefix", STRING, Required)]);

/// A route, as the config has it.
#[derive(Clone, Debug)]
pub struct RouteSection {
    /// Where it begins.
    pub span: Range<usize>,
    /// Its name.
    pub name: Option<Spanned<String>>,
    /// Any host when empty.
    pub hosts: Vec<Spanned<HostPattern>>,
    /// A path template, not checked yet.
    pub path: Option<Spanned<String>>,
    /// Any method when empty.
    pub methods: Vec<Spanned<String>>,
    pub(crate) headers: Vec<Predicate>,
    pub(crate) query: Vec<Predicate>,
    /// In the order they apply.
    pub policies: Vec<PolicyRef>,
    /// What answers.
    pub target: Option<Target>,
    /// Which endpoints of the upstream: see [`crate::plan::Subset`].
    pub subset: Spanned<Subset>,
    /// See [`crate::plan::Route::total_timeout`].
    pub total_timeout: Option<time::Duration>,
    /// See [`crate::plan::Route::deadline`].
    pub deadline: Option<Deadline>,
    /// See [`crate::plan::Proxy::retry`].
    pub retry: RouteRetry,
    /// See [`crate::plan::Route::mirror`].
    pub mirror: Option<MirrorSection>,
    /// See [`crate::plan::Route::grpc`].
    pub grpc: Spanned<Grpc>,
    /// See [`crate::plan::Route::websocket`].
    pub websocket: Websocket,
    /// See [`crate::plan::Route::priority`].
    pub priority: Priority,
    /// See [`crate::plan::Route::body`].
    pub body: Option<BodyLimit>,
    /// See [`crate::plan::Route::access_log`].
    pub access_log: bool,
    /// See [`crate::plan::Route::early_data`].
    pub early_data: Spanned<bool>,
}

/// What answers a route.
#[derive(Clone, Debug)]
pub enum Target {
    /// The upstream of this name.
    Upstream(Spanned<String>),
    /// The service of this name.
    Service(Spanned<String>),
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    config.routes = root.tables("route", &SECTION).iter().map(read).collect();
}

fn read(fields: &Fields<'_>) -> RouteSection {
    let hosts = fields.list("hosts", |value| HostPattern::parse(&string(value)?).map_err(Problem::new));
    let methods = fields.list("methods", method);
    for (key, is_empty) in
        [("hosts", hosts.as_ref().is_some_and(Vec::is_empty)), ("methods", methods.as_ref().is_some_and(Vec::is_empty))]
    {
        let is_empty_list = |value: &Value| Ok(value.as_array().is_some_and(<[Value]>::is_empty));
        if is_empty && fields.get(key, is_empty_list).is_some_and(|empty| empty.value) {
            let problem = Problem::new("an empty list matches nothing").with_help("leave the key out to match any");
            fields.complain(key, fields.key_span(key), problem);
        }
    }
    let mut body = None;
    fields.set("body", &mut body, |value| {
        size_or_unlimited(value).map(|size| Some(size.map_or(BodyLimit::Unlimited, BodyLimit::Bytes)))
    });
    const PRIORITIES: &[(&str, Priority)] = &[
        ("low", Priority::Low),
        ("normal", Priority::Normal),
        ("high", Priority::High),
        ("critical", Priority::Critical),
    ];
    let mut priority = Priority::Normal;
    fields.set("priority", &mut priority, one_of(PRIORITIES));
    let mut access_log = true;
    fields.set("access_log", &mut access_log, boolean);
    let mut early_data = false;
    fields.set("early_data", &mut early_data, boolean);
    let total = fields.table("timeout", &TIMEOUT).and_then(|fields| fields.get("total", duration));
    RouteSection {
        span: fields.span.clone(),
        name: fields.required("name", name),
        hosts: hosts.unwrap_or_default(),
        path: fields.required("path", string),
        methods: methods.unwrap_or_default(),
        headers: predicates(fields, "headers"),
        query: predicates(fields, "query"),
        policies: policy::references(fields),
        target: target(fields),
        subset: subset(fields),
        total_timeout: total.map(|total| total.value),
        deadline: deadline_of(fields),
        retry: retry_of(fields),
        mirror: mirror_of(fields),
        grpc: grpc_of(fields),
        websocket: websocket_of(fields),
        priority,
        body,
        access_log,
        early_data: Spanned::new(early_data, fields.key_span("early_data")),
    }
}

fn subset(fields: &Fields<'_>) -> Spanned<Subset> {
    let subset = metadata(fields, "subset");
    if fields.has("subset") && !fields.has("upstream") {
        let problem = Problem::new("only a route with an `upstream` has endpoints to choose from");
        fields.complain("subset", fields.key_span("subset"), problem);
    }
    Spanned::new(subset, fields.key_span("subset"))
}

fn retry_of(fields: &Fields<'_>) -> RouteRetry {
    if fields.has("retry") && !fields.has("upstream") {
        let problem = Problem::new("only what a route with an `upstream` asks is asked again");
        fields.complain("retry", fields.key_span("retry"), problem);
    }
    fields.table("retry", &retry::OF_ROUTE).map(|fields| retry::of_route(&fields)).unwrap_or_default()
}

fn mirror_of(fields: &Fields<'_>) -> Option<MirrorSection> {
    if fields.has("mirror") && !fields.has("upstream") {
        let problem = Problem::new("only what a route with an `upstream` asks is asked elsewhere as well");
        fields.complain("mirror", fields.key_span("mirror"), problem);
    }
    fields.table("mirror", &MIRROR).and_then(|fields| mirror(&fields))
}

fn grpc_of(fields: &Fields<'_>) -> Spanned<Grpc> {
    if fields.has("grpc") && !fields.has("upstream") {
        let problem = Problem::new("only a route with an `upstream` carries calls of gRPC");
        fields.complain("grpc", fields.key_span("grpc"), problem);
    }
    let own = fields.table("grpc", &GRPC);
    let span = own.as_ref().map_or_else(|| fields.key_span("grpc"), |own| own.key_span("web"));
    Spanned::new(own.map(|own| grpc(&own)).unwrap_or_default(), span)
}

fn websocket_of(fields: &Fields<'_>) -> Websocket {
    if fields.has("websocket") && !fields.has("upstream") {
        let problem = Problem::new("only a route with an `upstream` carries WebSocket connections");
        fields.complain("websocket", fields.key_span("websocket"), problem);
    }
    fields.table("websocket", &WEBSOCKET).map(|fields| websocket(&fields)).unwrap_or_default()
}

fn deadline_of(fields: &Fields<'_>) -> Option<Deadline> {
    if fields.has("deadline") && !fields.has("upstream") {
        let problem = Problem::new("only a route with an `upstream` has somebody to wait for");
        fields.complain("deadline", fields.key_span("deadline"), problem);
    }
    fields.table("deadline", &DEADLINE).map(|fields| deadline(&fields))
}

fn target(fields: &Fields<'_>) -> Option<Target> {
    let upstream = fields.get("upstream", string);
    let service = fields.get("service", string);
    match (fields.has("upstream"), fields.has("service")) {
        (false, false) => {
            let message = "this route has neither `upstream` nor `service`";
            fields.diags.push(super::Diagnostic::error(fields.span.clone(), message).help("give it one of them"));
        }
        (true, true) => {
            let message = "a route has either `upstream` or `service`";
            let diagnostic = super::Diagnostic::error(fields.key_span("service"), message);
            fields.diags.push(diagnostic.also(fields.key_span("upstream"), "and this"));
        }
        _ => {}
    }
    upstream.map(Target::Upstream).or(service.map(Target::Service))
}

/// The tests of a table of header fields or query parameters.
pub(super) fn predicates(fields: &Fields<'_>, key: &str) -> Vec<Predicate> {
    let mut predicates = Vec::new();
    for (name, value) in fields.entries(key) {
        if key == "headers" && !is_token(&name.value) {
            let problem = Problem::new(format!("\"{}\" is no field name", name.value));
            fields.complain(key, name.span.clone(), problem);
        }
        let test = match value.as_table() {
            Some(table) => {
                let path = fields.path_of(&format!("{key}.{}", name.value));
                let own = Fields::new(table, &path, name.span.clone(), &TEST, fields.diags);
                own.required("prefix", string).map(|prefix| Ok(Test::Prefix(prefix.value.into())))
            }
            None => Some(test(value)),
        };
        let name_in_form = if key == "headers" { name.value.to_ascii_lowercase() } else { name.value };
        match test {
            Some(Ok(test)) => predicates.push(Predicate { name: name_in_form.into(), test }),
            Some(Err(problem)) => fields.complain(key, value.span(), problem),
            None => {}
        }
    }
    predicates
}

fn test(value: &Value) -> Read<Test> {
    if let Some(text) = value.as_str() {
        return Ok(Test::Exact(text.into()));
    }
    match boolean(value) {
        Ok(true) => Ok(Test::Present),
        _ => Err(Problem::new("a string, true or { prefix = \"...\" } is wanted")),
    }
}
