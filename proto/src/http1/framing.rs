//! What the fields of a head say of its body and its connection (RFC 9112 sections 6 and 9).

use super::known::Seen;
use super::line::is_lower;
use super::values::{LengthError, content_length, is_token, list, trim};
use super::{Field, FramingError, Known, Span, Version};

/// Most fields that Connection may name beyond `close`, `keep-alive`, `upgrade` and `te`. Each is looked up among
/// all fields, so their product must stay small.
const NOMINATIONS_MAX: usize = 16;

/// What the fields say, taken together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survey {
    /// The value of the first Host.
    pub(super) host: Option<Span>,
    /// Whether there is another Host.
    pub(super) host_again: bool,
    pub(super) length: Option<u64>,
    /// Whether the transfer coding is `chunked`, the only one let through.
    pub(super) chunked: bool,
    close: bool,
    keep_alive: bool,
    /// Whether Connection says `upgrade` and Upgrade is there.
    pub(super) upgrade: bool,
    /// The value of the first Expect.
    pub(super) expect: Option<Span>,
    /// Whether there is another Expect.
    pub(super) expect_again: bool,
}

impl Survey {
    /// Whether the connection goes on after the message (RFC 9112 section 9.3).
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Fields after which there is more to know than one Host and one length.
const SPECIAL: Seen = Seen::of(&[Known::TransferEncoding, Known::Connection, Known::Upgrade, Known::Expect]);

/// What the fields say that frame, of which `seen` are there; those that Connection names are marked.
#[inline]
pub(super) fn survey(input: &[u8], fields: &mut [Field], version: Version, seen: Seen) -> Result<Survey, FramingError> {
    if seen.has_any(SPECIAL) || seen.has_twice(Known::Host) || seen.has_twice(Known::ContentLength) {
        return survey_all(input, fields, version);
    }
    // What most heads are.
    let value = |known| {
        let field = if seen.has(known) { fields.iter().find(|field| field.known == known) } else { None };
        field.map(|field| field.value)
    };
    let length = value(Known::ContentLength).map(|value| read_length(value.of(input))).transpose()?;
    Ok(Survey { host: value(Known::Host), length, ..Survey::default() })
}

fn read_length(value: &[u8]) -> Result<u64, FramingError> {
    content_length(value).map_err(|error| match error {
        LengthError::Malformed => FramingError::BadLength,
        LengthError::List => FramingError::DuplicateLength,
        LengthError::Overflow => FramingError::LengthOverflow,
    })
}

/// Reads every field in one pass.
fn survey_all(input: &[u8], fields: &mut [Field], version: Version) -> Result<Survey, FramingError> {
    let mut found = Survey::default();
    let mut codings = Codings::default();
    let mut option_upgrade = false;
    let mut field_upgrade = false;
    let mut nominations = 0;
    for field in fields.iter() {
        match field.known {
            Known::Host if found.host.is_some() => found.host_again = true,
            Known::Host => found.host = Some(field.value),
            Known::Expect if found.expect.is_some() => found.expect_again = true,
            Known::Expect => found.expect = Some(field.value),
            Known::Upgrade => field_upgrade = true,
            Known::ContentLength if found.length.is_some() => return Err(FramingError::DuplicateLength),
            Known::ContentLength => {
                found.length = Some(read_length(field.value.of(input))?);
            }
            Known::TransferEncoding => codings.add(field.value.of(input))?,
            // What nearly all that send it say.
            Known::Connection if is_lower(field.value.of(input), b"keep-alive") => found.keep_alive = true,
            Known::Connection => {
                for option in list(field.value.of(input)) {
                    if is_lower(option, b"close") {
                        found.close = true;
                    } else if is_lower(option, b"keep-alive") {
                        found.keep_alive = true;
                    } else if is_lower(option, b"upgrade") {
                        option_upgrade = true;
                    } else if !is_token(option) {
                        return Err(FramingError::BadConnection);
                    } else if !Known::of(option).is_connection_specific() {
                        nominations += 1;
                    }
                }
            }
            _ => {}
        }
    }
    found.chunked = codings.chunked(version)?;
    if found.chunked && found.length.is_some() {
        return Err(FramingError::LengthWithEncoding);
    }
    found.upgrade = option_upgrade && field_upgrade && version == Version::Http11;
    if nominations > NOMINATIONS_MAX {
        return Err(FramingError::TooManyOptions);
    }
    if nominations > 0 {
        mark_nominated(input, fields);
    }
    Ok(found)
}

/// Marks the unknown fields that Connection names (RFC 9110 section 7.6.1).
#[cold]
fn mark_nominated(input: &[u8], fields: &mut [Field]) {
    for index in 0..fields.len() {
        let Some(connection) = fields.get(index).copied().filter(|field| field.known == Known::Connection) else {
            continue;
        };
        for option in list(connection.value.of(input)) {
            for field in fields.iter_mut().filter(|field| field.known == Known::Other) {
                field.hop_by_hop |= field.name.of(input).eq_ignore_ascii_case(option);
            }
        }
    }
}

/// The transfer codings of all Transfer-Encoding lines, in order.
#[derive(Default)]
struct Codings {
    present: bool,
    chunked: usize,
    others: usize,
    last_is_chunked: bool,
}

impl Codings {
    fn add(&mut self, value: &[u8]) -> Result<(), FramingError> {
        self.present = true;
        for coding in value.split(|&byte| byte == b',').map(trim) {
            // Empty elements and parameters are refused as well: nobody sends them who means well.
            if !is_token(coding) {
                return Err(FramingError::BadEncoding);
            }
            self.last_is_chunked = is_lower(coding, b"chunked");
            if self.last_is_chunked {
                self.chunked += 1;
            } else {
                self.others += 1;
            }
        }
        Ok(())
    }

    /// Whether the body is chunked and nothing else.
    fn chunked(&self, version: Version) -> Result<bool, FramingError> {
        if !self.present {
            return Ok(false);
        }
        if version == Version::Http10 {
            return Err(FramingError::EncodingInHttp10);
        }
        match (self.chunked, self.others, self.last_is_chunked) {
            (2.., ..) => Err(FramingError::DuplicateChunked),
            (_, _, false) => Err(FramingError::NotChunked),
            (_, 1.., true) => Err(FramingError::UnknownCoding),
            (_, 0, true) => Ok(true),
        }
    }
}
