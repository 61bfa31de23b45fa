//! `[policy.NAME]`, and a policy written in its route.

use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Read, Section, Spanned, key};
use super::report::Diagnostic;
use super::values::{is_token, one_of, string};
use crate::plan::{Scope, Template, TemplateError};
use toml_edit::{Item, TableLike};

const TYPE: Key = key("type", "\"headers\" or \"rewrite\"", Required);

/// For a table whose type is not known.
pub(super) const ANY: Section = Section {
    keys: &[
        TYPE,
        key("request", "table", Words("no edits")),
        key("response", "table", Words("no edits")),
        key("strip_prefix", "path", Words("nothing is stripped")),
        key("path", "template", Words("the path stays")),
        key("query", "template", Words("the query stays")),
    ],
};

pub(super) const HEADERS: Section =
    Section { keys: &[TYPE, key("request", "table", Words("no edits")), key("response", "table", Words("no edits"))] };

pub(super) const EDITS: Section = Section {
    keys: &[
        key("set", "table of templates", Is("{}")),
        key("add", "table of templates or lists of them", Is("{}")),
        key("remove", "list of field names", Is("[]")),
        key("rename", "table of field names", Is("{}")),
    ],
};

pub(super) const REWRITE: Section = Section {
    keys: &[
        TYPE,
        key("strip_prefix", "path", Words("nothing is stripped")),
        key("path", "template", Words("the path stays")),
        key("query", "template", Words("the query stays")),
    ],
};

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
    pub set: Vec<(String, Spanned<String>)>,
    /// These fields beside those of their names.
    pub add: Vec<(String, Spanned<String>)>,
    /// Without these fields.
    pub remove: Vec<String>,
    /// These fields under other names.
    pub rename: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Headers,
    Rewrite,
}

/// Reads `table`, which is a policy of this name.
pub(super) fn read(name: Spanned<String>, table: &dyn TableLike, from: &Fields<'_>, path: &str) -> PolicySection {
    let of = |section| Fields::new(table, path, name.span.clone(), section, from.diags);
    // The type says which keys there are, so it is read first and complaints about keys come from the right list.
    let quiet = table.get("type").and_then(Item::as_str).and_then(|kind| match kind {
        "headers" => Some(Kind::Headers),
        "rewrite" => Some(Kind::Rewrite),
        _ => None,
    });
    let kind = match quiet {
        Some(Kind::Headers) => Some(headers(&of(&HEADERS))),
        Some(Kind::Rewrite) => Some(rewrite(&of(&REWRITE))),
        None => {
            let kinds = one_of(&[("headers", Kind::Headers), ("rewrite", Kind::Rewrite)]);
            if table.get("type").and_then(Item::as_str) == Some("rate-limit") {
                let message = format!("{path}: the type \"rate-limit\" is not supported in this release");
                let span = table.get("type").and_then(Item::span).unwrap_or(name.span.clone());
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
        for (name, item) in fields.entries(key) {
            let Some(lower) = named(key, &name) else { continue };
            for value in templates(fields, key, item, key == "add") {
                list.push((lower.clone(), value));
            }
        }
    }
    let remove = fields.list("remove", string).unwrap_or_default();
    edits.remove = remove.iter().filter_map(|name| named("remove", name)).collect();
    for (from, item) in fields.entries("rename") {
        let to = match item.as_str() {
            Some(to) => field_name(to).and_then(|name| one_host("rename", name)),
            None => Err(Problem::new("the new name is wanted")),
        };
        match to {
            Ok(to) => edits.rename.extend(named("rename", &from).map(|from| (from, to))),
            Err(problem) => fields.complain("rename", item.span().unwrap_or(from.span), problem),
        }
    }
    edits
}

/// The values of one field.
fn templates(fields: &Fields<'_>, key: &str, item: &Item, many: bool) -> Vec<Spanned<String>> {
    let single = item.as_value().into_iter().filter(|value| !many || !value.is_array());
    let several = item.as_array().into_iter().filter(|_| many).flatten();
    let mut good = Vec::new();
    let mut any = false;
    for value in single.chain(several) {
        any = true;
        let span = value.span().unwrap_or(fields.key_span(key));
        match string(value) {
            Ok(value) => {
                let value = Spanned { value, span };
                check_template(fields, key, &value);
                good.push(value);
            }
            Err(problem) => fields.complain(key, span, problem),
        }
    }
    if !any {
        fields.complain(key, item.span().unwrap_or(fields.key_span(key)), Problem::new("a value is wanted"));
    }
    good
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
