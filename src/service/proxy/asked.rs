//! What a balancer has to know of a request: the hash of its key, and the endpoint that its cookie names.

use std::net::IpAddr;

use ringway_proto::jwt;

use crate::flow::Exchange;
use crate::plan::{HashKey, Headers, Proxy};
use crate::upstream::{Asked, Pool, hash};

/// Asks for an endpoint for this request.
pub(super) fn asked(exchange: &Exchange, pool: &Pool, proxy: Proxy) -> Asked {
    let upstream = pool.upstream();
    let hash = upstream.balance.key().and_then(|key| match key {
        HashKey::ClientIp => exchange.client_ip.map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        }),
        HashKey::Header(name) => first(exchange, name, |value| Some(hash(value))),
        HashKey::Cookie(name) => first(exchange, "cookie", |line| cookie(line, name).map(hash)),
        HashKey::PathParameter(_) => {
            let range = exchange.captures.get(usize::from(proxy.capture?))?;
            exchange.path().get(range).map(hash)
        }
        HashKey::Claim(path) => claim(exchange, path),
    });
    let sticky = upstream
        .sticky
        .as_ref()
        .and_then(|sticky| first(exchange, "cookie", |line| pool.shared().by_cookie(cookie(line, &sticky.cookie)?)));
    Asked { subset: proxy.subset, hash, sticky, ..Asked::default() }
}

/// What the first field of this name gives for which `read` gives something.
fn first<T>(exchange: &Exchange, name: &str, mut read: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let mut found = None;
    exchange.fields().any(name, &mut |value| {
        found = read(value);
        found.is_some()
    });
    found
}

/// The hash of a claim of the token in `Authorization`, as the token itself says it: nobody has verified it, so it may choose
/// an endpoint and nothing else. This is the one place where claims come from; those that a policy has verified have to go
/// before these.
fn claim(exchange: &Exchange, path: &jwt::Path) -> Option<u64> {
    let mut value = jwt::Value::default();
    first(exchange, "authorization", |field| jwt::claim(bearer(field)?, path, &mut value).ok()?.map(hash))
}

/// The token of a field that brings one (RFC 6750 section 2.1).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(b"bearer".len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && token.len() < rest.len()).then_some(token)
}

/// The value of a cookie in a field of them (RFC 6265 section 5.4).
fn cookie<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_behind_its_scheme() {
        for (field, token) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bEARER   a.b.c", Some("a.b.c")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Bearera.b.c", None),
            ("Basic a.b.c", None),
            ("a.b.c", None),
            ("", None),
        ] {
            assert_eq!(bearer(field.as_bytes()), token.map(str::as_bytes), "{field}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (line, value) in [
            ("a=1", Some("1")),
            ("b=2; a=1", Some("1")),
            ("aa=2;a=\"1\" ;b=", Some("1")),
            ("a=", Some("")),
            ("A=1; ba=1; a", None),
            ("", None),
        ] {
            assert_eq!(cookie(line.as_bytes(), "a"), value.map(str::as_bytes), "{line}");
        }
    }
}
