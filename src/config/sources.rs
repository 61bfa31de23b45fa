//! The files that a config was read from, and which place is in which of them.

use super::report::line_starts;
use super::written::Written;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All that was read for one config. Places count the bytes of all files, laid one behind the other with one byte
/// between them, so that the end of one is not the start of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// At least one in a report; the first is the file that was asked for.
    files: Vec<Source>,
    /// Files of secrets.
    secret_files: Vec<PathBuf>,
    /// A digest of the secret that was read for the value at each place.
    secrets: BTreeMap<usize, u64>,
    /// Where the patterns of `include` look.
    directories: Vec<PathBuf>,
    /// What the patterns of `include` stand for.
    found: BTreeMap<String, Vec<PathBuf>>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// As reports name it.
    pub(crate) name: String,
    path: PathBuf,
    pub(crate) text: Arc<str>,
    /// The place of its first byte.
    pub(crate) base: usize,
    /// Where each line begins, in bytes of this file.
    lines: Vec<usize>,
}

impl Sources {
    /// Adds a file; the place of its first byte.
    pub(crate) fn add(&mut self, path: &Path, text: &Arc<str>) -> usize {
        let base = self.files.last().map_or(0, |file| file.base + file.text.len() + 1);
        let (name, lines) = (path.display().to_string(), line_starts(text));
        self.files.push(Source { name, path: path.to_owned(), text: Arc::clone(text), base, lines });
        base
    }

    /// Notes a secret that was read from a file for the value at this place.
    pub(crate) fn add_secret(&mut self, place: usize, path: PathBuf, digest: u64) {
        self.secrets.insert(place, digest);
        if !self.secret_files.contains(&path) {
            self.secret_files.push(path);
        }
    }

    /// Notes a directory in which a new file may become part of the config.
    pub(crate) fn add_directory(&mut self, path: &Path) {
        if !self.directories.iter().any(|known| known == path) {
            self.directories.push(path.to_owned());
        }
    }

    /// The digest of the secret that was read for the value at this place.
    pub(crate) fn secret(&self, place: usize) -> Option<u64> {
        self.secrets.get(&place).copied()
    }

    /// The file of a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Source> {
        let behind = self.files.partition_point(|file| file.base <= place);
        self.files.get(behind.checked_sub(1)?)
    }

    /// The directory against which relative paths at this place are read: that of the file they stand in.
    pub(crate) fn directory(&self, place: usize) -> &Path {
        self.at(place).and_then(|file| file.path.parent()).unwrap_or(Path::new(""))
    }

    /// Every file that was read.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).chain(self.secret_files.iter().cloned()).collect()
    }

    /// Notes the files that a pattern stands for.
    pub(crate) fn add_found(&mut self, pattern: &str, files: &[PathBuf]) {
        self.found.insert(pattern.to_owned(), files.to_vec());
    }

    /// All that was read, with what the environment was asked for.
    pub(crate) fn written(&self, environment: BTreeMap<String, Option<String>>) -> Written {
        let files = self.files.iter().map(|file| (file.path.clone(), file.text.clone()));
        Written { files: files.collect(), found: self.found.clone(), environment }
    }

    pub(crate) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

impl Source {
    /// The line of a byte of this file, from 0, and where it begins.
    pub(crate) fn line(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        (line, self.lines.get(line).copied().unwrap_or_default())
    }

    /// Where the line behind this one begins.
    pub(crate) fn next_line(&self, line: usize) -> usize {
        self.lines.get(line + 1).copied().unwrap_or(self.text.len())
    }

    /// Line and column of a place, both from 1; a column counts characters.
    pub(crate) fn line_and_column(&self, place: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(place.saturating_sub(self.base));
        let (line, start) = self.line(at);
        (line + 1, self.text.get(start..at).unwrap_or_default().chars().count() + 1)
    }

    /// A span inside this file, in its bytes, of whole characters and on one line, so that a long value does not fill
    /// the screen.
    pub(crate) fn visible(&self, span: &Range<usize>) -> Range<usize> {
        let text = &*self.text;
        let start = text.floor_char_boundary(span.start.saturating_sub(self.base));
        let end = text.ceil_char_boundary(span.end.saturating_sub(self.base)).max(start);
        let shown = text.get(start..end).unwrap_or_default();
        start..start + shown.find('\n').unwrap_or(shown.len())
    }
}
