//! What a config says once its files are put together, the environment has had its part and defaults are in their
//! places: listeners, upstreams, routes and so on, each with all its settings. Two of them can be compared.

use super::ROOT;
use super::kind::Kind;
use super::reader::{Otherwise, Section};
use super::secret::digest;
use super::sources::Sources;
use super::tree::{self, Table, Value};
use super::values;
use super::written::Written;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// All that a config says, and how it was written. The first holds no secret, only what tells two of them apart within
/// one process; the second is shown to nobody.
#[derive(Clone, Default)]
pub struct Effective {
    /// By the key of the file, in its order, and the name; the name is empty for a table that has none.
    pub(super) objects: BTreeMap<(usize, String), Said>,
    /// The names of the routes in their order.
    pub(super) routes: Vec<String>,
    pub(super) written: Arc<Written>,
}

/// What one table says. Defaults are left out: most of a config is defaults, and many of these may be kept.
#[derive(Clone)]
pub(super) struct Said {
    section: &'static Section,
    pub(super) given: Settings,
}

/// By the path of the key inside its table.
pub(super) type Settings = BTreeMap<String, Setting>;

/// What one key says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// One form for all ways of writing the same.
    pub(super) same: Json,
    /// As it is written.
    pub(super) shown: Json,
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.objects.keys().map(|(key, name)| (name_of(*key), name))).finish()
    }
}

/// The key of the file at this index.
pub(super) fn name_of(key: usize) -> &'static str {
    ROOT.keys.get(key).map_or("", |key| key.name)
}

impl Effective {
    /// How it was written.
    pub fn written(&self) -> &Arc<Written> {
        &self.written
    }

    /// Takes down what the whole table of a config says.
    pub(super) fn of(whole: &Table, sources: &Sources) -> Self {
        let mut effective = Self::default();
        let reader = Reader { sources };
        let said = |section, table: &Table| {
            let mut given = Settings::new();
            reader.settings(section, table, "", &mut given);
            Said { section, given }
        };
        for (index, key) in ROOT.keys.iter().enumerate() {
            let value = whole.get(key.name);
            match key.kind {
                Kind::Table(section) => {
                    let nothing = Table::default();
                    let table = value.and_then(Value::as_table).unwrap_or(&nothing);
                    effective.objects.insert((index, String::new()), said(section, table));
                }
                Kind::Named(kind) => {
                    for entry in value.and_then(Value::as_table).into_iter().flat_map(Table::iter) {
                        let table = entry.value.as_table();
                        let section = table.and_then(|table| section_of(kind, table));
                        if let (Some(table), Some(section)) = (table, section) {
                            effective.objects.insert((index, entry.name.clone()), said(section, table));
                        }
                    }
                }
                Kind::Tables(section) => {
                    for table in value.map(Value::as_list).unwrap_or_default().iter().filter_map(Value::as_table) {
                        let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
                        effective.objects.insert((index, name.to_owned()), said(section, table));
                        effective.routes.push(name.to_owned());
                    }
                }
                _ => {}
            }
        }
        effective
    }

    /// All settings of a table, with the defaults in their places.
    pub(super) fn settings(&self, said: &Said) -> Settings {
        let mut settings = Settings::new();
        self.defaults(said.section, "", &mut settings);
        settings.extend(said.given.iter().map(|(path, setting)| (path.clone(), setting.clone())));
        settings
    }

    fn defaults(&self, section: &'static Section, path: &str, settings: &mut Settings) {
        let origin = section.inherits.and_then(|from| {
            let index = ROOT.keys.iter().position(|key| key.name == from)?;
            self.objects.get(&(index, String::new()))
        });
        for key in section.keys {
            let path = format!("{path}{}", key.name);
            let inherited = origin.and_then(|origin| origin.given.get(key.name));
            match (key.kind, inherited, key.otherwise) {
                (Kind::Table(section), ..) => self.defaults(section, &format!("{path}."), settings),
                // What a table by names holds are settings of their own.
                (Kind::Map(..), ..) => {}
                (_, Some(setting), _) => {
                    settings.insert(path, setting.clone());
                }
                (kind, None, Otherwise::Is(text)) => {
                    if let Some(value) = tree::from_text(text) {
                        settings.insert(path, Reader { sources: &Sources::default() }.setting(&kind, &value));
                    }
                }
                _ => {}
            }
        }
    }
}

struct Reader<'r> {
    sources: &'r Sources,
}

impl Reader<'_> {
    fn settings(&self, section: &Section, table: &Table, path: &str, settings: &mut Settings) {
        for key in section.keys {
            let Some(value) = table.get(key.name) else { continue };
            let path = format!("{path}{}", key.name);
            match key.kind {
                Kind::Table(section) => {
                    if let Some(table) = value.as_table() {
                        self.settings(section, table, &format!("{path}."), settings);
                    }
                }
                Kind::Map(_, of) => {
                    for entry in value.as_table().into_iter().flat_map(Table::iter) {
                        settings.insert(format!("{path}.{}", entry.name), self.setting(of, &entry.value));
                    }
                }
                kind => {
                    settings.insert(path, self.setting(&kind, value));
                }
            }
        }
    }

    fn setting(&self, kind: &Kind, value: &Value) -> Setting {
        let hide = kind.may_be_secret();
        let same = self.same(kind, value);
        // What is hidden is told apart by its digest, also where the environment gave it.
        let same = if hide { json!(digest(&same.to_string())) } else { same };
        let is_secret = matches!(kind, Kind::Secret) && value.as_str().is_some();
        Setting { same, shown: if is_secret { json!("(hidden)") } else { shown(value, hide) } }
    }

    /// One form for all ways of writing the same: `"1m"` and `"60s"`, a value and the list of it.
    fn same(&self, kind: &Kind, value: &Value) -> Json {
        let form = match kind {
            Kind::Duration => values::duration(value).ok().map(|time| json!(time.as_nanos().to_string())),
            Kind::Size(..) => values::size::<u64>(0..=u64::MAX)(value).ok().map(|bytes| json!(bytes)),
            Kind::Number(..) | Kind::Numbers(_) => value.as_integer().map(|number| json!(number)),
            Kind::Percentage => values::percentage(value).ok().map(|share| json!(share)),
            Kind::Ratio => values::ratio(value).ok().map(|part| json!(part)),
            Kind::Flag(_) => value.as_bool().map(|flag| json!(flag)),
            Kind::List(_, of) => Some(value.as_list().iter().map(|value| self.same(of, value)).collect()),
            Kind::Either(kinds) => {
                let plain = self.plain(value);
                return kinds.iter().map(|kind| self.same(kind, value)).find(|form| *form != plain).unwrap_or(plain);
            }
            _ => None,
        };
        form.unwrap_or_else(|| self.plain(value))
    }

    /// A value as it is, with the digests of the secrets in it.
    fn plain(&self, value: &Value) -> Json {
        if let Some(digest) = self.sources.secret(value.span().start) {
            return json!({ "secret": digest });
        }
        match (value.as_table(), value.as_array()) {
            (Some(table), _) => table.iter().map(|entry| (entry.name.clone(), self.plain(&entry.value))).collect(),
            (_, Some(values)) => values.iter().map(|value| self.plain(value)).collect(),
            _ => scalar(value, value.as_str()),
        }
    }
}

/// The keys of a table, by its `type` where that says them.
fn section_of(kind: &Kind, table: &Table) -> Option<&'static Section> {
    match kind {
        Kind::Table(section) => Some(section),
        Kind::Typed(types) => {
            let name = table.get("type").and_then(Value::as_str);
            types.iter().find(|(known, _)| Some(*known) == name).map(|(_, section)| *section)
        }
        _ => None,
    }
}

/// A value as the files say it; with what the environment gave for it unless that may be a secret.
pub(super) fn shown(value: &Value, hide: bool) -> Json {
    match (value.as_table(), value.as_array()) {
        (Some(table), _) => table.iter().map(|entry| (entry.name.clone(), shown(&entry.value, hide))).collect(),
        (_, Some(values)) => values.iter().map(|value| shown(value, hide)).collect(),
        _ => scalar(value, if hide { value.written() } else { value.as_str() }),
    }
}

fn scalar(value: &Value, text: Option<&str>) -> Json {
    if let Some(text) = text {
        return json!(text);
    }
    let whole = value.as_integer().map(|number| json!(number));
    whole.or(value.as_bool().map(|flag| json!(flag))).unwrap_or_else(|| json!(value.as_float()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_apart_and_not_shown() {
        let reader = Reader { sources: &Sources::default() };
        let setting = |text| reader.setting(&Kind::Secret, &tree::from_text(text).unwrap());
        let (one, other) = (setting("\"hush1\""), setting("\"hush2\""));
        assert!(one.same != other.same && one.same == setting("'hush1'").same);
        assert_eq!((one.shown, setting("{ file = \"f\" }").shown), (json!("(hidden)"), json!({ "file": "f" })));
        assert!(!one.same.to_string().contains("hush"));
    }
}
