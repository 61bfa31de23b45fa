//! Pages that may open a WebSocket connection: `origins` of `websocket`.

/// Origins (RFC 6454) that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// That of the host that is asked.
    Same,
    /// This one, in lower case: `null`, or scheme, host and port.
    Exact(Box<str>),
    /// Those of every host under one, whatever the depth.
    Below {
        /// The scheme, with `://`.
        scheme: Box<str>,
        /// The host and the port, with the dot before them.
        host: Box<str>,
    },
}

const SCHEMES: [(&str, &str); 2] = [("http://", ":80"), ("https://", ":443")];

impl Origin {
    /// Reads `"same"`, `"null"`, `"https://app.example.com"` or `"https://*.example.com"`, with a port or without.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        match &*lower {
            "same" => return Ok(Self::Same),
            "null" => return Ok(Self::Exact(lower.into())),
            _ => {}
        }
        let wrong = || {
            format!("{text} is no origin: `scheme://host`, with a port or without, `\"same\"` or `\"null\"` is wanted")
        };
        let (scheme, rest) = lower.split_once("://").ok_or_else(wrong)?;
        let host = rest.strip_prefix("*.").unwrap_or(rest);
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_host =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
        if !is_scheme || !is_host {
            return Err(wrong());
        }
        let (scheme, host) = (format!("{scheme}://"), host.strip_suffix(port_of(scheme)).unwrap_or(host));
        Ok(if rest.starts_with("*.") {
            Self::Below { scheme: scheme.into(), host: format!(".{host}").into() }
        } else {
            Self::Exact(format!("{scheme}{host}").into())
        })
    }

    /// Whether a page of this origin is let in; `host` is that of the request.
    pub fn admits(&self, origin: &[u8], host: &[u8]) -> bool {
        match self {
            Self::Same => split(origin).is_some_and(|(scheme, own)| {
                // Browsers leave the port of the scheme away, in both fields.
                let host =
                    host.strip_suffix(port_of(str::from_utf8(scheme).unwrap_or_default()).as_bytes()).unwrap_or(host);
                own.eq_ignore_ascii_case(host)
            }),
            Self::Exact(known) => known.as_bytes().eq_ignore_ascii_case(origin),
            Self::Below { scheme, host } => {
                let rest = origin
                    .split_at_checked(scheme.len())
                    .filter(|(own, _)| own.eq_ignore_ascii_case(scheme.as_bytes()));
                let under = rest.and_then(|(_, rest)| rest.split_at_checked(rest.len().saturating_sub(host.len())));
                under.is_some_and(|(under, own)| {
                    !under.is_empty() && is_host(under) && own.eq_ignore_ascii_case(host.as_bytes())
                })
            }
        }
    }
}

/// The port that a scheme has without one, with the colon.
fn port_of(scheme: &str) -> &'static str {
    SCHEMES
        .iter()
        .find(|(known, _)| known.trim_end_matches("://").eq_ignore_ascii_case(scheme))
        .map_or("\0", |(_, port)| port)
}

/// Scheme and host of an origin.
fn split(origin: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = origin.windows(3).position(|three| three == b"://")?;
    Some((origin.get(..at)?, origin.get(at + 3..)?))
}

/// Whether nothing ends a host in it (RFC 3986 section 3.2).
fn is_host(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(known: &str, origin: &str, host: &str) -> bool {
        Origin::parse(known).unwrap().admits(origin.as_bytes(), host.as_bytes())
    }

    #[test]
    fn an_origin_is_let_in_where_it_is_known() {
        for (known, origin, host) in [
            ("same", "https://a.example", "a.example"),
            ("same", "http://a.example", "A.EXAMPLE"),
            ("same", "https://a.example:8443", "a.example:8443"),
            ("same", "https://a.example", "a.example:443"),
            ("null", "null", "a"),
            ("https://A.example", "https://a.example", "b"),
            ("https://a.example:443", "https://a.example", "b"),
            ("http://localhost:3000", "http://localhost:3000", "b"),
            ("https://*.example", "https://a.b.example", "b"),
            ("https://*.example:444", "https://a.example:444", "b"),
            ("app+x://a", "app+x://a", "b"),
            ("http://[::1]:80", "http://[::1]", "b"),
        ] {
            assert!(admits(known, origin, host), "{known} {origin} {host}");
        }
    }

    #[test]
    fn no_other_is() {
        for (known, origin, host) in [
            ("same", "null", "a.example"),
            ("same", "", ""),
            ("same", "a.example", "a.example"),
            ("same", "https://a.example.evil", "a.example"),
            ("same", "https://a.example:8443", "a.example"),
            ("same", "http://a.example", "a.example:443"),
            ("null", "", "a"),
            ("https://a.example", "http://a.example", "a.example"),
            ("https://a.example", "https://a.example:8443", "a.example"),
            ("https://a.example", "https://a.example/", "a.example"),
            ("https://a.example", "https://xa.example", "a.example"),
            ("https://*.example", "https://example", "b"),
            ("https://*.example", "https://.example", "b"),
            ("https://*.example", "https://evil/.example", "b"),
            ("https://*.example", "https://evil:1@a.example", "b"),
            ("https://*.example", "https://evil#a.example", "b"),
            ("https://*.example", "http://a.example", "b"),
            ("https://*.example", "https://badexample", "b"),
        ] {
            assert!(!admits(known, origin, host), "{known} {origin} {host}");
        }
    }

    #[test]
    fn what_is_none_is_an_error() {
        for text in [
            "",
            "a.example",
            "*",
            "https://",
            "https://*.",
            "https://a/b",
            "://a",
            "https://a b",
            "https://*.*.a",
            "1x://a",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
