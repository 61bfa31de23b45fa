//! Bodies: what is read, and what is refused.

use super::*;
use BodyError as E;

/// Everything a body holds: its data, its trailers, and the bytes it took.
type Whole = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize);

/// Decodes a body that arrives in pieces of `step` bytes.
fn decode_by(input: &[u8], framing: Framing, limits: &Limits, step: usize) -> Result<Option<Whole>, BodyError> {
    let mut body = Body::new(framing);
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        let seen = &input[at..end];
        let event = body.decode(seen, limits)?;
        assert!(event.consumed <= seen.len());
        match event.kind {
            EventKind::Data(span) => {
                assert!(!span.is_empty() && span.end as usize <= event.consumed);
                data.extend_from_slice(span.of(seen));
            }
            EventKind::Trailers(section) => {
                trailers.extend(section.iter(seen).map(|(name, value)| (name.to_vec(), value.to_vec())));
                assert!(body.is_done());
            }
            EventKind::End => {
                assert!(body.is_done());
                return Ok(Some((data, trailers, at + event.consumed)));
            }
            EventKind::NeedMore if end == input.len() => return Ok(None),
            EventKind::NeedMore => end = (end + step).min(input.len()),
        }
        at += event.consumed;
    }
}

/// The answer for the whole input, which must be the same byte by byte.
fn decode(input: &[u8], framing: Framing, limits: &Limits) -> Result<Option<Whole>, BodyError> {
    let whole = decode_by(input, framing, limits, input.len().max(1));
    assert_eq!(whole, decode_by(input, framing, limits, 1), "{}", input.escape_ascii());
    whole
}

fn chunked(input: &[u8]) -> Result<Option<Whole>, BodyError> {
    decode(input, Framing::Chunked, &Limits::default())
}

#[test]
fn chunks_are_joined_and_their_framing_left_out() {
    let input = b"5\r\nhello\r\n00A;x=\"y;\tz\"\r\n0123456789\r\n1 \t;q\r\n!\r\n0;last\r\n\r\nnext";
    let (data, trailers, taken) = chunked(input).unwrap().unwrap();
    assert_eq!(data, b"hello0123456789!");
    assert!(trailers.is_empty());
    assert_eq!(taken, input.len() - 4);
}

#[test]
fn trailers_are_given_but_for_those_that_may_not_trail() {
    let input = b"0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nhost: x\r\nAuthorization: y\r\nIf-Match: z\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Client-Cert: a\r\nPragma: b\r\nProxy-Thing: c\r\nX-Sum: \t d e \r\n\r\n";
    let (_, trailers, taken) = chunked(input).unwrap().unwrap();
    let expected = [(b"Grpc-Status".to_vec(), b"0".to_vec()), (b"X-Sum".to_vec(), b"d e".to_vec())];
    assert_eq!(trailers, expected);
    assert_eq!(taken, input.len());
}

fn refused() -> Vec<(Vec<u8>, BodyError)> {
    let limits = Limits::default();
    let rows: &[(&[u8], E)] = &[
        (b"\r\n", E::BadChunkSize),
        (b"x\r\n", E::BadChunkSize),
        (b"-1\r\n", E::BadChunkSize),
        (b"+1\r\n", E::BadChunkSize),
        (b"0x1\r\n", E::BadChunkSize),
        (b" 1\r\n", E::BadChunkSize),
        (b";x\r\n", E::BadChunkSize),
        (b"1 \r\n", E::BadChunkSize),
        (b"1_0\r\n", E::BadChunkSize),
        (b"1 x\r\n", E::BadChunkSize),
        (b"1\x0b\r\n", E::BadChunkSize),
        (b"00000000000000001\r\n", E::ChunkSizeOverflow),
        (b"fffffffffffffffff\r\n", E::ChunkSizeOverflow),
        (b"1;\0\r\n", E::BadChunkExtension),
        (b"1;a=\x7f\r\n", E::BadChunkExtension),
        (b"1\rx\r\n", E::BareCr),
        (b"1;a\r\rx", E::BareCr),
        (b"1\r\nx\rx", E::BareCr),
        (b"1\nx\r\n", E::BareLf),
        (b"1;a\nx\r\n", E::BareLf),
        (b"1\r\nx\n", E::BareLf),
        (b"1\r\nxx\r\n", E::ChunkDataEnd),
        (b"0\r\nA: b\n\r\n", E::Trailer(FieldError::BareLf)),
        (b"0\r\nA: b\rc\r\n", E::Trailer(FieldError::BareCr)),
        (b"0\r\nA: \0\r\n", E::Trailer(FieldError::Nul)),
        (b"0\r\nA: \x01\r\n", E::Trailer(FieldError::ControlByte)),
        (b"0\r\n: b\r\n", E::Trailer(FieldError::EmptyName)),
        (b"0\r\nA(: b\r\n", E::Trailer(FieldError::BadName)),
        (b"0\r\nA : b\r\n", E::Trailer(FieldError::SpaceBeforeColon)),
        (b"0\r\nGET / HTTP/1.1\r\n", E::Trailer(FieldError::BadName)),
        (b"0\r\nA\r\n", E::Trailer(FieldError::MissingColon)),
        (b"0\r\nA: b\r\n c\r\n", E::Trailer(FieldError::ObsFold)),
        (b"0\r\n A: b\r\n", E::Trailer(FieldError::SpaceBeforeFirstField)),
    ];
    let mut rows: Vec<(Vec<u8>, E)> = rows.iter().map(|(input, error)| (input.to_vec(), *error)).collect();
    rows.push((format!("1;{}\r\n", "x".repeat(limits.chunk_line - 1)).into_bytes(), E::ChunkLineTooLong));
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(200));
    rows.push((chunk.repeat(50).into_bytes(), E::ChunkExtensionsTooLarge));
    rows.push((format!("0\r\n{}", "A: b\r\n".repeat(limits.fields + 1)).into_bytes(), E::Trailer(FieldError::TooMany)));
    let line = format!("A: {}\r\n", "x".repeat(5000));
    rows.push((format!("0\r\n{line}{line}").into_bytes(), E::TrailersTooLarge));
    rows
}

#[test]
fn each_row_is_refused_for_its_reason() {
    for (input, error) in refused() {
        assert_eq!(chunked(&input), Err(error), "{}", input.escape_ascii());
    }
    let limits = Limits { line: 10, ..Limits::default() };
    let long = E::Trailer(FieldError::LineTooLong);
    assert_eq!(decode(b"0\r\nA: 123456789\r\n\r\n", Framing::Chunked, &limits), Err(long));
}

#[test]
fn every_refusal_has_a_row() {
    let tested: Vec<BodyError> = refused().into_iter().map(|(_, error)| error).collect();
    for error in BodyError::all() {
        let elsewhere = matches!(error, E::Truncated | E::Trailer(FieldError::LineTooLong));
        assert!(elsewhere || tested.contains(&error), "no input provokes {}", error.code());
    }
}

#[test]
fn limits_may_be_reached() {
    let limits = Limits::default();
    let line = format!("0;{}\r\n\r\n", "x".repeat(limits.chunk_line - 2));
    assert!(chunked(line.as_bytes()).unwrap().is_some());
    let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(limits.fields));
    assert!(chunked(trailers.as_bytes()).unwrap().is_some());
    let section = format!("A: {}\r\n\r\n", "x".repeat(limits.trailers - 7));
    assert_eq!(section.len(), limits.trailers);
    assert!(chunked(format!("0\r\n{section}").as_bytes()).unwrap().is_some());
    assert_eq!(chunked(format!("0\r\nx{section}").as_bytes()), Err(E::TrailersTooLarge));
}

#[test]
fn the_largest_chunk_size_is_counted_right() {
    let mut body = Body::new(Framing::Chunked);
    let event = body.decode(b"ffffFFFFffffFFFF\r\nxyz", &Limits::default()).unwrap();
    assert_eq!(event, Event { consumed: 21, kind: EventKind::Data(Span { start: 18, end: 21 }) });
    assert_eq!(body.finish(), Err(E::Truncated));
}

#[test]
fn extensions_are_paid_for_by_data() {
    let chunk = format!("c8;{}\r\n{}\r\n", "x".repeat(199), "d".repeat(200));
    let input = format!("{}0\r\n\r\n", chunk.repeat(500));
    assert_eq!(chunked(input.as_bytes()).unwrap().unwrap().0.len(), 100_000);
}

#[test]
fn a_counted_body_ends_where_it_says() {
    let (data, _, taken) = decode(b"hello!", Framing::Length(5), &Limits::default()).unwrap().unwrap();
    assert_eq!((data.as_slice(), taken), (&b"hello"[..], 5));
    for framing in [Framing::None, Framing::Length(0)] {
        assert!(Body::new(framing).is_done());
        assert_eq!(decode(b"x", framing, &Limits::default()).unwrap().unwrap().2, 0);
    }
}

#[test]
fn only_a_body_until_close_may_end_with_the_connection() {
    let limits = Limits::default();
    let end = |framing, input: &[u8]| {
        let mut body = Body::new(framing);
        let mut at = 0;
        loop {
            let event = body.decode(&input[at..], &limits).unwrap();
            at += event.consumed;
            if !matches!(event.kind, EventKind::Data(_)) {
                return body.finish().map(|()| body.is_done());
            }
        }
    };
    assert_eq!(end(Framing::UntilClose, b"abc"), Ok(true));
    assert_eq!(end(Framing::None, b""), Ok(true));
    assert_eq!(end(Framing::Length(3), b"abc"), Ok(true));
    assert_eq!(end(Framing::Length(4), b"abc"), Err(E::Truncated));
    for cut in
        ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0", "0\r\n", "0\r\n\r", "0\r\nA: b\r\n"]
    {
        assert_eq!(end(Framing::Chunked, cut.as_bytes()), Err(E::Truncated), "{cut:?}");
    }
    assert_eq!(end(Framing::Chunked, b"0\r\n\r\n"), Ok(true));
}

#[test]
fn a_failed_body_stays_failed() {
    let limits = Limits::default();
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(body.decode(b"x", &limits), Err(E::BadChunkSize));
    assert_eq!(body.decode(b"0\r\n\r\n", &limits), Err(E::BadChunkSize));
    assert_eq!(body.finish(), Err(E::BadChunkSize));
    assert!(!body.is_done());
}
