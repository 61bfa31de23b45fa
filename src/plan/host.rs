//! Hosts of routes and of requests in one comparable form.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest name DNS knows, in bytes without the final dot (RFC 1035 section 2.3.4).
pub(super) const HOST_MAX: usize = 253;

/// A host of a route, in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host alone.
    Exact(Box<str>),
    /// Every host below this one, at any depth, but not the host itself; written `*.example.com`.
    Below(Box<str>),
}

impl HostPattern {
    /// Reads a host of the config. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (wild, host) = match text.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, text),
        };
        if host.contains('*') {
            return Err(format!("`{text}`: a `*` may only stand alone in front, as in `*.example.com`"));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Some(literal) = host.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(|text| text.parse::<Ipv6Addr>().ok());
            return match address {
                Some(address) if !wild => Ok(Self::Exact(format!("[{address}]").into())),
                _ => Err(format!("`{text}` is no IPv6 address in brackets")),
            };
        }
        if host.contains(':') {
            return Err(format!("`{text}`: a host has no port here; every port of a listener matches"));
        }
        if host.is_empty() || host.len() > HOST_MAX {
            return Err(format!("a host has 1 to {HOST_MAX} characters"));
        }
        let label_is_fine = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if !host.split('.').all(label_is_fine) {
            return Err(format!("`{text}` is no host name (an international name goes in its xn-- form)"));
        }
        Ok(if wild { Self::Below(host.into()) } else { Self::Exact(host.into()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(host) => write!(f, "*.{host}"),
        }
    }
}

/// The host of a request without port and final dot, in lower case, in `space`. Nothing when it is empty or too long
/// to be the host of any route.
pub(super) fn canonical<'s>(host: &[u8], space: &'s mut [u8; HOST_MAX]) -> Option<&'s [u8]> {
    let host = match host.iter().rposition(|byte| *byte == b':') {
        // The colons inside an IPv6 literal come before its bracket.
        Some(colon) if !host.get(colon..).is_some_and(|rest| rest.contains(&b']')) => host.get(..colon)?,
        _ => host,
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    let space = space.get_mut(..host.len()).filter(|space| !space.is_empty())?;
    for (to, from) in space.iter_mut().zip(host) {
        *to = from.to_ascii_lowercase();
    }
    Some(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(host: &str) -> Option<String> {
        let mut space = [0; HOST_MAX];
        canonical(host.as_bytes(), &mut space).map(|host| String::from_utf8(host.to_vec()).unwrap())
    }

    #[test]
    fn port_case_and_final_dot_do_not_matter() {
        for host in ["example.com", "EXAMPLE.com:8080", "example.com.", "Example.Com.:80", "example.com:"] {
            assert_eq!(canon(host).as_deref(), Some("example.com"), "{host}");
        }
        assert_eq!(canon("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(canon("[::1]").as_deref(), Some("[::1]"));
    }

    #[test]
    fn no_host_and_a_host_longer_than_dns_allows_match_no_name() {
        assert_eq!(canon(""), None);
        assert_eq!(canon(":80"), None);
        assert_eq!(canon(&"a".repeat(254)), None);
    }

    #[test]
    fn patterns_are_read_in_their_one_form() {
        assert_eq!(HostPattern::parse("API.example.com."), Ok(HostPattern::Exact("api.example.com".into())));
        assert_eq!(HostPattern::parse("*.Example.com"), Ok(HostPattern::Below("example.com".into())));
        assert_eq!(HostPattern::parse("[::0001]"), Ok(HostPattern::Exact("[::1]".into())));
        for bad in ["", "*", "a.*.com", "*a.com", "a..b", "-a.com", "a.com:80", "[::1", "ex ample", "é.com", "*.[::1]"]
        {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
