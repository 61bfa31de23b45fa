//! Reads one table of the config against the list of its keys, gathering all that is wrong on the way.

use super::nearest::nearest;
use super::report::{Diagnostic, Diagnostics};
use std::ops::Range;
use toml_edit::{Item, TableLike, Value};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What it says.
    pub value: T,
    /// Where, as bytes of the text.
    pub span: Range<usize>,
}

impl Spanned<String> {
    /// The span of a part of this string, in bytes of its value; all of it where escapes have moved the bytes.
    pub(crate) fn part(&self, part: Range<usize>) -> Range<usize> {
        let is_plain = self.span.len() == self.value.len() + 2;
        if is_plain { self.span.start + 1 + part.start..self.span.start + 1 + part.end } else { self.span.clone() }
    }
}

/// A key of the config, as `docs/config.md` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What kind of value it takes.
    pub(crate) kind: &'static str,
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
    /// The key is known, but comes in a later release.
    Later,
}

pub(crate) const fn key(name: &'static str, kind: &'static str, otherwise: Otherwise) -> Key {
    Key { name, kind, otherwise }
}

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) keys: &'static [Key],
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
}

pub(crate) type Read<T> = Result<T, Problem>;

/// One table, its place and its keys.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    table: &'a dyn TableLike,
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
        table: &'a dyn TableLike,
        path: &str,
        span: Range<usize>,
        section: &'static Section,
        diags: &'a Diagnostics,
    ) -> Self {
        let fields = Self { table, path: path.to_owned(), span, section, diags };
        for (name, item) in table.iter() {
            let span = key_span(table, name).or_else(|| item.span()).unwrap_or(fields.span.clone());
            match section.keys.iter().find(|key| key.name == name) {
                Some(Key { otherwise: Otherwise::Later, .. }) => {
                    let message = format!("{}: `{name}` is not supported in this release", fields.place());
                    diags.push(Diagnostic::error(span, message).help("remove it; it comes with a later release"));
                }
                Some(_) => {}
                None => diags.push(fields.unknown(name, span)),
            }
        }
        fields
    }

    fn unknown(&self, name: &str, span: Range<usize>) -> Diagnostic {
        let known = || self.section.keys.iter().filter(|key| key.otherwise != Otherwise::Later).map(|key| key.name);
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

    fn item(&self, key: &str) -> Option<&'a Item> {
        debug_assert!(self.section.keys.iter().any(|known| known.name == key), "{key} is in no list of keys");
        self.table.get(key).filter(|item| !item.is_none())
    }

    fn span_of(&self, key: &str, item: &Item) -> Range<usize> {
        item.span().or_else(|| key_span(self.table, key)).unwrap_or(self.span.clone())
    }

    /// Complains about the value of a key.
    pub(crate) fn complain(&self, key: &str, span: Range<usize>, problem: Problem) {
        let message = format!("{}: {}", self.path_of(key), problem.message);
        self.diags.push(Diagnostic::error(span, message).maybe_help(problem.help));
    }

    /// The span of a key's name, or of the table where the key is not given.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        key_span(self.table, key).unwrap_or(self.span.clone())
    }

    /// Whether the key is given, rightly or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// A value, where it is given and right.
    pub(crate) fn get<T>(&self, key: &str, read: impl FnOnce(&Value) -> Read<T>) -> Option<Spanned<T>> {
        let item = self.item(key)?;
        let span = self.span_of(key, item);
        let read = match item.as_value() {
            Some(value) => read(value),
            None => Err(Problem::new("a table does not belong here")),
        };
        match read {
            Ok(value) => Some(Spanned { value, span }),
            Err(problem) => {
                self.complain(key, span, problem);
                None
            }
        }
    }

    /// A value that must be given.
    pub(crate) fn required<T>(&self, key: &str, read: impl FnOnce(&Value) -> Read<T>) -> Option<Spanned<T>> {
        self.must_have(key);
        self.get(key, read)
    }

    /// Complains where a key is not given.
    pub(crate) fn must_have(&self, key: &str) {
        if !self.has(key) {
            let message = format!("{}: the key `{key}` is missing", self.place());
            let kind = self.section.keys.iter().find(|known| known.name == key).map(|known| known.kind);
            let help = kind.map(|kind| format!("it takes: {kind}"));
            self.diags.push(Diagnostic::error(self.span.clone(), message).maybe_help(help));
        }
    }

    /// Replaces what is in `slot`, where a value is given and right.
    pub(crate) fn set<T>(&self, key: &str, slot: &mut T, read: impl FnOnce(&Value) -> Read<T>) {
        if let Some(spanned) = self.get(key, read) {
            *slot = spanned.value;
        }
    }

    /// The values of a list, where it is given; those that are right. One value alone is a list of it.
    pub(crate) fn list<T>(&self, key: &str, mut read: impl FnMut(&Value) -> Read<T>) -> Option<Vec<Spanned<T>>> {
        let values: Vec<&Value> = match self.item(key)? {
            Item::Value(Value::Array(array)) => array.iter().collect(),
            Item::Value(value) => vec![value],
            item => {
                self.complain(key, self.span_of(key, item), Problem::new("a list is wanted, not tables"));
                return None;
            }
        };
        let mut good = Vec::with_capacity(values.len());
        for value in values {
            let span = value.span().unwrap_or(self.key_span(key));
            match read(value) {
                Ok(value) => good.push(Spanned { value, span }),
                Err(problem) => self.complain(key, span, problem),
            }
        }
        Some(good)
    }

    /// The values of a list that must be given and not be empty; those that are right.
    pub(crate) fn some<T>(&self, key: &str, read: impl FnMut(&Value) -> Read<T>) -> Vec<Spanned<T>> {
        self.must_have(key);
        let list = self.list(key, read);
        let is_empty = |item: &Item| item.as_array().is_some_and(toml_edit::Array::is_empty);
        if let Some(item) = self.item(key).filter(|item| is_empty(item)) {
            self.complain(key, self.span_of(key, item), Problem::new("at least one is wanted"));
        }
        list.unwrap_or_default()
    }

    /// A table with keys of its own, where it is given.
    pub(crate) fn table(&self, key: &str, section: &'static Section) -> Option<Fields<'a>> {
        let table = self.table_of(key)?;
        Some(Fields::new(table, &self.path_of(key), self.key_span(key), section, self.diags))
    }

    /// The entries of a table whose keys are names: each name and item.
    pub(crate) fn entries(&self, key: &str) -> Vec<(Spanned<String>, &'a Item)> {
        let Some(table) = self.table_of(key) else { return Vec::new() };
        let named = |(name, item): (&str, &'a Item)| {
            let span = key_span(table, name).or_else(|| item.span()).unwrap_or(self.key_span(key));
            (Spanned { value: name.to_owned(), span }, item)
        };
        table.iter().map(named).collect()
    }

    /// The tables of a table whose keys are names, as `[upstream.NAME]`, with the keys of a section.
    pub(crate) fn named(&self, key: &str, section: &'static Section) -> Vec<(Spanned<String>, Fields<'a>)> {
        let fields = |(name, table): (Spanned<String>, &'a dyn TableLike)| {
            let path = self.path_of(&format!("{key}.{}", name.value));
            let fields = Fields::new(table, &path, name.span.clone(), section, self.diags);
            (name, fields)
        };
        self.named_tables(key).into_iter().map(fields).collect()
    }

    /// The tables of a table whose keys are names.
    pub(crate) fn named_tables(&self, key: &str) -> Vec<(Spanned<String>, &'a dyn TableLike)> {
        let mut tables = Vec::new();
        for (name, item) in self.entries(key) {
            if let Some(table) = item.as_table_like() {
                tables.push((name, table));
            } else {
                let path = self.path_of(&format!("{key}.{}", name.value));
                let message = format!("{path}: a table is wanted, not {}", article(item.type_name()));
                self.diags.push(Diagnostic::error(item.span().unwrap_or(name.span), message));
            }
        }
        tables
    }

    /// The tables of an array of tables, as `[[route]]`.
    pub(crate) fn tables(&self, key: &str, section: &'static Section) -> Vec<Fields<'a>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let all: Vec<(&'a dyn TableLike, Option<Range<usize>>)> = match item {
            Item::ArrayOfTables(tables) => tables.iter().map(|table| (table as &dyn TableLike, table.span())).collect(),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => {
                let inline = array.iter().filter_map(Value::as_inline_table);
                inline.map(|table| (table as &dyn TableLike, table.span())).collect()
            }
            _ => {
                let help = format!("write `[[{key}]]`");
                self.complain(key, self.span_of(key, item), Problem::new("tables are wanted").with_help(help));
                return Vec::new();
            }
        };
        let read = |(table, span): (&'a dyn TableLike, Option<Range<usize>>)| {
            Fields::new(table, &self.path_of(key), span.unwrap_or(self.key_span(key)), section, self.diags)
        };
        all.into_iter().map(read).collect()
    }

    fn table_of(&self, key: &str) -> Option<&'a dyn TableLike> {
        let item = self.item(key)?;
        if item.as_table_like().is_none() {
            let message = format!("a table is wanted, not {}", article(item.type_name()));
            self.complain(key, self.span_of(key, item), Problem::new(message));
        }
        item.as_table_like()
    }
}

fn key_span(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
    table.key(name).and_then(toml_edit::Key::span)
}

/// A type of TOML with its article.
pub(crate) fn article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {type_name}")
}
