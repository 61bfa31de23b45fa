//! Base64 against a naive model.

use proptest::prelude::*;

use super::super::{Decoder, Encoder, FrameError};

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The slow way: a string of bits.
fn model(bytes: &[u8]) -> Vec<u8> {
    let each: Vec<String> = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut bits = each.concat();
    while !bits.len().is_multiple_of(6) {
        bits.push('0');
    }
    let digit = |at: usize| DIGITS[usize::from_str_radix(&bits[at..at + 6], 2).unwrap()];
    let mut text: Vec<u8> = (0..bits.len()).step_by(6).map(digit).collect();
    while !text.len().is_multiple_of(4) {
        text.push(b'=');
    }
    text
}

fn decode(text: &[u8], size: usize) -> Result<Vec<u8>, FrameError> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for piece in text.chunks(size.max(1)) {
        decoder.decode(piece, &mut out)?;
    }
    decoder.finish().map(|()| out)
}

#[test]
fn the_vectors_of_rfc_4648() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(decode(text.as_bytes(), 3), Ok(bytes.as_bytes().to_vec()), "{text}");
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.encode(bytes.as_bytes(), &mut out);
        encoder.finish(&mut out);
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn what_is_not_in_its_one_form_is_refused() {
    for text in ["Z", "Zg", "Zg=", "Zm9", "=", "Z===", "Zg=a", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-_", "Zg==="] {
        for size in 1..5 {
            assert_eq!(decode(text.as_bytes(), size), Err(FrameError::BadBase64), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn it_is_read_and_written_as_the_model_has_it(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        size in 1usize..9,
    ) {
        // Each part is padded by itself.
        let text: Vec<u8> = parts.iter().flat_map(|part| model(part)).collect();
        prop_assert_eq!(decode(&text, size), Ok(parts.concat()));
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        for part in &parts {
            for piece in part.chunks(size) {
                encoder.encode(piece, &mut out);
            }
            encoder.finish(&mut out);
        }
        prop_assert_eq!(out, text);
    }

    #[test]
    fn what_is_read_is_what_would_be_written(text in "[ABgw/+=]{0,24}") {
        // A model of what may be read: groups of four, each of which says what its bytes would be written as.
        let groups: Vec<&[u8]> = text.as_bytes().chunks(4).collect();
        let is_group = |group: &&[u8]| (1..=3).any(|len| {
            let bytes = decode_group(group, len);
            bytes.is_some_and(|bytes| model(&bytes) == **group)
        });
        let expected = groups.iter().all(is_group);
        prop_assert_eq!(decode(text.as_bytes(), 3).is_ok(), expected, "{}", text);
    }
}

/// The first bytes that four digits say.
fn decode_group(group: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut bits = 0u32;
    for at in 0..4 {
        let value = DIGITS.iter().position(|digit| Some(digit) == group.get(at)).unwrap_or(0);
        bits = bits << 6 | value as u32;
    }
    bits.to_be_bytes().get(1..=len).map(<[u8]>::to_vec)
}
