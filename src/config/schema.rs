//! The JSON Schema (2020-12) of a config, made of the same tables that the config is read with.

use super::ROOT;
use super::effective::shown;
use super::kind::{DURATION_PATTERN, Kind, SIZE_PATTERN};
use super::reader::{Key, Otherwise, Section};
use super::tree;
use super::values::{NAME_PATTERN, show_size};
use serde_json::{Map, Value as Json, json};

/// The page that says what each key means.
const DOCS: &str = include_str!("../../docs/config.md");

/// The schema of one file. Nothing is required of the file itself: what it lacks may be in a file that it includes, or
/// that includes it.
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let environment = json!({
        "description": "A string with `${NAME}` or `${NAME:-default}` in it, which the environment fills in.",
        "type": "string",
        "pattern": r"\$\{",
    });
    definitions.insert("environment".to_owned(), environment);
    let root = Writer { definitions: &mut definitions }.section(&ROOT, None);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The config of Ringway",
    });
    if let (Some(schema), Json::Object(mut root)) = (schema.as_object_mut(), root) {
        root.remove("required");
        schema.append(&mut root);
        schema.insert("$defs".to_owned(), Json::Object(definitions));
    }
    schema
}

struct Writer<'w> {
    definitions: &'w mut Map<String, Json>,
}

impl Writer<'_> {
    /// A table with the keys of a section; its `type` is this where it has one.
    fn section(&mut self, section: &'static Section, kind: Option<&str>) -> Json {
        let known = || section.keys.iter();
        let properties: Map<String, Json> = known()
            .map(|key| {
                let value = kind.filter(|_| key.name == "type").map(|kind| json!({ "const": kind }));
                (key.name.to_owned(), self.key(section, key, value))
            })
            .collect();
        let is_required = |key: &&Key| key.otherwise == Otherwise::Required;
        let required: Vec<&str> = known().filter(is_required).map(|key| key.name).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    fn key(&mut self, section: &Section, key: &Key, value: Option<Json>) -> Json {
        let mut schema = value.unwrap_or_else(|| self.kind(&key.kind));
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(description(section, key)));
            if let Some(default) = default(key) {
                schema.insert("default".to_owned(), default);
            }
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Text(_, "") => json!({ "type": "string" }),
            Kind::Text(_, pattern) => text(pattern),
            Kind::OneOf(words) => or_environment(&json!({ "enum": words })),
            Kind::Flag(flag) => or_environment(&json!({ "const": flag })),
            Kind::Number(_, least, most) => {
                or_environment(&json!({ "type": "integer", "minimum": least, "maximum": most }))
            }
            Kind::Numbers(numbers) => or_environment(&json!({ "enum": numbers })),
            Kind::Percentage => or_environment(&json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 100 })),
            Kind::Ratio => or_environment(&json!({ "type": "number", "minimum": 0, "maximum": 1 })),
            Kind::Duration => text(DURATION_PATTERN),
            Kind::Size(..) => text(SIZE_PATTERN),
            Kind::Secret => {
                json!({ "anyOf": [{ "type": "string", "minLength": 1 }, self.table(&super::secret::FILE, None)] })
            }
            Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(|kind| self.kind(kind)).collect::<Vec<_>>() }),
            Kind::List(_, of) => {
                let one = self.kind(of);
                json!({ "anyOf": [one, { "type": "array", "items": one }] })
            }
            Kind::Map(_, of) => json!({ "type": "object", "additionalProperties": self.kind(of) }),
            Kind::Table(section) => self.table(section, None),
            Kind::Typed(types) => {
                let each = |(name, section): &(&str, &'static Section)| self.table(section, Some(name));
                json!({ "oneOf": types.iter().map(each).collect::<Vec<_>>() })
            }
            Kind::Named(of) => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME_PATTERN },
                "additionalProperties": self.kind(of),
            }),
            Kind::Tables(section) => json!({ "type": "array", "items": self.table(section, None) }),
        }
    }

    /// A reference to the definition of a table.
    fn table(&mut self, section: &'static Section, kind: Option<&str>) -> Json {
        let name = section.title.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        let name = name.trim_matches('-').to_owned();
        if !self.definitions.contains_key(&name) {
            // In its place before it is written, should it hold itself.
            self.definitions.insert(name.clone(), json!(true));
            let table = self.section(section, kind);
            self.definitions.insert(name.clone(), table);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }
}

/// A string of a form, or one that the environment has a part in.
fn text(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": format!(r"\$\{{|{pattern}") })
}

fn or_environment(schema: &Json) -> Json {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/environment" }] })
}

fn default(key: &Key) -> Option<Json> {
    let Otherwise::Is(text) = key.otherwise else { return None };
    tree::from_text(text).map(|value| shown(&value, false))
}

/// What the documentation says of a key, and the bounds of a size, which no schema can say.
fn description(section: &Section, key: &Key) -> String {
    let meaning = meaning(section.title, key.name).unwrap_or_default();
    let size = match key.kind {
        Kind::Size(least, most) => Some(format!("{} to {}", show_size(least), show_size(most))),
        _ => None,
    };
    match size {
        Some(size) if !meaning.contains(&size) => format!("{meaning}; {size}"),
        _ => meaning,
    }
}

/// The last cell of a key's row in the table under a heading, without the targets of its links.
fn meaning(title: &str, key: &str) -> Option<String> {
    let section = DOCS.split("\n## ").find(|section| section.lines().next() == Some(title))?;
    let row = section.lines().find_map(|line| line.strip_prefix(&format!("| `{key}` | ")))?;
    let cell = row.splitn(3, " | ").nth(2)?.trim_end_matches('|').trim();
    let mut text = String::new();
    for (index, part) in cell.split("](").enumerate() {
        let rest = if index == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) };
        match rest.rfind('[').filter(|_| cell.contains("](")) {
            Some(open) if rest.get(open..).is_some_and(|rest| !rest.contains(']')) => {
                text.push_str(rest.get(..open).unwrap_or_default());
                text.push_str(rest.get(open + 1..).unwrap_or_default());
            }
            _ => text.push_str(rest),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Reads the schema and files named after it with other people's parsers of TOML and JSON Schema; a line for each
    /// file with its number of errors.
    const VALIDATE: &str = r#"
import json, sys, tomllib
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    errors = list(validator.iter_errors(tomllib.load(open(path, "rb"))))
    print(path, len(errors))
    for error in errors:
        print(path, list(error.absolute_path), error.message[:200], file=sys.stderr)
"#;

    /// How many errors the schema finds in each file.
    fn validate(files: &[String]) -> Vec<(String, usize)> {
        let schema_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&schema_file, schema().to_string()).unwrap();
        let output =
            Command::new("python3").args(["-c", VALIDATE]).arg(schema_file.path()).args(files).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "python3 with jsonschema is wanted; tools/setup installs it\n{err}");
        let line = |line: &str| line.rsplit_once(' ').map(|(file, count)| (file.to_owned(), count.parse().unwrap()));
        let counts: Vec<_> = out.lines().filter_map(line).collect();
        assert_eq!(counts.len(), files.len(), "{out}\n{err}");
        if counts.iter().any(|(_, count)| *count > 0) {
            println!("{err}");
        }
        counts
    }

    #[test]
    fn good_configs_fit_the_schema() {
        let mut files: Vec<String> = vec!["tests/check/good.toml".to_owned(), "src/cli/demo/demo.toml".to_owned()];
        let recipes = std::fs::read_dir("docs/recipes").unwrap().map(|entry| entry.unwrap().path());
        let recipes = recipes.filter(|path| path.extension().is_some_and(|end| end == "toml"));
        files.extend(recipes.map(|path| path.display().to_string()));
        let dir = tempfile::tempdir().unwrap();
        for (index, example) in DOCS.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).enumerate()
        {
            let file = dir.path().join(format!("{index}.toml"));
            std::fs::write(&file, example).unwrap();
            files.push(file.display().to_string());
        }
        for (file, errors) in validate(&files) {
            // The addresses of the demo are filled in when it starts.
            let wanted = if file.ends_with("demo.toml") { 2 } else { 0 };
            assert_eq!(errors, wanted, "{file}");
        }
    }

    #[test]
    fn bad_configs_do_not_fit_the_schema() {
        let bad = ["later", "policy-fault", "policy-headers", "services", "types", "unknown-keys", "values"];
        for (file, errors) in validate(&bad.map(|name| format!("tests/check/{name}.toml"))) {
            assert!(errors > 0, "{file}");
        }
    }

    #[test]
    fn every_key_has_a_description() {
        let schema = schema();
        let mut sections: Vec<&Json> = schema["$defs"].as_object().unwrap().values().collect();
        sections.push(&schema);
        let mut keys = 0;
        for (name, key) in sections.iter().filter_map(|section| section["properties"].as_object()).flatten() {
            assert!(key["description"].as_str().is_some_and(|text| text.len() > 3), "{name}: {key}");
            keys += 1;
        }
        assert!(keys > 80, "{keys}");
    }

    #[test]
    fn links_lose_their_targets() {
        assert_eq!(meaning("[[route]]", "path").unwrap(), "see paths");
        assert_eq!(meaning("[cores]", "buffer_size").unwrap(), "bytes of one receive buffer, 4KiB to 1MiB");
    }
}
