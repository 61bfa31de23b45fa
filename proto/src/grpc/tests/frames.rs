//! Frames against a naive model.

use proptest::prelude::*;

use super::super::{FrameError, Messages, PREFIX, Prefix, Reader};

const MOST: u32 = 40;

/// What a whole input says: its frames, and why no more can be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    frames: Vec<(u8, Vec<u8>)>,
    error: Option<FrameError>,
}

/// The slow way: all of it at once.
fn model(mut bytes: &[u8], is_web: bool) -> Read {
    let mut read = Read::default();
    while let Some(&flags) = bytes.first() {
        let known: &[u8] = if is_web { &[0, 1, 0x80, 0x81] } else { &[0, 1] };
        if read.frames.last().is_some_and(|(flags, _)| *flags >= 0x80) {
            read.error = Some(FrameError::AfterTrailers);
        } else if !known.contains(&flags) {
            read.error = Some(FrameError::UnknownFlag);
        } else if bytes.len() >= PREFIX {
            let len = u32::from_be_bytes(bytes[1..PREFIX].try_into().unwrap());
            if len > MOST {
                read.error = Some(FrameError::MessageTooLarge);
            } else if let Some(payload) = bytes.get(PREFIX..PREFIX + len as usize) {
                read.frames.push((flags, payload.to_vec()));
                bytes = &bytes[PREFIX + len as usize..];
                continue;
            } else {
                read.error = Some(FrameError::Truncated);
            }
        } else {
            read.error = Some(FrameError::Truncated);
        }
        break;
    }
    read
}

fn reader(is_web: bool) -> Reader {
    if is_web { Reader::web(MOST) } else { Reader::new(MOST) }
}

fn gathered(bytes: &[u8], is_web: bool, size: usize) -> Read {
    let (mut messages, mut read) = (Messages::new(reader(is_web)), Read::default());
    for mut piece in bytes.chunks(size) {
        while !piece.is_empty() {
            match messages.next(piece) {
                Ok((taken, incoming)) => {
                    assert!(taken > 0);
                    piece = &piece[taken..];
                    let frame = |flags, payload: &[u8]| (flags, payload.to_vec());
                    read.frames.extend(incoming.map(|incoming| {
                        let Prefix { .. } = incoming.prefix;
                        let [flags, ..] = incoming.prefix.to_bytes(0);
                        frame(flags, incoming.payload)
                    }));
                }
                Err(error) => {
                    read.error = Some(error);
                    return read;
                }
            }
        }
    }
    read.error = messages.finish().err();
    read
}

#[test]
fn a_flag_goes_no_further_than_its_first_byte() {
    for (flags, grpc, web) in
        [(0, true, true), (1, true, true), (0x80, false, true), (0x81, false, true), (2, false, false)]
    {
        assert_eq!(reader(false).next(&[flags]).is_ok(), grpc, "{flags:#x}");
        assert_eq!(reader(true).next(&[flags]).is_ok(), web, "{flags:#x}");
    }
}

#[test]
fn the_limit_is_of_the_payload_and_is_told_by_the_prefix() {
    for (len, is_ok) in [(0, true), (MOST, true), (MOST + 1, false), (u32::MAX, false)] {
        assert_eq!(reader(false).next(&Prefix::DATA.to_bytes(len)).is_ok(), is_ok, "{len}");
    }
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (prop::sample::select(vec![0u8, 0, 0, 1, 2, 0x80, 0x81]), 0u32..=MOST + 1, any::<u8>())
        .prop_map(|(flags, len, fill)| [Prefix::of(flags).to_bytes(len).to_vec(), vec![fill; len as usize]].concat());
    (prop::collection::vec(frame, 0..6), 0usize..5).prop_map(|(frames, cut)| {
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

proptest! {
    #[test]
    fn frames_are_read_as_the_model_has_it(bytes in frames(), is_web: bool, size in 1usize..60) {
        let read = gathered(&bytes, is_web, size);
        prop_assert_eq!(&read, &model(&bytes, is_web));
        // Followed without being gathered it is the same.
        let mut reader = reader(is_web);
        let (mut left, mut ends) = (&bytes[..], 0);
        while !left.is_empty() && let Ok(step) = reader.next(left) {
            prop_assert!(step.taken > 0 && step.payload <= step.taken);
            ends += usize::from(step.is_end);
            prop_assert_eq!(step.is_end, reader.is_between());
            left = &left[step.taken..];
        }
        prop_assert_eq!(ends, read.frames.len());
    }
}
