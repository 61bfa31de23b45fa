//! Reading one line, each byte once, from left to right: what is refused first is what stands first.

use super::FieldError;

const TOKEN: u8 = 1;
const NAME: u8 = 2;

/// What each byte may be part of: a token (RFC 9110 section 5.6.2), the name of a host.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'~' | b'.' => TOKEN | NAME,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' => TOKEN,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether the byte may be part of a host's name: a letter, a digit, `-`, `_`, `~` or a dot.
#[inline]
pub(super) fn is_name_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & NAME != 0
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte of `word` that is neither an ASCII letter nor `-`, which most bytes of names are.
#[inline]
fn unusual(word: u64) -> u64 {
    // Without high bits no sum of a byte and at most 0x7f carries into the next.
    let low = word & !HIGHS;
    let lower = low | (ONES * 0x20);
    let from_a = lower + ONES * u64::from(0x80 - b'a');
    let after_z = lower + ONES * u64::from(0x7f - b'z');
    let not_dash = (low ^ (ONES * u64::from(b'-'))) + ONES * 0x7f;
    ((!from_a | after_z) & not_dash | word) & HIGHS
}

/// The high bit of each byte of `word` that is from `first` to `last`, both ASCII. Bytes with a high bit are not.
#[inline]
fn between(word: u64, first: u8, last: u8) -> u64 {
    // Without high bits no sum of a byte and at most 0x80 carries into the next.
    let low = word & !HIGHS;
    let from_first = low + ONES * u64::from(0x80 - first);
    let after_last = low + ONES * u64::from(0x7f - last);
    from_first & !after_last & !word & HIGHS
}

/// How many bytes at the start of `bytes`, eight at a time, are letters, digits, `-` and single dots, and whether the
/// last of them is a dot; where there are none, a dot may not follow either.
#[inline]
pub(super) fn ordinary_name(bytes: &[u8]) -> (usize, bool) {
    let (words, _) = bytes.as_chunks::<8>();
    let mut dot_before = 0x80;
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let letters = between(word | (ONES * 0x20), b'a', b'z');
        let dots = between(word, b'.', b'.');
        let ordinary = letters | between(word, b'0', b'9') | between(word, b'-', b'.');
        if ordinary != HIGHS || dots & (dots << 8 | dot_before) != 0 {
            return (index * 8, dot_before != 0);
        }
        dot_before = dots >> 56;
    }
    (words.len() * 8, dot_before != 0)
}

/// Bytes of `bytes` before the first that is not a token's.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut marks = unusual(word);
        while marks != 0 {
            let bit = marks.trailing_zeros() & !7;
            if !is_token_byte((word >> bit) as u8) {
                return index * 8 + bit as usize / 8;
            }
            marks &= marks - 1;
        }
    }
    words.len() * 8 + tail.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(tail.len())
}

/// Bytes of `bytes` before the first that is below `min` (at most 128) or 0x7f, or above if `ascii`. Eight are looked
/// at in one go.
#[inline]
fn text_len_from<const MIN: u8, const ASCII: bool>(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Bytes with a high bit aside, no sum carries into the next byte, so every mark is right.
        let low = word & !HIGHS;
        let low_marks = !(low + ONES * u64::from(0x80 - MIN)) | (low + ONES);
        let marks = HIGHS & if ASCII { low_marks | word } else { low_marks & !word };
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let stops = |byte: u8| byte < MIN || byte == 0x7f || (ASCII && byte > 0x7f);
    words.len() * 8 + tail.iter().position(|&byte| stops(byte)).unwrap_or(tail.len())
}

/// Bytes of `bytes` before the first control byte (below 0x20, HTAB among them, or 0x7f).
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    text_len_from::<0x20, false>(bytes)
}

/// Bytes of `bytes` before the first that is not visible ASCII (0x21 to 0x7e).
#[inline]
pub(super) fn visible_len(bytes: &[u8]) -> usize {
    text_len_from::<0x21, true>(bytes)
}

/// Whether `bytes` is `lower` in any case. With a literal, whose length is known when this is compiled, it takes a
/// few wide instructions and no loop.
#[inline]
pub(super) fn is_lower<const N: usize>(bytes: &[u8], lower: &[u8; N]) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else {
        return false;
    };
    let mut differences = 0;
    for (byte, lower) in bytes.iter().zip(lower) {
        let case = if lower.is_ascii_lowercase() { 0x20 } else { 0 };
        differences |= (byte | case) ^ lower;
    }
    differences == 0
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

/// A whole line of the shape nearly all have. Offsets count from the start of the line.
pub(super) struct OrdinaryLine {
    pub(super) name_end: usize,
    pub(super) value_start: usize,
    pub(super) value_end: usize,
}

impl OrdinaryLine {
    /// Bytes of the line with its CRLF.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.value_end + 2
    }
}

/// The line at the start of `bytes` when it is `name: value` with one space before the value, none after it, and no
/// HTAB in it. [`field_line`] reads the same in such a line, and tells what is wrong with others.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call for each line costs a tenth of a head")]
pub(super) fn ordinary_line(bytes: &[u8]) -> Option<OrdinaryLine> {
    let name_end = token_len(bytes);
    let (&[b':', b' '], value) = bytes.get(name_end..)?.split_first_chunk()? else { return None };
    let text = text_len(value);
    let is_whole = matches!(value.get(text..), Some([b'\r', b'\n', ..]));
    let is_trimmed = !value.first().is_some_and(|&byte| is_space(byte))
        && !text.checked_sub(1).and_then(|last| value.get(last)).is_some_and(|&byte| is_space(byte));
    let value_start = name_end + 2;
    (is_whole && is_trimmed && name_end > 0).then_some(OrdinaryLine {
        name_end,
        value_start,
        value_end: value_start + text,
    })
}

/// Reads the line at the start of `bytes` as a field (RFC 9112 section 5).
pub(super) fn field_line(bytes: &[u8]) -> Result<FieldLine, FieldError> {
    let name_end = token_len(bytes);
    let Some((_, after_name)) = bytes.split_at_checked(name_end) else {
        return Ok(FieldLine::Partial);
    };
    let after_colon = match after_name {
        [b':', after_colon @ ..] if name_end > 0 => after_colon,
        _ => return odd_name(name_end, after_name),
    };
    // One space is what everybody sends.
    let (spaces, value) = match after_colon {
        [b' ', value @ ..] if !value.first().is_some_and(|&byte| is_space(byte)) => (1, value),
        _ => leading_spaces(after_colon),
    };
    let text = text_len(value);
    let text = match value.get(text..) {
        Some([b'\r', b'\n', ..]) => text,
        _ => match odd_value(value, text)? {
            Some(text) => text,
            None => return Ok(FieldLine::Partial),
        },
    };
    let value_start = name_end + 1 + spaces;
    let trimmed = match value.get(..text) {
        Some(value @ [.., b' ' | b'\t']) => value.trim_ascii_end().len(),
        _ => text,
    };
    Ok(FieldLine::Field { name_end, value_start, value_end: value_start + trimmed, len: value_start + text + 2 })
}

/// Splits off the whitespace at the start.
#[cold]
fn leading_spaces(bytes: &[u8]) -> (usize, &[u8]) {
    let spaces = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
    (spaces, bytes.get(spaces..).unwrap_or_default())
}

/// The length of a value up to its CRLF, where its first control byte, at `from`, is not that CRLF. `None` if the
/// line is not whole.
#[cold]
fn odd_value(value: &[u8], from: usize) -> Result<Option<usize>, FieldError> {
    let mut end = from;
    loop {
        match line_end(value.get(end..).unwrap_or_default()) {
            LineEnd::Whole => return Ok(Some(end)),
            LineEnd::Byte(b'\t') => end += 1,
            LineEnd::Partial => return Ok(None),
            LineEnd::BareCr => return Err(FieldError::BareCr),
            LineEnd::BareLf => return Err(FieldError::BareLf),
            LineEnd::Byte(0) => return Err(FieldError::Nul),
            LineEnd::Byte(_) => return Err(FieldError::ControlByte),
        }
        end += text_len(value.get(end..).unwrap_or_default());
    }
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
