//! The reader against a model that has the whole stream at once and goes byte by byte.

use proptest::prelude::*;

use crate::websocket::{Event, FrameHead, Incoming, Kind, Limits, Messages, Opcode, Reader, Side, Utf8, encode, mask};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// One message of a side in so many frames, with control frames between them.
fn message() -> impl Strategy<Value = Vec<(Opcode, bool, Vec<u8>)>> {
    let text = "[a-zé€𐍈\u{0}]{0,40}".prop_map(String::into_bytes);
    let payload = prop_oneof![
        text.prop_map(|text| (true, text)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (false, bytes)),
        prop::collection::vec(any::<u8>(), 65_530..65_540).prop_map(|bytes| (false, bytes)),
    ];
    let control = prop::option::of((any::<bool>(), prop::collection::vec(any::<u8>(), 0..126)));
    (payload, prop::collection::vec((any::<prop::sample::Index>(), control), 0..5)).prop_map(
        |((is_text, payload), cuts)| {
            let mut cuts: Vec<_> =
                cuts.into_iter().map(|(at, control)| (at.index(payload.len() + 1), control)).collect();
            cuts.sort_by_key(|(at, _)| *at);
            let (mut frames, mut from) = (Vec::new(), 0);
            let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            for (at, control) in cuts {
                frames.push((std::mem::replace(&mut opcode, Opcode::Continuation), false, payload[from..at].to_vec()));
                from = at;
                if let Some((is_ping, bytes)) = control {
                    frames.push((if is_ping { Opcode::Ping } else { Opcode::Pong }, true, bytes));
                }
            }
            frames.push((opcode, true, payload[from..].to_vec()));
            frames
        },
    )
}

fn model(frames: &[(Opcode, bool, Vec<u8>)]) -> Vec<Seen> {
    let (mut seen, mut kind, mut gathered) = (Vec::new(), Kind::Text, Vec::new());
    for (opcode, fin, payload) in frames {
        match opcode {
            Opcode::Ping => seen.push(Seen::Ping(payload.clone())),
            Opcode::Pong => seen.push(Seen::Pong(payload.clone())),
            Opcode::Close => seen.push(Seen::Close(payload.clone())),
            _ => {
                if *opcode != Opcode::Continuation {
                    kind = if *opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
                }
                gathered.extend_from_slice(payload);
                if *fin {
                    seen.push(Seen::Message(kind, std::mem::take(&mut gathered)));
                }
            }
        }
    }
    seen
}

/// Cuts `bytes` where `cuts` say.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut from = 0;
    at.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut(
        messages in prop::collection::vec(message(), 0..5),
        key in any::<[u8; 4]>(),
        is_client: bool,
        close in prop::option::of("[a-zé]{0,30}"),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        every_byte in any::<bool>(),
    ) {
        let mut frames: Vec<_> = messages.into_iter().flatten().collect();
        if let Some(reason) = close {
            frames.push((Opcode::Close, true, [&1001_u16.to_be_bytes()[..], reason.as_bytes()].concat()));
        }
        let (side, key) = if is_client { (Side::Client, Some(key)) } else { (Side::Server, None) };
        let mut bytes = Vec::new();
        for (opcode, fin, payload) in &frames {
            encode::frame(&mut bytes, FrameHead { fin: *fin, mask: key, ..FrameHead::new(*opcode, 0) }, payload);
        }
        let pieces = if every_byte && bytes.len() < 2000 { bytes.chunks(1).collect() } else { pieces(&bytes, &cuts) };
        let mut seen = Vec::new();
        let mut read = Messages::new(side, Limits::default(), false);
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let (taken, incoming) = read.next(piece).unwrap();
                seen.extend(incoming.map(|incoming| match incoming {
                    Incoming::Message { kind, payload, .. } => Seen::Message(kind, payload.to_vec()),
                    Incoming::Ping(payload) => Seen::Ping(payload.to_vec()),
                    Incoming::Pong(payload) => Seen::Pong(payload.to_vec()),
                    Incoming::Close(payload) => Seen::Close(payload.to_vec()),
                }));
                piece = &piece[taken..];
            }
        }
        prop_assert_eq!(seen, model(&frames));

        // What a proxy passes on is what came, and it never stands in the middle of a frame but where a data frame goes on.
        let mut reader = Reader::new(side, Limits::default(), false);
        let (mut passed, mut ends) = (Vec::new(), Vec::new());
        for mut piece in pieces {
            while !piece.is_empty() {
                let step = reader.next(piece).unwrap();
                if step.event != Event::Held {
                    passed.extend_from_slice(if step.is_held { reader.held() } else { &piece[..step.taken] });
                    if reader.is_between_frames() {
                        ends.push(passed.len());
                    }
                }
                piece = &piece[step.taken..];
            }
        }
        prop_assert_eq!(&passed, &bytes);
        let mut at = 0;
        let mut boundaries = std::collections::HashSet::from([0]);
        while let Some((head, len)) = FrameHead::decode(&bytes[at..]).unwrap() {
            at += len + head.len as usize;
            boundaries.insert(at);
        }
        prop_assert!(ends.iter().all(|end| boundaries.contains(end)));
    }

    #[test]
    fn utf8_in_pieces_is_utf8(
        mut bytes in prop_oneof![
            ".{0,60}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(prop::sample::select(b"a\x80\xbf\xc2\xe0\xa0\xed\x9f\xf0\x90\xf4\x8f\xef".to_vec()), 0..12),
            "[a-z]{1000,1100}é".prop_map(String::into_bytes),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        key in any::<[u8; 4]>(),
        is_masked: bool,
    ) {
        let wanted = str::from_utf8(&bytes);
        let is_valid = wanted.is_ok();
        // The first byte with which nothing valid can begin, if any.
        let fails_at = wanted.err().and_then(|error| error.error_len().map(|_| error.valid_up_to()));
        if is_masked {
            mask(&mut bytes, key, 0);
        }
        let (mut utf8, mut at, mut is_text) = (Utf8::default(), 0, true);
        for piece in pieces(&bytes, &cuts) {
            is_text = if is_masked { utf8.feed_masked(piece, key, at) } else { utf8.feed(piece) };
            at += piece.len() as u64;
            if !is_text {
                break;
            }
        }
        prop_assert_eq!(is_text && utf8.is_whole(), is_valid);
        prop_assert_eq!(!is_text, fails_at.is_some());
    }

    #[test]
    fn masking_is_one_byte_after_another(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        key in any::<[u8; 4]>(),
        offset in 0_u64..9,
    ) {
        let mut masked = bytes.clone();
        mask(&mut masked, key, offset);
        let slow: Vec<u8> =
            bytes.iter().enumerate().map(|(at, byte)| byte ^ key[(at + offset as usize) % 4]).collect();
        prop_assert_eq!(masked, slow);
    }

    #[test]
    fn heads_are_read_as_they_are_written(
        fin: bool, reserved in 0_u8..8, opcode in 0..3_usize, key in prop::option::of(any::<[u8; 4]>()),
        len in prop_oneof![0_u64..200, 65_530_u64..65_545, 0_u64..(1 << 63)],
    ) {
        let opcode = [Opcode::Continuation, Opcode::Text, Opcode::Binary][opcode];
        let head = FrameHead { fin, reserved, opcode, mask: key, len };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        for end in 0..bytes.len() {
            prop_assert_eq!(FrameHead::decode(&bytes[..end]), Ok(None));
        }
        prop_assert_eq!(FrameHead::decode(&bytes), Ok(Some((head, bytes.len()))));
    }
}
