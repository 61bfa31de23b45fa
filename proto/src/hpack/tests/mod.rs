//! Tests of the codec as its callers see it.

mod limits;
mod model;
mod rfc7541;
mod vectors;

use super::*;

type Pair = (Vec<u8>, Vec<u8>);

/// Bytes from their hexadecimal digits; whitespace is left out.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The fields of a block.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Pair>, HpackError> {
    let (mut text, mut fields) = (b"before".to_vec(), Vec::new());
    let mut reader = Block::new(block, 1 << 20);
    while let Some(field) = decoder.next(&mut reader, &mut text)? {
        let pair = (field.name.of(&text).to_vec(), field.value.of(&text).to_vec());
        let line = [&pair.0[..], b": ", &pair.1, b"\r\n"].concat();
        assert_eq!(&text[field.name.start as usize..], line);
        assert_eq!(usize::from(field.static_name), static_table::name_index(&pair.0).unwrap_or_default());
        fields.push(pair);
    }
    Ok(fields)
}

fn encode(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out
}

fn pairs(fields: &[(&str, &str)]) -> Vec<Pair> {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
