//! One way to write a config: `ringway fmt`. Works on the tokens of the text, so that comments, order and every value
//! stay as they are; only white space, line breaks, commas and quotes change.

use super::report::{Diagnostics, Report};
use super::syntax;
use std::iter::Peekable;
use std::path::Path;
use std::slice::Iter;
use toml_parser::Source;
use toml_parser::decoder::Encoding;
use toml_parser::parser::{Event, EventKind, parse_document};

/// The text of a config, formatted. What is no TOML is not touched.
///
/// - One key a line, nothing in front of it, ` = ` around the sign; one space before a comment behind it.
/// - A blank line before each header and the comments above it, none behind it, at most one anywhere else.
/// - An array or inline table that is written over several lines has one item a line, each with a comma, indented by
///   four spaces; any other is on one line.
/// - Double quotes where nothing needs others; no quotes around keys that need none.
pub fn format(file: &str, text: &str) -> Result<String, Report> {
    let diags = Diagnostics::default();
    diags.sources_mut().add(Path::new(file), &text.into());
    if syntax::parse(text, 0, &diags).is_none() {
        return Err(diags.into_report());
    }
    let source = Source::new(text);
    let mut events: Vec<Event> = Vec::new();
    parse_document(&source.lex().into_vec(), &mut |event| events.push(event), &mut ());
    let mut tokens = Tokens { source, events: events.iter().peekable() };
    let mut lines = Vec::new();
    let mut blanks = 0;
    while let Some(line) = tokens.line() {
        match line {
            Line { text, .. } if text.is_empty() => blanks += 1,
            line => lines.push(Line { blanks: std::mem::take(&mut blanks), ..line }),
        }
    }
    Ok(joined(&lines))
}

/// One line of the file, or several where a value needs them.
struct Line {
    text: String,
    kind: LineKind,
    /// Blank lines before it.
    blanks: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum LineKind {
    Comment,
    Header,
    Value,
}

fn joined(lines: &[Line]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| lines.get(before));
        let is_blank = match before {
            None => false,
            // Comments right above a header belong to it.
            Some(before) if before.kind == LineKind::Comment && line.blanks == 0 => false,
            Some(_) if opens_table(lines.get(index..).unwrap_or_default()) => true,
            Some(before) => line.blanks > 0 && before.kind != LineKind::Header,
        };
        if is_blank {
            text.push('\n');
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

/// Whether a header comes next, or comments and right below them a header.
fn opens_table(lines: &[Line]) -> bool {
    let mut lines = lines.iter();
    let mut kind = lines.next().map(|line| line.kind);
    while kind == Some(LineKind::Comment) {
        kind = lines.next().filter(|line| line.blanks == 0).map(|line| line.kind);
    }
    kind == Some(LineKind::Header)
}

struct Tokens<'t> {
    source: Source<'t>,
    events: Peekable<Iter<'t, Event>>,
}

impl<'t> Tokens<'t> {
    fn raw(&self, event: &Event) -> &'t str {
        self.source.get(event).map_or("", |raw| raw.as_str())
    }

    /// The next line; nothing at the end.
    fn line(&mut self) -> Option<Line> {
        self.events.peek()?;
        let mut line = Line { text: String::new(), kind: LineKind::Value, blanks: 0 };
        while let Some(event) = self.events.next() {
            match event.kind() {
                EventKind::Newline => break,
                EventKind::Comment if line.text.is_empty() => {
                    line.kind = LineKind::Comment;
                    line.text.push_str(self.raw(event).trim_end());
                }
                EventKind::Comment => {
                    line.text.push(' ');
                    line.text.push_str(self.raw(event).trim_end());
                }
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    line.kind = LineKind::Header;
                    line.text.push_str(self.raw(event));
                }
                EventKind::SimpleKey => line.text.push_str(&key(self.raw(event), event.encoding())),
                EventKind::KeyValSep => line.text.push_str(" = "),
                EventKind::KeySep | EventKind::StdTableClose | EventKind::ArrayTableClose => {
                    line.text.push_str(self.raw(event));
                }
                _ => line.text.push_str(&self.value(event, 0).0),
            }
        }
        Some(line)
    }

    /// The value that begins with this token, and whether it goes over several lines. `depth` counts the arrays and
    /// tables around it that do.
    fn value(&mut self, event: &Event, depth: usize) -> (String, bool) {
        match event.kind() {
            EventKind::Scalar => (scalar(self.raw(event), event.encoding()), false),
            EventKind::ArrayOpen => self.items("[", "]", EventKind::ArrayClose, depth),
            EventKind::InlineTableOpen => self.items("{", "}", EventKind::InlineTableClose, depth),
            _ => (String::new(), false),
        }
    }

    /// What stands between a bracket and its other half.
    fn items(&mut self, open: &str, close: &str, end: EventKind, depth: usize) -> (String, bool) {
        // What has line breaks in it is kept apart from what has none; the depth of what is inside is known only then.
        let is_long = self.has_line_break(end);
        let inner = depth + usize::from(is_long);
        let mut items: Vec<Item> = Vec::new();
        let mut current = String::new();
        // Whether an item, or the comma behind it, is the last thing on this line.
        let mut is_behind_item = false;
        while let Some(event) = self.events.next() {
            let kind = event.kind();
            let ends_item = kind == end || matches!(kind, EventKind::ValueSep | EventKind::Comment);
            if ends_item && !current.is_empty() {
                items.push(Item { text: std::mem::take(&mut current), comment: None });
            }
            match kind {
                kind if kind == end => break,
                EventKind::Newline => is_behind_item = false,
                EventKind::Comment => {
                    let comment = self.raw(event).trim_end().to_owned();
                    match items.last_mut().filter(|_| is_behind_item) {
                        Some(item) => item.comment = Some(comment),
                        None => items.push(Item { text: comment, comment: None }),
                    }
                }
                EventKind::SimpleKey => current.push_str(&key(self.raw(event), event.encoding())),
                EventKind::KeySep => current.push('.'),
                EventKind::KeyValSep => current.push_str(" = "),
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    current.push_str(&self.value(event, inner).0);
                    is_behind_item = true;
                }
                _ => {}
            }
        }
        let text = match (items.is_empty(), is_long) {
            (true, _) => format!("{open}{close}"),
            (false, true) => {
                let indent = "    ".repeat(depth);
                let lines: Vec<String> = items.iter().map(|item| format!("{indent}    {}", item.line())).collect();
                format!("{open}\n{}\n{indent}{close}", lines.join("\n"))
            }
            (false, false) => {
                let pad = if open == "{" { " " } else { "" };
                let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
                format!("{open}{pad}{}{pad}{close}", texts.join(", "))
            }
        };
        (text, is_long)
    }

    /// Whether there is a line break before the end of what was just opened, at any depth, but for those inside
    /// strings.
    fn has_line_break(&self, end: EventKind) -> bool {
        let mut depth = 0_usize;
        for event in self.events.clone() {
            match event.kind() {
                EventKind::Newline => return true,
                EventKind::ArrayOpen | EventKind::InlineTableOpen => depth += 1,
                kind if depth == 0 && kind == end => return false,
                EventKind::ArrayClose | EventKind::InlineTableClose => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        false
    }
}

/// One item of an array or table, or a comment on a line of its own.
struct Item {
    text: String,
    /// On the same line.
    comment: Option<String>,
}

impl Item {
    fn line(&self) -> String {
        match &self.comment {
            _ if self.text.starts_with('#') => self.text.clone(),
            Some(comment) => format!("{}, {comment}", self.text),
            None => format!("{},", self.text),
        }
    }
}

/// A part of a key: bare where it may be.
fn key(raw: &str, encoding: Option<Encoding>) -> String {
    let quote = match encoding {
        Some(Encoding::BasicString) => '"',
        Some(Encoding::LiteralString) => '\'',
        _ => return raw.to_owned(),
    };
    let inner = raw.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or_default();
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !inner.is_empty() && inner.bytes().all(is_bare) { inner.to_owned() } else { scalar(raw, encoding) }
}

/// A string in double quotes where they say the same; anything else as it is.
fn scalar(raw: &str, encoding: Option<Encoding>) -> String {
    let inner = raw.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) if encoding == Some(Encoding::LiteralString) && !inner.contains(['"', '\\']) => {
            format!("\"{inner}\"")
        }
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::effective::shown;
    use crate::config::tree;
    use proptest::prelude::*;

    fn formatted(text: &str) -> String {
        format("t.toml", text).unwrap_or_else(|report| panic!("{text}\n{report}"))
    }

    /// What a text says, whatever it looks like.
    fn meaning(text: &str) -> String {
        let document = toml_edit::Document::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let mut wrong = |_, _, _| {};
        let table = tree::from_document(document.as_table(), 0, &|_| None, &mut wrong);
        let lines = table.iter().map(|entry| format!("{} {}", entry.name, shown(&entry.value, false)));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_config_is_written_in_one_way() {
        let before = "\n\n  # top\n\na=1   # one\n\n\n\n'b' . \"c d\"  = 'x'\n[ up . 'users' ]\n\n# of x\n\
                      x=[1,2 ,]\ny={a=1,b='\"'}\n# of the next\n[[ route ]]# r\nz = [\n1, # one\n\n  # two\n2]\n";
        let after = "# top\n\na = 1 # one\n\nb.\"c d\" = \"x\"\n\n[up.users]\n# of x\nx = [1, 2]\n\
                     y = { a = 1, b = '\"' }\n\n# of the next\n[[route]] # r\nz = [\n    1, # one\n    # two\n    2,\n]\n";
        assert_eq!(formatted(before), after);
        assert_eq!(formatted(after), after);
    }

    #[test]
    fn values_over_several_lines_are_indented() {
        let before =
            "a = [ [\n1 ], { b = 2, # two\n c = [\n] } # end\n, 'it\\s' ]\nd = [ # first\n]\ns = \"\"\"\n  x\n\"\"\"\n";
        let after = "a = [\n    [\n        1,\n    ],\n    {\n        b = 2, # two\n        c = [],\n    }, # end\n    \
                     'it\\s',\n]\nd = [\n    # first\n]\ns = \"\"\"\n  x\n\"\"\"\n";
        assert_eq!(formatted(before), after);
        assert_eq!(formatted(after), after);
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        let report = format("t.toml", "a = \n").unwrap_err().to_string();
        assert!(report.starts_with("t.toml:1:"), "{report}");
    }

    proptest! {
        #[test]
        fn meaning_and_comments_stay_and_formatting_again_changes_nothing(
            lines in proptest::collection::vec((0..4_usize, 0..6_usize, value(), comment()), 0..12)
        ) {
            let mut text = String::new();
            for (index, (kind, blanks, value, comment)) in lines.iter().enumerate() {
                text.push_str(&"\r\n".repeat(blanks.saturating_sub(3)));
                let line = match kind {
                    0 => format!("[[ t . 'x{index}' ]]"),
                    1 => format!(" [\"h{index}\"]\t"),
                    2 => String::new(),
                    _ => format!("'k{index}' .y={value}"),
                };
                text.push_str(&line);
                text.push_str(comment);
                text.push('\n');
            }
            let once = formatted(&text);
            prop_assert_eq!(meaning(&once), meaning(&text));
            prop_assert_eq!(formatted(&once), once.clone());
            let comments = |text: &str| text.matches("#c").count();
            prop_assert_eq!(comments(&once), comments(&text));
            prop_assert!(!once.contains("\n\n\n") && !once.contains(" \n"), "{}", once);
        }
    }

    fn comment() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just(""), Just("#c"), Just("   #c é  ")]
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("1_000"),
            Just("-0.5"),
            Just("true"),
            Just("'a'"),
            Just("'\\'"),
            Just("\"\\\"\""),
            Just("1979-05-27"),
            Just("'''a\n b'''"),
            Just("\"\"")
        ];
        let space = || prop_oneof![4 => Just(""), 1 => Just("  "), 1 => Just("\n"), 1 => Just("#c\n"), 1 => Just("\n #c\n#c\n")];
        leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, move |inner| {
            let items = proptest::collection::vec((space(), inner, space(), space()), 0..4);
            (items, any::<bool>(), any::<bool>(), space()).prop_map(|(items, is_table, trailing, end)| {
                let count = items.len();
                let item = |(index, (a, value, b, c)): (usize, (&str, String, &str, &str))| {
                    let key = if is_table { format!("'i{index}' = ") } else { String::new() };
                    let comma = if index + 1 < count || trailing { "," } else { "" };
                    format!("{a}{key}{value}{b}{comma}{c}")
                };
                let items: String = items.into_iter().enumerate().map(item).collect();
                if is_table { format!("{{{items}{end}}}") } else { format!("[{items}{end}]") }
            })
        })
    }
}
