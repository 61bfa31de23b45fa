//! Blocks that another implementation made: `tests/data/hpack.txt` says how.

use super::*;

#[test]
fn blocks_of_another_encoder_are_read_as_they_were_meant() {
    let mut decoder = Decoder::new(4096);
    let (mut block, mut fields): (Option<Vec<u8>>, Vec<Pair>) = (None, Vec::new());
    let mut blocks = 0;
    let mut check = |decoder: &mut Decoder, block: &mut Option<Vec<u8>>, fields: &mut Vec<Pair>| {
        if let Some(bytes) = block.take() {
            assert_eq!(decode(decoder, &bytes), Ok(std::mem::take(fields)));
            blocks += 1;
        }
    };
    for line in include_str!("../../../tests/data/hpack.txt").lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "field" => {
                let mut parts = rest.split(' ').skip(1).map(hex);
                fields.push((parts.next().unwrap(), parts.next().unwrap()));
                continue;
            }
            _ => check(&mut decoder, &mut block, &mut fields),
        }
        match word {
            "story" => decoder = Decoder::new(4096),
            "size" => decoder.set_allowed(rest.parse().unwrap()),
            "block" => block = Some(hex(rest)),
            _ => {}
        }
    }
    check(&mut decoder, &mut block, &mut fields);
    assert!(blocks > 150, "{blocks} blocks");
}
