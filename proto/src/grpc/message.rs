//! `grpc-message`: text with percent-encoding. What is not a printable character of ASCII, and `%`, is encoded.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a text as the field has it.
pub fn write(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            let digit = |of: u8| HEX.get(usize::from(of)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Appends what a field says. What looks encoded and is not stays as it is.
pub fn read(value: &[u8], out: &mut Vec<u8>) {
    let mut left = value;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        if byte == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            left = after;
        } else {
            out.push(byte);
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
