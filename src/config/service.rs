//! `[service.NAME]`.

use super::policy::{check_template, field_name};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Section, Spanned, key};
use super::values::{integer, one_of, string};
use toml_edit::{Item, TableLike};

const TYPE: Key = key("type", "\"redirect\" or \"respond\"", Required);

/// For a table whose type is not known.
pub(super) const ANY: Section = Section {
    keys: &[
        TYPE,
        key("status", "number", Words("as the type says")),
        key("location", "template", Required),
        key("body", "string", Is("\"\"")),
        key("content_type", "string", Is("\"text/plain; charset=utf-8\"")),
        key("headers", "table of strings", Is("{}")),
    ],
};

pub(super) const REDIRECT: Section = Section {
    keys: &[TYPE, key("status", "301, 302, 303, 307 or 308", Is("308")), key("location", "template", Required)],
};

pub(super) const RESPOND: Section = Section {
    keys: &[
        TYPE,
        key("status", "number", Is("200")),
        key("body", "string", Is("\"\"")),
        key("content_type", "string", Is("\"text/plain; charset=utf-8\"")),
        key("headers", "table of strings", Is("{}")),
    ],
};

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
enum Kind {
    Redirect,
    Respond,
}

/// Reads `table`, which is a service of this name.
pub(super) fn read(name: Spanned<String>, table: &dyn TableLike, from: &Fields<'_>, path: &str) -> ServiceSection {
    let of = |section| Fields::new(table, path, name.span.clone(), section, from.diags);
    let kind = match table.get("type").and_then(Item::as_str) {
        Some("redirect") => redirect(&of(&REDIRECT)),
        Some("respond") => Some(respond(&of(&RESPOND))),
        _ => {
            of(&ANY).required("type", one_of(&[("redirect", Kind::Redirect), ("respond", Kind::Respond)]));
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
    for (name, item) in fields.entries("headers") {
        let lower = match field_name(&name.value) {
            Ok(lower) if lower == "content-type" => {
                Err(Problem::new("`content-type` has a key of its own").with_help("use `content_type`"))
            }
            checked => checked,
        };
        let value = match item.as_value() {
            Some(value) => string(value).and_then(field_value),
            None => Err(Problem::new("a string is wanted")),
        };
        match (lower, value) {
            (Ok(lower), Ok(value)) => headers.push((lower, value)),
            (Err(problem), _) => fields.complain("headers", name.span, problem),
            (_, Err(problem)) => fields.complain("headers", item.span().unwrap_or(name.span), problem),
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
