//! `[policy.NAME]`, and a policy written in its route.

use super::kind::Kind::{Either, List, Map, OneOf, Secret, Table, Text};
use super::kind::{FIELD_NAME, Kind, TEMPLATE};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Read, Section, Spanned, key, section};
use super::report::Diagnostic;
use super::tree::Value;
use super::values::{is_token, one_of, string};
use super::{Config, secret, tree};
use crate::plan::{Scope, Template, TemplateError};

const TYPE: Key = key("type", OneOf(&["headers", "rewrite"]), Required);
const REQUEST: Key = key("request", Table(&EDITS), Words("no edits"));
const RESPONSE: Key = key("response", Table(&EDITS), Words("no edits"));
const STRIP_PREFIX: Key = key("strip_prefix", Text("path", "^/."), Words("nothing is stripped"));
const PATH: Key = key("path", TEMPLATE, Words("the path stays"));
const QUERY: Key = key("query", TEMPLATE, Words("the query stays"));

/// The sections of the types.
pub(super) const TYPES: &[(&str, &Section)] = &[("headers", &HEADERS), ("rewrite", &REWRITE)];

/// For a table whose type is not known.
const ANY: Section = section("[policy.NAME]", &[TYPE, REQUEST, RESPONSE, STRIP_PREFIX, PATH, QUERY]);

const HEADERS: Section = section("[policy.NAME] of type headers", &[TYPE, REQUEST, RESPONSE]);

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

const REWRITE: Section = section("[policy.NAME] of type rewrite", &[TYPE, STRIP_PREFIX, PATH, QUERY]);

/// A policy, as the config has it.
#[derive(Clone, Debug)]
pub struct PolicySection {
    /// Its name, or the place of a policy written in its route.
    pub name: Spanned<String>,
    /// What it does; nothing where that could not be read.
    pub kind: Option<PolicyKind>,
}

/// What a policy does.
#[derive(Clone, Debug)]
pub enum PolicyKind {
    /// `type = "headers"`.
    Headers {
        /// On requests.
        request: EditsSection,
        /// On responses.
        response: EditsSection,
    },
    /// `type = "rewrite"`.
    Rewrite {
        /// Taken off the path; without a slash behind.
        strip_prefix: Option<Spanned<String>>,
        /// The template of the new path.
        path: Option<Spanned<String>>,
        /// The template of the new query.
        query: Option<Spanned<String>>,
    },
}

/// Edits of a head; names are in lower case, values are templates.
#[derive(Clone, Debug, Default)]
pub struct EditsSection {
    /// These fields in place of those of their names.
    pub set: Vec<(String, ValueSection)>,
    /// These fields beside those of their names.
    pub add: Vec<(String, ValueSection)>,
    /// Without these fields.
    pub remove: Vec<String>,
    /// These fields under other names.
    pub rename: Vec<(String, String)>,
}

/// The value of a header field, as the config has it.
#[derive(Clone, Debug)]
pub enum ValueSection {
    /// A template.
    Template(Spanned<String>),
    /// A secret, sent as it is.
    Secret(secret::Secret),
}

#[derive(Clone, Copy)]
enum Type {
    Headers,
    Rewrite,
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    for (name, table) in root.named_tables("policy") {
        let path = format!("policy.{}", name.value);
        config.policies.push(read(name, table, root, &path));
    }
}

/// Reads `table`, which is a policy of this name.
pub(super) fn read(name: Spanned<String>, table: &tree::Table, from: &Fields<'_>, path: &str) -> PolicySection {
    let of = |section| Fields::new(table, path, name.span.clone(), section, from.diags);
    // The type says which keys there are, so it is read first and complaints about keys come from the right list.
    let quiet = table.get("type").and_then(Value::as_str).and_then(|kind| match kind {
        "headers" => Some(Type::Headers),
        "rewrite" => Some(Type::Rewrite),
        _ => None,
    });
    let kind = match quiet {
        Some(Type::Headers) => Some(headers(&of(&HEADERS))),
        Some(Type::Rewrite) => Some(rewrite(&of(&REWRITE))),
        None => {
            let kinds = one_of(&[("headers", Type::Headers), ("rewrite", Type::Rewrite)]);
            if table.get("type").and_then(Value::as_str) == Some("rate-limit") {
                let message = format!("{path}: the type \"rate-limit\" is not supported in this release");
                let span = table.get("type").map(Value::span).unwrap_or(name.span.clone());
                from.diags.push(Diagnostic::error(span, message));
            } else {
                of(&ANY).required("type", kinds);
            }
            None
        }
    };
    PolicySection { name, kind }
}

fn headers(fields: &Fields<'_>) -> PolicyKind {
    let edits = |key| fields.table(key, &EDITS).map(|fields| edits(&fields)).unwrap_or_default();
    PolicyKind::Headers { request: edits("request"), response: edits("response") }
}

/// The fields that frame a message or belong to one connection (RFC 9110 section 7.6.1, RFC 9112 section 6). The
/// gateway alone writes them; an edit of one would desynchronize the two sides.
const UNTOUCHABLE: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Checks a field name that a config may write; in lower case.
pub(super) fn field_name(name: &str) -> Read<String> {
    let lower = name.to_ascii_lowercase();
    if !is_token(name) || name.len() > 256 {
        return Err(Problem::new(format!("\"{name}\" is no field name")));
    }
    if UNTOUCHABLE.contains(&lower.as_str()) {
        return Err(Problem::new(format!("`{name}` belongs to the connection; the gateway alone writes it")));
    }
    Ok(lower)
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

/// Complains about what is wrong with a template whatever the captures of the route are; the names in it are checked
/// where the route is known.
pub(super) fn check_template(fields: &Fields<'_>, key: &str, text: &Spanned<String>) {
    let errors = Template::compile(&text.value, &[""; 0], Scope::Any).err().unwrap_or_default();
    for error in errors {
        if let TemplateError::Unclosed { at } | TemplateError::Unopened { at } | TemplateError::Character { at } = error
        {
            fields.complain(key, text.part(at..at + 1), Problem::new(error.to_string()));
        }
    }
}

fn rewrite(fields: &Fields<'_>) -> PolicyKind {
    let template = |key| {
        let text = fields.get(key, string)?;
        check_template(fields, key, &text);
        Some(text)
    };
    let strip_prefix = fields.get("strip_prefix", |value| {
        let prefix = string(value)?;
        let stripped = prefix.strip_suffix('/').unwrap_or(&prefix);
        if !stripped.starts_with('/')
            || crate::plan::normalize(prefix.as_bytes(), &mut Vec::new()) != Ok(crate::plan::Normalized::Unchanged)
        {
            let problem = Problem::new(format!("\"{prefix}\" is no prefix of a normalized path"));
            return Err(problem.with_help("whole segments, such as \"/api\""));
        }
        Ok(stripped.to_owned())
    });
    let path = template("path");
    let query = template("query");
    if let Some(path) = path.as_ref().filter(|path| !path.value.starts_with('/') && !path.value.starts_with("{path}")) {
        fields.complain("path", path.span.clone(), Problem::new("a path begins with `/`"));
    }
    if let (true, Some(path)) = (fields.has("strip_prefix"), &path) {
        let diagnostic = Diagnostic::error(path.span.clone(), "a rewrite has either `strip_prefix` or `path`");
        fields.diags.push(diagnostic.also(fields.key_span("strip_prefix"), "and this"));
    }
    let keys = ["strip_prefix", "path", "query"];
    if !keys.iter().any(|key| fields.has(key)) {
        let diagnostic = Diagnostic::error(fields.span.clone(), "this rewrite changes nothing");
        fields.diags.push(diagnostic.help("give it `strip_prefix`, `path` or `query`"));
    }
    PolicyKind::Rewrite { strip_prefix, path, query }
}
