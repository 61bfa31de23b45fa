//! The values of a config, whichever of its files they come from, each with its place.

use super::environment::{self, Environment};
use super::reader::Problem;
use std::ops::Range;
use toml_edit::TableLike;

/// A value and its place. A place is a range of bytes of all files of a config, laid one behind the other.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    data: Data,
    span: Range<usize>,
    /// What the file says, where the environment had a part in it.
    written: Option<String>,
}

#[derive(Clone, Debug)]
enum Data {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Value>),
    Table(Table),
}

/// A table of values by their keys, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

impl Value {
    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Data::String(text) = &self.data { Some(text) } else { None }
    }

    /// A whole number; also one that the environment gave as text.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match &self.data {
            Data::Integer(number) => Some(*number),
            Data::String(text) if self.is_expanded() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number; also one that the environment gave as text.
    pub(crate) fn as_float(&self) -> Option<f64> {
        match &self.data {
            Data::Float(number) => Some(*number),
            Data::Integer(number) => Some(*number as f64),
            Data::String(text) if self.is_expanded() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// `true` or `false`; also where the environment gave it as text.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match &self.data {
            Data::Boolean(flag) => Some(*flag),
            Data::String(text) if self.is_expanded() => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The values of an array.
    pub(crate) fn as_array(&self) -> Option<&[Value]> {
        if let Data::Array(values) = &self.data { Some(values) } else { None }
    }

    /// The values of an array, or this value alone: a value where a list is wanted is a list of one.
    pub(crate) fn as_list(&self) -> &[Value] {
        self.as_array().unwrap_or(std::slice::from_ref(self))
    }

    /// A table, however it is written.
    pub(crate) fn as_table(&self) -> Option<&Table> {
        if let Data::Table(table) = &self.data { Some(table) } else { None }
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the environment had a part in it. What it gave may be a secret.
    pub(crate) fn is_expanded(&self) -> bool {
        self.written.is_some()
    }

    /// The text of a string as the file has it, before the environment had its part.
    pub(crate) fn written(&self) -> Option<&str> {
        self.written.as_deref().or(self.as_str())
    }

    /// Its type in TOML, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.data {
            Data::String(_) => "string",
            Data::Integer(_) => "integer",
            Data::Float(_) => "float",
            Data::Boolean(_) => "boolean",
            Data::Datetime => "datetime",
            Data::Array(_) => "array",
            Data::Table(_) => "table",
        }
    }

    pub(super) fn as_table_mut(&mut self) -> Option<&mut Table> {
        if let Data::Table(table) = &mut self.data { Some(table) } else { None }
    }

    pub(super) fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        if let Data::Array(values) = &mut self.data { Some(values) } else { None }
    }
}

impl Table {
    /// The value of a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// A key with its place and value.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Every key with its place and value, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, name: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(index))
    }
}

/// Takes over the values of one file whose text begins at `base`, and puts the environment's values into its strings.
/// `wrong` hears what cannot be: the place, that of the whole value, and why.
pub(super) fn from_document(
    document: &toml_edit::Table,
    base: usize,
    environment: Environment<'_>,
    wrong: &mut dyn FnMut(Range<usize>, Range<usize>, Problem),
) -> Table {
    Reader { base, environment, wrong }.table(document, 0..0)
}

/// A value that the program itself has as TOML, such as a default; its place means nothing.
pub(super) fn from_text(text: &str) -> Option<Value> {
    let value: toml_edit::Value = text.parse().ok()?;
    let mut wrong = |_, _, _| {};
    Some(Reader { base: 0, environment: &|_| None, wrong: &mut wrong }.value(&value, &(0..0)))
}

/// A value of JSON, all of it at one place.
pub(super) fn from_json(value: serde_json::Value, span: &Range<usize>) -> Value {
    let data = match value {
        serde_json::Value::Null => Data::String(String::new()),
        serde_json::Value::Bool(flag) => Data::Boolean(flag),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Data::Float(number.as_f64().unwrap_or(f64::NAN)), Data::Integer)
        }
        serde_json::Value::String(text) => Data::String(text),
        serde_json::Value::Array(values) => {
            Data::Array(values.into_iter().map(|value| from_json(value, span)).collect())
        }
        serde_json::Value::Object(map) => {
            let entry = |(name, value)| Entry { name, span: span.clone(), value: from_json(value, span) };
            Data::Table(Table { entries: map.into_iter().map(entry).collect() })
        }
    };
    Value { data, span: span.clone(), written: None }
}

struct Reader<'r> {
    base: usize,
    environment: Environment<'r>,
    wrong: &'r mut dyn FnMut(Range<usize>, Range<usize>, Problem),
}

impl Reader<'_> {
    fn moved(&self, span: Option<Range<usize>>, otherwise: &Range<usize>) -> Range<usize> {
        span.map_or_else(|| otherwise.clone(), |span| self.base + span.start..self.base + span.end)
    }

    /// `around` is the place of what has no place of its own, as a table that only its children's headers name.
    fn table(&mut self, table: &dyn TableLike, around: Range<usize>) -> Table {
        let mut entries = Vec::new();
        for (name, item) in table.iter() {
            let own = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            let span = self.moved(own, &around);
            if let Some(value) = self.item(item, &span) {
                entries.push(Entry { name: name.to_owned(), span, value });
            }
        }
        Table { entries }
    }

    fn item(&mut self, item: &toml_edit::Item, around: &Range<usize>) -> Option<Value> {
        let span = self.moved(item.span(), around);
        let data = match item {
            toml_edit::Item::None => return None,
            toml_edit::Item::Value(value) => return Some(self.value(value, around)),
            toml_edit::Item::Table(table) => Data::Table(self.table(table, span.clone())),
            toml_edit::Item::ArrayOfTables(tables) => {
                let each = |table: &toml_edit::Table| {
                    let span = self.moved(table.span(), &span);
                    Value { data: Data::Table(self.table(table, span.clone())), span, written: None }
                };
                Data::Array(tables.iter().map(each).collect())
            }
        };
        Some(Value { data, span, written: None })
    }

    fn value(&mut self, value: &toml_edit::Value, around: &Range<usize>) -> Value {
        let span = self.moved(value.span(), around);
        let data = match value {
            toml_edit::Value::String(text) => return self.string(text.value(), span),
            toml_edit::Value::Integer(number) => Data::Integer(*number.value()),
            toml_edit::Value::Float(number) => Data::Float(*number.value()),
            toml_edit::Value::Boolean(flag) => Data::Boolean(*flag.value()),
            toml_edit::Value::Datetime(_) => Data::Datetime,
            toml_edit::Value::Array(array) => Data::Array(array.iter().map(|value| self.value(value, &span)).collect()),
            toml_edit::Value::InlineTable(table) => Data::Table(self.table(table, span.clone())),
        };
        Value { data, span, written: None }
    }

    fn string(&mut self, text: &str, span: Range<usize>) -> Value {
        match environment::expand(text, self.environment) {
            Ok(None) => Value { data: Data::String(text.to_owned()), span, written: None },
            Ok(Some(expanded)) => Value { data: Data::String(expanded), span, written: Some(text.to_owned()) },
            Err((part, problem)) => {
                // As in `Spanned::part`: only where no escape has moved the bytes is the place of a part known.
                let is_plain = span.len() == text.len() + 2;
                let place =
                    if is_plain { span.start + 1 + part.start..span.start + 1 + part.end } else { span.clone() };
                (self.wrong)(place, span.clone(), problem);
                Value { data: Data::String(text.to_owned()), span, written: None }
            }
        }
    }
}
