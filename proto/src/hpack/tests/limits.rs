//! What is refused, and what the tables may take.

use super::*;

fn refused(block: &str) -> HpackError {
    decode(&mut Decoder::new(4096), &hex(block)).unwrap_err()
}

#[test]
fn indices_past_both_tables_and_index_zero_are_refused() {
    for block in ["80", "be", "ff00", "7e 0161", "0f 30 0161", "1f 30 0161", "ff ffff 7f"] {
        assert_eq!(refused(block), HpackError::BadIndex, "{block}");
    }
    assert_eq!(refused("7f ff ff ff ff ff 0f"), HpackError::IntegerOverflow);
}

#[test]
fn strings_that_end_early_are_refused() {
    for block in ["40", "4001", "400161", "40016102", "4001610161 41", "00ff", "7f"] {
        assert_eq!(refused(block), HpackError::Truncated, "{block}");
    }
    assert_eq!(refused("0085ffffffffff"), HpackError::BadHuffman);
    assert_eq!(refused("00811c"), HpackError::BadHuffman);
}

#[test]
fn size_updates_stand_first_at_most_twice_and_within_what_is_allowed() {
    assert_eq!(refused("3fe21f"), HpackError::TableTooLarge);
    assert_eq!(refused("82 20"), HpackError::LateTableUpdate);
    assert_eq!(refused("20 20 20"), HpackError::LateTableUpdate);
    assert_eq!(decode(&mut Decoder::new(4096), &hex("20 3fe11f 82")), Ok(pairs(&[(":method", "GET")])));
}

#[test]
fn a_smaller_table_must_be_acknowledged_by_the_next_block() {
    let mut decoder = Decoder::new(4096);
    decoder.set_allowed(100);
    assert_eq!(decode(&mut decoder, &hex("82")), Err(HpackError::MissingTableUpdate));
    // Down to the smallest first, then up.
    for (block, answer) in [("3fe11f 82", Err(HpackError::MissingTableUpdate)), ("3f45 3fe11f 82", Ok(1))] {
        let mut decoder = Decoder::new(4096);
        decoder.set_allowed(100);
        decoder.set_allowed(4096);
        assert_eq!(decode(&mut decoder, &hex(block)).map(|fields| fields.len()), answer);
    }
}

#[test]
fn a_block_stands_for_no_more_than_is_allowed() {
    // One entry of 4,000 bytes, then a reference to it a byte.
    let mut encoder = Encoder::new(4096);
    let long = "x".repeat(1900);
    let mut block = encode(&mut encoder, &[("a", &long)]);
    block.extend(std::iter::repeat_n(0xbe, 10_000));
    let (mut decoder, mut text) = (Decoder::new(4096), Vec::new());
    let mut reader = Block::new(&block, 16_384);
    let mut fields = 0;
    let end = loop {
        match decoder.next(&mut reader, &mut text) {
            Ok(Some(_)) => fields += 1,
            other => break other,
        }
    };
    assert_eq!((end, fields), (Err(HpackError::Bomb), 16_384 / (1 + 1900 + FIELD_COST)));
    assert!(text.len() <= 16_384);
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(64);
    assert!(decode(&mut decoder, &hex("4001610162")).is_ok());
    assert_eq!(decoder.table_size(), 34);
    let long = format!("400161 21 {}", "62".repeat(33));
    assert!(decode(&mut decoder, &hex(&long)).is_ok());
    assert_eq!(decoder.table_size(), 0);
    assert_eq!(decode(&mut decoder, &hex("be")), Err(HpackError::BadIndex));
}

#[test]
fn a_new_entry_may_take_its_name_from_the_one_it_evicts() {
    let mut decoder = Decoder::new(40);
    assert!(decode(&mut decoder, &hex("4003616263 0164")).is_ok());
    assert_eq!(decode(&mut decoder, &hex("7e 0165 be")), Ok(pairs(&[("abc", "e"), ("abc", "e")])));
}

#[test]
fn the_encoder_follows_the_sizes_it_is_allowed() {
    let mut encoder = Encoder::new(4096);
    let fields = [("x-a", "b")];
    assert_eq!(encode(&mut encoder, &fields), hex("40 03 782d61 0162"));
    encoder.set_max(0);
    encoder.set_max(100);
    // Both sizes are said, the smallest first; then the table is empty.
    let block = encode(&mut encoder, &fields);
    assert_eq!(&block[..3], &hex("20 3f45")[..]);
    let mut decoder = Decoder::new(4096);
    decoder.set_allowed(0);
    decoder.set_allowed(100);
    assert_eq!(decode(&mut decoder, &block), Ok(pairs(&fields)));
    // A size above our own maximum changes nothing.
    encoder.set_max(1 << 30);
    let mut out = Vec::new();
    encoder.begin(&mut out);
    assert_eq!(out, hex("3fe11f"));
}

#[test]
fn values_that_never_come_back_do_not_drive_out_those_that_do() {
    let mut encoder = Encoder::new(4096);
    encode(&mut encoder, &[("x-stays", "the same value each time")]);
    for number in 0..200 {
        let value = format!("{number:040}");
        encode(&mut encoder, &[("x-other", &value), ("x-stays", "the same value each time")]);
    }
    assert_eq!(encode(&mut encoder, &[("x-stays", "the same value each time")]).len(), 1);
}

#[test]
fn names_are_sent_in_lower_case_whatever_their_length() {
    let long = "X-".repeat(100);
    let mut encoder = Encoder::new(4096);
    let block = encode(&mut encoder, &[("Content-Type", "A"), (&long, "B")]);
    let expected = pairs(&[("content-type", "A"), (&long.to_lowercase(), "B")]);
    assert_eq!(decode(&mut Decoder::new(4096), &block), Ok(expected));
}
