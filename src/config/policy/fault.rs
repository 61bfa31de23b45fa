//! `[policy.NAME]` of type fault.

use super::super::kind::Kind::{Duration, Map, Number, OneOf, Percentage, Table};
use super::super::reader::Otherwise::{Is, Required, Words};
use super::super::reader::{Fields, Section, key, section};
use super::super::report::Diagnostic;
use super::super::route::{PREDICATE, predicates};
use super::super::values::{duration, integer, one_of, percentage};
use super::{PolicyKeys, SHADOW, type_key};
use crate::plan::Predicate;
use std::time;

const DELAY: Section = section(
    "[policy.NAME.delay]",
    &[
        key("percentage", Percentage, Is("100")),
        key("time", Duration, Required),
        key("distribution", OneOf(&["fixed", "uniform", "exponential"]), Is("\"fixed\"")),
        key("max", Duration, Words("ten times `time`")),
    ],
);

const ABORT: Section = section(
    "[policy.NAME.abort]",
    &[key("percentage", Percentage, Is("100")), key("status", Number("number", 400, 599), Required)],
);

/// `type = "fault"`. A share is that of a million requests.
#[derive(Clone, Debug)]
pub(crate) struct FaultSection {
    /// All must hold.
    pub(crate) headers: Vec<Predicate>,
    /// How many are delayed, for how long.
    pub(crate) delay: Option<(u32, DelaySection)>,
    /// How many are refused, with which status.
    pub(crate) abort: Option<(u32, u16)>,
    /// Requests one core delays at once.
    pub(crate) max_active: u32,
}

/// How long a request is delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DelaySection {
    /// On average, before the cut.
    pub(crate) time: time::Duration,
    /// How delays lie about it.
    pub(crate) distribution: Distribution,
    /// At most: longer ones are cut.
    pub(crate) max: time::Duration,
}

/// How delays lie about their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// All alike.
    Fixed,
    /// From none to twice as much, each as likely.
    Uniform,
    /// As the times between independent events.
    Exponential,
}

impl PolicyKeys for FaultSection {
    const TYPE: &'static str = "fault";
    const KEYS: &'static Section = &section(
        "[policy.NAME] of type fault",
        &[
            type_key(&["fault"]),
            SHADOW,
            key("headers", Map("tests", &PREDICATE), Is("{}")),
            key("delay", Table(&DELAY), Words("none is delayed")),
            key("abort", Table(&ABORT), Words("none is refused")),
            key("max_active", Number("number", 1, 1_000_000), Is("100")),
        ],
    );

    fn read(fields: &Fields<'_>) -> Self {
        let mut max_active = 100;
        fields.set("max_active", &mut max_active, integer(1..=1_000_000));
        if !fields.has("delay") && !fields.has("abort") {
            let diagnostic = Diagnostic::error(fields.span.clone(), "this fault does nothing");
            fields.diags.push(diagnostic.help("give it `delay` or `abort`"));
        }
        Self {
            headers: predicates(fields, "headers"),
            delay: fields.table("delay", &DELAY).and_then(|fields| delay(&fields)),
            abort: fields.table("abort", &ABORT).and_then(|fields| {
                let share = share(&fields);
                Some((share, fields.required("status", integer(400..=599))?.value))
            }),
            max_active,
        }
    }
}

fn share(fields: &Fields<'_>) -> u32 {
    let mut share = 1_000_000;
    fields.set("percentage", &mut share, percentage);
    share
}

fn delay(fields: &Fields<'_>) -> Option<(u32, DelaySection)> {
    const DISTRIBUTIONS: &[(&str, Distribution)] = &[
        ("fixed", Distribution::Fixed),
        ("uniform", Distribution::Uniform),
        ("exponential", Distribution::Exponential),
    ];
    let share = share(fields);
    let mut distribution = Distribution::Fixed;
    fields.set("distribution", &mut distribution, one_of(DISTRIBUTIONS));
    let max = fields.get("max", duration);
    let time = fields.required("time", duration)?.value;
    let max = max.map_or(time.saturating_mul(10), |max| max.value);
    Some((share, DelaySection { time, distribution, max }))
}
