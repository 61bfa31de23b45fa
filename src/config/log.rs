//! `[log]`.

use super::Config;
use super::kind::Kind::{Duration, Either, Number, OneOf, Size};
use super::reader::Otherwise::Is;
use super::reader::{Fields, Read, Section, key, section};
use super::tree::Value;
use super::values::{duration, integer, one_of, size};
use crate::plan::{Level, LogFormat};
use std::time;

pub(super) const SECTION: Section = section(
    "[log]",
    &[
        key("level", OneOf(&["error", "warn", "info", "debug"]), Is("\"info\"")),
        key("format", OneOf(&["text", "json"]), Is("\"text\"")),
        key("slow_request", Either(&[Duration, OneOf(&["off"])]), Is("\"off\"")),
        key("events", Number("number", 0, 10_000), Is("10")),
        key("queue", Size(4 << 10, 256 << 20), Is("\"1MiB\"")),
    ],
);

const LEVELS: &[(&str, Level)] =
    &[("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("log", &SECTION) else { return };
    let log = &mut config.log;
    fields.set("level", &mut log.level, one_of(LEVELS));
    fields.set("format", &mut log.format, one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    fields.set("slow_request", &mut log.slow_request, slow_request);
    fields.set("events", &mut log.events, integer(0..=10_000));
    fields.set("queue", &mut log.queue, size(4 << 10..=256 << 20));
}

fn slow_request(value: &Value) -> Read<Option<time::Duration>> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    duration(value).map(Some).map_err(|problem| problem.with_help("a duration such as \"1s\", or \"off\""))
}
