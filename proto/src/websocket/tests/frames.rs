//! What RFC 6455 has examples of and what it forbids, case by case.

use crate::websocket::{
    Close, CloseCode, Event, FrameError, FrameHead, Incoming, Kind, Limits, Messages, Opcode, Reader, Side, Utf8,
    encode, mask,
};

fn read_all(reader: &mut Reader, mut input: &[u8]) -> Result<Vec<Event>, FrameError> {
    let mut events = Vec::new();
    while !input.is_empty() {
        let step = reader.next(input)?;
        assert!(step.taken > 0);
        input = &input[step.taken..];
        events.push(step.event);
    }
    Ok(events)
}

/// What comes of these bytes of a server, in one piece and byte by byte.
fn server(bytes: &[u8]) -> Result<Vec<Event>, FrameError> {
    of(Side::Server, bytes, Limits::default(), false)
}

fn of(side: Side, bytes: &[u8], limits: Limits, deflate: bool) -> Result<Vec<Event>, FrameError> {
    let whole = read_all(&mut Reader::new(side, limits, deflate), bytes);
    let mut single = Reader::new(side, limits, deflate);
    let mut last = Ok(Vec::new());
    for byte in bytes {
        match (&mut last, read_all(&mut single, std::slice::from_ref(byte))) {
            (Ok(events), Ok(more)) => events.extend(more),
            (last @ Ok(_), Err(error)) => *last = Err(error),
            (Err(_), _) => {}
        }
    }
    assert_eq!(whole.is_ok(), last.is_ok(), "{whole:?} {last:?}");
    if let (Err(whole), Err(last)) = (&whole, &last) {
        assert_eq!(whole, last);
    }
    whole
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::message(&mut out, true, bytes, None);
    out
}

#[test]
fn examples_of_the_rfc_are_read() {
    // RFC 6455 section 5.7.
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for (side, bytes) in [
        (Side::Server, &b"\x81\x05\x48\x65\x6c\x6c\x6f"[..]),
        (Side::Client, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        (Side::Server, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"),
    ] {
        let mut messages = Messages::new(side, Limits::default(), false);
        let (taken, incoming) = messages.next(bytes).unwrap();
        assert_eq!(taken, bytes.len());
        let payload = &b"Hello"[..];
        assert_eq!(incoming, Some(Incoming::Message { kind: Kind::Text, payload, is_compressed: false }));
    }
    let mut messages = Messages::new(Side::Client, Limits::default(), false);
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(messages.next(pong).unwrap(), (pong.len(), Some(Incoming::Pong(b"Hello"))));
    let mut out = Vec::new();
    encode::control(&mut out, Opcode::Pong, b"Hello", Some(key));
    assert_eq!(out, pong);
    for len in [256_usize, 65_536] {
        let mut out = Vec::new();
        encode::message(&mut out, false, &vec![7; len], None);
        let head: &[u8] = if len == 256 { b"\x82\x7e\x01\x00" } else { b"\x82\x7f\0\0\0\0\0\x01\0\0" };
        assert_eq!(&out[..head.len()], head);
        assert_eq!(out.len(), head.len() + len);
    }
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    use FrameError as E;
    let cases: &[(&[u8], FrameError)] = &[
        (b"\xc1\x00", E::ReservedBits),
        (b"\xa1\x00", E::ReservedBits),
        (b"\x91\x00", E::ReservedBits),
        (b"\xc9\x00", E::ReservedBits),
        (b"\x83\x00", E::UnknownOpcode),
        (b"\x87", E::UnknownOpcode),
        (b"\x8b\x00", E::UnknownOpcode),
        (b"\x0f\x00", E::UnknownOpcode),
        (b"\x81\x80\0\0\0\0", E::Masked),
        (b"\x09\x00", E::ControlFragmented),
        (b"\x08\x00", E::ControlFragmented),
        (b"\x89\x7e\x00\x7e", E::ControlTooLong),
        (b"\x8a\x7f\0\0\0\0\0\0\0\0", E::ControlTooLong),
        (b"\x82\x7e\x00\x7d", E::LengthNotMinimal),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", E::LengthNotMinimal),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", E::LengthTooLong),
        (b"\x80\x00", E::UnexpectedContinuation),
        (b"\x81\x00\x80\x00", E::UnexpectedContinuation),
        (b"\x01\x00\x81\x00", E::ExpectedContinuation),
        (b"\x01\x00\x02\x00", E::ExpectedContinuation),
        (b"\x88\x01\x03", E::CloseTooShort),
        (b"\x88\x02\x03\xe7", E::BadCloseCode),
        (b"\x88\x02\x03\xed", E::BadCloseCode),
        (b"\x88\x03\x03\xe8\xff", E::InvalidUtf8),
        (b"\x81\x01\xff", E::InvalidUtf8),
        (b"\x81\x01\xc3", E::InvalidUtf8),
        (b"\x01\x01\xc3\x80\x00", E::InvalidUtf8),
        (b"\x01\x01\xed\x80\x01\xa0", E::InvalidUtf8),
        (b"\x81\x04\xf4\x90\x80\x80", E::InvalidUtf8),
        (b"\x82\x7f\0\0\0\0\x10\0\0\0", E::FrameTooLarge),
    ];
    for (bytes, error) in cases {
        assert_eq!(server(bytes), Err(*error), "{bytes:x?}");
    }
    assert_eq!(of(Side::Client, b"\x81\x00", Limits::default(), false), Err(E::NotMasked));
}

#[test]
fn a_broken_text_is_refused_at_its_first_wrong_byte() {
    // The frame has 100 bytes more to come.
    let mut reader = Reader::new(Side::Server, Limits::default(), false);
    assert!(reader.next(b"\x81\x66\xce\xba").is_ok());
    assert_eq!(reader.next(b"\xff").unwrap_err(), FrameError::InvalidUtf8);
}

#[test]
fn control_frames_stand_between_fragments() {
    let events = server(b"\x01\x02ab\x89\x01x\x8a\x00\x00\x00\x80\x01c").unwrap();
    assert_eq!(events.len(), 5);
    assert_eq!((events[1], events[2]), (Event::Ping, Event::Pong));
    let Event::Data { message: Some(message), is_end: true, .. } = events[4] else { panic!("{events:?}") };
    assert_eq!((message.kind, message.bytes, message.frames, message.is_compressed), (Kind::Text, 3, 3, false));
}

#[test]
fn nothing_after_a_close_is_read() {
    let mut reader = Reader::new(Side::Server, Limits::default(), false);
    let events = read_all(&mut reader, b"\x88\x05\x03\xe9bye\xff\xff\xff").unwrap();
    assert_eq!(events, [Event::Close(Some(CloseCode::GOING_AWAY)), Event::AfterClose]);
    assert!(reader.is_closed());
    let close = Close::decode(reader.control()).unwrap();
    assert_eq!((close.code, close.reason), (Some(CloseCode::GOING_AWAY), "bye"));
    assert_eq!(server(b"\x88\x00"), Ok(vec![Event::Close(None)]));
}

#[test]
fn codes_that_may_be_sent_are_those_of_the_registry() {
    let sent: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_some()).collect();
    let wanted = [1000..=1003, 1007..=1014, 3000..=4999].into_iter().flatten();
    assert!(sent.into_iter().eq(wanted));
}

#[test]
fn compressed_messages_need_the_extension_and_their_text_is_not_looked_at() {
    let frames = b"\x41\x02\xff\xfe\x80\x01\xff";
    assert_eq!(server(frames), Err(FrameError::ReservedBits));
    let events = of(Side::Server, frames, Limits::default(), true).unwrap();
    let Some(Event::Data { message: Some(message), .. }) = events.last() else { panic!("{events:?}") };
    assert!(message.is_compressed);
    for wrong in [&b"\x01\x00\xc0\x00"[..], b"\xc9\x00", b"\xe1\x00", b"\xd2\x00"] {
        assert_eq!(of(Side::Server, wrong, Limits::default(), true), Err(FrameError::ReservedBits), "{wrong:x?}");
    }
    // The next message may be plain.
    assert_eq!(of(Side::Server, b"\xc1\x01\xff\x81\x01\xff", Limits::default(), true), Err(FrameError::InvalidUtf8));
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits { frame: 5, message: 8, fragments: 3 };
    let read = |bytes: &[u8]| of(Side::Server, bytes, limits, false).map(|_| ());
    assert_eq!(read(b"\x02\x05aaaaa\x80\x03aaa"), Ok(()));
    assert_eq!(read(b"\x02\x05aaaaa\x80\x04aaaa"), Err(FrameError::MessageTooLarge));
    assert_eq!(read(b"\x82\x06aaaaaa"), Err(FrameError::FrameTooLarge));
    assert_eq!(read(b"\x02\x00\x00\x00\x80\x00"), Ok(()));
    assert_eq!(read(b"\x02\x00\x00\x00\x00\x00\x80\x00"), Err(FrameError::TooManyFragments));
    // Control frames count for none of them.
    assert_eq!(read(b"\x02\x05aaaaa\x89\x06pppppp\x80\x03aaa"), Ok(()));
    let none = Limits { frame: u64::MAX, message: u64::MAX, fragments: u32::MAX };
    assert!(of(Side::Server, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", none, false).is_ok());
}

#[test]
fn codes_of_errors_are_codes_that_may_be_sent() {
    for error in FrameError::ALL {
        assert!(CloseCode::new(error.close_code().get()).is_some());
        assert!(error.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
    }
}

#[test]
fn a_close_frame_is_cut_to_what_fits() {
    let mut out = Vec::new();
    encode::close(&mut out, Some(CloseCode::POLICY), &"é".repeat(100), None);
    let (head, len) = FrameHead::decode(&out).unwrap().unwrap();
    assert_eq!((head.len, out.len()), (124, len + 124));
    assert_eq!(Close::decode(&out[len..]).unwrap().reason, "é".repeat(61));
    out.clear();
    encode::close(&mut out, None, "left out", None);
    assert_eq!(out, b"\x88\x00");
}

#[test]
fn a_gathered_message_ends_with_its_memory() {
    let mut messages = Messages::new(Side::Server, Limits::default(), false);
    let large = text(&vec![b'a'; 1 << 20]);
    assert!(messages.next(&large).unwrap().1.is_some());
    let small = text(b"b");
    let (_, incoming) = messages.next(&small).unwrap();
    assert_eq!(incoming, Some(Incoming::Message { kind: Kind::Text, payload: b"b", is_compressed: false }));
    assert_eq!(messages.next(b"").unwrap(), (0, None));
}

#[test]
fn masking_twice_is_not_masking() {
    let mut bytes: Vec<u8> = (0..100).collect();
    mask(&mut bytes, [1, 2, 3, 4], 3);
    assert_eq!(&bytes[..4], &[4, 1 ^ 1, 2 ^ 2, 3 ^ 3]);
    mask(&mut bytes, [1, 2, 3, 4], 3);
    assert!(bytes.iter().copied().eq(0..100));
    assert!(!Utf8::default().feed_masked(&[0xff ^ 9], [9, 0, 0, 0], 0));
}
