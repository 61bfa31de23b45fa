//! Response heads: what is read, and what is refused.

use super::*;
use FieldError as F;
use FramingError as B;
use ResponseError as R;

fn answer(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").into_bytes()
}

#[test]
fn an_ordinary_response_is_read_in_place() {
    let input = b"HTTP/1.1 404 Not\tFound\xe4\r\nContent-Length: 5\r\nSet-Cookie: a\r\n\r\nhello";
    let head = response(input, Method::Get).unwrap();
    assert_eq!((head.status, head.version), (404, Version::Http11));
    assert_eq!(head.reason.of(input), b"Not\tFound\xe4");
    assert_eq!(head.framing, Framing::Length(5));
    assert_eq!(head.content_length, Some(5));
    assert_eq!(head.fields.iter().map(|f| f.known).collect::<Vec<_>>(), [Known::ContentLength, Known::SetCookie]);
    assert!(head.keep_alive && !head.upgrade && !head.is_interim());
    assert_eq!(head.len, input.len() - 5);
}

fn refused() -> Vec<(Vec<u8>, ResponseError)> {
    let whole: &[(&[u8], R)] = &[
        (b"HTTP/1.1\r\n", R::BadStatusLine),
        (b"\r\nHTTP/1.1 200 OK\r\n", R::BadStatusLine),
        (b"HTTP/1.1  200 OK\r\n", R::BadStatus),
        (b"HTTP/1.1\t200 OK\r\n", R::BadStatusLine),
        (b"HTTP/2 200\r\n", R::BadStatusLine),
        (b"SSH-2.0-OpenSSH_9.2\r\n", R::BadStatusLine),
        (b"ICY/1.1 200 OK\r\n", R::BadStatusLine),
        (b"HTTP/1.1 099 x\r\n", R::BadStatus),
        (b"HTTP/1.1 600 x\r\n", R::BadStatus),
        (b"HTTP/1.1 20 OK\r\n", R::BadStatus),
        (b"HTTP/1.1 2000 OK\r\n", R::BadStatus),
        (b"HTTP/1.1 2x0 OK\r\n", R::BadStatus),
        (b"HTTP/1.1 \r\n", R::BadStatus),
        (b"http/1.1 200 OK\r\n", R::BadVersion),
        (b"HTTP/2.0 200 OK\r\n", R::VersionUnsupported),
        (b"HTTP/1.1 200 O\0K\r\n", R::BadReason),
        (b"HTTP/1.1 200 \x7f\r\n", R::BadReason),
        (b"HTTP/1.1 200 OK\rX: y\r\n\r\n", R::Field(F::BareCr)),
        (b"HTTP/1.1 200 OK\n\n", R::Field(F::BareLf)),
        (b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", R::Field(F::SpaceBeforeFirstField)),
        (b"HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\n", R::BodyForbidden),
        (b"HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n", R::BodyForbidden),
        (b"HTTP/1.1 101 x\r\n\r\n", R::BadSwitch),
        (b"HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n", R::BadSwitch),
        (b"HTTP/1.0 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", R::BadSwitch),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", R::Framing(B::EncodingInHttp10)),
    ];
    let mut rows: Vec<(Vec<u8>, R)> = whole.iter().map(|(input, error)| (input.to_vec(), *error)).collect();
    let lines: &[(&str, R)] = &[
        ("A: \0", R::Field(F::Nul)),
        ("A: \x1b", R::Field(F::ControlByte)),
        (": b", R::Field(F::EmptyName)),
        ("A@: b", R::Field(F::BadName)),
        ("A : b", R::Field(F::SpaceBeforeColon)),
        ("A", R::Field(F::MissingColon)),
        ("A: b\r\n c", R::Field(F::ObsFold)),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", R::Framing(B::LengthWithEncoding)),
        ("Content-Length: 3\r\nContent-Length: 4", R::Framing(B::DuplicateLength)),
        ("Content-Length: 3\r\nContent-Length: 3", R::Framing(B::DuplicateLength)),
        ("Content-Length: -1", R::Framing(B::BadLength)),
        ("Content-Length: 99999999999999999999", R::Framing(B::LengthOverflow)),
        ("Transfer-Encoding: ,", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: chunked, chunked", R::Framing(B::DuplicateChunked)),
        ("Transfer-Encoding: gzip", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: gzip, chunked", R::Framing(B::UnknownCoding)),
        ("Connection: ()", R::Framing(B::BadConnection)),
        ("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", R::Framing(B::TooManyOptions)),
    ];
    rows.extend(lines.iter().map(|(lines, error)| (answer(lines), *error)));
    let limits = Limits::default();
    rows.push((format!("HTTP/1.1 200 {}\r\n", "x".repeat(limits.line)).into_bytes(), R::LineTooLong));
    rows.push((answer(&format!("A: {}", "x".repeat(limits.line))), R::Field(F::LineTooLong)));
    rows.push((answer(&"A: b\r\n".repeat(limits.fields + 1)), R::Field(F::TooMany)));
    rows.push((answer(&format!("A: {}\r\n", "x".repeat(8000)).repeat(5)), R::HeadTooLarge));
    rows
}

#[test]
fn each_row_is_refused_for_its_reason() {
    for (input, error) in refused() {
        assert_eq!(response(&input, Method::Get).map(|_| ()), Err(error), "{}", input.escape_ascii());
        assert_eq!(error.status(), 502);
    }
}

#[test]
fn every_refusal_has_a_row() {
    let tested: Vec<ResponseError> = refused().into_iter().map(|(_, error)| error).collect();
    for error in ResponseError::all() {
        assert!(tested.contains(&error), "no input provokes {}", error.code());
    }
}

#[test]
fn framing_follows_rfc_9112_section_6_3() {
    use Framing::{Chunked, Length, None, UntilClose};
    let rows = [
        ("200 OK", "", Method::Get, UntilClose),
        ("200 OK", "Content-Length: 3\r\n", Method::Get, Length(3)),
        ("200 OK", "Transfer-Encoding: Chunked\r\n", Method::Get, Chunked),
        ("200 OK", "Content-Length: 3\r\n", Method::Head, None),
        ("200 OK", "Transfer-Encoding: chunked\r\n", Method::Head, None),
        ("200 OK", "", Method::Head, None),
        ("304 Not Modified", "Content-Length: 3\r\n", Method::Get, None),
        ("204 No Content", "", Method::Get, None),
        ("204 No Content", "Content-Length: 0\r\n", Method::Get, None),
        ("103 Early Hints", "", Method::Get, None),
        ("200 OK", "Content-Length: 3\r\n", Method::Connect, None),
        ("502 Bad Gateway", "Content-Length: 3\r\n", Method::Connect, Length(3)),
        ("101 Switching Protocols", "Upgrade: x\r\nConnection: Upgrade\r\n", Method::Get, None),
    ];
    for (status, lines, method, framing) in rows {
        let input = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
        assert_eq!(response(input.as_bytes(), method).unwrap().framing, framing, "{method:?} {input}");
    }
}

#[test]
fn a_body_until_close_ends_the_connection() {
    assert!(!response(b"HTTP/1.1 200 OK\r\n\r\n", Method::Get).unwrap().keep_alive);
    assert!(response(b"HTTP/1.1 200 OK\r\n\r\n", Method::Head).unwrap().keep_alive);
    assert!(!response(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Method::Get).unwrap().keep_alive);
    let kept = b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n";
    assert!(response(kept, Method::Get).unwrap().keep_alive);
}

#[test]
fn a_reason_may_be_empty_with_or_without_its_space() {
    for input in [&b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"[..], b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"] {
        let head = response(input, Method::Get).unwrap();
        assert_eq!((head.status, head.reason.of(input), head.len), (200, &b""[..], input.len()));
    }
}

#[test]
fn interim_responses_say_so_and_101_switches() {
    let interim = |input: &[u8]| response(input, Method::Get).map(|head| (head.is_interim(), head.upgrade)).unwrap();
    assert_eq!(interim(b"HTTP/1.1 100 Continue\r\n\r\n"), (true, false));
    assert_eq!(interim(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n"), (false, true));
    assert_eq!(interim(b"HTTP/1.1 200 OK\r\n\r\n"), (false, false));
}
