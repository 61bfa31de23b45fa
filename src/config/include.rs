//! Reads all files of a config into one table: the file that was asked for, then those that its `include` names.

use super::environment::Environment;
use super::kind::Kind;
use super::reader::{Fields, Problem, Read, Spanned};
use super::report::{Diagnostic, Diagnostics};
use super::tree::{Entry, Table};
use super::written::Written;
use super::{ROOT, syntax, tree, values};
use glob::{MatchOptions, Pattern};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of one config.
const FILES_MAX: usize = 1024;

/// The bytes of all files of one config.
const BYTES_MAX: u64 = 64 << 20;

/// How many files may include each other, one the next.
const DEPTH_MAX: usize = 8;

/// Reads a file of the config; why it cannot be.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.is_dir() {
        return Err("cannot be read: it is a directory".to_owned());
    }
    if metadata.len() > BYTES_MAX {
        return Err(format!("a config has at most {BYTES_MAX} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1))
}

/// The table of a whole config whose first file has this text; nothing where a file is no TOML.
///
/// What is `kept` takes the place of the files that it includes.
pub(super) fn read(
    path: &Path,
    text: &str,
    kept: Option<&Written>,
    environment: Environment<'_>,
    diags: &Diagnostics,
) -> Option<Table> {
    let mut loader = Loader {
        diags,
        kept,
        environment,
        open: Vec::new(),
        read: HashMap::new(),
        bytes: 0,
        names: HashMap::new(),
        whole: Table::default(),
        is_readable: true,
    };
    loader.add(path, &text.into(), 0..0);
    loader.is_readable.then_some(loader.whole)
}

struct Loader<'l> {
    diags: &'l Diagnostics,
    kept: Option<&'l Written>,
    environment: Environment<'l>,
    /// The files that are being read, each including the next, by their one true path.
    open: Vec<PathBuf>,
    /// Where each file, by its one true path, was included.
    read: HashMap<PathBuf, Range<usize>>,
    bytes: u64,
    /// Where each name of `[listener.NAME]` and its like was given.
    names: HashMap<(String, String), Range<usize>>,
    whole: Table,
    is_readable: bool,
}

impl Loader<'_> {
    /// Adds a file that was included at a place, then what it includes.
    fn add(&mut self, path: &Path, text: &Arc<str>, from: Range<usize>) {
        self.bytes += text.len() as u64;
        let base = self.diags.sources_mut().add(path, text);
        let Some(document) = syntax::parse(text, base, self.diags) else {
            self.is_readable = false;
            return;
        };
        let mut wrong = |place: Range<usize>, value: Range<usize>, problem: Problem| {
            self.diags.push(Diagnostic::error(place, problem.message).maybe_help(problem.help));
            self.diags.spoil(value);
        };
        let mut table = tree::from_document(document.as_table(), base, self.environment, &mut wrong);
        let include = table.take("include");
        for entry in table.entries {
            self.merge(entry);
        }
        let Some(include) = include else { return };
        let true_path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.read.entry(true_path.clone()).or_insert(from);
        self.open.push(true_path);
        let own = Table { entries: vec![include] };
        let fields = Fields::new(&own, "", base..base, &ROOT, self.diags);
        let mut seen = Vec::new();
        for pattern in fields.list("include", values::path).unwrap_or_default() {
            match self.find(path, &pattern.value) {
                Ok(found) if found.is_empty() => {
                    let message = format!("include: no file matches \"{}\"", pattern.value);
                    self.diags.push(Diagnostic::warning(pattern.span.clone(), message));
                }
                Ok(found) => {
                    for path in found {
                        // What an earlier pattern of the same list has found already comes where that one put it.
                        if !seen.contains(&path) {
                            seen.push(path.clone());
                            self.include(&path, &pattern, &fields);
                        }
                    }
                }
                Err(problem) => fields.complain("include", pattern.span, problem),
            }
        }
        self.open.pop();
    }

    /// The files that a path or a pattern of `include` in the file `from` stands for, in order.
    fn find(&mut self, from: &Path, pattern: &str) -> Read<Vec<PathBuf>> {
        let directory = from.parent().unwrap_or(Path::new(""));
        let Some(first) = pattern.find(['*', '?', '[']) else {
            return Ok(vec![directory.join(pattern)]);
        };
        let fixed = pattern.get(..first).and_then(|start| start.rfind('/')).map_or("", |end| &pattern[..=end]);
        self.diags.sources_mut().add_directory(&directory.join(fixed));
        let whole = Path::new(&Pattern::escape(&directory.to_string_lossy())).join(pattern);
        let files = match self.kept {
            Some(kept) => kept.found.get(&*whole.to_string_lossy()).cloned().unwrap_or_default(),
            None => Self::look_for(&whole, pattern)?,
        };
        self.diags.sources_mut().add_found(&whole.to_string_lossy(), &files);
        Ok(files)
    }

    fn look_for(whole: &Path, pattern: &str) -> Read<Vec<PathBuf>> {
        // A leading dot must be written: editors keep their own files under such names.
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let found = glob::glob_with(&whole.to_string_lossy(), options)
            .map_err(|error| Problem::new(format!("\"{pattern}\" is no pattern: {}", error.msg)))?;
        let mut files = Vec::new();
        for path in found {
            let path = path.map_err(|error| {
                Problem::new(format!("{} cannot be read: {}", error.path().display(), error.error()))
            })?;
            if path.is_dir() {
                continue;
            }
            if files.len() == FILES_MAX {
                return Err(Problem::new(format!("a config has at most {FILES_MAX} files")));
            }
            files.push(path);
        }
        Ok(files)
    }

    fn include(&mut self, path: &Path, from: &Spanned<String>, fields: &Fields<'_>) {
        let shown = path.display();
        let complain = |message: String| fields.complain("include", from.span.clone(), Problem::new(message));
        let true_path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&true_path) {
            return complain(format!("{shown} would include itself"));
        }
        if let Some(first) = self.read.get(&true_path) {
            let message = format!("include: {shown} is included twice");
            let diagnostic = Diagnostic::error(from.span.clone(), message);
            return self.diags.push(diagnostic.also(first.clone(), "first here"));
        }
        if self.open.len() > DEPTH_MAX {
            return complain(format!("at most {DEPTH_MAX} files may include each other, one the next"));
        }
        if self.read.len() >= FILES_MAX {
            return complain(format!("a config has at most {FILES_MAX} files"));
        }
        // A pipe would wait for its writer, and with it whoever loads the config.
        let is_special = |found: std::fs::Metadata| !found.is_file() && !found.is_dir();
        if self.kept.is_none() && std::fs::metadata(path).is_ok_and(is_special) {
            return complain(format!("{shown} is no file"));
        }
        let text = match self.kept {
            Some(kept) => kept.text(path).map(str::to_owned).ok_or_else(|| "is not kept".to_owned()),
            None => read_file(path),
        };
        let text = match text {
            Ok(text) if self.bytes + text.len() as u64 > BYTES_MAX => {
                return complain(format!("a config has at most {BYTES_MAX} bytes in all its files"));
            }
            Ok(text) => text,
            Err(why) => return complain(format!("{shown} {why}")),
        };
        self.read.insert(true_path, from.span.clone());
        self.add(path, &text.into(), from.span.clone());
    }

    /// Adds what a file says under one key. Tables that have names come together under their key, arrays of tables
    /// go on; any other table stands in one file.
    fn merge(&mut self, entry: Entry) {
        let kind = ROOT.keys.iter().find(|key| key.name == entry.name).map(|key| key.kind);
        let first = self.whole.entries.iter_mut().find(|known| known.name == entry.name);
        let twice = |name: &str, second: Range<usize>, first: Range<usize>| {
            let message = format!("`{name}` appears twice");
            self.diags.push(Diagnostic::error(second, message).also(first, "first here"));
        };
        let mut entry = entry;
        if let (Some(Kind::Named(_)), Some(table)) = (kind, entry.value.as_table_mut()) {
            table.entries.retain(|named| {
                let known = self.names.get(&(entry.name.clone(), named.name.clone())).cloned();
                match &known {
                    Some(first) => twice(&format!("{}.{}", entry.name, named.name), named.span.clone(), first.clone()),
                    None => {
                        self.names.insert((entry.name.clone(), named.name.clone()), named.span.clone());
                    }
                }
                known.is_none()
            });
        }
        let Some(first) = first else {
            self.whole.entries.push(entry);
            return;
        };
        match kind {
            Some(Kind::Named(_)) => match (first.value.as_table_mut(), entry.value.as_table_mut()) {
                (Some(all), Some(more)) => all.entries.append(&mut more.entries),
                _ => twice(&entry.name, entry.span, first.span.clone()),
            },
            Some(Kind::Tables(_)) => match (first.value.as_array_mut(), entry.value.as_array_mut()) {
                (Some(all), Some(more)) => all.append(more),
                _ => twice(&entry.name, entry.span, first.span.clone()),
            },
            _ => twice(&entry.name, entry.span, first.span.clone()),
        }
    }
}
