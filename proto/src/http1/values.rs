//! The small grammars inside field values.

use std::net::Ipv6Addr;

use super::line::{is_name_byte, is_space, is_token_byte, ordinary_name, text_len};

/// Longest host in an authority, in bytes: that of a name in DNS, with its last dot (RFC 1035 section 2.3.4).
const HOST_MAX: usize = 254;

/// The value without whitespace (SP, HTAB) around it.
#[inline]
pub fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|&byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|&byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Whether the bytes are a token: one or more of the characters of RFC 9110 section 5.6.2.
#[inline]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether the bytes may be sent as a field value (RFC 9110 section 5.5): no control byte but HTAB, and no
/// whitespace at either end. Empty is allowed. Bytes from 0x80 are opaque.
pub fn is_field_value(bytes: &[u8]) -> bool {
    if bytes.first().is_some_and(|&byte| is_space(byte)) || bytes.last().is_some_and(|&byte| is_space(byte)) {
        return false;
    }
    text_len(bytes) == bytes.len() || bytes.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control())
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, empty ones left out. Commas inside
/// quoted strings separate, too: use it for lists of tokens only.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list has this token, whatever its case.
pub fn list_contains(value: &[u8], token: &[u8]) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// Why a Content-Length value is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthError {
    /// Not digits only, or empty.
    Malformed,
    /// A list of several values.
    List,
    /// More than 19 digits.
    Overflow,
}

/// Reads a Content-Length value, already trimmed: 1 to 19 decimal digits and nothing else (RFC 9110 section 8.6).
pub fn content_length(value: &[u8]) -> Result<u64, LengthError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(if value.contains(&b',') { LengthError::List } else { LengthError::Malformed });
    }
    // Nineteen nines are below 2^64, so nothing can overflow.
    if value.len() > 19 {
        return Err(LengthError::Overflow);
    }
    Ok(value.iter().fold(0, |sum, &digit| sum * 10 + u64::from(digit - b'0')))
}

/// A host and perhaps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// The name or address as sent; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// The port, if one was given.
    pub port: Option<u16>,
}

/// Reads `host[:port]` as it stands in Host and in a target (RFC 9110 section 7.2); `None` if it is malformed.
///
/// Narrower than RFC 3986 section 3.2.2, on purpose: a name is letters, digits, `-`, `_`, `~` and dots, at most 254
/// bytes, no empty label but a last one; percent-encoding, sub-delimiters, user info and `IPvFuture` are refused,
/// and a colon must be followed by a port of one to five digits, at most 65535.
pub fn authority(value: &[u8]) -> Option<Authority<'_>> {
    let (host, rest) = if value.first() == Some(&b'[') {
        let close = value.iter().position(|&byte| byte == b']')?;
        let (host, rest) = value.split_at_checked(close + 1)?;
        let address = str::from_utf8(host.get(1..close)?).ok()?;
        address.parse::<Ipv6Addr>().ok()?;
        (host, rest)
    } else {
        value.split_at_checked(name_len(value)?)?
    };
    match rest {
        [] => Some(Authority { host, port: None }),
        [b':', digits @ ..] => Some(Authority { host, port: Some(port(digits)?) }),
        _ => None,
    }
}

/// Bytes of the host's name at the start of `value`.
fn name_len(value: &[u8]) -> Option<usize> {
    // An empty label is a dot at the start or after another.
    let (ordinary, mut after_dot) = ordinary_name(value);
    let mut end = ordinary;
    for &byte in value.get(ordinary..)? {
        if !is_name_byte(byte) {
            break;
        }
        let is_dot = byte == b'.';
        if is_dot && after_dot {
            return None;
        }
        after_dot = is_dot;
        end += 1;
    }
    (1..=HOST_MAX).contains(&end).then_some(end)
}

fn port(digits: &[u8]) -> Option<u16> {
    if !(1..=5).contains(&digits.len()) {
        return None;
    }
    let mut number = 0_u32;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number * 10 + u32::from(value);
    }
    u16::try_from(number).ok()
}
