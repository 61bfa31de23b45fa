//! Reads one table of the config against the list of its keys, gathering all that is wrong on the way.

use super::kind::Kind;
use super::nearest::nearest;
use super::report::{Diagnostic, Diagnostics};
use super::secret::{self, Secret};
use super::tree::{Table, Value};
use super::values;
use std::ops::Range;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What it says.
    pub value: T,
    /// Where, as bytes of all files of the config, laid one behind the other.
    pub span: Range<usize>,
    /// Whether the environment had a part in it. What it gave may be a secret.
    pub(crate) is_expanded: bool,
}

impl<T> Spanned<T> {
    /// A value that the config has at this place as it stands.
    pub(crate) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span, is_expanded: false }
    }

    /// What a value of the config says.
    pub(crate) fn of(value: T, from: &Value) -> Self {
        Self { value, span: from.span(), is_expanded: from.is_expanded() }
    }
}

impl Spanned<String> {
    /// The span of a part of this string, in bytes of its value; all of it where its bytes are not those of the file.
    pub(crate) fn part(&self, part: Range<usize>) -> Range<usize> {
        let is_plain = !self.is_expanded && self.span.len() == self.value.len() + 2;
        if is_plain { self.span.start + 1 + part.start..self.span.start + 1 + part.end } else { self.span.clone() }
    }
}

/// A key of the config, as `docs/config.md` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What kind of value it takes.
    pub(crate) kind: Kind,
    pub(crate) otherwise: Otherwise,
}

/// What holds where a key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// The key must be given.
    Required,
    /// As if this TOML value were given.
    Is(&'static str),
    /// In these words.
    Words(&'static str),
}

pub(crate) const fn key(name: &'static str, kind: Kind, otherwise: Otherwise) -> Key {
    Key { name, kind, otherwise }
}

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its heading in `docs/config.md`.
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key],
    /// The table of the file whose values hold for keys that are not given here; otherwise the defaults do.
    pub(crate) inherits: Option<&'static str>,
}

pub(crate) const fn section(title: &'static str, keys: &'static [Key]) -> Section {
    Section { title, keys, inherits: None }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With this help where there is none that is nearer.
    pub(crate) fn or_help(mut self, help: &str) -> Self {
        self.help.get_or_insert_with(|| help.to_owned());
        self
    }
}

pub(crate) type Read<T> = Result<T, Problem>;

/// One table, its place and its keys.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    table: &'a Table,
    /// As in `upstream.users.pool`.
    path: String,
    /// The name in its header or in front of its `=`.
    pub(crate) span: Range<usize>,
    section: &'static Section,
    pub(crate) diags: &'a Diagnostics,
}

impl<'a> Fields<'a> {
    /// Takes a table, and complains about each key that the section does not have.
    pub(crate) fn new(
        table: &'a Table,
        path: &str,
        span: Range<usize>,
        section: &'static Section,
        diags: &'a Diagnostics,
    ) -> Self {
        let fields = Self::unchecked(table, path, span, section, diags);
        for entry in table.iter() {
            let (name, span) = (entry.name.as_str(), entry.span.clone());
            if section.keys.iter().all(|key| key.name != name) {
                diags.push(fields.unknown(name, span));
            }
        }
        fields
    }

    /// Takes a table that may have keys beside those of the section.
    pub(crate) fn unchecked(
        table: &'a Table,
        path: &str,
        span: Range<usize>,
        section: &'static Section,
        diags: &'a Diagnostics,
    ) -> Self {
        Self { table, path: path.to_owned(), span, section, diags }
    }

    fn unknown(&self, name: &str, span: Range<usize>) -> Diagnostic {
        let known = || self.section.keys.iter().map(|key| key.name);
        let help = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        Diagnostic::error(span, format!("{}: unknown key `{name}`", self.place())).help(help)
    }

    fn place(&self) -> String {
        match self.path.as_str() {
            "" => "the config".to_owned(),
            "route" => "[[route]]".to_owned(),
            path => format!("[{path}]"),
        }
    }

    /// The full name of a key, for messages.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        debug_assert!(self.section.keys.iter().any(|known| known.name == key), "{key} is in no list of keys");
        self.table.get(key)
    }

    /// Complains about the value of a key.
    pub(crate) fn complain(&self, key: &str, span: Range<usize>, problem: Problem) {
        let message = format!("{}: {}", self.path_of(key), problem.message);
        self.diags.push(Diagnostic::error(span, message).maybe_help(problem.help));
    }

    /// The span of a key's name, or of the table where the key is not given.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.entry(key).map_or_else(|| self.span.clone(), |entry| entry.span.clone())
    }

    /// Whether the key is given, rightly or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A value, where it is given and right.
    pub(crate) fn get<T>(&self, key: &str, read: impl FnOnce(&'a Value) -> Read<T>) -> Option<Spanned<T>> {
        self.read(key, self.value(key)?, read)
    }

    fn read<T>(&self, key: &str, value: &'a Value, read: impl FnOnce(&'a Value) -> Read<T>) -> Option<Spanned<T>> {
        match read(value) {
            Ok(said) => Some(Spanned::of(said, value)),
            Err(problem) => {
                self.complain(key, value.span(), problem);
                None
            }
        }
    }

    /// A value that must be given.
    pub(crate) fn required<T>(&self, key: &str, read: impl FnOnce(&'a Value) -> Read<T>) -> Option<Spanned<T>> {
        self.must_have(key);
        self.get(key, read)
    }

    /// Complains where a key is not given.
    pub(crate) fn must_have(&self, key: &str) {
        if !self.has(key) {
            let message = format!("{}: the key `{key}` is missing", self.place());
            let known = self.section.keys.iter().find(|known| known.name == key);
            let help = known.map(|known| format!("it takes: {}", known.kind.name()));
            self.diags.push(Diagnostic::error(self.span.clone(), message).maybe_help(help));
        }
    }

    /// Replaces what is in `slot`, where a value is given and right.
    pub(crate) fn set<T>(&self, key: &str, slot: &mut T, read: impl FnOnce(&'a Value) -> Read<T>) {
        if let Some(spanned) = self.get(key, read) {
            *slot = spanned.value;
        }
    }

    /// The values of a list, where it is given; those that are right. One value alone is a list of it.
    pub(crate) fn list<T>(&self, key: &str, mut read: impl FnMut(&'a Value) -> Read<T>) -> Option<Vec<Spanned<T>>> {
        let values = self.value(key)?.as_list();
        Some(values.iter().filter_map(|value| self.read(key, value, &mut read)).collect())
    }

    /// The values of a list that must be given and not be empty; those that are right.
    pub(crate) fn some<T>(&self, key: &str, read: impl FnMut(&'a Value) -> Read<T>) -> Vec<Spanned<T>> {
        self.must_have(key);
        let list = self.list(key, read);
        if let Some(value) = self.value(key).filter(|value| value.as_list().is_empty()) {
            self.complain(key, value.span(), Problem::new("at least one is wanted"));
        }
        list.unwrap_or_default()
    }

    /// The secret that a value of this key says or names; what is wrong was complained about. Messages never say it.
    pub(crate) fn secret(&self, key: &str, value: &Value) -> Option<Secret> {
        match secret::read(value, self, key) {
            Ok(secret) => secret,
            Err(problem) => {
                self.complain(key, value.span(), problem);
                None
            }
        }
    }

    /// A table with keys of its own, where it is given.
    pub(crate) fn table(&self, key: &str, section: &'static Section) -> Option<Fields<'a>> {
        let table = self.table_of(key)?;
        Some(Fields::new(table, &self.path_of(key), self.key_span(key), section, self.diags))
    }

    /// The entries of a table whose keys are names: each name and value.
    pub(crate) fn entries(&self, key: &str) -> Vec<(Spanned<String>, &'a Value)> {
        let Some(table) = self.table_of(key) else { return Vec::new() };
        table.iter().map(|entry| (Spanned::new(entry.name.clone(), entry.span.clone()), &entry.value)).collect()
    }

    /// The tables of a table whose keys are names, as `[upstream.NAME]`, with the keys of a section.
    pub(crate) fn named(&self, key: &str, section: &'static Section) -> Vec<(Spanned<String>, Fields<'a>)> {
        let fields = |(name, table): (Spanned<String>, &'a Table)| {
            let path = self.path_of(&format!("{key}.{}", name.value));
            let fields = Fields::new(table, &path, name.span.clone(), section, self.diags);
            (name, fields)
        };
        self.named_tables(key).into_iter().map(fields).collect()
    }

    /// The tables of a table whose keys are names of listeners, upstreams and their like.
    pub(crate) fn named_tables(&self, key: &str) -> Vec<(Spanned<String>, &'a Table)> {
        let mut tables = Vec::new();
        for (name, value) in self.entries(key) {
            if let Err(problem) = values::check_name(&name.value) {
                self.diags.push(Diagnostic::error(name.span.clone(), problem.message).maybe_help(problem.help));
            }
            if let Some(table) = value.as_table() {
                tables.push((name, table));
            } else {
                let path = self.path_of(&format!("{key}.{}", name.value));
                let message = format!("{path}: a table is wanted, not {}", article(value.type_name()));
                self.diags.push(Diagnostic::error(value.span(), message));
            }
        }
        tables
    }

    /// The tables of an array of tables, as `[[route]]`.
    pub(crate) fn tables(&self, key: &str, section: &'static Section) -> Vec<Fields<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let values = value.as_array().filter(|values| values.iter().all(|value| value.as_table().is_some()));
        let Some(values) = values else {
            let help = format!("write `[[{key}]]`");
            self.complain(key, value.span(), Problem::new("tables are wanted").with_help(help));
            return Vec::new();
        };
        let tables = values.iter().filter_map(|value| Some((value.as_table()?, value.span())));
        tables.map(|(table, span)| Fields::new(table, &self.path_of(key), span, section, self.diags)).collect()
    }

    /// The table of a key, where it is given and a table.
    pub(crate) fn entry_table(&self, key: &str) -> Option<&'a Table> {
        self.value(key)?.as_table()
    }

    fn table_of(&self, key: &str) -> Option<&'a Table> {
        let value = self.value(key)?;
        if value.as_table().is_none() {
            let message = format!("a table is wanted, not {}", article(value.type_name()));
            self.complain(key, value.span(), Problem::new(message));
        }
        value.as_table()
    }
}

/// A type of TOML with its article.
pub(crate) fn article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {type_name}")
}
