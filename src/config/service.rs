//! `[service.NAME]`.

use super::Config;
use super::kind::Kind::{Map, Number, Numbers, OneOf, Text};
use super::kind::{Kind, STRING, TEMPLATE};
use super::policy::{check_template, field_name};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Section, Spanned, key, section};
use super::tree::{Table, Value};
use super::values::{integer, one_of, string};

const TYPE: Key = key("type", OneOf(&["redirect", "respond"]), Required);
const BODY: Key = key("body", STRING, Is("\"\""));
const CONTENT_TYPE: Key = key("content_type", FIELD_VALUE, Is("\"text/plain; charset=utf-8\""));
const HEADERS: Key = key("headers", Map("strings", &FIELD_VALUE), Is("{}"));

const FIELD_VALUE: Kind = Text("string", r"^([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?$");

/// The sections of the types.
pub(super) const TYPES: &[(&str, &Section)] = &[("redirect", &REDIRECT), ("respond", &RESPOND)];

/// For a table whose type is not known.
const ANY: Section = section(
    "[service.NAME]",
    &[
        TYPE,
        key("status", Number("number", 200, 599), Words("as the type says")),
        key("location", TEMPLATE, Required),
        BODY,
        CONTENT_TYPE,
        HEADERS,
    ],
);

const REDIRECT: Section = section(
    "[service.NAME] of type redirect",
    &[TYPE, key("status", Numbers(&[301, 302, 303, 307, 308]), Is("308")), key("location", TEMPLATE, Required)],
);

const RESPOND: Section = section(
    "[service.NAME] of type respond",
    &[TYPE, key("status", Number("number", 200, 599), Is("200")), BODY, CONTENT_TYPE, HEADERS],
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
    /// `type = "redirect"`.
    Redirect {
        /// A status of RFC 9110 section 15.4 that carries a location.
        status: u16,
        /// A template.
        location: Spanned<String>,
    },
    /// `type = "respond"`.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Bytes as they go out.
        body: String,
        /// Sent where there is a body.
        content_type: String,
        /// Further fields, names in lower case.
        headers: Vec<(String, String)>,
    },
}

#[derive(Clone, Copy)]
enum Type {
    Redirect,
    Respond,
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
        Some("redirect") => redirect(&of(&REDIRECT)),
        Some("respond") => Some(respond(&of(&RESPOND))),
        _ => {
            of(&ANY).required("type", one_of(&[("redirect", Type::Redirect), ("respond", Type::Respond)]));
            None
        }
    };
    ServiceSection { name, kind }
}

fn redirect(fields: &Fields<'_>) -> Option<ServiceKind> {
    let mut status = 308;
    fields.set("status", &mut status, |value| {
        let status = integer(100..=599)(value)?;
        if [301, 302, 303, 307, 308].contains(&status) {
            return Ok(status);
        }
        Err(Problem::new(format!("{status} is no redirect; 301, 302, 303, 307 or 308 is wanted")))
    });
    let location = fields.required("location", string)?;
    if location.value.is_empty() {
        fields.complain("location", location.span.clone(), Problem::new("a location is wanted, not an empty string"));
    }
    check_template(fields, "location", &location);
    Some(ServiceKind::Redirect { status, location })
}

fn respond(fields: &Fields<'_>) -> ServiceKind {
    let (mut status, mut body, mut content_type) = (200, String::new(), "text/plain; charset=utf-8".to_owned());
    fields.set("status", &mut status, integer(200..=599));
    fields.set("body", &mut body, string);
    fields.set("content_type", &mut content_type, |value| string(value).and_then(field_value));
    // RFC 9110 sections 15.3.5 and 15.4.5: these have no content.
    if [204, 304].contains(&status) && !body.is_empty() {
        let problem = Problem::new(format!("a response with status {status} has no body"));
        fields.complain("body", fields.key_span("body"), problem);
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in fields.entries("headers") {
        let lower = match field_name(&name.value) {
            Ok(lower) if lower == "content-type" => {
                Err(Problem::new("`content-type` has a key of its own").with_help("use `content_type`"))
            }
            checked => checked,
        };
        match (lower, string(value).and_then(field_value)) {
            (Ok(lower), Ok(value)) => headers.push((lower, value)),
            (Err(problem), _) => fields.complain("headers", name.span, problem),
            (_, Err(problem)) => fields.complain("headers", value.span(), problem),
        }
    }
    ServiceKind::Respond { status, body, content_type, headers }
}

/// Printable ASCII: anything else could end the line it is written to or be read in two ways.
fn field_value(text: String) -> Result<String, Problem> {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text {
        return Ok(text);
    }
    Err(Problem::new("printable ASCII without spaces around it is wanted"))
}
