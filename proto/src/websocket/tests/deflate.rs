//! What goes through a recoder against what went in, and its limits.

use proptest::prelude::*;

use crate::websocket::deflate::{Compressor, Expander, Piece, Recoder, RecoderSettings};
use crate::websocket::extension::{Deflate, Willing, list};
use crate::websocket::{Event, FrameError, FrameHead, Incoming, Kind, Limits, Messages, Opcode, Reader, Side, encode};

const SETTINGS: RecoderSettings = RecoderSettings { message: 1 << 20, ratio: 1032, compress_from: 10 };

/// Everything that comes out of a recoder for `input`, in pieces of at most `size` bytes.
fn recode(from: Side, deflate: bool, recoder: &mut Recoder, input: &[u8], size: usize) -> Result<Vec<u8>, FrameError> {
    let mut reader = Reader::new(from, Limits::default(), deflate);
    let mut out = Vec::new();
    for mut piece in input.chunks(size) {
        while !piece.is_empty() {
            let (key, before) = (reader.key(), reader.message());
            let step = reader.next(piece)?;
            let (taken, rest) = piece.split_at(step.taken);
            piece = rest;
            match step.event {
                Event::Data { payload, message, .. } => {
                    let (payload, mask) = Reader::payload_of(key, taken, payload);
                    let of = message.or(reader.message()).or(before).unwrap();
                    let (kind, is_compressed) = (of.kind, of.is_compressed);
                    let piece = Piece { kind, is_compressed, payload, mask, is_end: message.is_some() };
                    recoder.take(piece, &mut out)?;
                }
                Event::Held => {}
                _ => out.extend_from_slice(if step.is_held { reader.held() } else { taken }),
            }
        }
    }
    Ok(out)
}

/// What one side has to say.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let text = prop_oneof!["[a-zé€𐍈]{0,60}", "(hello ){0,600}"].prop_map(String::into_bytes);
    prop_oneof![
        text.prop_map(|text| Said::Message(Kind::Text, text)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Said::Message(Kind::Binary, bytes)),
        (any::<u8>(), 0_usize..100_000).prop_map(|(byte, len)| Said::Message(Kind::Binary, vec![byte; len])),
        prop::collection::vec(any::<u8>(), 10_000..40_000).prop_map(|bytes| Said::Message(Kind::Binary, bytes)),
        prop::collection::vec(any::<u8>(), 0..126).prop_map(Said::Ping),
    ]
}

/// Writes a message in frames that end where `cuts` say, with a pong between them.
fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8], is_compressed: bool, cuts: &[usize], key: Option<[u8; 4]>) {
    let mut opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    ends.sort_unstable();
    let mut from = 0;
    for end in ends.into_iter().chain([payload.len()]).collect::<Vec<_>>().into_iter().enumerate() {
        let fin = end.0 == cuts.len();
        let reserved = if is_compressed && opcode != Opcode::Continuation { FrameHead::COMPRESSED } else { 0 };
        let head = FrameHead { fin, reserved, mask: key, ..FrameHead::new(opcode, 0) };
        encode::frame(out, head, &payload[from..end.1]);
        (from, opcode) = (end.1, Opcode::Continuation);
        if !fin && end.0 % 2 == 0 {
            encode::control(out, Opcode::Pong, b"between", key);
        }
    }
}

/// Everything that was said in these frames.
fn read(from: Side, expander: &mut Option<Expander>, bytes: &[u8]) -> Vec<Said> {
    let mut messages = Messages::new(from, Limits::default(), expander.is_some());
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let (taken, incoming) = messages.next(&bytes[at..]).unwrap();
        at += taken;
        match incoming {
            Some(Incoming::Message { kind, payload, is_compressed: false }) => {
                all.push(Said::Message(kind, payload.to_vec()));
            }
            Some(Incoming::Message { kind, payload, .. }) => {
                let (mut plain, expander) = (Vec::new(), expander.as_mut().unwrap());
                expander.expand(payload, &mut plain, u64::MAX).unwrap();
                expander.end(&mut plain, u64::MAX).unwrap();
                all.push(Said::Message(kind, plain));
            }
            Some(Incoming::Ping(payload)) => all.push(Said::Ping(payload.to_vec())),
            _ => {}
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out_however_either_side_compresses_it(
        said in prop::collection::vec((said(), any::<bool>(), prop::collection::vec(0_usize..100_000, 0..4)), 0..8),
        is_client: bool,
        from in prop::option::of((1_u8..=9, 9_u8..=15, any::<bool>())),
        to in prop::option::of((1_u8..=9, 9_u8..=15, any::<bool>())),
        size in prop_oneof![Just(1_usize), 2..700_usize, Just(1 << 30)],
        key in any::<[u8; 4]>(),
    ) {
        let (side, key) = if is_client { (Side::Client, Some(key)) } else { (Side::Server, None) };
        let mut own = from.and_then(|(level, bits, forgets)| Compressor::new(level, bits, forgets));
        let mut bytes = Vec::new();
        for (said, compresses, cuts) in &said {
            match said {
                Said::Ping(payload) => encode::control(&mut bytes, Opcode::Ping, payload, key),
                Said::Message(kind, payload) => match &mut own {
                    Some(own) if *compresses && !payload.is_empty() => {
                        let mut packed = Vec::new();
                        own.compress(payload, &mut packed).unwrap();
                        own.end(&mut packed).unwrap();
                        write(&mut bytes, *kind, &packed, true, cuts, key);
                    }
                    _ => write(&mut bytes, *kind, payload, false, cuts, key),
                },
            }
        }
        let expander = |agreed: Option<(u8, u8, bool)>| agreed.map(|(_, bits, forgets)| Expander::new(bits, forgets));
        let compressor = to.and_then(|(level, bits, forgets)| Compressor::new(level, bits, forgets));
        let mut recoder = Recoder::new(SETTINGS, expander(from), compressor, is_client);
        let out = recode(side, from.is_some(), &mut recoder, &bytes, size).unwrap();
        let expected: Vec<Said> = said.into_iter().map(|(said, ..)| said).collect();
        prop_assert_eq!(read(side, &mut expander(to), &out), expected);
    }

    #[test]
    fn every_offer_is_answered_as_it_may_be(
        flags in any::<[bool; 2]>(),
        server in prop::option::of(8_u8..=15),
        client in prop::option::of(prop::option::of(8_u8..=15)),
        bits in 9_u8..=15,
        context_takeover: bool,
    ) {
        let offer = Deflate {
            server_no_context_takeover: flags[0],
            client_no_context_takeover: flags[1],
            server_max_window_bits: server,
            client_max_window_bits: client,
        };
        let willing = Willing { bits, context_takeover };
        let answer = offer.answer(willing);
        prop_assert!(offer.may_be_answered(&answer), "{:?}", answer);
        prop_assert!(answer.server_max_window_bits.unwrap_or(15) <= bits);
        for deflate in [offer, answer, Deflate::offer(willing)] {
            let mut text = Vec::new();
            deflate.write(&mut text);
            let all: Vec<_> = list(&text).map(|one| one.unwrap().deflate()).collect();
            prop_assert_eq!(all, [Some(deflate)]);
        }
    }
}

/// What a client sent in one frame comes to, with these settings.
fn one(settings: RecoderSettings, kind: Kind, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    write(&mut bytes, kind, payload, true, &[], Some([1, 2, 3, 4]));
    recode(Side::Client, true, &mut Recoder::new(settings, Some(Expander::new(15, false)), None, true), &bytes, 1 << 30)
}

#[test]
fn the_examples_of_the_rfc_expand() {
    // RFC 7692 section 7.2.3: one block, two blocks, a block that is stored, one that is the last.
    for packed in [
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
    ] {
        assert_eq!(one(SETTINGS, Kind::Text, packed).unwrap()[6..].len(), 5, "{packed:x?}");
    }
    // Two messages that share a window, and an empty one.
    let mut expander = Expander::new(15, false);
    for (packed, plain) in [
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"Hello"[..]),
        (b"\xf2\x00\x11\x00\x00", b"Hello"),
        (b"\x00", b""),
        (b"", b""),
    ] {
        let mut out = Vec::new();
        expander.expand(packed, &mut out, 100).unwrap();
        expander.end(&mut out, 100).unwrap();
        assert_eq!(out, plain);
    }
    // What forgets does not know what was before.
    let mut expander = Expander::new(15, true);
    let mut out = Vec::new();
    expander.expand(b"\xf2\x48\xcd\xc9\xc9\x07\x00", &mut out, 100).unwrap();
    expander.end(&mut out, 100).unwrap();
    assert_eq!(expander.expand(b"\xf2\x00\x11\x00\x00", &mut out, 100), Err(FrameError::InvalidDeflate));
}

#[test]
fn a_bomb_is_refused_before_it_has_expanded() {
    let mut bomb = Vec::new();
    let mut compressor = Compressor::new(9, 15, true).unwrap();
    compressor.compress(&vec![0; 1 << 20], &mut bomb).unwrap();
    compressor.end(&mut bomb).unwrap();
    assert!(bomb.len() < 1100, "{}", bomb.len());
    assert!(one(SETTINGS, Kind::Binary, &bomb).is_ok());
    for (message, ratio, error) in
        [((1 << 20) - 1, 1032, FrameError::MessageTooLarge), (1 << 20, 500, FrameError::ExpandsTooMuch)]
    {
        let mut expander =
            Recoder::new(RecoderSettings { message, ratio, ..SETTINGS }, Some(Expander::new(15, false)), None, true);
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Binary, &bomb, true, &[], Some([0; 4]));
        assert_eq!(recode(Side::Client, true, &mut expander, &bytes, 512), Err(error));
        assert!(expander.work().expanded_to <= message + 1);
    }
}

#[test]
fn what_cannot_be_expanded_is_refused() {
    // A block type that there is not; a distance into nothing; a stored block whose length does not fit.
    for packed in [&b"\xff"[..], b"\x06", b"\xf2\x00\x11\x00\x00", b"\x00\x05\x00\xfa\xfeHello"] {
        assert_eq!(one(SETTINGS, Kind::Binary, packed), Err(FrameError::InvalidDeflate), "{packed:x?}");
    }
}

#[test]
fn what_expands_to_no_text_is_refused() {
    let mut compressor = Compressor::new(1, 15, true).unwrap();
    for text in [&b"\xff"[..], b"a\xc3", b"ok\xed\xa0\x80"] {
        let mut packed = Vec::new();
        compressor.compress(text, &mut packed).unwrap();
        compressor.end(&mut packed).unwrap();
        assert_eq!(one(SETTINGS, Kind::Text, &packed), Err(FrameError::InvalidUtf8), "{text:x?}");
        assert!(one(SETTINGS, Kind::Binary, &packed).is_ok());
    }
}

#[test]
fn short_messages_go_on_as_they_are() {
    let compressor = Compressor::new(6, 15, false);
    let mut recoder = Recoder::new(SETTINGS, None, compressor, false);
    let mut bytes = Vec::new();
    for len in [9, 10] {
        write(&mut bytes, Kind::Text, &vec![b'a'; len], false, &[], None);
    }
    let out = recode(Side::Server, false, &mut recoder, &bytes, 1 << 30).unwrap();
    assert_eq!(&out[..11], b"\x81\x09aaaaaaaaa");
    assert_eq!(out[11], 0xc1);
    assert_eq!(recoder.work().compressed_from, 10);
}
