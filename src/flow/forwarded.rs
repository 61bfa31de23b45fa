//! Who the client is: what trusted proxies say, and what the upstream is told (RFC 7239 and the X-Forwarded fields).

use std::net::IpAddr;

use ringway_proto::http1::{Known, encode as http1, values};

use super::client::Client;
use super::encode::begin_own;
use super::exchange::Exchange;

/// Whether this gateway writes the field anew, from what came and what it knows.
pub(super) fn rewrites(client: &Client, known: Known) -> bool {
    let how = client.listener().forwarded;
    match known {
        Known::XForwardedFor | Known::XForwardedProto | Known::XForwardedHost => how.adds_x_forwarded(),
        Known::Forwarded => how.adds_forwarded(),
        _ => false,
    }
}

/// The client's address: the peer, or, through proxies that are trusted, the last address before them. A client that
/// came by a Unix socket has none.
pub(super) fn client_ip(client: &Client, exchange: &Exchange) -> Option<IpAddr> {
    let mut seen = client.peer.ip().map(|ip| ip.to_canonical());
    let listener = client.listener();
    if listener.trusts_nobody() {
        return seen;
    }
    let bytes = exchange.head_bytes();
    let lines = exchange.head.fields.iter().rev().filter(|field| field.known == Known::XForwardedFor);
    for line in lines {
        for element in line.value.of(bytes).rsplit(|&byte| byte == b',') {
            if !listener.trusts(seen) {
                return seen;
            }
            let Some(address) = parse_address(values::trim(element)) else { return seen };
            seen = Some(address);
        }
    }
    seen
}

/// Whether the client came over https: only a proxy in front can say so, and only one that is trusted is believed. What
/// it says in the request goes before what it said of the connection, which may be that of another proxy before it. Of
/// several words the last is that of the proxy next to us.
pub(super) fn is_secure(client: &Client, exchange: &Exchange) -> bool {
    let listener = client.listener();
    if listener.trusts_nobody() || !listener.trusts(client.peer.ip()) {
        return client.is_tls();
    }
    let bytes = exchange.head_bytes();
    let last = exchange.head.fields.iter().rev().find(|field| field.known == Known::XForwardedProto);
    last.and_then(|line| line.value.of(bytes).rsplit(|&byte| byte == b',').next())
        .map_or_else(|| client.is_tls(), |word| values::trim(word).eq_ignore_ascii_case(b"https"))
}

/// An address as found in X-Forwarded-For, with or without a port.
fn parse_address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<std::net::SocketAddr>().map(|both| both.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Appends the fields that tell the upstream about the client.
pub(super) fn write(out: &mut Vec<u8>, client: &Client, exchange: &Exchange, trusted: bool) {
    let edits = &exchange.edits;
    let how = client.listener().forwarded;
    let before = |out: &mut Vec<u8>, known: Known| {
        let bytes = exchange.head_bytes();
        let mut any = false;
        for field in exchange.head.fields.iter().filter(|field| trusted && field.known == known) {
            if any {
                out.extend_from_slice(b", ");
            }
            any = true;
            out.extend_from_slice(field.value.of(bytes));
        }
        any
    };
    if how.adds_x_forwarded() {
        if begin_own(out, edits, b"x-forwarded-for: ") {
            if before(out, Known::XForwardedFor) {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(client.peer_text());
            out.extend_from_slice(http1::CRLF);
        }
        if begin_own(out, edits, b"x-forwarded-proto: ") {
            if !before(out, Known::XForwardedProto) {
                out.extend_from_slice(if client.is_tls() { b"https" } else { b"http" });
            }
            out.extend_from_slice(http1::CRLF);
        }
        if !exchange.host().is_empty() && begin_own(out, edits, b"x-forwarded-host: ") {
            if !before(out, Known::XForwardedHost) {
                out.extend_from_slice(exchange.host());
            }
            out.extend_from_slice(http1::CRLF);
        }
    }
    if how.adds_forwarded() && begin_own(out, edits, b"forwarded: ") {
        if before(out, Known::Forwarded) {
            out.extend_from_slice(b", ");
        }
        match client.peer.ip().map(|ip| ip.to_canonical()) {
            None | Some(IpAddr::V4(_)) => {
                out.extend_from_slice(b"for=");
                out.extend_from_slice(client.peer_text());
            }
            Some(IpAddr::V6(_)) => {
                out.extend_from_slice(b"for=\"[");
                out.extend_from_slice(client.peer_text());
                out.extend_from_slice(b"]\"");
            }
        }
        out.extend_from_slice(if client.is_tls() { b";proto=https" } else { b";proto=http" });
        if !exchange.host().is_empty() {
            // Always quoted: a port's colon and a literal's brackets need it. An authority has no quote to escape.
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(exchange.host());
            out.push(b'"');
        }
        out.extend_from_slice(http1::CRLF);
    }
}

/// An address as the fields have it. A connection keeps that of its peer. For one without an address there is a word
/// (RFC 7239 section 6.2).
pub(super) fn text_of(peer: Option<IpAddr>) -> Box<[u8]> {
    match peer {
        Some(peer) => peer.to_canonical().to_string().into_bytes().into(),
        None => b"unknown"[..].into(),
    }
}
