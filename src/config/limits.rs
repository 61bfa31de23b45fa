//! `[limits]`, and the `limits` of a listener.

use super::Config;
use super::kind::Kind::{Either, Number, OneOf, Size};
use super::kind::{Kind, RATE, SIZE_OR_UNLIMITED};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Key, Read, Section, key, section};
use super::tree::Value;
use super::values::{integer, or_off, rate, size, size_or_unlimited};
use crate::plan::Limits;

const KEYS: [Key; 19] = [
    key("request_line", Size(64, 1 << 20), Is("\"8KiB\"")),
    key("head", Size(256, 1 << 20), Is("\"32KiB\"")),
    key("headers", Number("number", 1, 10_000), Is("100")),
    key("body", SIZE_OR_UNLIMITED, Is("\"100MiB\"")),
    key("chunk_line", Size(16, 64 << 10), Is("\"256B\"")),
    key("trailers", Size(0, 1 << 20), Is("\"8KiB\"")),
    key("response_head", Size(256, 1 << 20), Is("\"32KiB\"")),
    key("response_headers", Number("number", 1, 10_000), Is("100")),
    key("extensions", Size(0, 1 << 20), Is("\"8KiB\"")),
    key("stream_buffer", Size(4 << 10, 64 << 20), Is("\"64KiB\"")),
    key("linger", Size(0, 64 << 20), Is("\"256KiB\"")),
    key("proxy_header", Size(107, 65_551), Is("\"4KiB\"")),
    key("keep_alive_requests", Number("number", 1, i64::MAX), Is("1000000")),
    key("connections", Number("number", 1, 10_000_000), Is("65536")),
    key("requests", Number("number", 1, 10_000_000), Is("65536")),
    key("memory", MEMORY, Is("\"unlimited\"")),
    key("reserved_files", Number("number", 0, 10_000_000), Words("a quarter of the core's share")),
    key("handshakes", Number("number", 1, 1_000_000), Is("512")),
    key("handshakes_per_source", Either(&[RATE, OneOf(&["off"])]), Is("\"500/s\"")),
];

pub(super) const SECTION: Section = section("[limits]", &KEYS);

/// Of the whole process.
const MEMORY: Kind = Either(&[Size(1 << 20, i64::MAX as u64), OneOf(&["unlimited"])]);

/// How many of the keys, the last ones, belong to a core.
const OF_CORE: usize = 6;

/// All but those that belong to a core.
pub(super) const OF_LISTENER: Section =
    Section { title: "[listener.NAME.limits]", keys: KEYS.split_at(KEYS.len() - OF_CORE).0, inherits: Some("limits") };

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    if let Some(fields) = root.table("limits", &SECTION) {
        config.limits = read(&fields, &config.limits);
        fields.set("connections", &mut config.cores.connections, integer(1..=10_000_000));
        fields.set("requests", &mut config.cores.requests, integer(1..=10_000_000));
        fields.set("memory", &mut config.cores.memory, memory);
        fields
            .set("reserved_files", &mut config.cores.reserved_files, |value| integer(0..=10_000_000)(value).map(Some));
        fields.set("handshakes", &mut config.cores.handshakes, integer(1..=1_000_000));
        fields.set("handshakes_per_source", &mut config.cores.handshakes_per_source, or_off(rate));
    }
}

/// Reads what both kinds of table have; what is not given stays as in `base`.
pub(super) fn read(fields: &Fields<'_>, base: &Limits) -> Limits {
    let mut limits = base.clone();
    fields.set("request_line", &mut limits.request_line, size(64..=1 << 20));
    fields.set("head", &mut limits.head, size(256..=1 << 20));
    fields.set("headers", &mut limits.headers, integer(1..=10_000));
    fields.set("body", &mut limits.body, size_or_unlimited);
    fields.set("chunk_line", &mut limits.chunk_line, size(16..=64 << 10));
    fields.set("trailers", &mut limits.trailers, size(0..=1 << 20));
    fields.set("response_head", &mut limits.response_head, size(256..=1 << 20));
    fields.set("response_headers", &mut limits.response_headers, integer(1..=10_000));
    fields.set("extensions", &mut limits.extensions, size(0..=1 << 20));
    fields.set("stream_buffer", &mut limits.stream_buffer, size(4 << 10..=64 << 20));
    fields.set("linger", &mut limits.linger, size(0..=64 << 20));
    fields.set("proxy_header", &mut limits.proxy_header, size(107..=65_551));
    fields.set("keep_alive_requests", &mut limits.keep_alive_requests, integer(1..=i64::MAX));
    limits
}

fn memory(value: &Value) -> Read<Option<u64>> {
    match value.as_str() {
        Some("unlimited") => Ok(None),
        _ => size(1 << 20..=i64::MAX as u64)(value).map(Some),
    }
}
