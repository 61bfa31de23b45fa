//! The fields a strict proxy acts on.

use super::line::is_lower;

/// Declares the known fields: the variant, the lower-case name, and whether it is for one connection only.
macro_rules! known {
    ($( $variant:ident $name:literal $connection:literal, )*) => {
        /// A field name the codec knows, so that nobody compares strings twice.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[repr(u8)]
        pub enum Known {
            /// A name not in this list.
            #[default]
            Other,
            $( #[doc = concat!("`", $name, "`")] $variant, )*
        }

        impl Known {
            /// Every known field, without [`Known::Other`].
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The name in lower case; empty for [`Known::Other`].
            pub fn name(self) -> &'static str {
                match self {
                    Self::Other => "",
                    $( Self::$variant => $name, )*
                }
            }

            /// Whether the field by its nature speaks of one connection and is never forwarded: the list of
            /// RFC 9110 section 7.6.1, Transfer-Encoding (RFC 9112 section 6.1), the authentication of proxies
            /// (RFC 9110 section 11.7) and HTTP2-Settings (RFC 7540 section 3.2.1).
            pub fn is_connection_specific(self) -> bool {
                match self {
                    Self::Other => false,
                    $( Self::$variant => $connection, )*
                }
            }
        }
    };
}

known! {
    Host "host" false,
    ContentLength "content-length" false,
    TransferEncoding "transfer-encoding" true,
    Connection "connection" true,
    KeepAlive "keep-alive" true,
    ProxyConnection "proxy-connection" true,
    Upgrade "upgrade" true,
    Http2Settings "http2-settings" true,
    Te "te" true,
    Trailer "trailer" false,
    Expect "expect" false,
    Forwarded "forwarded" false,
    XForwardedFor "x-forwarded-for" false,
    XForwardedProto "x-forwarded-proto" false,
    XForwardedHost "x-forwarded-host" false,
    XForwardedPort "x-forwarded-port" false,
    XRealIp "x-real-ip" false,
    Via "via" false,
    Date "date" false,
    Server "server" false,
    Location "location" false,
    Authorization "authorization" false,
    ProxyAuthenticate "proxy-authenticate" true,
    ProxyAuthenticationInfo "proxy-authentication-info" true,
    ProxyAuthorization "proxy-authorization" true,
    WwwAuthenticate "www-authenticate" false,
    Cookie "cookie" false,
    SetCookie "set-cookie" false,
    CacheControl "cache-control" false,
    Age "age" false,
    Vary "vary" false,
    Range "range" false,
    ContentType "content-type" false,
    ContentEncoding "content-encoding" false,
    ContentRange "content-range" false,
    MaxForwards "max-forwards" false,
    Origin "origin" false,
    EarlyData "early-data" false,
}

impl Known {
    /// The field a name stands for, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        // Length and first letter leave one candidate, or none for most names that are not known.
        let letter = |at: usize| name.get(at).map_or(0, |byte| byte | 0x20);
        match (name.len(), letter(0)) {
            (2, b't') => same(name, b"te", Self::Te),
            (3, b'v') => same(name, b"via", Self::Via),
            (3, b'a') => same(name, b"age", Self::Age),
            (4, b'h') => same(name, b"host", Self::Host),
            (4, b'd') => same(name, b"date", Self::Date),
            (4, b'v') => same(name, b"vary", Self::Vary),
            (5, b'r') => same(name, b"range", Self::Range),
            (6, b'c') => same(name, b"cookie", Self::Cookie),
            (6, b'e') => same(name, b"expect", Self::Expect),
            (6, b's') => same(name, b"server", Self::Server),
            (6, b'o') => same(name, b"origin", Self::Origin),
            (7, b'u') => same(name, b"upgrade", Self::Upgrade),
            (7, b't') => same(name, b"trailer", Self::Trailer),
            (8, b'l') => same(name, b"location", Self::Location),
            (9, b'f') => same(name, b"forwarded", Self::Forwarded),
            (9, b'x') => same(name, b"x-real-ip", Self::XRealIp),
            (10, b'c') => same(name, b"connection", Self::Connection),
            (10, b'k') => same(name, b"keep-alive", Self::KeepAlive),
            (10, b's') => same(name, b"set-cookie", Self::SetCookie),
            (10, b'e') => same(name, b"early-data", Self::EarlyData),
            (12, b'c') => same(name, b"content-type", Self::ContentType),
            (12, b'm') => same(name, b"max-forwards", Self::MaxForwards),
            (13, b'c') if letter(1) == b'a' => same(name, b"cache-control", Self::CacheControl),
            (13, b'c') => same(name, b"content-range", Self::ContentRange),
            (13, b'a') => same(name, b"authorization", Self::Authorization),
            (14, b'c') => same(name, b"content-length", Self::ContentLength),
            (14, b'h') => same(name, b"http2-settings", Self::Http2Settings),
            (15, b'x') => same(name, b"x-forwarded-for", Self::XForwardedFor),
            (16, b'c') => same(name, b"content-encoding", Self::ContentEncoding),
            (16, b'x') if letter(12) == b'h' => same(name, b"x-forwarded-host", Self::XForwardedHost),
            (16, b'x') => same(name, b"x-forwarded-port", Self::XForwardedPort),
            (16, b'p') => same(name, b"proxy-connection", Self::ProxyConnection),
            (16, b'w') => same(name, b"www-authenticate", Self::WwwAuthenticate),
            (17, b't') => same(name, b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => same(name, b"x-forwarded-proto", Self::XForwardedProto),
            (18, b'p') => same(name, b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => same(name, b"proxy-authorization", Self::ProxyAuthorization),
            (25, b'p') => same(name, b"proxy-authentication-info", Self::ProxyAuthenticationInfo),
            _ => Self::Other,
        }
    }
}

/// The known fields of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    once: u64,
    twice: u64,
}

impl Seen {
    /// Each of these once.
    pub(super) const fn of(all: &[Known]) -> Self {
        let mut seen = Self { once: 0, twice: 0 };
        let mut at = 0;
        while at < all.len() {
            seen.once |= 1 << all[at] as u8;
            at += 1;
        }
        seen
    }

    /// There is one more.
    #[inline]
    pub(super) fn add(&mut self, known: Known) {
        let bit = 1 << known as u8;
        self.twice |= self.once & bit;
        self.once |= bit;
    }

    #[inline]
    pub(super) fn has(self, known: Known) -> bool {
        self.once & 1 << known as u8 != 0
    }

    #[inline]
    pub(super) fn has_twice(self, known: Known) -> bool {
        self.twice & 1 << known as u8 != 0
    }

    /// Whether one of those is there.
    #[inline]
    pub(super) fn has_any(self, others: Self) -> bool {
        self.once & others.once != 0
    }
}

/// `known` if `name` is `lower` in any case.
#[inline]
fn same<const N: usize>(name: &[u8], lower: &[u8; N], known: Known) -> Known {
    if is_lower(name, lower) { known } else { Known::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &known in Known::ALL {
            assert_eq!(Known::of(known.name().as_bytes()), known);
            assert_eq!(Known::of(known.name().to_ascii_uppercase().as_bytes()), known);
            assert_eq!(Known::of(format!("{}x", known.name()).as_bytes()), Known::Other);
        }
    }

    #[test]
    fn what_was_seen_is_told_apart_from_what_was_seen_twice() {
        let mut seen = Seen::default();
        for known in [Known::Host, Known::Origin, Known::Host, Known::Other] {
            seen.add(known);
        }
        assert!(seen.has(Known::Host) && seen.has(Known::Origin) && !seen.has(Known::Date));
        assert!(seen.has_twice(Known::Host) && !seen.has_twice(Known::Origin));
        assert!(seen.has_any(Seen::of(&[Known::Date, Known::Origin])) && !seen.has_any(Seen::of(&[Known::Date])));
        assert!(Known::ALL.iter().all(|&known| (known as u32) < u64::BITS), "each has a bit");
    }

    #[test]
    fn only_fields_of_one_connection_are_connection_specific() {
        let specific: Vec<&str> =
            Known::ALL.iter().filter(|known| known.is_connection_specific()).map(|known| known.name()).collect();
        let expected = [
            "transfer-encoding",
            "connection",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "http2-settings",
            "te",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
        ];
        assert_eq!(specific, expected);
    }

    #[test]
    fn names_off_by_one_byte_are_unknown() {
        for &known in Known::ALL {
            for at in 0..known.name().len() {
                let mut name = known.name().as_bytes().to_vec();
                name[at] = b'!';
                assert_eq!(Known::of(&name), Known::Other);
            }
        }
    }
}
