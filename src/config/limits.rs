//! `[limits]`, and the `limits` of a listener.

use super::reader::Otherwise::Is;
use super::reader::{Fields, Key, Section, key};
use super::values::{integer, size, size_or_unlimited};
use crate::plan::{Cores, Limits};

const REQUEST_LINE: Key = key("request_line", "size", Is("\"8KiB\""));
const HEAD: Key = key("head", "size", Is("\"32KiB\""));
const HEADERS: Key = key("headers", "number", Is("100"));
const BODY: Key = key("body", "size or \"unlimited\"", Is("\"100MiB\""));
const CHUNK_LINE: Key = key("chunk_line", "size", Is("\"256B\""));
const TRAILERS: Key = key("trailers", "size", Is("\"8KiB\""));
const RESPONSE_HEAD: Key = key("response_head", "size", Is("\"32KiB\""));
const RESPONSE_HEADERS: Key = key("response_headers", "number", Is("100"));
const EXTENSIONS: Key = key("extensions", "size", Is("\"8KiB\""));
const STREAM_BUFFER: Key = key("stream_buffer", "size", Is("\"64KiB\""));
const LINGER: Key = key("linger", "size", Is("\"256KiB\""));
const KEEP_ALIVE_REQUESTS: Key = key("keep_alive_requests", "number", Is("1000000"));

pub(super) const SECTION: Section = Section {
    keys: &[
        REQUEST_LINE,
        HEAD,
        HEADERS,
        BODY,
        CHUNK_LINE,
        TRAILERS,
        RESPONSE_HEAD,
        RESPONSE_HEADERS,
        EXTENSIONS,
        STREAM_BUFFER,
        LINGER,
        KEEP_ALIVE_REQUESTS,
        key("connections", "number", Is("65536")),
    ],
};

pub(super) const OF_LISTENER: Section = Section {
    keys: &[
        REQUEST_LINE,
        HEAD,
        HEADERS,
        BODY,
        CHUNK_LINE,
        TRAILERS,
        RESPONSE_HEAD,
        RESPONSE_HEADERS,
        EXTENSIONS,
        STREAM_BUFFER,
        LINGER,
        KEEP_ALIVE_REQUESTS,
    ],
};

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
    fields.set("keep_alive_requests", &mut limits.keep_alive_requests, integer(1..=i64::MAX));
    limits
}

/// Reads what belongs to a core.
pub(super) fn read_core(fields: &Fields<'_>, cores: &mut Cores) {
    fields.set("connections", &mut cores.connections, integer(1..=10_000_000));
}
