//! The one normalization of a path, before routing and every policy (RFC 3986 sections 5.2.4 and 6.2.2).
//!
//! A path that two parsers could read in two ways is refused, never repaired. What comes out is the only form that
//! routes, policies, logs and upstreams see.

use std::fmt;

/// What [`normalize`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// The raw path is normal; nothing was written.
    Unchanged,
    /// The normal path was written.
    Rewritten,
}

/// Why a path is refused. Each has a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A raw byte that no path may hold: control, space, `#`, `?` or beyond ASCII (RFC 3986 section 3.3).
    Character,
    /// A `%` without two hexadecimal digits (RFC 3986 section 2.1).
    Percent,
    /// A backslash, which some origins take for a slash.
    Backslash,
    /// `%2F` or `%5C`: a slash or backslash to those who decode before they split.
    EncodedSlash,
    /// `%00` to `%1F` or `%7F`.
    EncodedControl,
    /// `%25` in front of digits that would decode to any of these, or to a dot, the second time.
    DoubleEncoded,
    /// `//`: an empty segment, which some origins merge.
    EmptySegment,
    /// `..` above the root.
    AboveRoot,
    /// `.;` or `..;`: a dot segment with parameters, which some origins strip.
    DotParameters,
}

impl PathError {
    /// Every reason once.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            Self::NotAbsolute,
            Self::Character,
            Self::Percent,
            Self::Backslash,
            Self::EncodedSlash,
            Self::EncodedControl,
            Self::DoubleEncoded,
            Self::EmptySegment,
            Self::AboveRoot,
            Self::DotParameters,
        ]
        .into_iter()
    }

    /// The stable reason code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::Character => "path_invalid_character",
            Self::Percent => "path_invalid_percent",
            Self::Backslash => "path_backslash",
            Self::EncodedSlash => "path_encoded_slash",
            Self::EncodedControl => "path_encoded_control",
            Self::DoubleEncoded => "path_double_encoded",
            Self::EmptySegment => "path_empty_segment",
            Self::AboveRoot => "path_above_root",
            Self::DotParameters => "path_dot_parameters",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "a path begins with a slash",
            Self::Character => "a path holds no control character, space, `#`, `?` or character beyond ASCII",
            Self::Percent => "a percent sign is followed by two hexadecimal digits",
            Self::Backslash => "a backslash in a path is ambiguous",
            Self::EncodedSlash => "an encoded slash or backslash in a path is ambiguous",
            Self::EncodedControl => "an encoded control character in a path is refused",
            Self::DoubleEncoded => "a path that decodes twice is ambiguous",
            Self::EmptySegment => "an empty path segment is ambiguous",
            Self::AboveRoot => "a path may not climb above the root",
            Self::DotParameters => "a dot segment with parameters is ambiguous",
        })
    }
}

impl std::error::Error for PathError {}

/// What a byte of a raw path asks for, as bits, so that [`is_plain`] needs no branch for each byte.
///
/// The unnamed class, no bit, is `unreserved`, `sub-delims`, `:` and `@`, which stand for themselves.
mod class {
    pub(super) const SLASH: u8 = 1;
    pub(super) const DOT: u8 = 2;
    /// Printable, no part of RFC 3986's `pchar`, but sent raw by browsers: written in its encoded form.
    pub(super) const ENCODE: u8 = 4;
    /// All else.
    pub(super) const SPECIAL: u8 = 8;
}

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [class::SPECIAL; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'/' => class::SLASH,
            b'.' => class::DOT,
            b'%' | b'\\' | b'#' | b'?' => class::SPECIAL,
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => class::ENCODE,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn class_of(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// Normalizes the path of a request target. A path that is normal already costs one look at each byte and writes
/// nothing; any other is written to `out`, which is cleared first and may hold a part of it after an error.
///
/// Percent-encoded unreserved characters are decoded, other encodings get upper-case digits, dot segments are removed.
pub fn normalize(raw: &[u8], out: &mut Vec<u8>) -> Result<Normalized, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(raw) {
        return Ok(Normalized::Unchanged);
    }
    out.clear();
    decode(raw, out)?;
    refuse_double_encoding(out)?;
    remove_dot_segments(out)?;
    Ok(if out == raw { Normalized::Unchanged } else { Normalized::Rewritten })
}

/// Whether the path needs no closer look: no byte but plain ones, no empty segment, none that begins with a dot.
fn is_plain(raw: &[u8]) -> bool {
    let (mut last, mut odd) = (0, 0);
    for &byte in raw {
        let class = class_of(byte);
        let after_slash = (last & class::SLASH) * (class::SLASH | class::DOT);
        odd |= class & (class::ENCODE | class::SPECIAL | after_slash);
        last = class;
    }
    odd == 0
}

fn decode(raw: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        match (class_of(byte), byte) {
            (class::ENCODE, _) => encode(byte, out),
            (class::SPECIAL, b'%') => {
                let high = bytes.next().and_then(hex).ok_or(PathError::Percent)?;
                let low = bytes.next().and_then(hex).ok_or(PathError::Percent)?;
                match high << 4 | low {
                    b'/' | b'\\' => return Err(PathError::EncodedSlash),
                    0..0x20 | 0x7f => return Err(PathError::EncodedControl),
                    // RFC 3986 section 2.3: unreserved characters mean the same encoded or not.
                    plain if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => out.push(plain),
                    other => encode(other, out),
                }
            }
            (class::SPECIAL, b'\\') => return Err(PathError::Backslash),
            (class::SPECIAL, _) => return Err(PathError::Character),
            _ => out.push(byte),
        }
    }
    Ok(())
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]);
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// Refuses what would become a slash, backslash, control character or dot if decoded again, however often. Looks at the
/// decoded path, where `%25%32%66` has become `%252f`.
fn refuse_double_encoding(path: &[u8]) -> Result<(), PathError> {
    let mut rest = path;
    while let Some(at) = rest.windows(3).position(|window| window == b"%25") {
        rest = rest.get(at + 3..).unwrap_or_default();
        let mut digits = rest;
        while let Some(more) = digits.strip_prefix(b"25") {
            digits = more;
        }
        let twice = match digits {
            [high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        if let Some(b'/' | b'\\' | b'.' | 0..0x20 | 0x7f) = twice {
            return Err(PathError::DoubleEncoded);
        }
    }
    Ok(())
}

/// RFC 3986 section 5.2.4, in place. The path begins with a slash.
fn remove_dot_segments(path: &mut Vec<u8>) -> Result<(), PathError> {
    // All before `write` is done and ends with the slash in front of the next segment.
    let (mut read, mut write) = (1, 1);
    loop {
        let rest = path.get(read..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'/');
        let is_last = length.is_none();
        let segment = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
        let consumed = segment.len();
        match segment {
            b"" if !is_last => return Err(PathError::EmptySegment),
            b"." => {}
            b".." => {
                let parent = path.get(..write - 1).and_then(|done| done.iter().rposition(|byte| *byte == b'/'));
                write = parent.ok_or(PathError::AboveRoot)? + 1;
            }
            _ if is_dot_with_parameters(segment) => return Err(PathError::DotParameters),
            _ => {
                path.copy_within(read..read + consumed + usize::from(!is_last), write);
                write += consumed + usize::from(!is_last);
            }
        }
        if is_last {
            break;
        }
        read += consumed + 1;
    }
    path.truncate(write);
    Ok(())
}

fn is_dot_with_parameters(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    name.len() < segment.len() && (name == b"." || name == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> Result<String, PathError> {
        let mut out = Vec::new();
        Ok(match normalize(raw.as_bytes(), &mut out)? {
            Normalized::Unchanged => raw.to_owned(),
            Normalized::Rewritten => String::from_utf8(out).unwrap(),
        })
    }

    #[test]
    fn a_normal_path_is_left_alone() {
        for raw in [
            "/",
            "/a",
            "/a/",
            "/a/b.c/~d",
            "/a;b=1/c",
            "/.well-known/x",
            "/a...b/...",
            "/%20",
            "/a%2B",
            "/@:!$&'()*+,=-_",
        ] {
            assert_eq!(normalize(raw.as_bytes(), &mut Vec::new()), Ok(Normalized::Unchanged), "{raw}");
        }
    }

    #[test]
    fn equal_paths_get_one_form() {
        for (raw, wanted) in [
            ("/%61%7E%2d%2E%5F", "/a~-._"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/a/..", "/"),
            ("/a/b/../../c/./d/..", "/c/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a|b[0]", "/a%7Cb%5B0%5D"),
            ("/100%25", "/100%25"),
            ("/%25zz", "/%25zz"),
        ] {
            assert_eq!(normal(raw).as_deref(), Ok(wanted), "{raw}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_refused_with_its_reason() {
        for (raw, error) in [
            ("", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/a b", PathError::Character),
            ("/a#b", PathError::Character),
            ("/a?b", PathError::Character),
            ("/a\0", PathError::Character),
            ("/a\u{7f}", PathError::Character),
            ("/é", PathError::Character),
            ("/%", PathError::Percent),
            ("/%4", PathError::Percent),
            ("/%g1", PathError::Percent),
            ("/%+1", PathError::Percent),
            ("/a\\b", PathError::Backslash),
            ("/a%2fb", PathError::EncodedSlash),
            ("/a%5Cb", PathError::EncodedSlash),
            ("/%00", PathError::EncodedControl),
            ("/%0d%0a", PathError::EncodedControl),
            ("/%7f", PathError::EncodedControl),
            ("/%252f", PathError::DoubleEncoded),
            ("/%255c", PathError::DoubleEncoded),
            ("/%2500", PathError::DoubleEncoded),
            ("/%252e%252e/", PathError::DoubleEncoded),
            ("/%25252F", PathError::DoubleEncoded),
            ("/%25%32%66", PathError::DoubleEncoded),
            ("/a//b", PathError::EmptySegment),
            ("//", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a//../b", PathError::EmptySegment),
            ("/..", PathError::AboveRoot),
            ("/../a", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/a/..;/b", PathError::DotParameters),
            ("/a/%2e.;x=1/b", PathError::DotParameters),
            ("/.;", PathError::DotParameters),
        ] {
            assert_eq!(normal(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn codes_are_distinct_and_documented() {
        const DOCS: &str = include_str!("../../docs/config.md");
        let codes: std::collections::BTreeSet<_> = PathError::all().map(PathError::code).collect();
        assert_eq!(codes.len(), PathError::all().count());
        for code in codes {
            assert!(DOCS.contains(&format!("| `{code}` |")), "{code}");
        }
    }

    /// What a path means, step by step: split, decode each segment, walk. Slow and plain.
    fn model(raw: &str) -> Option<Vec<Vec<u8>>> {
        let mut segments: Vec<Vec<u8>> = Vec::new();
        let all: Vec<&str> = raw.strip_prefix('/')?.split('/').collect();
        for (index, text) in all.iter().enumerate() {
            let is_last = index + 1 == all.len();
            let mut decoded = Vec::new();
            let mut chars = text.chars();
            while let Some(char) = chars.next() {
                if char == '%' {
                    let digits: String = chars.by_ref().take(2).collect();
                    if digits.len() != 2 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
                        return None;
                    }
                    let byte = u8::from_str_radix(&digits, 16).ok()?;
                    if byte < 0x20 || byte == 0x7f || byte == b'/' || byte == b'\\' {
                        return None;
                    }
                    decoded.push(byte);
                } else if char.is_ascii_graphic() && !"#?\\".contains(char) {
                    decoded.push(char as u8);
                } else {
                    return None;
                }
            }
            match decoded.as_slice() {
                b"" if !is_last => return None,
                b"." | b".." => {
                    if decoded == b".." {
                        segments.pop()?;
                    }
                    if is_last {
                        segments.push(Vec::new());
                    }
                }
                _ => segments.push(decoded),
            }
        }
        Some(segments)
    }

    fn raw_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-c]{1,2}", 3 => Just("/".to_owned()), 2 => Just(".".to_owned()), 1 => Just("..".to_owned()),
            1 => Just("%2e".to_owned()), 1 => Just("%61".to_owned()), 1 => Just("%2F".to_owned()),
            1 => Just("%25".to_owned()), 1 => Just(";".to_owned()), 1 => "[ -~]", 1 => "%[0-9a-fA-F]{2}",
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn a_normal_path_means_what_the_raw_one_meant(raw in raw_path()) {
            match normal(&raw) {
                Ok(path) => {
                    let meaning = model(&raw);
                    prop_assert!(meaning.is_some(), "{raw} became {path}");
                    prop_assert_eq!(meaning, model(&path), "{} became {}", raw, path);
                }
                Err(PathError::DoubleEncoded | PathError::DotParameters) => {}
                Err(error) => prop_assert_eq!(model(&raw), None, "{} refused: {}", raw, error),
            }
        }

        #[test]
        fn a_normal_path_stays_normal(raw in raw_path()) {
            if let Ok(path) = normal(&raw) {
                prop_assert_eq!(normalize(path.as_bytes(), &mut Vec::new()), Ok(Normalized::Unchanged));
            }
        }

        #[test]
        fn any_bytes_are_answered(raw: Vec<u8>) {
            let mut out = Vec::new();
            if normalize(&raw, &mut out) == Ok(Normalized::Rewritten) {
                prop_assert!(out.iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
