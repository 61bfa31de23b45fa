//! Between gRPC-Web and gRPC.

use proptest::prelude::*;

use super::super::web::{Request, Response, fields};
use super::super::{Decoder, Encoder, FrameError, Messages, Prefix, Reader};

const MOST: u32 = 1000;

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..5)
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|one| [&Prefix::DATA.to_bytes(one.len() as u32)[..], one].concat()).collect()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    encoder.encode(bytes, &mut out);
    encoder.finish(&mut out);
    out
}

proptest! {
    #[test]
    fn what_a_client_sends_goes_on_as_grpc(messages in messages(), is_text: bool, size in 1usize..40) {
        let wire = framed(&messages);
        let sent = if is_text { text(&wire) } else { wire.clone() };
        let (mut request, mut out) = (Request::new(is_text, MOST), Vec::new());
        for piece in sent.chunks(size) {
            request.push(piece, &mut out).unwrap();
            if !is_text {
                out.extend_from_slice(piece);
            }
        }
        prop_assert_eq!(request.finish(), Ok(()));
        prop_assert_eq!(out, wire);
    }

    #[test]
    fn what_a_server_sends_is_read_by_a_client(messages in messages(), is_text: bool, size in 1usize..40) {
        let (mut response, mut out) = (Response::new(is_text, MOST), Vec::new());
        for piece in framed(&messages).chunks(size) {
            response.push(piece, &mut out).unwrap();
            if !is_text {
                out.extend_from_slice(piece);
            }
        }
        let said = [(&b"Grpc-Status"[..], &b"0"[..]), (b"x-more", b"a: b")];
        response.trailers(said.into_iter(), &mut out).unwrap();
        let mut wire = Vec::new();
        if is_text {
            let mut decoder = Decoder::default();
            decoder.decode(&out, &mut wire).unwrap();
            decoder.finish().unwrap();
        } else {
            wire = out;
        }
        let (mut reader, mut left, mut read) = (Messages::new(Reader::web(MOST)), &wire[..], Vec::new());
        while !left.is_empty() {
            let (taken, incoming) = reader.next(left).unwrap();
            left = &left[taken..];
            read.extend(incoming.map(|incoming| (incoming.prefix, incoming.payload.to_vec())));
        }
        let (last, all) = read.split_last().unwrap();
        prop_assert_eq!(last.0, Prefix::TRAILERS);
        let trailers: Vec<(&[u8], &[u8])> = fields(&last.1).collect();
        prop_assert_eq!(trailers, [(&b"grpc-status"[..], &b"0"[..]), (b"x-more", b"a: b")]);
        prop_assert_eq!(all.iter().map(|(_, payload)| payload.clone()).collect::<Vec<_>>(), messages);
    }
}

#[test]
fn a_whole_message_is_not_kept_back_for_the_next_one() {
    let (mut response, mut out) = (Response::new(true, MOST), Vec::new());
    response.push(b"\0\0\0\0\x01a", &mut out).unwrap();
    assert_eq!(out, b"AAAAAAFh");
    response.push(b"\0\0\0\0\x02ab", &mut out).unwrap();
    assert_eq!(out, b"AAAAAAFhAAAAAAJhYg==");
}

#[test]
fn no_frame_of_a_server_is_taken_for_trailers() {
    let mut response = Response::new(false, MOST);
    assert_eq!(response.push(b"\0\0\0\0\0\x80", &mut Vec::new()), Err(FrameError::UnknownFlag));
    // Nor do trailers come inside a message.
    let mut response = Response::new(false, MOST);
    response.push(b"\0\0\0\0\x02a", &mut Vec::new()).unwrap();
    assert!(!response.is_between());
    assert_eq!(response.trailers(std::iter::empty(), &mut Vec::new()), Err(FrameError::Truncated));
}

#[test]
fn a_client_that_breaks_the_rules_is_told_which() {
    for (sent, is_text, error) in [
        (&b"\x80\0\0\0\0"[..], false, FrameError::UnknownFlag),
        (b"\0\0\0\x03\xe9", false, FrameError::MessageTooLarge),
        (b"AAAAAAFh", false, FrameError::UnknownFlag),
        (b"\0\0\0\0\x01a", true, FrameError::BadBase64),
        (b"gAAAAAA=", true, FrameError::UnknownFlag),
    ] {
        assert_eq!(Request::new(is_text, MOST).push(sent, &mut Vec::new()), Err(error), "{sent:x?}");
    }
    for (sent, is_text, error) in [
        (&b"\0\0\0\0\x02a"[..], false, FrameError::Truncated),
        (b"\0", false, FrameError::Truncated),
        (b"AAAAAAJh", true, FrameError::Truncated),
        (b"AAAAAAF", true, FrameError::BadBase64),
    ] {
        let mut request = Request::new(is_text, MOST);
        request.push(sent, &mut Vec::new()).unwrap();
        assert_eq!(request.finish(), Err(error), "{sent:x?}");
    }
}
