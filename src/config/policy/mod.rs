//! `[policy.NAME]`, and a policy written in its route or listener: what all of them share. Each type has a file.

mod fault;
mod headers;
mod redirect;
mod respond;
mod rewrite;

pub(crate) use fault::{DelaySection, Distribution, FaultSection};
pub(crate) use headers::{EditsSection, HeadersSection, ValueSection};
pub(crate) use redirect::{RedirectPolicySection, RedirectTo};
pub(crate) use respond::RespondPolicySection;
pub(crate) use rewrite::RewriteSection;

use super::Config;
use super::kind::Kind::{Either, Flag, List, OneOf, Typed};
use super::kind::{Kind, NAME};
use super::reader::Otherwise::{Is, Required};
use super::reader::{Fields, Key, Problem, Read, Section, Spanned, key, section};
use super::report::Diagnostic;
use super::tree::{Table, Value};
use super::values::{boolean, is_token, one_of, string};
use crate::plan::{Scope, Template, TemplateError};
use crate::policy::{self, Type};

/// The sections of the types.
pub(super) const TYPES: &[(&str, &Section)] = Type::SECTIONS;

/// The policies of a route or listener.
pub(super) const REFERENCES: Kind = List("names or tables", &Either(&[NAME, Typed(TYPES)]));

/// The section of one type of policy.
pub(crate) trait PolicyKeys: Sized {
    /// The word after `type =`.
    const TYPE: &'static str;
    /// Its keys, `type` and `shadow` first.
    const KEYS: &'static Section;

    /// Reads it, complaining about all that is wrong.
    fn read(fields: &Fields<'_>) -> Self;
}

const SHADOW: Key = key("shadow", Either(&[Flag(true), Flag(false)]), Is("false"));

/// The key that says the type; as one of the words.
const fn type_key(words: &'static [&'static str]) -> Key {
    key("type", OneOf(words), Required)
}

/// For a table whose type is not known.
const ANY: Section = section("[policy.NAME]", &[type_key(Type::NAMES)]);

/// A policy, as the config has it.
#[derive(Clone, Debug)]
pub struct PolicySection {
    /// Its name, or the place of a policy written in its route or listener.
    pub name: Spanned<String>,
    /// Whether it only counts what it would do.
    pub shadow: bool,
    /// What it does; nothing where that could not be read.
    pub(crate) kind: Option<policy::Section>,
}

/// A policy of a route or listener.
#[derive(Clone, Debug)]
pub enum PolicyRef {
    /// One that has a name.
    Named(Spanned<String>),
    /// One written in its place.
    Inline(PolicySection),
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    for (name, table) in root.named_tables("policy") {
        let path = format!("policy.{}", name.value);
        config.policies.push(read(name, table, root, &path));
    }
}

/// Reads `table`, which is a policy of this name.
fn read(name: Spanned<String>, table: &Table, from: &Fields<'_>, path: &str) -> PolicySection {
    // The type says which keys there are, so it is read first and complaints about keys come from the right list.
    let word = table.get("type").and_then(Value::as_str);
    let known = Type::WORDS.iter().find(|(known, _)| Some(*known) == word);
    if let Some((_, kind)) = known {
        let fields = Fields::new(table, path, name.span.clone(), kind.keys(), from.diags);
        let mut shadow = false;
        fields.set("shadow", &mut shadow, boolean);
        return PolicySection { name, shadow, kind: Some(kind.read(&fields)) };
    }
    if word == Some("rate-limit") {
        let message = format!("{path}: the type \"rate-limit\" is not supported in this release");
        let span = table.get("type").map_or_else(|| name.span.clone(), Value::span);
        from.diags.push(Diagnostic::error(span, message));
    } else {
        Fields::unchecked(table, path, name.span.clone(), &ANY, from.diags).required("type", one_of(Type::WORDS));
    }
    PolicySection { name, shadow: false, kind: None }
}

/// The policies of a route or listener, in the order they apply.
pub(super) fn references(fields: &Fields<'_>) -> Vec<PolicyRef> {
    let path = fields.path_of("policies");
    let all = fields.list("policies", |value| match value.as_table() {
        None => {
            let name = string(value).map_err(|_| Problem::new("the name of a policy, or a table, is wanted"))?;
            Ok((name, None))
        }
        Some(table) => {
            let name = Spanned::new(path.clone(), value.span());
            Ok((String::new(), Some(read(name, table, fields, &path))))
        }
    });
    let reference = |Spanned { value, span, .. }: Spanned<(String, Option<PolicySection>)>| match value {
        (_, Some(inline)) => PolicyRef::Inline(inline),
        (name, None) => PolicyRef::Named(Spanned::new(name, span)),
    };
    all.unwrap_or_default().into_iter().map(reference).collect()
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
