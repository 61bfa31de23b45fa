//! Encode: outgoing heads, written once, straight into the send buffer.

use ringway_proto::http1::{Field, Framing, Known, RequestHead, TargetForm, Version, encode as http1, values};

use super::client::Client;
use super::edits::{Edits, Fate};
use super::exchange::Exchange;
use super::{forwarded, timing};

/// Bytes a head grows by at most in the ordinary case: what we add of our own. More is allowed and only costs a move.
const ROOM: usize = 512;

/// How a response body goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is: by length, or until the connection ends.
    Identity,
    /// In chunks of ours.
    Chunked,
}

/// Whether the connection has to end after the answer that is about to be written.
pub(crate) fn must_close(client: &Client, exchange: &Exchange) -> bool {
    !exchange.head.keep_alive || client.is_last() || client.requests >= client.listener().limits.keep_alive_requests
}

/// Appends what the connection's fate needs said: HTTP/1.1 stays open and 1.0 closes unless told otherwise.
pub(crate) fn connection(out: &mut Vec<u8>, version: Version, close: bool) {
    match (version, close) {
        (Version::Http11, true) => out.extend_from_slice(b"connection: close\r\n"),
        (Version::Http10, false) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
}

/// Whether an upgrade that the client asks for is passed on. `h2c` is not: behind it requests would flow unseen.
pub(crate) fn forwards_upgrade(head: &RequestHead, bytes: &[u8]) -> bool {
    head.upgrade
        && head
            .fields
            .iter()
            .filter(|field| field.known == Known::Upgrade)
            .all(|field| !values::list_contains(field.value.of(bytes), b"h2c"))
}

/// Copies the field lines that stay as they are, as few runs of bytes as possible: a line as received is a line to send,
/// since the decoder refuses whatever would not be.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the run not yet copied starts and ends.
    start: usize,
    end: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, start, end: start }
    }

    /// The line up to `next` stays.
    fn keep(&mut self, next: usize) {
        self.end = next;
    }

    /// The line up to `next` goes.
    fn skip(&mut self, out: &mut Vec<u8>, next: usize) {
        self.flush(out);
        (self.start, self.end) = (next, next);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(self.start..self.end).unwrap_or_default());
        self.start = self.end;
    }
}

/// Where the line after field `at` starts, in a head of `len` bytes.
fn next_line(fields: &[Field], at: usize, len: usize) -> usize {
    fields.get(at + 1).map_or(len.saturating_sub(http1::CRLF.len()), |next| next.name.start as usize)
}

/// Copies `fields` as `fate` says, the lines that stay in runs.
fn copy_fields<'f>(
    out: &mut Vec<u8>,
    lines: &mut Lines<'_>,
    fields: &[Field],
    len: usize,
    mut fate: impl FnMut(&Field) -> Fate<'f>,
) {
    for (at, field) in fields.iter().enumerate() {
        let next = next_line(fields, at, len);
        match fate(field) {
            Fate::Keep => lines.keep(next),
            Fate::Drop => lines.skip(out, next),
            Fate::Rename(to) => {
                lines.skip(out, next);
                http1::field(out, to, field.value.of(lines.bytes));
            }
        }
    }
    lines.flush(out);
}

/// Whether the request line goes on as it was received: a normal path in origin form, which no policy changed.
fn keeps_request_line(exchange: &Exchange) -> bool {
    exchange.rewritten.is_empty()
        && exchange.path.is_empty()
        && exchange.head.target.form == TargetForm::Origin
        && exchange.head.version == Version::Http11
}

fn request_line(out: &mut Vec<u8>, exchange: &Exchange) {
    out.extend_from_slice(exchange.method());
    out.push(b' ');
    if exchange.rewritten.is_empty() {
        out.extend_from_slice(exchange.path());
        if let Some(query) = exchange.query() {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    } else {
        out.extend_from_slice(&exchange.rewritten);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Whether a Content-Length that was accepted is written as we would write it.
fn is_plain_length(value: &[u8]) -> bool {
    value == b"0" || !value.starts_with(b"0")
}

/// Appends the request head for the upstream.
pub(crate) fn request_head(out: &mut Vec<u8>, client: &Client, exchange: &Exchange) {
    let bytes = exchange.head_bytes();
    out.reserve(bytes.len() + ROOM);
    let head = &exchange.head;
    let fields_start = head.fields.first().map_or(head.len - http1::CRLF.len(), |field| field.name.start as usize);
    let mut lines = Lines::new(bytes, fields_start);
    if keeps_request_line(exchange) {
        lines = Lines::new(bytes, head.method_span.start as usize);
        lines.keep(fields_start);
    } else {
        request_line(out, exchange);
    }
    let listener = client.listener();
    let trusted = listener.trusts(client.peer.ip());
    let edits = &exchange.edits;
    let mut has_host = false;
    // The status of a call comes in them.
    let (mut has_length, mut wants_trailers) = (false, exchange.web.is_some());
    copy_fields(out, &mut lines, &head.fields, head.len, |field| match field.known {
        Known::ContentLength if head.framing != Framing::Chunked && is_plain_length(field.value.of(bytes)) => {
            has_length = true;
            Fate::Keep
        }
        // The framing is written by us, and Expect was answered by us.
        Known::ContentLength | Known::Expect => Fate::Drop,
        Known::Host => {
            has_host = true;
            edits.fate(b"host")
        }
        Known::XForwardedFor
        | Known::XForwardedProto
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XRealIp
        | Known::Forwarded
            if !trusted || forwarded::rewrites(client, field.known) =>
        {
            Fate::Drop
        }
        Known::Via if listener.via.is_some() => Fate::Drop,
        Known::EarlyData if exchange.is_early => Fate::Drop,
        Known::Te => {
            wants_trailers |= (client.is_carried() || exchange.rpc.is_some())
                && values::list_contains(field.value.of(bytes), b"trailers");
            Fate::Drop
        }
        _ if field.hop_by_hop => Fate::Drop,
        _ => edits.fate(field.name.of(bytes)),
    });
    // HTTP/1.0 may name its host in the target alone, or not at all: then it is empty (RFC 9112 section 3.2).
    if !has_host && edits.fate(b"host") == Fate::Keep {
        http1::field(out, b"host", exchange.host());
    }
    match head.framing {
        Framing::Length(length) if !has_length => {
            out.extend_from_slice(b"content-length: ");
            http1::decimal(out, length);
            out.extend_from_slice(http1::CRLF);
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Length(_) | Framing::UntilClose => {}
    }
    if forwards_upgrade(head, bytes) {
        write_upgrade(out, &head.fields, bytes);
    }
    forwarded::write(out, client, exchange, trusted);
    // Once, whatever came (RFC 8470 section 5.1).
    if exchange.is_early && begin_own(out, edits, b"early-data: ") {
        out.extend_from_slice(b"1\r\n");
    }
    if wants_trailers {
        // Said of this hop anew: a client of HTTP/2 or gRPC takes trailers, and we pass them on (RFC 9110 section 10.1.4).
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    if let Some(via) = &listener.via
        && begin_own(out, edits, b"via: ")
    {
        let came_by = if client.is_carried() { b"2 " } else { via_version(head.version) };
        write_via(out, &head.fields, bytes, came_by, via);
    }
    edits.append(out);
    out.extend_from_slice(http1::CRLF);
}

/// Appends the head of an upstream's final response. `bytes` are what its spans refer to.
pub(crate) fn response_head(
    out: &mut Vec<u8>,
    client: &Client,
    exchange: &Exchange,
    bytes: &[u8],
    coding: Coding,
    close: bool,
) {
    let response = &exchange.response;
    out.reserve(response.len + ROOM);
    let mut lines = Lines::new(bytes, 0);
    if response.version == Version::Http11 && !response.reason.is_empty() {
        // The status line is one of ours already.
        lines.keep(response.fields.first().map_or(response.len - http1::CRLF.len(), |field| field.name.start as usize));
    } else {
        http1::status_line(out, Version::Http11, response.status, Some(response.reason.of(bytes)));
        lines = Lines::new(bytes, response.fields.first().map_or(0, |field| field.name.start as usize));
    }
    let via = client.listener().via.as_deref();
    let edits = &exchange.answer;
    let (mut dated, mut has_length) = (false, false);
    // RFC 9110 section 8.6: a 204 has no length, whatever the upstream says.
    let may_have_length = coding == Coding::Identity && response.status != 204;
    copy_fields(out, &mut lines, &response.fields, response.len, |field| match field.known {
        Known::ContentLength if may_have_length && is_plain_length(field.value.of(bytes)) => {
            has_length = true;
            Fate::Keep
        }
        Known::ContentLength => Fate::Drop,
        Known::Via if via.is_some() => Fate::Drop,
        _ if field.hop_by_hop => Fate::Drop,
        known => {
            dated |= known == Known::Date;
            edits.fate(field.name.of(bytes))
        }
    });
    // RFC 9110 section 6.6.1: a recipient with a clock adds the date that is missing.
    if !dated && begin_own(out, edits, b"date: ") {
        client.state.write_date(out);
        out.extend_from_slice(http1::CRLF);
    }
    match (coding, response.content_length) {
        (Coding::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Coding::Identity, Some(length)) if may_have_length && !has_length => {
            out.extend_from_slice(b"content-length: ");
            http1::decimal(out, length);
            out.extend_from_slice(http1::CRLF);
        }
        (Coding::Identity, _) => {}
    }
    if response.upgrade {
        write_upgrade(out, &response.fields, bytes);
    } else {
        connection(out, exchange.head.version, close);
    }
    if let Some(via) = via
        && begin_own(out, edits, b"via: ")
    {
        write_via(out, &response.fields, bytes, via_version(response.version), via);
    }
    timing::write(out, client, exchange);
    edits.append(out);
    out.extend_from_slice(http1::CRLF);
}

fn write_upgrade(out: &mut Vec<u8>, fields: &[Field], bytes: &[u8]) {
    out.extend_from_slice(b"connection: upgrade\r\n");
    for field in fields.iter().filter(|field| field.known == Known::Upgrade) {
        http1::field(out, b"upgrade", field.value.of(bytes));
    }
}

/// Appends an interim response (1xx) as it came, less what is for one connection.
pub(crate) fn interim_head(out: &mut Vec<u8>, exchange: &Exchange, bytes: &[u8]) {
    let response = &exchange.response;
    http1::status_line(out, Version::Http11, response.status, Some(response.reason.of(bytes)));
    for field in response.fields.iter().filter(|field| !field.hop_by_hop) {
        http1::field(out, field.name.of(bytes), field.value.of(bytes));
    }
    out.extend_from_slice(http1::CRLF);
}

/// Begins a field of the gateway's own, `name` with its colon and space, which policies edit like any other. False where
/// it is to be left out.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a name of known length is copied without a call")]
pub(super) fn begin_own(out: &mut Vec<u8>, edits: &Edits, name: &'static [u8]) -> bool {
    if edits.keep_all() {
        out.extend_from_slice(name);
        return true;
    }
    begin_edited(out, edits, name)
}

fn begin_edited(out: &mut Vec<u8>, edits: &Edits, name: &'static [u8]) -> bool {
    match edits.fate(name.strip_suffix(b": ").unwrap_or(name)) {
        Fate::Keep => out.extend_from_slice(name),
        Fate::Drop => return false,
        Fate::Rename(to) => {
            out.extend_from_slice(to);
            out.extend_from_slice(b": ");
        }
    }
    true
}

/// The received protocol of Via, and a space.
fn via_version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
    }
}

/// The value of Via (RFC 9110 section 7.6.3) and its line's end: one field, what came before first.
fn write_via(out: &mut Vec<u8>, fields: &[Field], bytes: &[u8], came_by: &[u8], name: &str) {
    for field in fields.iter().filter(|field| field.known == Known::Via && !field.value.is_empty()) {
        out.extend_from_slice(field.value.of(bytes));
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(came_by);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(http1::CRLF);
}
