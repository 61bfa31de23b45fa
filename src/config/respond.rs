//! A fixed response, which a service and a policy can give.

use super::kind::Kind::{Map, Number, Text};
use super::kind::{Kind, STRING};
use super::policy::field_name;
use super::reader::Otherwise::Is;
use super::reader::{Fields, Key, Problem, Read, key};
use super::values::{integer, string};
use crate::plan::Respond;

pub(super) const STATUS: Key = key("status", Number("number", 200, 599), Is("200"));
pub(super) const BODY: Key = key("body", STRING, Is("\"\""));
pub(super) const CONTENT_TYPE: Key = key("content_type", FIELD_VALUE, Is("\"text/plain; charset=utf-8\""));
pub(super) const HEADERS: Key = key("headers", Map("strings", &FIELD_VALUE), Is("{}"));

const FIELD_VALUE: Kind = Text("string", r"^([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?$");

pub(super) fn read(fields: &Fields<'_>) -> Respond {
    let (mut status, mut body, mut content_type) = (200, String::new(), "text/plain; charset=utf-8".to_owned());
    fields.set("status", &mut status, integer(200..=599));
    fields.set("body", &mut body, string);
    fields.set("content_type", &mut content_type, |value| string(value).and_then(field_value));
    // RFC 9110 sections 15.3.5 and 15.4.5: these have no content.
    if [204, 304].contains(&status) && !body.is_empty() {
        let problem = Problem::new(format!("a response with status {status} has no body"));
        fields.complain("body", fields.key_span("body"), problem);
    }
    let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (name, value) in fields.entries("headers") {
        let lower = match field_name(&name.value) {
            Ok(lower) if lower == "content-type" => {
                Err(Problem::new("`content-type` has a key of its own").with_help("use `content_type`"))
            }
            checked => checked,
        };
        match (lower, string(value).and_then(field_value)) {
            (Ok(lower), Ok(value)) => headers.push((lower.into(), value.into())),
            (Err(problem), _) => fields.complain("headers", name.span, problem),
            (_, Err(problem)) => fields.complain("headers", value.span(), problem),
        }
    }
    let content_type = (!body.is_empty()).then(|| content_type.into());
    Respond { status, content_type, headers: headers.into(), body: body.into_bytes().into() }
}

/// Printable ASCII: anything else could end the line it is written to or be read in two ways.
fn field_value(text: String) -> Read<String> {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text {
        return Ok(text);
    }
    Err(Problem::new("printable ASCII without spaces around it is wanted"))
}
