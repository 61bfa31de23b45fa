//! `health`, `outlier` and `breaker` of `[upstream.NAME]`.

use super::kind::Kind::{Duration, Either, List, Number, OneOf, Ratio, Text};
use super::kind::{Kind, NAME, STRING};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Key, Problem, Read, Section, Spanned, key, section};
use super::tree::Value;
use super::values::{duration, host_and_maybe_port, integer, name, one_of, or_off, ratio, string};
use crate::plan::{Breaker, Check, Health, Outlier};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time;

/// A path and query as a request line has it.
pub(super) const PATH: Kind = Text("path", r"^/[\x21-\x7e]*$");
const STATUSES: Kind =
    Either(&[Number("number", 100, 599), Text("range of statuses", "^[1-5][0-9]{2}-[1-5][0-9]{2}$")]);
const OFF: Kind = OneOf(&["off"]);

pub(super) const CHECK_HOST: Key = key("host", super::kind::HOST, Words("the endpoint as written"));
pub(super) const CHECK_STATUS: Key = key("status", List("numbers or ranges", &STATUSES), Is("[\"200-299\"]"));
pub(super) const CHECK_BODY: Key = key("body", STRING, Words("any"));

pub(super) const HEALTH: Section = section(
    "[upstream.NAME.health]",
    &[
        key("type", OneOf(&["http", "tcp", "grpc"]), Is("\"http\"")),
        key("service", STRING, Words("the server as a whole")),
        key("path", PATH, Is("\"/\"")),
        CHECK_HOST,
        CHECK_STATUS,
        CHECK_BODY,
        key("port", Number("number", 1, 65_535), Words("the endpoint's own")),
        key("interval", Duration, Is("\"5s\"")),
        key("jitter", Ratio, Is("0.1")),
        key("timeout", Duration, Is("\"1s\"")),
        key("unhealthy_after", Number("number", 1, 1_000), Is("3")),
        key("healthy_after", Number("number", 1, 1_000), Is("2")),
        key("start", OneOf(&["healthy", "unhealthy"]), Is("\"healthy\"")),
    ],
);

const MIN_REQUESTS: Key = key("min_requests", Number("number", 1, 5_000), Is("20"));
const WINDOW: Key = key("window", Duration, Is("\"10s\""));
const FAILURE_RATIO: Key = key("failure_ratio", Either(&[Ratio, OFF]), Is("0.5"));

pub(super) const OUTLIER: Section = section(
    "[upstream.NAME.outlier]",
    &[
        key("consecutive_failures", Either(&[Number("number", 1, 1_000_000), OFF]), Is("5")),
        FAILURE_RATIO,
        key("slow_factor", Either(&[Number("number", 2, 1_000), OFF]), Is("\"off\"")),
        WINDOW,
        MIN_REQUESTS,
        key("eject_for", Duration, Is("\"30s\"")),
        key("max_eject_for", Duration, Is("\"5m\"")),
        key("max_ejected", Ratio, Is("0.5")),
    ],
);

pub(super) const BREAKER: Section = section(
    "[upstream.NAME.breaker]",
    &[
        key("of", OneOf(&["endpoints", "upstream", "both"]), Is("\"endpoints\"")),
        key("consecutive_failures", Either(&[Number("number", 1, 1_000_000), OFF]), Is("\"off\"")),
        FAILURE_RATIO,
        key("slow", Either(&[Duration, OFF]), Is("\"off\"")),
        key("slow_ratio", Ratio, Is("0.5")),
        WINDOW,
        MIN_REQUESTS,
        key("open_for", Duration, Is("\"30s\"")),
        key("max_open_for", Duration, Is("\"5m\"")),
        key("jitter", Ratio, Is("0.1")),
        key("probes", Number("number", 1, 200), Is("3")),
        key("fallback", NAME, Words("none")),
    ],
);

/// How endpoints are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Http,
    Tcp,
    Grpc,
}

/// Of an upstream with which HTTP/2 is spoken, or not.
pub(super) fn health(fields: &Fields<'_>, speaks_http2: bool) -> Option<Health> {
    let own = fields.table("health", &HEALTH)?;
    let mut health = Health {
        check: Check::Tcp,
        port: own.get("port", integer(1..=65_535)).map(|port| port.value),
        interval: time::Duration::from_secs(5),
        jitter: 100_000,
        timeout: time::Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
        starts_healthy: true,
    };
    let mut kind = How::Http;
    own.set("type", &mut kind, one_of(&[("http", How::Http), ("tcp", How::Tcp), ("grpc", How::Grpc)]));
    let check = http_check(&own);
    let (others, problem): (&[&str], _) = match kind {
        How::Http => (&["service"], "a check of type http asks for no service"),
        How::Tcp => (&["path", "host", "status", "body", "service"], "a check of type tcp asks for nothing"),
        How::Grpc => (&["path", "status", "body"], "a check of type grpc calls one method, and knows its answers"),
    };
    for key in others.iter().filter(|key| own.has(key)) {
        own.complain(key, own.key_span(key), Problem::new(problem));
    }
    health.check = match (kind, check) {
        (How::Tcp, _) => Check::Tcp,
        (How::Grpc, Check::Http { host, .. }) => {
            let service = own.get("service", string).map_or_else(|| "".into(), |service| service.value.into());
            Check::Grpc { service, host }
        }
        (_, check) => check,
    };
    if kind == How::Grpc && !speaks_http2 {
        let problem = Problem::new("gRPC needs HTTP/2").with_help("give the upstream `protocol = \"h2\"`");
        own.complain("type", own.key_span("type"), problem);
    }
    own.set("interval", &mut health.interval, duration);
    own.set("jitter", &mut health.jitter, ratio);
    own.set("timeout", &mut health.timeout, duration);
    own.set("unhealthy_after", &mut health.unhealthy_after, integer(1..=1_000));
    own.set("healthy_after", &mut health.healthy_after, integer(1..=1_000));
    own.set("start", &mut health.starts_healthy, one_of(&[("healthy", true), ("unhealthy", false)]));
    Some(health)
}

/// How a GET is made, and what its answer must be, as the keys `path`, `host`, `status` and `body` say.
pub(super) fn http_check(own: &Fields<'_>) -> Check {
    let (mut path, mut status): (Arc<str>, Box<[_]>) = ("/".into(), [200..=299].into());
    own.set("path", &mut path, target);
    let host = own.get("host", host_and_maybe_port).map(|host| host.value.into());
    if let Some(list) = own.list("status", statuses) {
        status = list.into_iter().map(|range| range.value).collect();
    }
    if own.get("status", |value| Ok(value.as_list().is_empty())).is_some_and(|is_empty| is_empty.value) {
        own.complain("status", own.key_span("status"), Problem::new("at least one is wanted"));
    }
    let body = own.get("body", string).map(|body| body.value.into());
    Check::Http { path, host, status, body }
}

/// What a request line may have as its target.
fn target(value: &Value) -> Read<Arc<str>> {
    let text = string(value)?;
    let is_target = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_target {
        Ok(text.into())
    } else {
        Err(Problem::new("a path that begins with \"/\" and has no blanks is wanted"))
    }
}

/// `200`, or `"200-299"`.
fn statuses(value: &Value) -> Read<RangeInclusive<u16>> {
    const HELP: &str = "a status from 100 to 599, or a range of them such as \"200-299\"";
    let Some(text) = value.as_str() else {
        return integer(100..=599)(value).map(|status: u16| status..=status).map_err(|problem| problem.with_help(HELP));
    };
    let number = |text: &str| {
        let is_status = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| is_status && (100..=599).contains(status))
    };
    let range = text.split_once('-').and_then(|(least, most)| Some(number(least)?..=number(most)?));
    let range = range.filter(|range| range.start() <= range.end());
    range.ok_or_else(|| Problem::new(format!("\"{text}\" is no range of statuses")).with_help(HELP))
}

pub(super) fn outlier(fields: &Fields<'_>) -> Option<Outlier> {
    let own = fields.table("outlier", &OUTLIER)?;
    let mut outlier = Outlier::default();
    own.set("consecutive_failures", &mut outlier.consecutive_failures, or_off(integer(1..=1_000_000)));
    own.set("failure_ratio", &mut outlier.failure_ratio, or_off(ratio));
    own.set("slow_factor", &mut outlier.slow_factor, or_off(integer(2..=1_000)));
    own.set("window", &mut outlier.window, duration);
    own.set("min_requests", &mut outlier.min_requests, integer(1..=5_000));
    own.set("eject_for", &mut outlier.eject_for, duration);
    own.set("max_eject_for", &mut outlier.max_eject_for, duration);
    own.set("max_ejected", &mut outlier.max_ejected, ratio);
    longest(&own, "max_eject_for", &mut outlier.max_eject_for, "eject_for", outlier.eject_for);
    Some(outlier)
}

/// What a breaker says; its fallback is looked up where all upstreams are known.
pub(super) fn breaker(fields: &Fields<'_>) -> Option<(Breaker, Option<Spanned<String>>)> {
    let own = fields.table("breaker", &BREAKER)?;
    let mut breaker = Breaker::default();
    let mut of = (true, false);
    own.set(
        "of",
        &mut of,
        one_of(&[("endpoints", (true, false)), ("upstream", (false, true)), ("both", (true, true))]),
    );
    (breaker.of_endpoints, breaker.of_upstream) = of;
    own.set("consecutive_failures", &mut breaker.consecutive_failures, or_off(integer(1..=1_000_000)));
    own.set("failure_ratio", &mut breaker.failure_ratio, or_off(ratio));
    own.set("slow", &mut breaker.slow, or_off(duration));
    own.set("slow_ratio", &mut breaker.slow_ratio, ratio);
    own.set("window", &mut breaker.window, duration);
    own.set("min_requests", &mut breaker.min_requests, integer(1..=5_000));
    own.set("open_for", &mut breaker.open_for, duration);
    own.set("max_open_for", &mut breaker.max_open_for, duration);
    own.set("jitter", &mut breaker.jitter, ratio);
    own.set("probes", &mut breaker.probes, integer(1..=200));
    longest(&own, "max_open_for", &mut breaker.max_open_for, "open_for", breaker.open_for);
    Some((breaker, own.get("fallback", name)))
}

/// The longest time is no shorter than the first one, wherever that is said.
fn longest(fields: &Fields<'_>, key: &str, most: &mut time::Duration, first_key: &str, first: time::Duration) {
    if *most < first && fields.has(key) && fields.has(first_key) {
        let problem = Problem::new(format!("`{key}` is shorter than `{first_key}`"));
        fields.complain(key, fields.key_span(key), problem);
    } else if !fields.has(key) {
        *most = (*most).max(first);
    }
}
