//! What changed between two configs.

use super::ROOT;
use super::effective::{Effective, Setting, Settings, name_of};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// What changed from one config to another, in the order of the keys of the file, then by name. Shown, it is one line
/// such as `+2 routes, ~1 upstream`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// What only the new config has.
    pub added: Vec<Object>,
    /// What only the old one has.
    pub removed: Vec<Object>,
    /// What both have, with other settings.
    pub changed: Vec<(Object, Vec<Change>)>,
    /// Whether routes that both have come in another order. It matters where nothing else tells two routes apart.
    pub is_reordered: bool,
}

/// A listener, an upstream, a route or another table of a config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// The key of the file: `listener`, `route`, `cores`.
    pub kind: &'static str,
    /// Empty for a table that has no name, as `[cores]`.
    pub name: String,
}

/// A setting that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path of its key inside its table, as `pool.idle`.
    pub key: String,
    /// What the old config says; nothing where it says nothing. A secret is as the file writes it.
    pub old: Option<Json>,
    /// What the new config says.
    pub new: Option<Json>,
}

/// Compares two configs. Defaults count as if they were written; different ways of writing the same are the same.
pub fn diff(old: &Effective, new: &Effective) -> Diff {
    let object = |(key, name): &(usize, String)| Object { kind: name_of(*key), name: name.clone() };
    let only = |here: &Effective, there: &Effective| {
        here.objects.keys().filter(|key| !there.objects.contains_key(*key)).map(object).collect()
    };
    let both = old.objects.iter().filter_map(|(key, said)| {
        let (old, new) = (old.settings(said), new.settings(new.objects.get(key)?));
        Some((object(key), changes(&old, &new)))
    });
    let changed = both.filter(|(_, changes)| !changes.is_empty());
    let order = |here: &Effective, there: &Effective| {
        let there: BTreeSet<_> = there.routes.iter().cloned().collect();
        here.routes.iter().filter(|name| there.contains(*name)).cloned().collect::<Vec<_>>()
    };
    Diff {
        added: only(new, old),
        removed: only(old, new),
        changed: changed.collect(),
        is_reordered: order(old, new) != order(new, old),
    }
}

fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs =
        |key: &&String| old.get(*key).map(|setting| &setting.same) != new.get(*key).map(|setting| &setting.same);
    let shown = |setting: &Setting| setting.shown.clone();
    keys.into_iter()
        .filter(differs)
        .map(|key| Change { key: key.clone(), old: old.get(key).map(shown), new: new.get(key).map(shown) })
        .collect()
}

impl Diff {
    /// Whether both configs say the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && !self.is_reordered
    }

    /// All of it, as lines for a person.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        self.removed.iter().for_each(|object| line(format!("- {object}")));
        self.added.iter().for_each(|object| line(format!("+ {object}")));
        for (object, changes) in &self.changed {
            line(format!("~ {object}"));
            for change in changes {
                line(format!("    {change}"));
            }
        }
        if self.is_reordered {
            line("~ the order of the routes".to_owned());
        }
        text
    }

    /// All of it, for programs.
    pub fn to_json(&self) -> Json {
        let object = |object: &Object| json!({ "kind": object.kind, "name": object.name });
        let change = |change: &Change| json!({ "key": change.key, "old": change.old, "new": change.new });
        let changed = |(object, changes): &(Object, Vec<Change>)| json!({ "kind": object.kind, "name": object.name, "changes": changes.iter().map(change).collect::<Vec<_>>() });
        json!({
            "same": self.is_empty(),
            "added": self.added.iter().map(object).collect::<Vec<_>>(),
            "removed": self.removed.iter().map(object).collect::<Vec<_>>(),
            "changed": self.changed.iter().map(changed).collect::<Vec<_>>(),
            "routes_reordered": self.is_reordered,
        })
    }
}

impl fmt::Display for Diff {
    /// `+2 routes, -1 listener, ~1 upstream, ~cores`, or `no change`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change");
        }
        let changed: Vec<&Object> = self.changed.iter().map(|(object, _)| object).collect();
        let groups = [('+', self.added.iter().collect()), ('-', self.removed.iter().collect()), ('~', changed)];
        let mut parts = Vec::new();
        for (sign, objects) in groups {
            let objects: Vec<&Object> = objects;
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            for object in &objects {
                let index = ROOT.keys.iter().position(|key| key.name == object.kind).unwrap_or_default();
                *counts.entry(index).or_default() += 1;
            }
            for (index, count) in counts {
                let kind = name_of(index);
                let is_named = objects.iter().any(|object| object.kind == kind && !object.name.is_empty());
                parts.push(if is_named {
                    format!("{sign}{count} {}", plural(kind, count))
                } else {
                    format!("{sign}{kind}")
                });
            }
        }
        if self.is_reordered {
            parts.push("~order of routes".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

fn plural(kind: &str, count: usize) -> String {
    match (count, kind.strip_suffix('y')) {
        (1, _) => kind.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        _ => format!("{kind}s"),
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

impl fmt::Display for Change {
    /// `pool.idle: "60s" -> "30s"`; of a list what came and went.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        let (old, new) = (self.old.as_ref(), self.new.as_ref());
        if let (Some(Json::Array(old)), Some(Json::Array(new))) = (old, new) {
            let gone = old.iter().filter(|value| !new.contains(value)).map(|value| format!("-{}", toml(value)));
            let come = new.iter().filter(|value| !old.contains(value)).map(|value| format!("+{}", toml(value)));
            let parts: Vec<String> = gone.chain(come).collect();
            if !parts.is_empty() {
                return f.write_str(&parts.join(", "));
            }
        }
        let side = |value: Option<&Json>| value.map_or_else(|| "(not given)".to_owned(), toml);
        match (side(old), side(new)) {
            (old, new) if old == new => write!(f, "{new} holds something else"),
            (old, new) => write!(f, "{old} -> {new}"),
        }
    }
}

/// A value as TOML has it.
fn toml(value: &Json) -> String {
    match value {
        Json::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Json::Object(table) => {
            let mut text = String::from("{ ");
            for (index, (key, value)) in table.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}{key} = {}", toml(value));
            }
            text + " }"
        }
        value => value.to_string(),
    }
}
