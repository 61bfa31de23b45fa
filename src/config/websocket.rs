//! `websocket` of `[[route]]`.

use super::kind::Kind::{Duration, Either, Flag, List, Number, OneOf, Size, Table, Text};
use super::kind::{Kind, RATE};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{boolean, duration, integer, one_of, or_off, rate, size, string};
use crate::plan::{Compression, Origin, Termination, Websocket};

const RATE_OR_OFF: Kind = Either(&[RATE, OneOf(&["off"])]);
const LARGEST: u64 = i64::MAX as u64;
const SIZE_OR_UNLIMITED: Kind = Either(&[Size(1, LARGEST), OneOf(&["unlimited"])]);

const DEFLATE: Section = section(
    "[route.websocket.deflate]",
    &[
        key("level", Number("number", 1, 9), Is("4")),
        key("min_size", Size(1, 1 << 20), Is("\"128B\"")),
        key("window_bits", Number("number", 9, 15), Is("15")),
        key("context_takeover", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("max_ratio", Number("number", 1, 2_000), Is("200")),
        key("upstream", Either(&[Flag(true), Flag(false)]), Is("true")),
    ],
);

const ORIGIN: Kind = Text("origin", r"^(same|null|[A-Za-z][A-Za-z0-9+.-]*://.+)$");

const COMPRESSIONS: [(&str, Compression); 3] = [
    ("pass", Compression::Pass),
    ("terminate", Compression::Terminate(Termination::DEFAULT)),
    ("off", Compression::Off),
];

pub(super) const WEBSOCKET: Section = section(
    "[route.websocket]",
    &[
        key("origins", List("origins", &ORIGIN), Words("any origin")),
        key("frames", OneOf(&["checked", "raw"]), Is("\"checked\"")),
        key("compression", OneOf(&["pass", "terminate", "off"]), Is("\"pass\"")),
        key("deflate", Table(&DEFLATE), Words("as its keys say")),
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
    fields.set("compression", &mut all.compression, one_of(&COMPRESSIONS));
    match &mut all.compression {
        Compression::Terminate(own) => termination(fields, own),
        _ if fields.has("deflate") => {
            let problem = Problem::new("only with `compression = \"terminate\"` does the gateway compress");
            fields.complain("deflate", fields.key_span("deflate"), problem);
        }
        _ => {}
    }
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
    if fields.has("origins") {
        // Without an origin no page could open a connection.
        let origins = fields.some("origins", origin);
        all.origins = Some(origins.into_iter().map(|origin| origin.value).collect());
    }
    if !all.is_checked {
        let is_about_frames = |name: &&str| !["frames", "origins"].contains(name);
        for key in WEBSOCKET.keys.iter().map(|key| key.name).filter(|name| is_about_frames(name) && fields.has(name)) {
            let problem = Problem::new(format!("`frames = \"raw\"` looks at nothing that `{key}` could be about"));
            fields.complain(key, fields.key_span(key), problem);
        }
    }
    all
}

fn origin(value: &Value) -> Read<Origin> {
    Origin::parse(&string(value)?).map_err(Problem::new)
}

fn termination(fields: &Fields<'_>, all: &mut Termination) {
    if let Some(own) = fields.table("deflate", &DEFLATE) {
        own.set("level", &mut all.level, integer(1..=9));
        own.set("min_size", &mut all.min_size, size(1..=1 << 20));
        own.set("window_bits", &mut all.willing.bits, integer(9..=15));
        own.set("context_takeover", &mut all.willing.context_takeover, boolean);
        own.set("max_ratio", &mut all.max_ratio, integer(1..=2_000));
        own.set("upstream", &mut all.to_upstream, boolean);
    }
}

/// From one byte, or `"unlimited"`.
fn size_or_unlimited(value: &Value) -> Read<u64> {
    if value.as_str() == Some("unlimited") { Ok(u64::MAX) } else { size(1..=LARGEST)(value) }
}
