//! What must hold of WebSocket for any bytes at all. The fuzz target and an ordinary test that replays its corpus share
//! it.

use ringway_proto::websocket::{
    AnswerError, Close, Event, FrameError, FrameHead, Incoming, Limits, Messages, Reader, Side, encode, extension,
    handshake,
};

/// The default limits, and some that small inputs reach.
const LIMITS: [Limits; 2] =
    [Limits { frame: 64 << 20, message: 64 << 20, fragments: 65_536 }, Limits { frame: 20, message: 30, fragments: 3 }];

/// What a reader made of its input.
#[derive(PartialEq, Eq, Debug)]
struct Read {
    /// What may be passed on.
    passed: Vec<u8>,
    error: Option<FrameError>,
    messages: u64,
    bytes: u64,
}

/// Checks everything of frames that come from either side.
pub(crate) fn websocket(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let side = if choice & 1 == 0 { Side::Client } else { Side::Server };
    let deflate = choice & 2 != 0;
    if choice & 4 != 0 {
        return fields(data);
    }
    for limits in LIMITS {
        let whole = read(side, limits, deflate, data, data.len().max(1));
        // However it is cut, the same comes of it; only where a text breaks off more of it may have gone.
        for size in [1, 2, 3, 7] {
            let cut = read(side, limits, deflate, data, size);
            // Of several things wrong in one head, what comes first is told.
            assert_eq!(
                (cut.error.is_some(), cut.messages, cut.bytes),
                (whole.error.is_some(), whole.messages, whole.bytes)
            );
            assert!(cut.passed.starts_with(&whole.passed));
            if whole.error.is_none() {
                assert_eq!(cut.passed, whole.passed);
            }
        }
        assert!(data.starts_with(&whole.passed));
        check_passed(side, limits, deflate, &whole);
        gathers(side, limits, deflate, data, &whole);
    }
}

fn read(side: Side, limits: Limits, deflate: bool, data: &[u8], size: usize) -> Read {
    let mut reader = Reader::new(side, limits, deflate);
    let mut read = Read { passed: Vec::new(), error: None, messages: 0, bytes: 0 };
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            let step = match reader.next(piece) {
                Ok(step) => step,
                Err(error) => {
                    read.error = Some(error);
                    return read;
                }
            };
            assert!(step.taken > 0 && step.taken <= piece.len());
            let taken = &piece[..step.taken];
            piece = &piece[step.taken..];
            match step.event {
                Event::Held => continue,
                Event::AfterClose => {
                    assert!(reader.is_closed());
                    continue;
                }
                Event::Data { payload, is_end, message } => {
                    assert!(payload <= taken.len());
                    assert_eq!(is_end, reader.is_between_frames());
                    if let Some(message) = message {
                        assert!(is_end && !reader.is_in_message());
                        assert!(message.bytes <= limits.message && message.frames <= limits.fragments);
                        read.messages += 1;
                        read.bytes += message.bytes;
                    }
                }
                Event::Ping | Event::Pong => assert!(reader.control().len() <= 125 && reader.is_between_frames()),
                Event::Close(code) => assert_eq!(Close::decode(reader.control()).unwrap().code, code),
            }
            read.passed.extend_from_slice(if step.is_held { reader.held() } else { taken });
        }
    }
    read
}

/// What was passed on is right, read once more.
fn check_passed(side: Side, limits: Limits, deflate: bool, whole: &Read) {
    let again = read(side, limits, deflate, &whole.passed, whole.passed.len().max(1));
    assert_eq!((again.error, again.messages), (None, whole.messages));
    assert_eq!(again.passed, whole.passed);
    let mut at = 0;
    while let Ok(Some((head, len))) = FrameHead::decode(&whole.passed[at..]) {
        let mut out = Vec::new();
        head.encode(&mut out);
        assert_eq!(out, &whole.passed[at..at + len]);
        let Some(end) = (at + len).checked_add(head.len as usize).filter(|end| *end <= whole.passed.len()) else {
            break;
        };
        at = end;
    }
}

/// Whole messages are those that were followed, and are read again as they are written.
fn gathers(side: Side, limits: Limits, deflate: bool, data: &[u8], whole: &Read) {
    let mut messages = Messages::new(side, limits, deflate);
    let (mut count, mut bytes, mut left, mut written) = (0, 0, data, Vec::new());
    while !left.is_empty() {
        match messages.next(left) {
            Ok((taken, incoming)) => {
                assert!(taken > 0);
                left = &left[taken..];
                if let Some(Incoming::Message { kind, payload, is_compressed }) = incoming {
                    count += 1;
                    bytes += payload.len() as u64;
                    let is_text = kind == ringway_proto::websocket::Kind::Text;
                    assert!(!is_text || is_compressed || str::from_utf8(payload).is_ok());
                    if !is_compressed {
                        encode::message(&mut written, is_text, payload, None);
                    }
                }
            }
            Err(error) => {
                assert_eq!(Some(error), whole.error, "read in one piece, too");
                break;
            }
        }
    }
    assert_eq!((count, bytes), (whole.messages, whole.bytes));
    let limits = Limits { frame: u64::MAX, ..LIMITS[0] };
    assert_eq!(read(Side::Server, limits, false, &written, written.len().max(1)).error, None);
}

/// The fields of a handshake, `name: value` a line.
fn fields(data: &[u8]) {
    for extension in extension::list(data).flatten() {
        if let Some(deflate) = extension.deflate() {
            assert!(extension.is_deflate());
            for bits in [deflate.server_max_window_bits, deflate.client_max_window_bits.flatten()].into_iter().flatten()
            {
                assert!((8..=15).contains(&bits));
            }
        }
    }
    let lines = data.split(|&byte| byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..at], &line[at + 1..]))
    });
    let Ok(key) = handshake::request(lines.clone()) else { return };
    assert_eq!(key.len(), 24);
    let accepted = handshake::accept(key);
    let own = [(&b"sec-websocket-accept"[..], &accepted[..])];
    // With nothing chosen, every request may be answered.
    assert!(handshake::answer(own.iter().copied(), &lines, true).is_ok());
    let answered = handshake::answer(lines.clone(), &lines, true);
    assert!(matches!(answered, Ok(_) | Err(AnswerError::Accept | AnswerError::Protocol | AnswerError::Extensions)));
}
