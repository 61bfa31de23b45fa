//! `http2` of `[listener.NAME]`.

use super::kind::Kind;
use super::kind::Kind::{Duration, Either, Flag, Number, OneOf, Size};
use super::reader::Otherwise::Is;
use super::reader::{Fields, Key, Section, key, section};
use super::values::{boolean, duration, integer, one_of, or_off, size};
use crate::plan::{Http2, Http2Windows};

/// A window has at least the size that the protocol starts with, where it is one of the connection.
const STREAM_WINDOW: Kind = Size(4 << 10, i32::MAX as u64);
const CONNECTION_WINDOW: Kind = Size(64 << 10, i32::MAX as u64);

const MAX_CONCURRENT_STREAMS: Key = key("max_concurrent_streams", Number("number", 1, 10_000), Is("100"));
const WINDOW: Key = key("window", STREAM_WINDOW, Is("\"64KiB\""));
const MAX_WINDOW: Key = key("max_window", STREAM_WINDOW, Is("\"1MiB\""));
const CONNECTION: Key = key("connection_window", CONNECTION_WINDOW, Is("\"256KiB\""));
const MAX_CONNECTION: Key = key("max_connection_window", CONNECTION_WINDOW, Is("\"4MiB\""));
const PING: Key = key("ping", Either(&[Duration, OneOf(&["off"])]), Is("\"30s\""));
const PING_TIMEOUT: Key = key("ping_timeout", Duration, Is("\"10s\""));
const BUDGET: Key = key("budget", Number("number", 1_000, 1_000_000_000), Is("10000"));
const BUDGET_REFILL: Key = key("budget_refill", Number("number", 0, 1_000_000_000), Is("500"));

pub(super) const OF_LISTENER: Section = section(
    "[listener.NAME.http2]",
    &[
        key("enabled", Either(&[Flag(true), Flag(false)]), Is("true")),
        MAX_CONCURRENT_STREAMS,
        key("shut_streams", Number("number", 1, 10_000), Is("8")),
        WINDOW,
        MAX_WINDOW,
        CONNECTION,
        MAX_CONNECTION,
        key("continuations", Number("number", 0, 1_000), Is("8")),
        key("websocket", Either(&[Flag(true), Flag(false)]), Is("true")),
        PING,
        PING_TIMEOUT,
        BUDGET,
        BUDGET_REFILL,
    ],
);

pub(super) const OF_UPSTREAM: Section = section(
    "[upstream.NAME.http2]",
    &[
        MAX_CONCURRENT_STREAMS,
        WINDOW,
        MAX_WINDOW,
        CONNECTION,
        MAX_CONNECTION,
        PING,
        PING_TIMEOUT,
        BUDGET,
        BUDGET_REFILL,
    ],
);

/// What an upstream says of HTTP/2, where that is what is spoken with it.
pub(super) fn of_upstream(fields: &Fields<'_>) -> Http2 {
    let mut http2 = Http2 { is_enabled: false, ..Http2::default() };
    if let Some(own) = fields.table("http2", &OF_UPSTREAM) {
        read(&own, &mut http2);
    }
    fields.set("protocol", &mut http2.is_enabled, one_of(&[("http/1.1", false), ("h2", true)]));
    http2
}

/// What a listener says of HTTP/2.
pub(super) fn of_listener(fields: &Fields<'_>) -> Http2 {
    let mut http2 = Http2::default();
    if let Some(own) = fields.table("http2", &OF_LISTENER) {
        own.set("enabled", &mut http2.is_enabled, boolean);
        own.set("shut_streams", &mut http2.shut_streams, integer(1..=10_000));
        own.set("continuations", &mut http2.continuations, integer(0..=1_000));
        own.set("websocket", &mut http2.websocket, boolean);
        read(&own, &mut http2);
    }
    http2
}

/// The keys of both sides.
fn read(fields: &Fields<'_>, http2: &mut Http2) {
    fields.set("max_concurrent_streams", &mut http2.streams, integer(1..=10_000));
    let most = i32::MAX as u64;
    let Http2Windows { stream, stream_max, connection, connection_max } = &mut http2.windows;
    fields.set("window", stream, size(4 << 10..=most));
    fields.set("max_window", stream_max, size(4 << 10..=most));
    fields.set("connection_window", connection, size(64 << 10..=most));
    fields.set("max_connection_window", connection_max, size(64 << 10..=most));
    fields.set("ping", &mut http2.ping, or_off(duration));
    fields.set("ping_timeout", &mut http2.ping_timeout, duration);
    fields.set("budget", &mut http2.budget, integer(1_000..=1_000_000_000));
    fields.set("budget_refill", &mut http2.budget_refill, integer(0..=1_000_000_000));
}
