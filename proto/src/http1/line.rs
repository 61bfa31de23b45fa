//! Reading one line, each byte once, from left to right: what is refused first is what stands first.

use super::FieldError;

/// The bytes of a token (RFC 9110 section 5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Bytes of `bytes` before the first that is not a token's.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len())
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte of `word` that is below `min` (at most 128) or 0x7f. Bytes above the lowest such byte
/// may be marked wrongly, for a borrow can run upwards; the lowest mark is right.
#[inline]
fn marks(word: u64, min: u8) -> u64 {
    let below = word.wrapping_sub(ONES * u64::from(min)) & !word;
    let del = word ^ (ONES * 0x7f);
    let del = del.wrapping_sub(ONES) & !del;
    (below | del) & HIGHS
}

/// Bytes of `bytes` before the first control byte (below 0x20, HTAB among them, or 0x7f).
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word), 0x20);
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + tail.iter().position(u8::is_ascii_control).unwrap_or(tail.len())
}

/// Bytes of `bytes` before the first that is not visible ASCII (0x21 to 0x7e).
#[inline]
pub(super) fn visible_len(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let marks = marks(word, 0x21) | (word & HIGHS);
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + tail.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(tail.len())
}

#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What stands where a line may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineEnd {
    /// Bytes are missing to tell.
    Partial,
    /// CRLF.
    Whole,
    /// CR and something other than LF.
    BareCr,
    /// LF.
    BareLf,
    /// Some other byte.
    Byte(u8),
}

/// Looks at the start of `bytes` for the end of a line.
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> LineEnd {
    match bytes {
        [b'\r', b'\n', ..] => LineEnd::Whole,
        [] | [b'\r'] => LineEnd::Partial,
        [b'\r', ..] => LineEnd::BareCr,
        [b'\n', ..] => LineEnd::BareLf,
        [byte, ..] => LineEnd::Byte(*byte),
    }
}

/// One line of a head or a trailer section. Offsets count from the start of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldLine {
    /// The line is not whole.
    Partial,
    /// The empty line, which ends the section.
    End,
    /// A field.
    Field {
        name_end: usize,
        value_start: usize,
        value_end: usize,
        /// Bytes of the line with its CRLF.
        len: usize,
    },
}

/// Reads the line at the start of `bytes` as a field (RFC 9112 section 5).
#[inline]
pub(super) fn field_line(bytes: &[u8]) -> Result<FieldLine, FieldError> {
    let name_end = token_len(bytes);
    let after_name = bytes.get(name_end..).unwrap_or_default();
    if name_end == 0 || after_name.first() != Some(&b':') {
        return odd_name(name_end, after_name);
    }
    let after_colon = after_name.get(1..).unwrap_or_default();
    let spaces = after_colon.iter().position(|&byte| !is_space(byte)).unwrap_or(after_colon.len());
    let value_start = name_end + 1 + spaces;
    let mut end = value_start;
    loop {
        let rest = bytes.get(end..).unwrap_or_default();
        end += text_len(rest);
        let rest = bytes.get(end..).unwrap_or_default();
        match line_end(rest) {
            LineEnd::Whole => break,
            LineEnd::Byte(b'\t') => end += 1,
            LineEnd::Partial => return Ok(FieldLine::Partial),
            LineEnd::BareCr => return Err(FieldError::BareCr),
            LineEnd::BareLf => return Err(FieldError::BareLf),
            LineEnd::Byte(0) => return Err(FieldError::Nul),
            LineEnd::Byte(_) => return Err(FieldError::ControlByte),
        }
    }
    let value = bytes.get(value_start..end).unwrap_or_default();
    let trimmed = value.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    Ok(FieldLine::Field { name_end, value_start, value_end: value_start + trimmed, len: end + 2 })
}

/// A line that is not a token with a colon right after it.
#[cold]
fn odd_name(name_end: usize, after_name: &[u8]) -> Result<FieldLine, FieldError> {
    let first = name_end == 0;
    match line_end(after_name) {
        LineEnd::Partial => Ok(FieldLine::Partial),
        LineEnd::Whole if first => Ok(FieldLine::End),
        LineEnd::Whole => Err(FieldError::MissingColon),
        LineEnd::BareCr => Err(FieldError::BareCr),
        LineEnd::BareLf => Err(FieldError::BareLf),
        LineEnd::Byte(0) => Err(FieldError::Nul),
        LineEnd::Byte(b':') => Err(FieldError::EmptyName),
        LineEnd::Byte(b' ' | b'\t') if first => Err(FieldError::ObsFold),
        LineEnd::Byte(b' ' | b'\t') => match after_name.iter().find(|&&byte| !is_space(byte)) {
            None => Ok(FieldLine::Partial),
            Some(b':') => Err(FieldError::SpaceBeforeColon),
            Some(_) => Err(FieldError::BadName),
        },
        LineEnd::Byte(_) => Err(FieldError::BadName),
    }
}
