//! `websocket` of `[[route]]`.

use super::kind::Kind::{Duration, Either, Number, OneOf, Size};
use super::kind::{Kind, RATE};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{duration, integer, one_of, or_off, rate, size};
use crate::plan::Websocket;

const RATE_OR_OFF: Kind = Either(&[RATE, OneOf(&["off"])]);
const LARGEST: u64 = i64::MAX as u64;
const SIZE_OR_UNLIMITED: Kind = Either(&[Size(1, LARGEST), OneOf(&["unlimited"])]);

pub(super) const WEBSOCKET: Section = section(
    "[route.websocket]",
    &[
        key("frames", OneOf(&["checked", "raw"]), Is("\"checked\"")),
        key("compression", OneOf(&["pass", "off"]), Is("\"pass\"")),
        key("max_message", SIZE_OR_UNLIMITED, Is("\"64MiB\"")),
        key("max_frame", SIZE_OR_UNLIMITED, Words("`max_message`")),
        key("max_fragments", Number("number", 1, 1 << 30), Is("65536")),
        key("message_rate", RATE_OR_OFF, Is("\"off\"")),
        key("frame_rate", RATE_OR_OFF, Is("\"off\"")),
        key("control_rate", RATE_OR_OFF, Is("\"100/s\"")),
        key("ping_interval", Either(&[Duration, OneOf(&["off"])]), Is("\"off\"")),
        key("ping_timeout", Duration, Is("\"20s\"")),
        key("idle", Duration, Words("`tunnel_idle` of the listener's timeouts")),
        key("close_timeout", Duration, Is("\"5s\"")),
        key("drain", Duration, Is("\"10s\"")),
    ],
);

pub(super) fn websocket(fields: &Fields<'_>) -> Websocket {
    let mut all = Websocket::default();
    fields.set("frames", &mut all.is_checked, one_of(&[("checked", true), ("raw", false)]));
    fields.set("compression", &mut all.may_compress, one_of(&[("pass", true), ("off", false)]));
    fields.set("max_message", &mut all.limits.message, size_or_unlimited);
    all.limits.frame = all.limits.message;
    fields.set("max_frame", &mut all.limits.frame, size_or_unlimited);
    fields.set("max_fragments", &mut all.limits.fragments, integer(1..=1 << 30));
    fields.set("message_rate", &mut all.messages, or_off(rate));
    fields.set("frame_rate", &mut all.frames, or_off(rate));
    fields.set("control_rate", &mut all.control_frames, or_off(rate));
    fields.set("ping_interval", &mut all.ping_interval, or_off(duration));
    fields.set("ping_timeout", &mut all.ping_timeout, duration);
    fields.set("idle", &mut all.idle, |value| duration(value).map(Some));
    fields.set("close_timeout", &mut all.close_timeout, duration);
    fields.set("drain", &mut all.drain, duration);
    if !all.is_checked {
        for key in WEBSOCKET.keys.iter().map(|key| key.name).filter(|name| *name != "frames" && fields.has(name)) {
            let problem = Problem::new(format!("`frames = \"raw\"` looks at nothing that `{key}` could be about"));
            fields.complain(key, fields.key_span(key), problem);
        }
    }
    all
}

/// From one byte, or `"unlimited"`.
fn size_or_unlimited(value: &Value) -> Read<u64> {
    if value.as_str() == Some("unlimited") { Ok(u64::MAX) } else { size(1..=LARGEST)(value) }
}
