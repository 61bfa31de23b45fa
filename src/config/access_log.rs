//! `[access_log]`.

use super::Config;
use super::kind::Kind::{Duration, Either, OneOf, Size};
use super::kind::PATH;
use super::reader::Otherwise::{Is, Required};
use super::reader::{Fields, Read, Section, key, section};
use super::tree::Value;
use super::values::{duration, one_of, path, size};
use crate::plan::{AccessFormat, AccessLog, LogTo};
use std::time;

pub(super) const SECTION: Section = section(
    "[access_log]",
    &[
        key("to", Either(&[PATH, OneOf(&["stdout"])]), Required),
        key("format", OneOf(&["json", "combined"]), Is("\"json\"")),
        key("flush", Duration, Is("\"100ms\"")),
        key("field", Size(16, 16 << 10), Is("\"1KiB\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("access_log", &SECTION) else { return };
    let (mut format, mut flush, mut field) = (AccessFormat::Json, time::Duration::from_millis(100), 1 << 10);
    fields.set("format", &mut format, one_of(&[("json", AccessFormat::Json), ("combined", AccessFormat::Combined)]));
    fields.set("flush", &mut flush, duration);
    fields.set("field", &mut field, size(16..=16 << 10));
    if let Some(to) = fields.required("to", to) {
        config.access_log = Some(AccessLog { to: to.value, format, flush, field });
    }
}

fn to(value: &Value) -> Read<LogTo> {
    Ok(match path(value)?.as_str() {
        "stdout" => LogTo::Stdout,
        path => LogTo::File(path.into()),
    })
}
