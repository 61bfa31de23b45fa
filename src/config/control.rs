//! `[control]`.

use super::Config;
use super::kind::Kind::{Duration, Either, Flag, Number};
use super::reader::Otherwise::Is;
use super::reader::{Fields, Section, key, section};
use super::values::{boolean, duration, integer};

pub(super) const SECTION: Section = section(
    "[control]",
    &[
        key("watch", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("history", Number("number", 0, 1000), Is("10")),
        key("acknowledge", Duration, Is("\"5s\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("control", &SECTION) else { return };
    let control = &mut config.control;
    fields.set("watch", &mut control.watch, boolean);
    fields.set("history", &mut control.history, integer(0..=1000));
    fields.set("acknowledge", &mut control.acknowledge, duration);
}
