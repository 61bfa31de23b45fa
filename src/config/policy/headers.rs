//! `[policy.NAME]` of type headers.

use super::super::kind::Kind::{Either, List, Map, Secret, Table};
use super::super::kind::{FIELD_NAME, Kind, TEMPLATE};
use super::super::reader::Otherwise::{Is, Words};
use super::super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::super::report::Diagnostic;
use super::super::secret;
use super::super::tree::Value;
use super::super::values::string;
use super::{PolicyKeys, SHADOW, check_template, field_name, type_key};

const EDITS: Section = section(
    "[policy.NAME.request] and [policy.NAME.response]",
    &[
        key("set", Map("templates or secrets", &VALUE), Is("{}")),
        key("add", Map("templates, secrets or lists of them", &List("templates or secrets", &VALUE)), Is("{}")),
        key("remove", List("field names", &FIELD_NAME), Is("[]")),
        key("rename", Map("field names", &FIELD_NAME), Is("{}")),
    ],
);

/// The value of a header field.
const VALUE: Kind = Either(&[TEMPLATE, Secret]);

/// `type = "headers"`.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadersSection {
    /// On requests.
    pub(crate) request: EditsSection,
    /// On responses.
    pub(crate) response: EditsSection,
}

/// Edits of a head; names are in lower case, values are templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct EditsSection {
    /// These fields in place of those of their names.
    pub(crate) set: Vec<(String, ValueSection)>,
    /// These fields beside those of their names.
    pub(crate) add: Vec<(String, ValueSection)>,
    /// Without these fields.
    pub(crate) remove: Vec<String>,
    /// These fields under other names.
    pub(crate) rename: Vec<(String, String)>,
}

/// The value of a header field, as the config has it.
#[derive(Clone, Debug)]
pub(crate) enum ValueSection {
    /// A template.
    Template(Spanned<String>),
    /// A secret, sent as it is.
    Secret(secret::Secret),
}

impl PolicyKeys for HeadersSection {
    const TYPE: &'static str = "headers";
    const KEYS: &'static Section = &section(
        "[policy.NAME] of type headers",
        &[
            type_key(&["headers"]),
            SHADOW,
            key("request", Table(&EDITS), Words("no edits")),
            key("response", Table(&EDITS), Words("no edits")),
        ],
    );

    fn read(fields: &Fields<'_>) -> Self {
        let edits = |key| fields.table(key, &EDITS).map(|fields| edits(&fields)).unwrap_or_default();
        Self { request: edits("request"), response: edits("response") }
    }
}

/// A request has exactly one Host (RFC 9112 section 3.2), so it can only be set.
fn one_host(key: &str, name: String) -> Read<String> {
    if name == "host" && key != "set" {
        return Err(Problem::new("a request has exactly one `host`; only `set` may write it"));
    }
    Ok(name)
}

fn edits(fields: &Fields<'_>) -> EditsSection {
    let mut seen: Vec<(String, Spanned<String>)> = Vec::new();
    let mut named = |key: &str, name: &Spanned<String>| match field_name(&name.value)
        .and_then(|name| one_host(key, name))
    {
        Ok(lower) => {
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == lower).filter(|_| key != "add") {
                let problem = format!("`{}` is edited twice; which comes first would not be clear", name.value);
                let diagnostic = Diagnostic::error(name.span.clone(), format!("{}: {problem}", fields.path_of(key)));
                fields.diags.push(diagnostic.also(first.span.clone(), "here too"));
            } else if key != "add" {
                seen.push((lower.clone(), name.clone()));
            }
            Some(lower)
        }
        Err(problem) => {
            fields.complain(key, name.span.clone(), problem);
            None
        }
    };
    let mut edits = EditsSection::default();
    for (key, list) in [("set", &mut edits.set), ("add", &mut edits.add)] {
        for (name, value) in fields.entries(key) {
            let Some(lower) = named(key, &name) else { continue };
            for value in field_values(fields, key, value, key == "add") {
                list.push((lower.clone(), value));
            }
        }
    }
    let remove = fields.list("remove", string).unwrap_or_default();
    edits.remove = remove.iter().filter_map(|name| named("remove", name)).collect();
    for (from, value) in fields.entries("rename") {
        let to = match value.as_str() {
            Some(to) => field_name(to).and_then(|name| one_host("rename", name)),
            None => Err(Problem::new("the new name is wanted")),
        };
        match to {
            Ok(to) => edits.rename.extend(named("rename", &from).map(|from| (from, to))),
            Err(problem) => fields.complain("rename", value.span(), problem),
        }
    }
    edits
}

/// The values of one field.
fn field_values(fields: &Fields<'_>, key: &str, value: &Value, many: bool) -> Vec<ValueSection> {
    let values = if many { value.as_list() } else { std::slice::from_ref(value) };
    if values.is_empty() {
        fields.complain(key, value.span(), Problem::new("a value is wanted"));
    }
    let read = |value: &Value| {
        if value.as_table().is_some() {
            return fields.secret(key, value).map(ValueSection::Secret);
        }
        match string(value) {
            Ok(text) => {
                let text = Spanned::of(text, value);
                check_template(fields, key, &text);
                Some(ValueSection::Template(text))
            }
            Err(problem) => {
                fields.complain(key, value.span(), problem);
                None
            }
        }
    };
    values.iter().filter_map(read).collect()
}
