//! What is wrong with a config, said so that it can be mended: file, line, column, excerpt and the nearest right name.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config cannot be used.
    Error,
    /// It can, but likely says something else than was meant.
    Warning,
}

/// One thing wrong. Spans are byte ranges of the text.
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

/// Where all that is wrong is gathered; each thing once.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics(RefCell<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    all: Vec<Diagnostic>,
    /// Place and message of each.
    seen: HashSet<(usize, String)>,
}

impl Diagnostics {
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut gathered = self.0.borrow_mut();
        if gathered.seen.insert((diagnostic.span.start, diagnostic.message.clone())) {
            gathered.all.push(diagnostic);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.0.into_inner().all
    }
}

/// Where each line of a text begins.
pub(super) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// All that is wrong with one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: String,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn new(file: &str, text: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        Self { file: file.to_owned(), text: text.to_owned(), lines: line_starts(text), diagnostics }
    }

    /// Everything wrong, in the order of the file.
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

    /// The line of a byte, from 0, and where it begins.
    fn line(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        (line, self.lines.get(line).copied().unwrap_or_default())
    }

    /// Line and column of a byte, both from 1; a column counts characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at);
        let (line, start) = self.line(at);
        (line + 1, self.text.get(start..at).unwrap_or_default().chars().count() + 1)
    }

    /// The lines that a diagnostic is about, with its places marked.
    fn excerpt(&self, diagnostic: &Diagnostic) -> Snippet<'_, Annotation<'_>> {
        let spans = std::iter::once(&diagnostic.span).chain(diagnostic.others.iter().map(|(span, _)| span));
        let ends = spans
            .map(|span| visible(&self.text, span))
            .fold((usize::MAX, 0), |(start, end), span| (start.min(span.start), end.max(span.end)));
        let (first, start) = self.line(ends.0);
        let end = self.lines.get(self.line(ends.1).0 + 1).copied().unwrap_or(self.text.len());
        let moved = |span: &Range<usize>| {
            let span = visible(&self.text, span);
            span.start - start..span.end - start
        };
        let text = self.text.get(start..end).unwrap_or_default();
        let main = AnnotationKind::Primary.span(moved(&diagnostic.span));
        let mut excerpt = Snippet::source(text).line_start(first + 1).annotation(main);
        for (span, label) in &diagnostic.others {
            excerpt = excerpt.annotation(AnnotationKind::Context.span(moved(span)).label(label.clone()));
        }
        excerpt
    }
}

impl fmt::Display for Report {
    /// Each as `FILE:LINE:COL: error: what`, its excerpt, and its help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if (1..=EXCERPTS_MAX).contains(&index) {
                writeln!(f)?;
            }
            let (line, column) = self.place(diagnostic.span.start);
            let (word, level) = match diagnostic.severity {
                Severity::Error => ("error", Level::ERROR),
                Severity::Warning => ("warning", Level::WARNING),
            };
            writeln!(f, "{}:{line}:{column}: {word}: {}", self.file, diagnostic.message)?;
            if self.text.is_empty() || index >= EXCERPTS_MAX {
                continue;
            }
            let mut group = Group::with_level(level).element(self.excerpt(diagnostic));
            if let Some(help) = &diagnostic.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            writeln!(f, "{}", Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}

/// A span inside the text, of whole characters and on one line, so that a long value does not fill the screen.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end).max(start);
    let shown = text.get(start..end).unwrap_or_default();
    start..start + shown.find('\n').unwrap_or(shown.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_many_errors_has_every_one_and_some_excerpts() {
        let text = "a\n".repeat(2 * EXCERPTS_MAX);
        let all =
            (0..2 * EXCERPTS_MAX).map(|line| Diagnostic::error(2 * line..2 * line + 1, "it is wrong").also(0..1, "x"));
        let shown = Report::new("f", &text, all.collect()).to_string();
        assert_eq!(shown.lines().filter(|line| line.ends_with("error: it is wrong")).count(), 2 * EXCERPTS_MAX);
        assert!(shown.contains(&format!("f:{}:1: error: it is wrong", 2 * EXCERPTS_MAX)));
        let carets = shown.lines().filter(|line| line.contains('^')).count();
        assert_eq!(carets, EXCERPTS_MAX);
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let report = Report::new("f", "é\nab\n", Vec::new());
        let places = [0, 1, 2, 3, 4, 5, 6].map(|at| report.place(at));
        assert_eq!(places, [(1, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1)]);
    }

    #[test]
    fn any_span_is_shown() {
        let text = "é\nab\n";
        for start in 0..9 {
            for end in 0..9 {
                let error = Diagnostic::error(start..end, "it is wrong").also(end..start, "x");
                let shown = Report::new("f", text, vec![error]).to_string();
                assert!(shown.contains("error: it is wrong"), "{start}..{end}");
            }
        }
    }
}
