//! All that is wrong with a text as TOML. The parser of documents stops at one error; this goes on.

use super::report::{Diagnostic, Diagnostics, line_starts};
use std::collections::HashMap;
use std::ops::Range;
use toml_parser::parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ParseError, Source};

/// How deep arrays and inline tables may nest.
const DEPTH_MAX: u32 = 32;

/// Reads a document whose first byte is at the place `base`; nothing when the text is no TOML.
pub(super) fn parse<'t>(text: &'t str, base: usize, diags: &Diagnostics) -> Option<toml_edit::Document<&'t str>> {
    let moved = |span: Range<usize>| base + span.start..base + span.end;
    let source = Source::new(text);
    let mut errors: Vec<ParseError> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    let mut checked = ValidateWhitespace::new(&mut events, source);
    parse_document(&source.lex().into_vec(), &mut RecursionGuard::new(&mut checked, DEPTH_MAX), &mut errors);
    let mut keys = Keys::default();
    for event in &events {
        let Some(raw) = source.get(event) else { continue };
        match event.kind() {
            EventKind::Scalar if raw.is_empty() => {
                errors.push(ParseError::new("the value is missing").with_unexpected(event.span()));
            }
            EventKind::Scalar => {
                let _kind = raw.decode_scalar(&mut (), &mut errors);
            }
            EventKind::SimpleKey => {
                let mut key = String::new();
                raw.decode_key(&mut key, &mut errors);
                keys.part(key, event.span().start()..event.span().end());
            }
            kind => keys.mark(kind),
        }
    }
    let mut found: Vec<Diagnostic> = errors.iter().map(|error| diagnostic(error, text)).collect();
    // What follows on the line of an error comes from it most of the time.
    found.sort_by_key(|error| error.span.start);
    let lines = line_starts(text);
    found.dedup_by_key(|error| lines.partition_point(|start| *start <= error.span.start));
    for error in found {
        diags.push(Diagnostic { span: moved(error.span.clone()), ..error });
    }
    for (first, second, name) in &keys.doubles {
        let message = format!("`{name}` appears twice");
        diags.push(Diagnostic::error(moved(second.clone()), message).also(moved(first.clone()), "first here"));
    }
    match toml_edit::Document::parse(text) {
        Ok(document) if errors.is_empty() && keys.doubles.is_empty() => Some(document),
        Err(error) if errors.is_empty() && keys.doubles.is_empty() => {
            diags.push(Diagnostic::error(moved(error.span().unwrap_or(0..0)), error.message().to_owned()));
            None
        }
        _ => None,
    }
}

fn diagnostic(error: &ParseError, text: &str) -> Diagnostic {
    use toml_parser::Expected::{Description, Literal};
    let span = error.unexpected().or(error.context()).map_or(text.len()..text.len(), |span| span.start()..span.end());
    let mut message = error.description().to_owned();
    let name = |expected: &toml_parser::Expected| match expected {
        Literal("\n") => "a new line".to_owned(),
        Literal(literal) => format!("`{literal}`"),
        Description(text) => (*text).to_owned(),
        other => format!("{other:?}"),
    };
    let expected: Vec<String> = error.expected().unwrap_or_default().iter().map(name).collect();
    if !expected.is_empty() {
        message = format!("{message}, expected {}", expected.join(", "));
    }
    Diagnostic::error(span, message)
}

/// Where keys and headers stand, to show both places of one that appears twice. What is inside values is left to the
/// parser of documents.
#[derive(Default)]
struct Keys {
    /// Every key that has a value, and every header, by its full path.
    values: HashMap<Vec<String>, Range<usize>>,
    /// How many tables there are of each `[[header]]` so far.
    arrays: HashMap<Vec<String>, usize>,
    /// The path of the table we are in.
    table: Vec<String>,
    /// The parts read of the key or header we are in, and the place of the last.
    parts: Vec<String>,
    place: Range<usize>,
    /// How many arrays and inline tables we are in.
    depth: usize,
    /// First place, second place, name.
    doubles: Vec<(Range<usize>, Range<usize>, String)>,
}

impl Keys {
    fn part(&mut self, key: String, place: Range<usize>) {
        if self.depth == 0 {
            self.parts.push(key);
            self.place = place;
        }
    }

    fn mark(&mut self, kind: EventKind) {
        match kind {
            EventKind::ArrayOpen | EventKind::InlineTableOpen => self.depth += 1,
            EventKind::ArrayClose | EventKind::InlineTableClose => self.depth = self.depth.saturating_sub(1),
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.table.clear();
                self.parts.clear();
                self.depth = 0;
            }
            EventKind::StdTableClose => {
                self.table = self.placed(&self.parts);
                let header = std::mem::take(&mut self.parts);
                // A header and a key of one path are two tables of one name, told apart here: `[a.b]` after `[a]` with
                // a `b.c = 1` is for the parser of documents.
                let path = self.table.iter().cloned().chain(["[]".to_owned()]).collect();
                if self.note(path, &header) {
                    // Its keys are not those of the first: one complaint is enough.
                    self.table.push(format!("[again {}]", self.doubles.len()));
                }
            }
            EventKind::ArrayTableClose => {
                let parts = std::mem::take(&mut self.parts);
                let count = self.arrays.entry(parts.clone()).or_default();
                *count += 1;
                self.table = self.placed(&parts);
            }
            EventKind::KeyValSep if self.depth == 0 => {
                let key = std::mem::take(&mut self.parts);
                let path = self.table.iter().chain(&key).cloned().collect();
                self.note(path, &key);
            }
            _ => {}
        }
    }

    /// A path with the number of the table behind each array of tables in it.
    fn placed(&self, parts: &[String]) -> Vec<String> {
        let mut path = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            path.push(part.clone());
            if let Some(count) = self.arrays.get(&parts[..=index]) {
                path.push(format!("[{count}]"));
            }
        }
        path
    }

    /// Remembers where a path stands. Whether it was there before.
    fn note(&mut self, path: Vec<String>, name: &[String]) -> bool {
        let first = self.values.get(&path).cloned();
        match &first {
            Some(first) => self.doubles.push((first.clone(), self.place.clone(), name.join("."))),
            None => {
                self.values.insert(path, self.place.clone());
            }
        }
        first.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn errors(text: &str) -> Vec<(Range<usize>, String)> {
        let diags = Diagnostics::default();
        let document = parse(text, 0, &diags);
        let all: Vec<_> =
            diags.into_report().diagnostics().iter().cloned().map(|error| (error.span, error.message)).collect();
        assert_eq!(document.is_none(), !all.is_empty(), "{text}");
        all
    }

    #[test]
    fn every_error_is_found_with_its_place() {
        let found = errors("a = \nb = 1\nc = = 2\nd = \"x\\q\"\n[e\n");
        let places: Vec<usize> = found.iter().map(|(span, _)| span.start).collect();
        assert_eq!(places, [4, 15, 26, 31], "{found:?}");
        assert_eq!(found[0].1, "the value is missing");
    }

    #[test]
    fn names_that_appear_twice_are_shown_in_both_places() {
        let twice = |text: &str| {
            let diags = Diagnostics::default();
            assert!(parse(text, 0, &diags).is_none(), "{text}");
            let report = diags.into_report();
            let all = report.diagnostics();
            assert_eq!(all.len(), 1, "{all:?}");
            (all[0].others[0].0.start, all[0].span.start, all[0].message.clone())
        };
        assert_eq!(twice("a = 1\na = 2\n"), (0, 6, "`a` appears twice".to_owned()));
        assert_eq!(twice("[u.x]\na=1\n[u.x]\nb=1\n"), (3, 13, "`u.x` appears twice".to_owned()));
        assert_eq!(twice("[[r]]\na=1\n[r.t]\nx=1\n[r.t]\ny=1\n"), (13, 23, "`r.t` appears twice".to_owned()));
        assert_eq!(twice("[[r]]\na=1\n\"a\"=2\n"), (6, 10, "`a` appears twice".to_owned()));
    }

    #[test]
    fn what_only_looks_alike_is_fine() {
        for text in [
            "[a]\nx=1\n[b]\nx=1\n",
            "[[r]]\nx=1\n[r.t]\ny=1\n[[r]]\nx=1\n[r.t]\ny=1\n",
            "a.b=1\na.c=2\n",
            "v=[{a=1},{a=1}]\n",
        ] {
            assert_eq!(errors(text), [], "{text}");
        }
        assert_eq!(errors("v={a=1,a=2}\n").len(), 1);
        assert_eq!(errors("a.b=1\na=2\n").len(), 1);
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(!errors(&format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000))).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[\\[\\]{}=.,\"' \n#ab1\\\\é-]{0,40}") {
            errors(&text);
        }
    }
}
