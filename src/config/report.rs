//! What is wrong with a config, said so that it can be mended: file, line, column, excerpt and the nearest right name.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::cell::RefCell;
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

/// Where all that is wrong is gathered; each thing once.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics(RefCell<Vec<Diagnostic>>);

impl Diagnostics {
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut all = self.0.borrow_mut();
        if !all.contains(&diagnostic) {
            all.push(diagnostic);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}

/// All that is wrong with one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: String,
    text: String,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn new(file: &str, text: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        Self { file: file.to_owned(), text: text.to_owned(), diagnostics }
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

    /// Line and column of a byte, both from 1; a column counts characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count();
        (line + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }
}

impl fmt::Display for Report {
    /// Each as `FILE:LINE:COL: error: what`, its excerpt, and its help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let (line, column) = self.place(diagnostic.span.start);
            let (word, level) = match diagnostic.severity {
                Severity::Error => ("error", Level::ERROR),
                Severity::Warning => ("warning", Level::WARNING),
            };
            writeln!(f, "{}:{line}:{column}: {word}: {}", self.file, diagnostic.message)?;
            if self.text.is_empty() {
                continue;
            }
            let mut snippet = Snippet::source(self.text.as_str())
                .annotation(AnnotationKind::Primary.span(visible(&self.text, &diagnostic.span)));
            for (span, label) in &diagnostic.others {
                let span = visible(&self.text, span);
                snippet = snippet.annotation(AnnotationKind::Context.span(span).label(label.as_str()));
            }
            let mut group = Group::with_level(level).element(snippet);
            if let Some(help) = &diagnostic.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            writeln!(f, "{}", Renderer::plain().render(&[group]))?;
        }
        Ok(())
    }
}

/// A span inside the text and on one line, so that a long value does not fill the screen.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let shown = text.get(start..end).unwrap_or_default();
    start..start + shown.find('\n').unwrap_or(shown.len())
}
