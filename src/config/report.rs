//! What is wrong with a config, said so that it can be mended: file, line, column, excerpt and the nearest right name.

use super::sources::{Source, Sources};
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use std::cell::{Ref, RefCell, RefMut};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config cannot be used.
    Error,
    /// It can, but likely says something else than was meant.
    Warning,
}

/// One thing wrong. Spans are ranges of the bytes of all files of the config, laid one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// Other places that have to do with it.
    pub others: Vec<(Range<usize>, String)>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), others: Vec::new(), help: None }
    }

    pub(crate) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(crate) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.others.push((span, label.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// Errors that are shown with their excerpt; of the rest only place and message, so that a report of a large file full
/// of errors stays cheap to make.
const EXCERPTS_MAX: usize = 500;

/// Where all that is wrong is gathered; each thing once. And the files it is wrong in.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    gathered: RefCell<Gathered>,
    sources: RefCell<Sources>,
}

#[derive(Debug, Default)]
struct Gathered {
    all: Vec<Diagnostic>,
    /// Place and message of each.
    seen: HashSet<(usize, String)>,
    /// Values of which nothing more needs to be said.
    spoiled: Vec<Range<usize>>,
}

impl Diagnostics {
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut gathered = self.gathered.borrow_mut();
        let is_in = |value: &Range<usize>| value.contains(&diagnostic.span.start);
        if gathered.spoiled.iter().any(is_in) {
            return;
        }
        if gathered.seen.insert((diagnostic.span.start, diagnostic.message.clone())) {
            gathered.all.push(diagnostic);
        }
    }

    /// Takes no more diagnostics on a value: whatever else is wrong with it comes from what was said already.
    pub(crate) fn spoil(&self, value: Range<usize>) {
        self.gathered.borrow_mut().spoiled.push(value);
    }

    /// How many errors there are by now.
    pub(crate) fn errors(&self) -> usize {
        self.gathered.borrow().all.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    pub(crate) fn sources(&self) -> Ref<'_, Sources> {
        self.sources.borrow()
    }

    pub(crate) fn sources_mut(&self) -> RefMut<'_, Sources> {
        self.sources.borrow_mut()
    }

    /// All of it, in the order of the files.
    pub(crate) fn into_report(self) -> Report {
        let mut diagnostics = self.gathered.into_inner().all;
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        Report { sources: Box::new(self.sources.into_inner()), diagnostics }
    }
}

/// Where each line of a text begins.
pub(super) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// All that is wrong with one config, in the order of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// On the heap: a report is mostly returned as an error.
    sources: Box<Sources>,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Every file that was read: the config, those it includes, and those of secrets. Relative ones are as the command
    /// line and the config have them.
    pub fn files(&self) -> Vec<PathBuf> {
        self.sources.files()
    }

    /// The directories in which the patterns of `include` look: a new file there may become part of the config.
    pub fn directories(&self) -> &[PathBuf] {
        self.sources.directories()
    }

    /// Everything wrong, in the order of the files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.diagnostics.len() - self.errors()
    }

    /// The lines that a diagnostic is about, with its places marked; those of its own file first.
    fn excerpts(&self, diagnostic: &Diagnostic) -> Vec<Snippet<'_, Annotation<'_>>> {
        let mut files: Vec<(&Source, Vec<Mark>)> = Vec::new();
        let main = (&diagnostic.span, None);
        for (span, label) in std::iter::once(main).chain(diagnostic.others.iter().map(|(at, label)| (at, Some(label))))
        {
            let Some(source) = self.sources.at(span.start) else { continue };
            let mark = Mark { span: source.visible(span), label: label.cloned() };
            match files.iter_mut().find(|(known, _)| known.base == source.base) {
                Some((_, marks)) => marks.push(mark),
                None => files.push((source, vec![mark])),
            }
        }
        let is_one = files.len() == 1;
        let shown = files.into_iter().filter(|(source, _)| !source.text.is_empty());
        shown
            .map(|(source, marks)| {
                let excerpt = excerpt(source, marks);
                if is_one { excerpt } else { excerpt.path(&*source.name) }
            })
            .collect()
    }
}

/// A message quotes values, and what they hold must not look like a message of its own.
fn on_one_line(message: &str) -> String {
    message
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}

/// Bytes of a file to be marked; what a diagnostic is about itself has no label.
struct Mark {
    span: Range<usize>,
    label: Option<String>,
}

fn excerpt(source: &Source, marks: Vec<Mark>) -> Snippet<'_, Annotation<'_>> {
    let ends =
        marks.iter().fold((usize::MAX, 0), |(start, end), mark| (start.min(mark.span.start), end.max(mark.span.end)));
    let (first, start) = source.line(ends.0);
    let end = source.next_line(source.line(ends.1).0);
    let text = source.text.get(start..end).unwrap_or_default();
    let mut excerpt = Snippet::source(text).line_start(first + 1);
    for Mark { span, label } in marks {
        let span = span.start - start..span.end - start;
        excerpt = excerpt.annotation(match label {
            None => AnnotationKind::Primary.span(span),
            Some(label) => AnnotationKind::Context.span(span).label(label),
        });
    }
    excerpt
}

impl fmt::Display for Report {
    /// Each as `FILE:LINE:COL: error: what`, its excerpt, and its help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if (1..=EXCERPTS_MAX).contains(&index) {
                writeln!(f)?;
            }
            let (word, level) = match diagnostic.severity {
                Severity::Error => ("error", Level::ERROR),
                Severity::Warning => ("warning", Level::WARNING),
            };
            let Some(source) = self.sources.at(diagnostic.span.start) else { continue };
            let (line, column) = source.line_and_column(diagnostic.span.start);
            writeln!(f, "{}:{line}:{column}: {word}: {}", source.name, on_one_line(&diagnostic.message))?;
            let excerpts = if index < EXCERPTS_MAX { self.excerpts(diagnostic) } else { Vec::new() };
            if excerpts.is_empty() {
                continue;
            }
            let mut group = Group::with_level(level).elements(excerpts);
            if let Some(help) = &diagnostic.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            writeln!(f, "{}", Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A report on files of these texts, `f0`, `f1` and so on.
    fn report(texts: &[&str], diagnostics: impl IntoIterator<Item = Diagnostic>) -> Report {
        let gathered = Diagnostics::default();
        for (index, text) in texts.iter().enumerate() {
            gathered.sources_mut().add(Path::new(&format!("f{index}")), &(*text).into());
        }
        for diagnostic in diagnostics {
            gathered.push(diagnostic);
        }
        gathered.into_report()
    }

    #[test]
    fn a_report_of_many_errors_has_every_one_and_some_excerpts() {
        let text = "a\n".repeat(2 * EXCERPTS_MAX);
        let all =
            (0..2 * EXCERPTS_MAX).map(|line| Diagnostic::error(2 * line..2 * line + 1, "it is wrong").also(0..1, "x"));
        let shown = report(&[&text], all).to_string();
        assert_eq!(shown.lines().filter(|line| line.ends_with("error: it is wrong")).count(), 2 * EXCERPTS_MAX);
        assert!(shown.contains(&format!("f0:{}:1: error: it is wrong", 2 * EXCERPTS_MAX)));
        let carets = shown.lines().filter(|line| line.contains('^')).count();
        assert_eq!(carets, EXCERPTS_MAX);
    }

    #[test]
    fn places_count_lines_and_characters_from_one_in_each_file() {
        let report = report(&["é\nab\n", "", "x\n"], []);
        let place = |at| {
            let source = report.sources.at(at).unwrap();
            (source.name.clone(), source.line_and_column(at))
        };
        let places: Vec<_> = (0..11).map(place).collect();
        let wanted = [
            ("f0", (1, 1)),
            ("f0", (1, 1)),
            ("f0", (1, 2)),
            ("f0", (2, 1)),
            ("f0", (2, 2)),
            ("f0", (2, 3)),
            ("f0", (3, 1)),
            ("f1", (1, 1)),
            ("f2", (1, 1)),
            ("f2", (1, 2)),
            ("f2", (2, 1)),
        ];
        assert_eq!(places, wanted.map(|(file, place)| (file.to_owned(), place)));
    }

    #[test]
    fn both_places_of_an_error_across_files_are_shown() {
        let error = Diagnostic::error(7..8, "`b` appears twice").also(2..3, "first here");
        let shown = report(&["a\nb\n", "c\nb\n"], [error]).to_string();
        assert!(shown.starts_with("f1:2:1: error: `b` appears twice\n"), "{shown}");
        assert!(shown.contains("--> f1:2:1") && shown.contains("::: f0:2:1"), "{shown}");
    }

    #[test]
    fn a_quoted_value_does_not_break_the_line() {
        let error = Diagnostic::error(0..1, "\"x\r\nf0:1:1: error: \u{1b}[31m\" is é");
        let shown = report(&["a\n"], [error]).to_string();
        assert!(shown.starts_with("f0:1:1: error: \"x\\r\\nf0:1:1: error: \\u{1b}[31m\" is é\n"), "{shown}");
    }

    #[test]
    fn of_a_spoiled_value_nothing_more_is_said() {
        let gathered = Diagnostics::default();
        gathered.push(Diagnostic::error(2..4, "it is not set"));
        gathered.spoil(1..5);
        for at in [1, 4, 5] {
            gathered.push(Diagnostic::error(at..at + 1, "it is wrong"));
        }
        let places: Vec<usize> = gathered.into_report().diagnostics().iter().map(|error| error.span.start).collect();
        assert_eq!(places, [2, 5]);
    }

    #[test]
    fn any_span_is_shown() {
        for start in 0..14 {
            for end in 0..14 {
                let error = Diagnostic::error(start..end, "it is wrong").also(end..start, "x");
                let shown = report(&["é\nab\n", "é\nb"], [error]).to_string();
                assert!(shown.contains("error: it is wrong"), "{start}..{end}");
            }
        }
    }
}
