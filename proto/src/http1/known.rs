//! The fields a strict proxy acts on.

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
}

impl Known {
    /// The field a name stands for, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        // By length first: at most four names share one, and most differ in their first byte.
        let candidates: &[Self] = match name.len() {
            2 => &[Self::Te],
            3 => &[Self::Via, Self::Age],
            4 => &[Self::Host, Self::Date, Self::Vary],
            5 => &[Self::Range],
            6 => &[Self::Cookie, Self::Expect, Self::Server, Self::Origin],
            7 => &[Self::Upgrade, Self::Trailer],
            8 => &[Self::Location],
            9 => &[Self::Forwarded, Self::XRealIp],
            10 => &[Self::Connection, Self::KeepAlive, Self::SetCookie],
            12 => &[Self::ContentType, Self::MaxForwards],
            13 => &[Self::CacheControl, Self::Authorization, Self::ContentRange],
            14 => &[Self::ContentLength, Self::Http2Settings],
            15 => &[Self::XForwardedFor],
            16 => &[
                Self::ContentEncoding,
                Self::XForwardedHost,
                Self::XForwardedPort,
                Self::ProxyConnection,
                Self::WwwAuthenticate,
            ],
            17 => &[Self::TransferEncoding, Self::XForwardedProto],
            18 => &[Self::ProxyAuthenticate],
            19 => &[Self::ProxyAuthorization],
            25 => &[Self::ProxyAuthenticationInfo],
            _ => &[],
        };
        candidates.iter().copied().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes())).unwrap_or_default()
    }
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
