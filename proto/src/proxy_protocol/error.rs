//! Why a header is refused.

use std::fmt;

/// Why a header is refused. There is nobody to answer: whoever sent it is a proxy, and the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// The connection does not begin with a header (`proxy_signature`).
    Signature,
    /// The header is longer than allowed (`proxy_too_long`).
    TooLong,
    /// A line of version 1 ends with a bare line feed or holds a control byte (`proxy_line`).
    Line,
    /// A line of version 1 is not made of the fields that it has to have, one space between each (`proxy_fields`).
    Fields,
    /// A line of version 1 names a protocol that there is not (`proxy_protocol`).
    Protocol,
    /// An address is not one of its family (`proxy_address`).
    Address,
    /// A port is no decimal number up to 65535, or has leading zeros (`proxy_port`).
    Port,
    /// The version of a binary header is not 2 (`proxy_version`).
    Version,
    /// The command is neither LOCAL nor PROXY (`proxy_command`).
    Command,
    /// The family or the transport is unassigned (`proxy_family`).
    Family,
    /// The header is of datagrams (`proxy_datagram`).
    Datagram,
    /// The addresses do not fit into the length of the header (`proxy_truncated`).
    Truncated,
    /// An extension runs past the header, or past the extension that it is in (`proxy_tlv_truncated`).
    TlvTruncated,
    /// An extension that can be there once is there twice (`proxy_tlv_twice`).
    TlvTwice,
    /// There are more extensions than allowed (`proxy_tlv_too_many`).
    TlvTooMany,
    /// An extension has a length or bytes that it cannot have (`proxy_tlv_value`).
    TlvValue,
    /// The checksum is wrong (`proxy_checksum`).
    Checksum,
}

impl HeaderError {
    /// Every value, each once.
    pub const ALL: [Self; 17] = [
        Self::Signature,
        Self::TooLong,
        Self::Line,
        Self::Fields,
        Self::Protocol,
        Self::Address,
        Self::Port,
        Self::Version,
        Self::Command,
        Self::Family,
        Self::Datagram,
        Self::Truncated,
        Self::TlvTruncated,
        Self::TlvTwice,
        Self::TlvTooMany,
        Self::TlvValue,
        Self::Checksum,
    ];

    /// The stable reason code, in `snake_case`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Signature => "proxy_signature",
            Self::TooLong => "proxy_too_long",
            Self::Line => "proxy_line",
            Self::Fields => "proxy_fields",
            Self::Protocol => "proxy_protocol",
            Self::Address => "proxy_address",
            Self::Port => "proxy_port",
            Self::Version => "proxy_version",
            Self::Command => "proxy_command",
            Self::Family => "proxy_family",
            Self::Datagram => "proxy_datagram",
            Self::Truncated => "proxy_truncated",
            Self::TlvTruncated => "proxy_tlv_truncated",
            Self::TlvTwice => "proxy_tlv_twice",
            Self::TlvTooMany => "proxy_tlv_too_many",
            Self::TlvValue => "proxy_tlv_value",
            Self::Checksum => "proxy_checksum",
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "the connection does not begin with a PROXY header",
            Self::TooLong => "the PROXY header is too long",
            Self::Line => "the PROXY line ends with a bare line feed or holds a control byte",
            Self::Fields => "the PROXY line has other fields than it must have",
            Self::Protocol => "the PROXY line names an unknown protocol",
            Self::Address => "the PROXY line has an address that is none of its family",
            Self::Port => "the PROXY line has a port that is none",
            Self::Version => "the PROXY header has another version than 2",
            Self::Command => "the PROXY header has an unknown command",
            Self::Family => "the PROXY header has an unassigned family or transport",
            Self::Datagram => "the PROXY header is of datagrams",
            Self::Truncated => "the addresses of the PROXY header do not fit into its length",
            Self::TlvTruncated => "an extension runs past the PROXY header",
            Self::TlvTwice => "an extension of the PROXY header is there twice",
            Self::TlvTooMany => "the PROXY header has too many extensions",
            Self::TlvValue => "an extension of the PROXY header has a value that it cannot have",
            Self::Checksum => "the checksum of the PROXY header is wrong",
        })
    }
}

impl std::error::Error for HeaderError {}
