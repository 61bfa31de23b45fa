//! What the alphabets of base64 (RFC 4648 sections 4 and 5) have in common.

/// In a table of [`values`]: no digit.
pub(crate) const NONE: u8 = 64;

/// What each byte stands for in an alphabet.
pub(crate) const fn values(digits: &[u8; 64]) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < 64 {
        values[digits[at] as usize] = at as u8;
        at += 1;
    }
    values
}
