//! `[control]`.

use super::Config;
use super::kind::Kind::{Duration, Either, Flag, Number, OneOf};
use super::kind::PATH;
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Section, key, section};
use super::values::{boolean, duration, integer, or_off, path};

pub(super) const SECTION: Section = section(
    "[control]",
    &[
        key("watch", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("history", Number("number", 0, 1000), Is("10")),
        key("acknowledge", Duration, Is("\"5s\"")),
        key("discovery_rest", Duration, Is("\"50ms\"")),
        key("discovery_wait", Either(&[Duration, OneOf(&["off"])]), Is("\"2s\"")),
        key("discovery_cache", PATH, Words("none")),
        key("upgrade_socket", PATH, Words("none")),
        key("upgrade_timeout", Duration, Is("\"1m\"")),
        key("ticket_rotation", Duration, Is("\"12h\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("control", &SECTION) else { return };
    let control = &mut config.control;
    fields.set("watch", &mut control.watch, boolean);
    fields.set("history", &mut control.history, integer(0..=1000));
    fields.set("acknowledge", &mut control.acknowledge, duration);
    fields.set("discovery_rest", &mut control.discovery_rest, duration);
    fields.set("discovery_wait", &mut control.discovery_wait, or_off(duration));
    fields.set("discovery_cache", &mut control.discovery_cache, |value| path(value).map(|path| Some(path.into())));
    fields.set("upgrade_socket", &mut control.upgrade_socket, |value| path(value).map(|path| Some(path.into())));
    fields.set("upgrade_timeout", &mut control.upgrade_timeout, duration);
    fields.set("ticket_rotation", &mut control.ticket_rotation, duration);
}
