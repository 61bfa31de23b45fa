//! Integers with a prefix (RFC 7541 section 5.1).

use super::HpackError;

/// Bytes that may follow the prefix. Four carry 28 bits, far more than any length or index in use.
const MORE_MAX: u32 = 4;

/// Reads an integer whose first byte is at `at`, of which the low `prefix` bits count, and moves `at` past it.
#[inline]
pub(super) fn read(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, HpackError> {
    let first = *block.get(*at).ok_or(HpackError::Truncated)?;
    *at += 1;
    let full = (1_u32 << prefix) - 1;
    let value = u32::from(first) & full;
    if value < full { Ok(value as usize) } else { read_more(block, at, value) }
}

fn read_more(block: &[u8], at: &mut usize, mut value: u32) -> Result<usize, HpackError> {
    for more in 0..MORE_MAX {
        let byte = *block.get(*at).ok_or(HpackError::Truncated)?;
        *at += 1;
        // 8 bits and four times 7 stay below 2^29.
        value += u32::from(byte & 0x7f) << (7 * more);
        if byte < 0x80 {
            return Ok(value as usize);
        }
    }
    Err(HpackError::IntegerOverflow)
}

/// Appends an integer after the bits of `pattern`, which are above the prefix.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let full = (1_usize << prefix) - 1;
    if value < full {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8], prefix: u32) -> Result<usize, HpackError> {
        let mut at = 0;
        let value = read(bytes, &mut at, prefix)?;
        assert_eq!(at, bytes.len());
        Ok(value)
    }

    #[test]
    fn the_examples_of_appendix_c_1() {
        for (number, prefix, bytes) in [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])] {
            assert_eq!(value(bytes, prefix), Ok(number));
            let mut out = Vec::new();
            write(&mut out, 0, prefix, number);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn what_is_too_large_or_cut_short_is_refused() {
        assert_eq!(value(&[0xff, 0xff, 0xff, 0xff, 0x7f], 7), Ok(127 + 0x0fff_ffff));
        assert_eq!(value(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x00], 7), Err(HpackError::IntegerOverflow));
        assert_eq!(value(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Err(HpackError::IntegerOverflow));
        assert_eq!(value(&[0xff, 0x80], 7), Err(HpackError::Truncated));
        assert_eq!(value(&[0x1f], 5), Err(HpackError::Truncated));
        assert_eq!(value(&[], 5), Err(HpackError::Truncated));
    }

    #[test]
    fn numbers_survive() {
        for prefix in 1..=8 {
            for number in (0..600).chain([16_383, 16_384, 65_535, 1 << 20, 1 << 27]) {
                let mut out = Vec::new();
                write(&mut out, 0, prefix, number);
                assert_eq!(value(&out, prefix), Ok(number));
            }
        }
    }
}
