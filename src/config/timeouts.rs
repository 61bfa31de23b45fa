//! `[timeouts]`, and the `timeouts` of a listener.

use super::reader::Otherwise::Is;
use super::reader::{Fields, Key, Section, key};
use super::values::{byte_rate_or_off, duration};
use crate::plan::Timeouts;

const KEYS: &[Key] = &[
    key("head", "duration", Is("\"10s\"")),
    key("body_idle", "duration", Is("\"30s\"")),
    key("send_idle", "duration", Is("\"30s\"")),
    key("keep_alive", "duration", Is("\"60s\"")),
    key("tunnel_idle", "duration", Is("\"1h\"")),
    key("min_rate", "bytes a second or \"off\"", Is("\"240B/s\"")),
    key("min_rate_grace", "duration", Is("\"5s\"")),
    key("linger", "duration", Is("\"2s\"")),
];

pub(super) const SECTION: Section = Section { keys: KEYS };

pub(super) const OF_LISTENER: Section = Section { keys: KEYS };

/// What is not given stays as in `base`.
pub(super) fn read(fields: &Fields<'_>, base: &Timeouts) -> Timeouts {
    let mut timeouts = base.clone();
    fields.set("head", &mut timeouts.head, duration);
    fields.set("body_idle", &mut timeouts.body_idle, duration);
    fields.set("send_idle", &mut timeouts.send_idle, duration);
    fields.set("keep_alive", &mut timeouts.keep_alive, duration);
    fields.set("tunnel_idle", &mut timeouts.tunnel_idle, duration);
    fields.set("min_rate", &mut timeouts.min_rate, byte_rate_or_off);
    fields.set("min_rate_grace", &mut timeouts.min_rate_grace, duration);
    fields.set("linger", &mut timeouts.linger, duration);
    timeouts
}
