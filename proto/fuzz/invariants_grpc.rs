//! What must hold of gRPC and gRPC-Web for any bytes at all. The fuzz target and an ordinary test that replays its corpus
//! share it.

use ringway_proto::grpc::web::{self, Request, Response};
use ringway_proto::grpc::{
    Code, Decoder, Encoder, FrameError, Messages, Pushback, Reader, Said, content_type, health, message, timeout,
};

/// Limits that no input reaches, and some that small ones do.
const LIMITS: [u32; 2] = [u32::MAX, 20];

/// Checks everything: frames, base64, both directions of gRPC-Web, and the values of fields.
pub(crate) fn grpc(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    match choice % 4 {
        0 => {
            for most in LIMITS {
                frames(data, most);
            }
        }
        1 => base64(data),
        2 => {
            for most in LIMITS {
                requests(data, most);
            }
        }
        _ => {
            for most in LIMITS {
                responses(data, most);
            }
            values(data);
        }
    }
}

/// However it is cut, the same comes of it: frames, and what is wrong.
fn frames(data: &[u8], most: u32) {
    for reader in [Reader::new(most), Reader::web(most)] {
        let whole = gather(reader.clone(), data, data.len());
        for size in [1, 2, 5, 7] {
            assert_eq!(gather(reader.clone(), data, size), whole);
        }
        let (frames, _) = &whole;
        // Written again they are what was read.
        let mut written = Vec::new();
        for (prefix, payload) in frames {
            assert!(payload.len() <= most as usize);
            written.push(*prefix);
            written.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            written.extend_from_slice(payload);
        }
        assert!(data.starts_with(&written));
    }
}

fn gather(reader: Reader, data: &[u8], size: usize) -> (Vec<(u8, Vec<u8>)>, Option<FrameError>) {
    let (mut messages, mut frames) = (Messages::new(reader), Vec::new());
    for mut piece in data.chunks(size.max(1)) {
        while !piece.is_empty() {
            match messages.next(piece) {
                Ok((taken, incoming)) => {
                    assert!(taken > 0 && taken <= piece.len());
                    piece = &piece[taken..];
                    frames.extend(incoming.map(|incoming| {
                        let [flags, ..] = incoming.prefix.to_bytes(0);
                        (flags, incoming.payload.to_vec())
                    }));
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, messages.finish().err())
}

fn decode(text: &[u8], size: usize) -> Result<Vec<u8>, FrameError> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for piece in text.chunks(size.max(1)) {
        decoder.decode(piece, &mut out)?;
    }
    decoder.finish().map(|()| out)
}

fn encode(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        encoder.encode(piece, &mut out);
    }
    encoder.finish(&mut out);
    out
}

fn base64(data: &[u8]) {
    let text = encode(data, data.len());
    for size in [1, 2, 3, 7] {
        assert_eq!(encode(data, size), text);
        assert_eq!(decode(&text, size).as_deref(), Ok(data));
    }
    let whole = decode(data, data.len());
    for size in [1, 2, 3, 7] {
        assert_eq!(decode(data, size), whole);
    }
    // Where nothing is padded but the end, there is one form.
    if let Ok(bytes) = whole
        && !data.strip_suffix(b"=").map_or(data, |rest| rest.strip_suffix(b"=").unwrap_or(rest)).contains(&b'=')
    {
        assert_eq!(encode(&bytes, bytes.len()), data);
    }
}

fn request(data: &[u8], is_text: bool, most: u32, size: usize) -> Result<Vec<u8>, FrameError> {
    let (mut request, mut out) = (Request::new(is_text, most), Vec::new());
    for piece in data.chunks(size.max(1)) {
        request.push(piece, &mut out)?;
    }
    request.finish()?;
    Ok(if is_text { out } else { data.to_vec() })
}

/// What goes on is gRPC, however it came.
fn requests(data: &[u8], most: u32) {
    for is_text in [false, true] {
        let whole = request(data, is_text, most, data.len());
        for size in [1, 3, 7] {
            let cut = request(data, is_text, most, size);
            // Of several things wrong in one text, which is met first depends on how it is cut.
            assert_eq!(cut.is_ok(), whole.is_ok());
            assert!(cut.is_err() || cut == whole);
        }
        if let Ok(sent) = whole {
            assert_eq!(gather(Reader::new(most), &sent, sent.len()).1, None);
        }
    }
}

fn response(data: &[u8], is_text: bool, most: u32, size: usize) -> Result<Vec<u8>, FrameError> {
    let (mut response, mut out) = (Response::new(is_text, most), Vec::new());
    for piece in data.chunks(size.max(1)) {
        response.push(piece, &mut out)?;
        if !is_text {
            out.extend_from_slice(piece);
        }
    }
    response.trailers([(&b"grpc-status"[..], &b"0"[..])].into_iter(), &mut out)?;
    Ok(out)
}

/// A client finds the messages that a server sent, and its trailers where they should be.
fn responses(data: &[u8], most: u32) {
    let (frames, error) = gather(Reader::new(most), data, data.len());
    for size in [1, 3, 1000] {
        let (binary, text) = (response(data, false, most, size), response(data, true, most, size));
        assert_eq!((binary.is_ok(), text.is_ok()), (error.is_none(), error.is_none()));
        let (Ok(binary), Ok(text)) = (binary, text) else { continue };
        assert_eq!(decode(&text, 5).as_ref(), Ok(&binary));
        let (mut found, error) = gather(Reader::web(most), &binary, binary.len());
        assert_eq!((error, found.pop()), (None, Some((0x80, b"grpc-status: 0\r\n".to_vec()))));
        assert_eq!(found, frames);
    }
}

/// The values of fields.
fn values(data: &[u8]) {
    if let Some(time) = timeout::read(data) {
        let mut out = Vec::new();
        timeout::write(time, &mut out);
        let least = std::time::Duration::from_nanos(1);
        assert!(timeout::read(&out).is_some_and(|read| read <= time.max(least)), "what is written is read");
    }
    if let Some(code) = Code::read(data) {
        let mut out = Vec::new();
        code.write(&mut out);
        assert_eq!(out, data);
    }
    let (mut out, mut read, mut again) = (Vec::new(), Vec::new(), Vec::new());
    message::write(data, &mut out);
    assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~')));
    message::read(&out, &mut read);
    assert_eq!(read, data);
    message::read(data, &mut again);
    assert!(again.len() <= data.len());
    if let Some((wire, rest)) = content_type(data) {
        assert_eq!(data.len(), wire.content_type().len() + rest.len());
    }
    let said = Said::of(web::fields(data));
    assert!(said.code().is_none() || said.status.is_some());
    let _: Pushback = said.pushback;
    health::response(data);
    let mut asked = Vec::new();
    health::request(&String::from_utf8_lossy(data), &mut asked);
}
