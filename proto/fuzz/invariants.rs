//! What must hold for any bytes at all. The fuzz targets and an ordinary test that replays their corpora share it.

use ringway_proto::http1::{
    Body, EventKind, Field, Framing, HeadScan, Limits, Method, Progress, RequestHead, ResponseHead, Span, Version,
    decode_request, decode_response, encode, values,
};

/// The default limits, and some that small inputs reach.
const LIMITS: [Limits; 2] = [
    Limits { line: 8192, head: 32_768, fields: 100, chunk_line: 256, extensions: 8192, trailers: 8192 },
    Limits { line: 40, head: 120, fields: 3, chunk_line: 12, extensions: 16, trailers: 50 },
];

/// Checks everything of a request head.
pub(crate) fn request_head(data: &[u8]) {
    for limits in &LIMITS {
        in_pieces(data, decode_request, limits, |head: &RequestHead| (format!("{head:?}"), head.len));
    }
    let mut head = RequestHead::default();
    if decode_request(data, &mut HeadScan::default(), &LIMITS[0], &mut head) != Ok(Progress::Complete) {
        return;
    }
    assert!(head.len <= data.len());
    let input = &data[..head.len];
    let target = &head.target;
    let spans = [head.method_span, target.whole, target.authority, target.path, target.query.unwrap_or_default()];
    check_spans(input, &spans);
    check_fields(input, &head.fields);
    assert!(values::is_token(head.method_span.of(input)));
    assert!(!target.whole.is_empty() && target.whole.of(input).iter().all(u8::is_ascii_graphic));
    assert!(!target.whole.of(input).contains(&b'#'));
    assert!(head.host.is_empty() || values::authority(head.host.of(input)).is_some());
    assert!(head.version == Version::Http10 || !head.host.is_empty());
    assert_ne!(head.framing, Framing::UntilClose);

    // Whatever is accepted here, a laxer parser accepts and reads the same.
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(data), Ok(httparse::Status::Complete(head.len)));
    assert_eq!(other.method.map(str::as_bytes), Some(head.method_span.of(input)));
    assert_eq!(other.path.map(str::as_bytes), Some(target.whole.of(input)));
    same_fields(input, &head.fields, other.headers);

    // What is written again reads the same.
    let mut again = Vec::new();
    encode::request_line(&mut again, head.method_span.of(input), target.whole.of(input));
    for field in &head.fields {
        encode::field(&mut again, field.name.of(input), field.value.of(input));
    }
    again.extend_from_slice(encode::CRLF);
    let mut second = RequestHead::default();
    let progress = decode_request(&again, &mut HeadScan::default(), &LIMITS[0], &mut second);
    if head.version == Version::Http11 && again.len() <= LIMITS[0].head {
        // A space after each colon may lengthen a line past its limit.
        if let Ok(progress) = progress {
            assert_eq!((progress, second.len, second.framing), (Progress::Complete, again.len(), head.framing));
            assert_eq!(second.host.of(&again), head.host.of(input));
            assert_eq!(second.fields.len(), head.fields.len());
        } else {
            assert!(again.len() > LIMITS[0].line);
        }
    }
}

/// Checks everything of a response head, whatever the request was.
pub(crate) fn response_head(data: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        for limits in &LIMITS {
            let decode = |input: &[u8], scan: &mut HeadScan, limits: &Limits, head: &mut ResponseHead| {
                decode_response(input, scan, limits, method, head)
            };
            in_pieces(data, decode, limits, |head: &ResponseHead| (format!("{head:?}"), head.len));
        }
        let mut head = ResponseHead::default();
        if decode_response(data, &mut HeadScan::default(), &LIMITS[0], method, &mut head) != Ok(Progress::Complete) {
            continue;
        }
        assert!(head.len <= data.len());
        let input = &data[..head.len];
        check_spans(input, &[head.reason]);
        check_fields(input, &head.fields);
        assert!((100..=599).contains(&head.status));
        assert!(!(head.keep_alive && head.framing == Framing::UntilClose));
        if method == Method::Head || head.status < 200 || head.status == 204 || head.status == 304 {
            assert_eq!(head.framing, Framing::None);
        }

        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut other = httparse::Response::new(&mut fields);
        assert_eq!(other.parse(data), Ok(httparse::Status::Complete(head.len)));
        assert_eq!(other.code, Some(head.status));
        same_fields(input, &head.fields, other.headers);
    }
}

/// Checks everything of a chunked body.
pub(crate) fn chunked_body(data: &[u8]) {
    for limits in &LIMITS {
        let whole = body_in_pieces(data, limits, data.len().max(1));
        for step in [1, 2, 7] {
            let pieces = body_in_pieces(data, limits, step);
            if pieces != whole {
                // A refusal may wait for the end of its trailer line.
                assert_eq!((&pieces.end, whole.data == pieces.data), (&Ok(false), true));
                let finished = [data, b"\n"].concat();
                assert_eq!(body_in_pieces(&finished, limits, step), whole);
            }
        }
        if whole.end == Ok(true) {
            // The same data, written as chunks, reads the same.
            let mut again = Vec::new();
            for piece in whole.data.chunks(9) {
                encode::chunk_head(&mut again, piece.len());
                again.extend_from_slice(piece);
                again.extend_from_slice(encode::CRLF);
            }
            again.extend_from_slice(encode::LAST_CHUNK);
            let second = body_in_pieces(&again, limits, again.len());
            assert_eq!((second.end, second.data, second.consumed), (Ok(true), whole.data, again.len()));
        }
    }
}

/// Decodes `data` at once and in growing pieces, and asserts that the answer is the same.
fn in_pieces<H: Default, E: PartialEq + Copy + std::fmt::Debug>(
    data: &[u8],
    decode: impl Fn(&[u8], &mut HeadScan, &Limits, &mut H) -> Result<Progress, E>,
    limits: &Limits,
    summary: impl Fn(&H) -> (String, usize),
) {
    let run = |data: &[u8], step: usize| {
        let (mut scan, mut head) = (HeadScan::default(), H::default());
        let mut end = step.min(data.len());
        loop {
            match decode(&data[..end], &mut scan, limits, &mut head) {
                Ok(Progress::Partial) if end < data.len() => end = (end + step).min(data.len()),
                Ok(Progress::Partial) => return Ok(None),
                Ok(Progress::Complete) => return Ok(Some(summary(&head))),
                Err(error) => return Err(error),
            }
        }
    };
    let whole = run(data, data.len().max(1));
    if let Ok(Some((_, len))) = whole {
        assert!(len <= data.len() && len <= limits.head);
    }
    for step in [1, 3, 64] {
        let pieces = run(data, step);
        if pieces != whole {
            // A refusal may wait for the end of its line, and nothing else may differ.
            assert!(whole.is_err() && pieces == Ok(None), "{whole:?} at once, {pieces:?} in pieces of {step}");
            assert_eq!(run(&[data, b"\n"].concat(), step), whole);
        }
    }
}

/// What a body held and how it ended: done, not done yet, or refused.
#[derive(PartialEq, Debug)]
struct Outcome {
    data: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    consumed: usize,
    end: Result<bool, &'static str>,
}

fn body_in_pieces(input: &[u8], limits: &Limits, step: usize) -> Outcome {
    let mut body = Body::new(Framing::Chunked);
    let mut out = Outcome { data: Vec::new(), trailers: Vec::new(), consumed: 0, end: Ok(false) };
    let mut end = 0;
    loop {
        let seen = &input[out.consumed..end];
        let event = match body.decode(seen, limits) {
            Ok(event) => event,
            Err(error) => {
                // Where it stopped depends on the pieces.
                (out.end, out.consumed) = (Err(error.code()), 0);
                return out;
            }
        };
        assert!(event.consumed <= seen.len());
        let consumed = &seen[..event.consumed];
        match event.kind {
            EventKind::Data(span) => {
                check_spans(consumed, &[span]);
                assert!(!span.is_empty());
                out.data.extend_from_slice(span.of(consumed));
            }
            EventKind::Trailers(section) => {
                check_spans(consumed, &[section.section]);
                for (name, value) in section.iter(consumed) {
                    assert!(values::is_token(name) && values::is_field_value(value));
                    out.trailers.push((name.to_vec(), value.to_vec()));
                }
                assert!(body.is_done());
            }
            EventKind::End => {
                assert!(body.is_done() && body.finish().is_ok());
                out.consumed += event.consumed;
                out.end = Ok(true);
                return out;
            }
            EventKind::NeedMore => {
                assert!(!body.is_done());
                if end == input.len() {
                    out.consumed = 0;
                    return out;
                }
                end = (end + step).min(input.len());
            }
        }
        out.consumed += event.consumed;
    }
}

fn check_spans(input: &[u8], spans: &[Span]) {
    for span in spans {
        assert!(span.start <= span.end && span.end as usize <= input.len(), "{span:?} of {}", input.len());
    }
}

fn check_fields(input: &[u8], fields: &[Field]) {
    assert!(fields.len() <= LIMITS[0].fields);
    for field in fields {
        check_spans(input, &[field.name, field.value]);
        assert!(values::is_token(field.name.of(input)));
        assert!(values::is_field_value(field.value.of(input)));
    }
}

fn same_fields(input: &[u8], ours: &[Field], theirs: &[httparse::Header<'_>]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.name.of(input), theirs.name.as_bytes());
        assert_eq!(ours.value.of(input), theirs.value);
    }
}
