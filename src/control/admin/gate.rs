//! Who may ask: no web site through a browser, and over TCP only who has the token.

use std::hint::black_box;
use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};

use super::problem::Problem;
use crate::config::Secret;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a browser sends for another site. A site can make a browser connect to an address of this machine, by a
/// name of its own that it points there; then `Host` has that name. An IP address cannot be pointed anywhere.
pub(super) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or("(not text)"));
    if let Some(host) = host.filter(|host| !is_local(host)) {
        let detail = format!("the host is {host:?}; an IP address or localhost is wanted");
        return Err(Problem::new(403, "host_not_allowed", detail));
    }
    let is_own = |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| Some(origin) == host);
    if headers.get(ORIGIN).is_some_and(|origin| !origin.to_str().is_ok_and(is_own)) {
        return Err(Problem::new(403, "other_site", "another site may not ask"));
    }
    let is_own = |site: &str| matches!(site, "same-origin" | "none");
    if headers.get(SEC_FETCH_SITE).is_some_and(|site| !site.to_str().is_ok_and(is_own)) {
        return Err(Problem::new(403, "other_site", "another site may not ask"));
    }
    Ok(())
}

/// Whether a host is an IP address or `localhost`, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(v6, _)| v6),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Wants the token.
pub(super) fn want_token(headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Problem> {
    if token.is_some_and(|token| shows(headers, token)) { Ok(()) } else { Err(Problem::unauthorized()) }
}

/// Whether this token was shown, and no other.
pub(super) fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(shown), None) = (shown.next(), shown.next()) else { return false };
    let bearer = shown.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    bearer.is_some_and(|(_, shown)| is_same(shown, token.expose().as_bytes()))
}

/// Compares in a time that tells nothing but the length.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (one, other)| black_box(differs | (one ^ other)));
    one.len() == other.len() && black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_addresses_and_localhost_may_be_the_host() {
        for host in ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "[::1]", "localhost", "LOCALHOST:1"] {
            assert!(refuse_other_sites(&headers(&[(HOST, host)])).is_ok(), "{host}");
        }
        for host in ["evil.example:9901", "127.0.0.1.evil.example", "localhost.evil.example", "", ":9901", "[evil]"] {
            assert!(refuse_other_sites(&headers(&[(HOST, host)])).is_err(), "{host}");
        }
    }

    #[test]
    fn a_request_of_another_site_is_refused() {
        let with = |name: HeaderName, value| refuse_other_sites(&headers(&[(HOST, "127.0.0.1:9901"), (name, value)]));
        assert!(with(ORIGIN, "http://127.0.0.1:9901").is_ok());
        for origin in ["http://evil.example", "https://127.0.0.1:9901", "http://127.0.0.1:80", "null"] {
            assert!(with(ORIGIN, origin).is_err(), "{origin}");
        }
        assert!(with(SEC_FETCH_SITE, "same-origin").is_ok() && with(SEC_FETCH_SITE, "none").is_ok());
        assert!(with(SEC_FETCH_SITE, "cross-site").is_err() && with(SEC_FETCH_SITE, "same-site").is_err());
    }

    #[test]
    fn bytes_are_the_same_only_where_all_are() {
        assert!(is_same(b"0123456789abcdef", b"0123456789abcdef"));
        for other in ["0123456789abcdeg", "1123456789abcdef", "0123456789abcde", "0123456789abcdef0", ""] {
            assert!(!is_same(b"0123456789abcdef", other.as_bytes()), "{other}");
        }
    }
}
