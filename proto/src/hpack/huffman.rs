//! The Huffman code of RFC 7541 Appendix B.
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and longer codes follow
//! shorter ones. So the lengths say it all, and every table here is computed from them when the crate is built.

use super::HpackError;

/// The bits of each symbol's code; the last is EOS, which never stands in a string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// The symbol that fills up the last byte, and its number.
const EOS: usize = 256;

/// Longest code, in bits.
const LONGEST: usize = 30;

/// Codes up to this many bits are found with one look: all of those that ordinary text has.
const SHORT_BITS: usize = 10;

/// The code of each symbol, in the low bits.
static CODES: [u32; 257] = CANON.codes;

/// For each start of input, the symbol and in the high byte the length of its code; 0 where the code is longer.
static SHORT: [u16; 1 << SHORT_BITS] = short();

/// What is derived from the lengths.
struct Canon {
    codes: [u32; 257],
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
    /// For each length: the first code past those of that length, at the top of 30 bits, its first code likewise, and
    /// where its symbols start.
    past: [u32; LONGEST + 1],
    first: [u32; LONGEST + 1],
    at: [u16; LONGEST + 1],
}

static CANON: Canon = canon();

const fn canon() -> Canon {
    let mut canon = Canon {
        codes: [0; 257],
        symbols: [0; 257],
        past: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        at: [0; LONGEST + 1],
    };
    let mut code: u32 = 0;
    let mut count = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        canon.first[length] = code << (LONGEST - length);
        canon.at[length] = count as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                canon.codes[symbol] = code;
                canon.symbols[count] = symbol as u16;
                code += 1;
                count += 1;
            }
            symbol += 1;
        }
        canon.past[length] = code << (LONGEST - length);
        length += 1;
    }
    canon
}

const fn short() -> [u16; 1 << SHORT_BITS] {
    let canon = canon();
    let mut table = [0; 1 << SHORT_BITS];
    let mut symbol = 0;
    while symbol < EOS {
        let length = LENGTHS[symbol] as usize;
        if length <= SHORT_BITS {
            let start = (canon.codes[symbol] as usize) << (SHORT_BITS - length);
            let mut at = start;
            while at < start + (1 << (SHORT_BITS - length)) {
                table[at] = (length as u16) << 8 | symbol as u16;
                at += 1;
            }
        }
        symbol += 1;
    }
    table
}

/// Appends the decoded string.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    // The shortest code has five bits.
    out.reserve(input.len() * 8 / 5);
    let mut rest = input;
    // The bits to come, first at the top, zeros after them; and how many they are.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        if have <= 32 {
            if let Some((word, tail)) = rest.split_first_chunk::<4>() {
                bits |= u64::from(u32::from_be_bytes(*word)) << (32 - have);
                have += 32;
                rest = tail;
            } else {
                for &byte in rest {
                    bits |= u64::from(byte) << (56 - have);
                    have += 8;
                }
                rest = &[];
            }
        }
        let short = SHORT[(bits >> (64 - SHORT_BITS)) as usize];
        let mut length = u32::from(short >> 8);
        let mut symbol = short & 0xff;
        if length == 0 {
            (symbol, length) = long(bits);
        }
        if length > have {
            break;
        }
        if symbol as usize == EOS {
            return Err(HpackError::BadHuffman);
        }
        out.push(symbol as u8);
        bits <<= length;
        have -= length;
    }
    // What is left over is the start of EOS and less than a byte (section 5.2).
    let padding = bits.checked_shr(64 - have).unwrap_or_default();
    if have >= 8 || padding != (1 << have) - 1 { Err(HpackError::BadHuffman) } else { Ok(()) }
}

/// The symbol that `bits` start with, and the length of its code.
#[cold]
fn long(bits: u64) -> (u16, u32) {
    let top = (bits >> (64 - LONGEST)) as u32;
    for length in SHORT_BITS + 1..=LONGEST {
        if top < CANON.past[length] {
            let at = usize::from(CANON.at[length]) + ((top - CANON.first[length]) >> (LONGEST - length)) as usize;
            return (CANON.symbols.get(at).copied().unwrap_or(EOS as u16), length as u32);
        }
    }
    (EOS as u16, LONGEST as u32)
}

/// Bytes that the encoded string has.
pub(super) fn encoded_len(string: &[u8]) -> usize {
    let bits: usize = string.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the encoded string.
pub(super) fn encode(string: &[u8], out: &mut Vec<u8>) {
    // The bits not yet written, in the low end, and how many they are: fewer than 32 before each symbol.
    let (mut bits, mut have) = (0_u64, 0_u32);
    for &byte in string {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << length | u64::from(CODES[usize::from(byte)]);
        have += length;
        if have >= 32 {
            have -= 32;
            out.extend_from_slice(&((bits >> have) as u32).to_be_bytes());
        }
    }
    while have >= 8 {
        have -= 8;
        out.push((bits >> have) as u8);
    }
    if have > 0 {
        out.push((bits << (8 - have)) as u8 | (0xff >> have));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    #[test]
    fn every_byte_survives_alone_and_among_others() {
        for byte in 0..=255 {
            for string in [vec![byte], vec![b'a', byte, byte, b'0'], vec![byte; 41]] {
                let mut out = Vec::new();
                encode(&string, &mut out);
                assert_eq!(out.len(), encoded_len(&string));
                assert_eq!(decoded(&out), Ok(string));
            }
        }
    }

    #[test]
    fn codes_are_those_of_the_appendix() {
        // The first, some of each region, and the last lines of RFC 7541 Appendix B.
        for (symbol, code, length) in [
            (0, 0x1ff8, 13),
            (1, 0x007f_ffd8, 23),
            (10, 0x3fff_fffc, 30),
            (b'a', 0x3, 5),
            (b'~', 0x1ffd, 13),
            (b'?', 0x3fc, 10),
            (127, 0x0fff_fffc, 28),
            (255, 0x03ff_ffee, 26),
        ] {
            assert_eq!((CODES[usize::from(symbol)], LENGTHS[usize::from(symbol)]), (code, length));
        }
        assert_eq!(CODES[EOS], 0x3fff_ffff);
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(b""), Ok(Vec::new()));
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        for bad in [
            &[0b0001_1110][..],
            &[0b0001_1000],
            &[0b0001_1111, 0xff],
            &[0xff],
            &[0xff, 0xff, 0xff, 0xff],
            &[0xff, 0xfe],
        ] {
            assert_eq!(decoded(bad), Err(HpackError::BadHuffman), "{bad:x?}");
        }
    }

    #[test]
    fn a_code_cut_short_is_refused() {
        let mut out = Vec::new();
        encode(&[1], &mut out);
        for end in 1..out.len() {
            assert_eq!(decoded(&out[..end]), Err(HpackError::BadHuffman));
        }
    }
}
