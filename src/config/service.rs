//! `[service.NAME]`.

mod health;

pub use health::{AggregateCheckSection, AggregateSection, TargetSection};

use super::Config;
use super::kind::Kind::{Number, Numbers, OneOf};
use super::kind::TEMPLATE;
use super::policy::check_template;
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Read, Section, Spanned, key, section};
use super::respond;
use super::tree::{Table, Value};
use super::values::{integer, one_of, string};
use crate::plan::Respond;
use std::sync::Arc;

const TYPE: Key = key("type", OneOf(&["health", "redirect", "respond"]), Required);
/// The sections of the types.
pub(super) const TYPES: &[(&str, &Section)] =
    &[("health", &health::SECTION), ("redirect", &REDIRECT), ("respond", &RESPOND)];

/// For a table whose type is not known.
const ANY: Section = section(
    "[service.NAME]",
    &[
        TYPE,
        key("status", Number("number", 200, 599), Words("as the type says")),
        key("location", TEMPLATE, Required),
        respond::BODY,
        respond::CONTENT_TYPE,
        respond::HEADERS,
    ],
);

const REDIRECT: Section = section(
    "[service.NAME] of type redirect",
    &[TYPE, key("status", Numbers(&[301, 302, 303, 307, 308]), Is("308")), key("location", TEMPLATE, Required)],
);

const RESPOND: Section = section(
    "[service.NAME] of type respond",
    &[TYPE, respond::STATUS, respond::BODY, respond::CONTENT_TYPE, respond::HEADERS],
);

/// A service, as the config has it.
#[derive(Clone, Debug)]
pub struct ServiceSection {
    /// Its name.
    pub name: Spanned<String>,
    /// What it does; nothing where that could not be read.
    pub kind: Option<ServiceKind>,
}

/// What a service does.
#[derive(Clone, Debug)]
pub enum ServiceKind {
    /// `type = "health"`.
    Health(AggregateSection),
    /// `type = "redirect"`.
    Redirect {
        /// A status of RFC 9110 section 15.4 that carries a location.
        status: u16,
        /// A template.
        location: Spanned<String>,
    },
    /// `type = "respond"`.
    Respond(Arc<Respond>),
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    for (name, table) in root.named_tables("service") {
        let path = format!("service.{}", name.value);
        config.services.push(read(name, table, root, &path));
    }
}

/// Reads `table`, which is a service of this name.
fn read(name: Spanned<String>, table: &Table, from: &Fields<'_>, path: &str) -> ServiceSection {
    let of = |section| Fields::new(table, path, name.span.clone(), section, from.diags);
    let kind = match table.get("type").and_then(Value::as_str) {
        Some("health") => Some(ServiceKind::Health(health::read(&of(&health::SECTION)))),
        Some("redirect") => redirect(&of(&REDIRECT)),
        Some("respond") => Some(ServiceKind::Respond(Arc::new(respond::read(&of(&RESPOND))))),
        _ => {
            of(&ANY).required("type", one_of(&[("health", ()), ("redirect", ()), ("respond", ())]));
            None
        }
    };
    ServiceSection { name, kind }
}

fn redirect(fields: &Fields<'_>) -> Option<ServiceKind> {
    let mut status = 308;
    fields.set("status", &mut status, redirect_status);
    fields.must_have("location");
    Some(ServiceKind::Redirect { status, location: location(fields)? })
}

/// The status of a redirect.
pub(super) fn redirect_status(value: &Value) -> Read<u16> {
    let status = integer(100..=599)(value)?;
    if [301, 302, 303, 307, 308].contains(&status) {
        return Ok(status);
    }
    Err(Problem::new(format!("{status} is no redirect; 301, 302, 303, 307 or 308 is wanted")))
}

/// Where a redirect leads, where that is given: a template.
pub(super) fn location(fields: &Fields<'_>) -> Option<Spanned<String>> {
    let location = fields.get("location", string)?;
    if location.value.is_empty() {
        fields.complain("location", location.span.clone(), Problem::new("a location is wanted, not an empty string"));
    }
    check_template(fields, "location", &location);
    Some(location)
}
