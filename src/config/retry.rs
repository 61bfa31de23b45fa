//! `retry` of `[upstream.NAME]` and of `[[route]]`.

use super::kind::Kind::{Duration, Either, Flag, List, Number, OneOf, Ratio, Size, Table, Text};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{boolean, duration, integer, one_of, ratio, size};
use crate::plan::{Hedge, HedgeAfter, Retry, RetryOn, RouteRetry};
use ringway_proto::grpc::Code;
use std::time;

const BODY_MAX: u64 = 16 << 20;
const BODIES_MAX: u64 = 64 << 30;
/// Codes of gRPC after which another try may do better.
const CODES: &[&str] =
    &["aborted", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable", "unknown"];
const STATUS: super::kind::Kind = Text("status", "^[45][0-9][0-9]$");

pub(super) const RETRY: Section = section(
    "[upstream.NAME.retry]",
    &[
        key("attempts", Number("number", 1, 10), Is("2")),
        key(
            "on",
            List(
                "\"connect\", \"reset\", \"timeout\", \"5xx\", statuses, codes of gRPC",
                &Either(&[OneOf(&["connect", "reset", "timeout", "5xx"]), STATUS, OneOf(CODES)]),
            ),
            Is("[\"connect\", \"reset\"]"),
        ),
        key("backoff", Either(&[Duration, OneOf(&["off"])]), Is("\"25ms\"")),
        key("backoff_max", Duration, Is("\"1s\"")),
        key("per_try", Duration, Words("the timeouts of the upstream")),
        key("retry_after", Duration, Is("\"1s\"")),
        key("non_idempotent", FLAG, Is("false")),
        key("body", Size(0, BODY_MAX), Is("\"16KiB\"")),
        key("bodies", Size(0, BODIES_MAX), Is("\"4MiB\"")),
        key("budget", Either(&[Ratio, OneOf(&["off"])]), Is("0.5")),
        key("budget_floor", Number("number", 0, 1_000_000), Is("3")),
        key("budget_window", Duration, Is("\"10s\"")),
        key("hedge", Table(&HEDGE), Words("none")),
    ],
);

pub(super) const HEDGE: Section = section(
    "[upstream.NAME.retry.hedge]",
    &[
        key("after", Either(&[PERCENTILE, Duration]), Is("\"p95\"")),
        key("at_least", Duration, Is("\"1ms\"")),
        key("samples", Number("number", 10, 1_000), Is("100")),
        key("max", Number("number", 1, 3), Is("1")),
        key("budget", Ratio, Is("0.1")),
    ],
);

const PERCENTILE: super::kind::Kind = Text("percentile", r"^p[0-9]{1,2}(\.[0-9])?$");

const FLAG: super::kind::Kind = Either(&[Flag(true), Flag(false)]);

/// What a route may say otherwise.
pub(super) const OF_ROUTE: Section = section(
    "[route.retry]",
    &[
        key("attempts", Number("number", 1, 10), Words("that of the upstream")),
        key("non_idempotent", FLAG, Words("that of the upstream")),
        key("hedge", FLAG, Words("as the upstream has it")),
    ],
);

/// Reads `retry` of an upstream.
pub(super) fn retry(fields: &Fields<'_>) -> Retry {
    let mut retry = Retry::default();
    fields.set("attempts", &mut retry.attempts, integer(1..=10));
    if let Some(all) = fields.list("on", on) {
        retry.on = RetryOn::default();
        for one in all {
            one.value.add_to(&mut retry.on);
        }
    }
    fields.set("backoff", &mut retry.backoff, or_off(duration));
    fields.set("backoff_max", &mut retry.backoff_max, duration);
    fields.set("per_try", &mut retry.per_try, |value| duration(value).map(Some));
    fields.set("retry_after", &mut retry.retry_after, duration);
    fields.set("non_idempotent", &mut retry.non_idempotent, boolean);
    fields.set("body", &mut retry.body, size(0..=BODY_MAX));
    fields.set("bodies", &mut retry.bodies, size(0..=BODIES_MAX));
    fields.set("budget", &mut retry.budget, or_off(ratio));
    fields.set("budget_floor", &mut retry.budget_floor, integer(0..=1_000_000));
    // A window is counted in ten parts.
    fields.set("budget_window", &mut retry.budget_window, duration);
    retry.budget_window = retry.budget_window.max(time::Duration::from_nanos(10));
    retry.hedge = fields.table("hedge", &HEDGE).map(|fields| hedge(&fields));
    retry
}

fn hedge(fields: &Fields<'_>) -> Hedge {
    let mut hedge = Hedge::default();
    fields.set("after", &mut hedge.after, after);
    fields.set("at_least", &mut hedge.at_least, duration);
    fields.set("samples", &mut hedge.samples, integer(10..=1_000));
    fields.set("max", &mut hedge.max, integer(1..=3));
    fields.set("budget", &mut hedge.budget, ratio);
    hedge
}

fn after(value: &Value) -> Read<HedgeAfter> {
    const HELP: &str = "or a percentile of the response times from \"p1\" to \"p99.9\"";
    let Some(percent) = value.as_str().and_then(|text| text.strip_prefix('p')) else {
        return duration(value).map(HedgeAfter::Time).map_err(|problem| problem.or_help(HELP));
    };
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let is_number =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let part = format!("{whole}{tenth}").parse().ok().filter(|part| *part > 0);
    match part {
        Some(part) if is_number(whole, 2) && is_number(tenth, 1) => Ok(HedgeAfter::Quantile(part)),
        _ => Err(Problem::new(format!("\"p{percent}\" is no percentile")).with_help("such as \"p95\" or \"p99.9\"")),
    }
}

/// Reads `retry` of a route.
pub(super) fn of_route(fields: &Fields<'_>) -> RouteRetry {
    let mut retry = RouteRetry::default();
    fields.set("attempts", &mut retry.attempts, |value| integer(1..=10)(value).map(Some));
    fields.set("non_idempotent", &mut retry.non_idempotent, |value| boolean(value).map(Some));
    fields.set("hedge", &mut retry.hedge, |value| boolean(value).map(Some));
    retry
}

fn or_off<T>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Option<T>> {
    move |value| match value.as_str() {
        Some("off") => Ok(None),
        _ => read(value).map(Some).map_err(|problem| problem.or_help("or \"off\"")),
    }
}

#[derive(Clone, Copy)]
enum On {
    Connect,
    Reset,
    Timeout,
    AnyServerError,
    Status(u16),
    Code(Code),
}

impl On {
    fn add_to(self, on: &mut RetryOn) {
        match self {
            Self::Connect => on.connect = true,
            Self::Reset => on.reset = true,
            Self::Timeout => on.timeout = true,
            Self::AnyServerError => {
                for status in 500..600 {
                    on.statuses.add(status);
                }
            }
            Self::Code(code) => on.codes.add(code),
            Self::Status(status) => {
                on.statuses.add(status);
            }
        }
    }
}

fn on(value: &Value) -> Read<On> {
    const WORDS: &[(&str, On)] =
        &[("connect", On::Connect), ("reset", On::Reset), ("timeout", On::Timeout), ("5xx", On::AnyServerError)];
    let text = value.as_str().unwrap_or_default();
    match text.parse() {
        Ok(status) if (400..600).contains(&status) && text.len() == 3 => Ok(On::Status(status)),
        Ok(_) => Err(Problem::new(format!("{text} is no status from 400 to 599"))),
        Err(_) => {
            let code = Code::ALL.into_iter().find(|code| code.name() == text && CODES.contains(&text));
            let help = "or a status from 400 to 599, such as \"502\", or a code of gRPC, such as \"unavailable\"";
            code.map(On::Code).map_or_else(|| one_of(WORDS)(value).map_err(|problem| problem.or_help(help)), Ok)
        }
    }
}
