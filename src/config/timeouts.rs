//! `[timeouts]`, and the `timeouts` of a listener.

use super::Config;
use super::kind::BYTE_RATE;
use super::kind::Kind::{Duration, Either, OneOf};
use super::reader::Otherwise::Is;
use super::reader::{Fields, Key, Section, key, section};
use super::values::{byte_rate_or_off, duration};
use crate::plan::Timeouts;

const KEYS: &[Key] = &[
    key("head", Duration, Is("\"10s\"")),
    key("body_idle", Duration, Is("\"30s\"")),
    key("send_idle", Duration, Is("\"30s\"")),
    key("keep_alive", Duration, Is("\"60s\"")),
    key("tunnel_idle", Duration, Is("\"1h\"")),
    key("min_rate", Either(&[BYTE_RATE, OneOf(&["off"])]), Is("\"240B/s\"")),
    key("min_rate_grace", Duration, Is("\"5s\"")),
    key("linger", Duration, Is("\"2s\"")),
];

pub(super) const SECTION: Section = section("[timeouts]", KEYS);

pub(super) const OF_LISTENER: Section =
    Section { title: "[listener.NAME.timeouts]", keys: KEYS, inherits: Some("timeouts") };

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    if let Some(fields) = root.table("timeouts", &SECTION) {
        config.timeouts = read(&fields, &config.timeouts);
    }
}

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
