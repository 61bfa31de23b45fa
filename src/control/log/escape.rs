//! Text from outside, written so that it can be nothing but text: no ends of lines, no quotes, nothing that a terminal
//! obeys.

/// Whether a character is written as its number: it controls a terminal, ends a line or turns the text around.
fn is_unsafe(char: char) -> bool {
    matches!(char,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Appends a string of JSON. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|char| matches!(char, '"' | '\\') || is_unsafe(char)) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain.as_bytes());
            let Some(char) = special.chars().next() else { break };
            match char {
                '"' | '\\' => out.extend([b'\\', char as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // None of them takes two units of UTF-16.
                _ => out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes()),
            }
            rest = &special[char.len_utf8()..];
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends the inside of a quoted field of the combined format: bytes that are no printable ASCII, quotes and backslashes
/// as `\xHH`.
pub(super) fn combined(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\' {
            out.push(byte);
        } else {
            out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends text that stays on its line.
pub(super) fn line(out: &mut Vec<u8>, text: &str) {
    let mut utf8 = [0; 4];
    for char in text.chars() {
        if is_unsafe(char) {
            out.extend(char.escape_default().map(|char| char as u8));
        } else {
            out.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_gives_the_text_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            json(&mut out, &bytes);
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
            prop_assert!(!String::from_utf8(out).unwrap().chars().any(is_unsafe));
        }

        #[test]
        fn json_gives_any_text_back(text: String) {
            let mut out = Vec::new();
            json(&mut out, text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn combined_gives_the_bytes_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            combined(&mut out, &bytes);
            prop_assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"'));
            prop_assert_eq!(unescaped(&out), bytes);
        }

        #[test]
        fn a_line_stays_a_line(text: String) {
            let mut out = Vec::new();
            line(&mut out, &text);
            prop_assert!(!String::from_utf8(out).unwrap().chars().any(is_unsafe));
        }
    }

    /// The bytes that [`combined`] wrote so.
    pub(in crate::control) fn unescaped(mut text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((&byte, rest)) = text.split_first() {
            if byte == b'\\' {
                let hex = std::str::from_utf8(&rest[1..3]).unwrap();
                bytes.push(u8::from_str_radix(hex, 16).unwrap());
                text = &rest[3..];
            } else {
                bytes.push(byte);
                text = rest;
            }
        }
        bytes
    }
}
