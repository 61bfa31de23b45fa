//! What the gateway says: control's own lines on standard error, and, from the cores through the log thread, the access
//! log and events.

mod combined;
mod escape;
mod events;
mod json;
mod output;
mod scribe;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use ringway_runtime::clock::Wall;

pub(super) use output::{Opened, open};
pub(super) use scribe::{Scribe, Spawned, bounded, spawn};

use crate::plan::{self, Level, LogFormat, Plan};

/// A line of the log, before it is known how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) level: Level,
    pub(super) message: String,
    /// More for programs: names and what they hold.
    pub(super) fields: Vec<(&'static str, Field)>,
    /// Counts it as long as it is on its way to control.
    _on_the_way: Option<Arc<()>>,
}

/// What a program reads beside the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text(String),
    Number(u64),
}

impl Told {
    pub(super) fn new(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), fields: Vec::new(), _on_the_way: None }
    }
}

/// The one logger. It writes each line at once and never fails: the log is best effort.
pub(super) struct Log<'w> {
    out: &'w mut dyn Write,
    level: Level,
    format: LogFormat,
    /// Where the access log is written.
    scribe: Option<Scribe>,
    line: Vec<u8>,
}

impl<'w> Log<'w> {
    /// A log that writes as `settings` say.
    pub(super) fn new(out: &'w mut dyn Write, settings: &plan::Log) -> Self {
        Self { out, level: settings.level, format: settings.format, scribe: None, line: Vec::new() }
    }

    /// Has the log thread do what plans ask for.
    pub(super) fn set_scribe(&mut self, scribe: Scribe) {
        self.scribe = Some(scribe);
    }

    /// What matters less is not written.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Until the next plan.
    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Something was not done that should have been.
    pub(super) fn error(&mut self, message: fmt::Arguments<'_>) {
        self.tell(&Told::new(Level::Error, message.to_string()));
    }

    /// Something needs a look.
    pub(super) fn warn(&mut self, message: fmt::Arguments<'_>) {
        self.tell(&Told::new(Level::Warn, message.to_string()));
    }

    /// What the gateway does.
    pub(super) fn info(&mut self, message: fmt::Arguments<'_>) {
        self.tell(&Told::new(Level::Info, message.to_string()));
    }

    /// A change was not made. Its errors stand in the report before it, so this line in text has no `error:`.
    pub(super) fn refused(&mut self, message: fmt::Arguments<'_>) {
        self.put(&Told::new(Level::Error, message.to_string()), "ringway: ");
    }

    /// For those who look for a fault.
    pub(super) fn debug(&mut self, message: fmt::Arguments<'_>) {
        self.tell(&Told::new(Level::Debug, message.to_string()));
    }

    /// What `check` would say, of several lines with places. Nothing where it says nothing.
    pub(super) fn report(&mut self, level: Level, report: &str) {
        if report.is_empty() || level > self.level {
            return;
        }
        match self.format {
            LogFormat::Text => {
                // It is as a user of `check` knows it.
                let _ = self.out.write_all(report.as_bytes());
            }
            LogFormat::Json => self.tell(&Told::new(level, report.trim_end())),
        }
    }

    pub(super) fn tell(&mut self, told: &Told) {
        let prefix = match told.level {
            Level::Error => "ringway: error: ",
            Level::Warn => "ringway: warning: ",
            Level::Info => "ringway: ",
            Level::Debug => "ringway: debug: ",
        };
        self.put(told, prefix);
    }

    fn put(&mut self, told: &Told, prefix: &str) {
        let Told { level, message, fields, .. } = told;
        if *level > self.level {
            return;
        }
        let line = &mut self.line;
        line.clear();
        match self.format {
            LogFormat::Text => {
                line.extend_from_slice(prefix.as_bytes());
                escape::line(line, message);
            }
            LogFormat::Json => {
                line.extend_from_slice(b"{\"time\":\"");
                crate::observe::stamp::rfc3339(line, Wall::now().as_nanos());
                line.extend_from_slice(b"\",\"level\":\"");
                line.extend_from_slice(level.name().as_bytes());
                line.extend_from_slice(b"\",\"message\":");
                escape::json(line, message.as_bytes());
                for (name, field) in fields {
                    line.extend_from_slice(b",\"");
                    line.extend_from_slice(name.as_bytes());
                    line.extend_from_slice(b"\":");
                    match field {
                        Field::Text(text) => escape::json(line, text.as_bytes()),
                        Field::Number(number) => line.extend_from_slice(number.to_string().as_bytes()),
                    }
                }
                line.push(b'}');
            }
        }
        line.push(b'\n');
        let _ = self.out.write_all(line);
    }

    /// A plan of this epoch may run soon, with this access log.
    pub(super) fn offer(&self, epoch: u64, access: Option<Opened>) {
        if let Some(scribe) = &self.scribe {
            scribe.offer(epoch, access);
        }
    }

    /// The plan of this epoch runs from now on.
    pub(super) fn take_up(&mut self, plan: &Plan, epoch: u64) {
        (self.level, self.format) = (plan.log.level, plan.log.format);
        if let Some(scribe) = &self.scribe {
            scribe.commit(epoch);
        }
    }

    /// Whoever rotates logs has moved the file away.
    pub(super) fn reopen(&self) {
        if let Some(scribe) = &self.scribe {
            scribe.reopen();
        }
    }

    /// The cores have ended: has what they still told be written, within a bound, and returns the last that the log thread
    /// has to say. What it said before is on its way already.
    pub(super) fn finish(&mut self) -> Vec<Told> {
        self.scribe.take().map(Scribe::finish).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(level: Level, format: LogFormat, write: impl FnOnce(&mut Log<'_>)) -> String {
        let mut out = Vec::new();
        let settings = plan::Log { level, format, ..plan::Log::default() };
        write(&mut Log::new(&mut out, &settings));
        String::from_utf8(out).unwrap()
    }

    fn one_of_each(log: &mut Log<'_>) {
        log.error(format_args!("a"));
        log.warn(format_args!("b"));
        log.info(format_args!("c"));
        log.debug(format_args!("d"));
        log.report(Level::Warn, "f.toml:1:2: warning: e\n  more\n");
        log.report(Level::Error, "");
    }

    #[test]
    fn a_level_says_what_matters_less_and_is_left_out() {
        let lines = |level| written(level, LogFormat::Text, one_of_each);
        assert_eq!(lines(Level::Error), "ringway: error: a\n");
        let warn = "ringway: error: a\nringway: warning: b\nf.toml:1:2: warning: e\n  more\n";
        assert_eq!(lines(Level::Warn), warn);
        assert!(lines(Level::Info).contains("ringway: c\n"));
        assert!(!lines(Level::Info).contains("ringway: debug: d\n"));
        assert!(lines(Level::Debug).contains("ringway: debug: d\n"));
    }

    #[test]
    fn json_has_an_object_a_line_whatever_is_said() {
        let text = written(Level::Debug, LogFormat::Json, |log| {
            one_of_each(log);
            log.tell(&Told {
                fields: vec![("kind", Field::Text("a\"b".to_owned())), ("count", Field::Number(7))],
                ..Told::new(Level::Warn, "two\nlines \u{1b}[31m\u{9b}")
            });
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 6);
        let levels: Vec<&str> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["error", "warn", "info", "debug", "warn", "warn"]);
        assert_eq!(lines[4]["message"], "f.toml:1:2: warning: e\n  more");
        assert_eq!((&lines[5]["kind"], &lines[5]["count"]), (&"a\"b".into(), &7.into()));
        assert_eq!(lines[5]["message"], "two\nlines \u{1b}[31m\u{9b}");
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "no control character goes out");
    }

    #[test]
    fn text_has_a_line_for_what_is_said_and_no_control_characters() {
        let text =
            written(Level::Info, LogFormat::Text, |log| log.info(format_args!("a\nringway: error: b\u{1b}\u{9b}")));
        assert_eq!(text, "ringway: a\\nringway: error: b\\u{1b}\\u{9b}\n");
    }
}
