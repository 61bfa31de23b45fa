//! Request heads: what is read, and what is refused.

use std::collections::HashSet;

use super::*;
use FieldError as F;
use FramingError as B;
use RequestError as R;

#[test]
fn an_ordinary_request_is_read_in_place() {
    let input = b"GET /users/7?full=1 HTTP/1.1\r\nHost: api.example.com\r\nAccept: \t*/* \r\nX-Empty:\r\n\r\nrest";
    let head = request(input).unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.method_span.of(input), b"GET");
    assert_eq!(head.target.form, TargetForm::Origin);
    assert_eq!(head.target.whole.of(input), b"/users/7?full=1");
    assert_eq!(head.target.path.of(input), b"/users/7");
    assert_eq!(head.target.query.unwrap().of(input), b"full=1");
    assert_eq!(head.host.of(input), b"api.example.com");
    assert_eq!(head.version, Version::Http11);
    let fields: Vec<_> = head.fields.iter().map(|f| (f.name.of(input), f.value.of(input), f.known)).collect();
    assert_eq!(
        fields,
        [
            (&b"Host"[..], &b"api.example.com"[..], Known::Host),
            (b"Accept", b"*/*", Known::Other),
            (b"X-Empty", b"", Known::Other),
        ]
    );
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive && !head.expect_continue && !head.upgrade);
    assert_eq!(head.len, input.len() - 4);
}

/// Every refusal, with what provokes it. A refusal without a row fails [`every_refusal_has_a_row`].
fn refused() -> Vec<(Vec<u8>, RequestError)> {
    let mut rows: Vec<(Vec<u8>, RequestError)> = Vec::new();
    let whole: &[(&[u8], R)] = &[
        (b"GET /\r\n", R::BadRequestLine),
        (b"GET\r\n", R::BadRequestLine),
        (b"GET  / HTTP/1.1\r\n", R::BadRequestLine),
        (b"GET / HTTP/1.1 \r\n", R::BadRequestLine),
        (b"GET / x HTTP/1.1\r\n", R::BadRequestLine),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", R::BlankLine),
        (b" GET / HTTP/1.1\r\n", R::LeadingSpace),
        (b"\r\n\tGET / HTTP/1.1\r\n", R::LeadingSpace),
        (b"G(T / HTTP/1.1\r\n", R::BadMethod),
        (b"G\0T / HTTP/1.1\r\n", R::BadMethod),
        (b"GET\t/ HTTP/1.1\r\n", R::BadMethod),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", R::BadMethod),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", R::MethodTooLong),
        (b"GET index.html HTTP/1.1\r\n", R::BadTarget),
        (b"GET /\t HTTP/1.1\r\n", R::BadTarget),
        (b"GET /\0 HTTP/1.1\r\n", R::BadTarget),
        (b"GET /\x7f HTTP/1.1\r\n", R::BadTarget),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", R::BadTarget),
        (b"GET * HTTP/1.1\r\n", R::BadTarget),
        (b"GET a:80 HTTP/1.1\r\n", R::BadTarget),
        (b"GET :// HTTP/1.1\r\n", R::TargetScheme),
        (b"GET http:///x HTTP/1.1\r\n", R::BadTarget),
        (b"GET http:/a/x HTTP/1.1\r\n", R::BadTarget),
        (b"GET http://u:p@a/ HTTP/1.1\r\n", R::BadTarget),
        (b"GET http://a:b/ HTTP/1.1\r\n", R::BadTarget),
        (b"CONNECT a HTTP/1.1\r\n", R::BadTarget),
        (b"CONNECT / HTTP/1.1\r\n", R::BadTarget),
        (b"CONNECT http://a:80/ HTTP/1.1\r\n", R::BadTarget),
        (b"GET /a#b HTTP/1.1\r\n", R::TargetFragment),
        (b"GET /a?b#c HTTP/1.1\r\n", R::TargetFragment),
        (b"GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", R::TargetFragment),
        (b"GET ftp://a/ HTTP/1.1\r\n", R::TargetScheme),
        (b"GET / HTTP/1.\r\n", R::BadVersion),
        (b"GET / http/1.1\r\n", R::BadVersion),
        (b"GET / HTTP/11\r\n", R::BadVersion),
        (b"GET / HTTP/1.10\r\n", R::BadVersion),
        (b"GET / HTTP/1.1\x0b\r\n", R::BadVersion),
        (b"GET / \r\n", R::BadVersion),
        (b"GET / HTTP/2.0\r\n", R::VersionUnsupported),
        (b"PRI * HTTP/2.0\r\n", R::VersionUnsupported),
        (b"GET / HTTP/1.2\r\n", R::VersionUnsupported),
        (b"GET / HTTP/0.9\r\n", R::VersionUnsupported),
        (b"GET / HTTP/1.1\r\n\r\n", R::HostMissing),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", R::HostMissing),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", R::DuplicateHost),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", R::DuplicateHost),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", R::BadHost),
        (b"GET / HTTP/1.0\r\nHost: a..b\r\n\r\n", R::BadHost),
        (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", R::HostMismatch),
        (b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", R::HostMismatch),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", R::Field(F::BareCr)),
        (b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", R::Field(F::BareCr)),
        (b"GET\rx / HTTP/1.1\r\n\r\n", R::Field(F::BareCr)),
        (b"\rGET / HTTP/1.1\r\n\r\n", R::Field(F::BareCr)),
        (b"GET / HTTP/1.1\nHost: a\n\n", R::Field(F::BareLf)),
        (b"GET /\n", R::Field(F::BareLf)),
        (b"GET\n", R::Field(F::BareLf)),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", R::Field(F::BareLf)),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", R::Field(F::SpaceBeforeFirstField)),
        (b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", R::Field(F::SpaceBeforeFirstField)),
    ];
    rows.extend(whole.iter().map(|(input, error)| (input.to_vec(), *error)));
    let lines: &[(&str, RequestError)] = &[
        ("A: b\rc", R::Field(F::BareCr)),
        ("A\r: b", R::Field(F::BareCr)),
        ("A: b\r\r", R::Field(F::BareCr)),
        ("A: b\nC: d", R::Field(F::BareLf)),
        ("A\n", R::Field(F::BareLf)),
        ("\nA: b", R::Field(F::BareLf)),
        ("A: \0", R::Field(F::Nul)),
        ("A\0: b", R::Field(F::Nul)),
        ("A: b\x01", R::Field(F::ControlByte)),
        ("A: \x7f", R::Field(F::ControlByte)),
        ("A: b\x0bc", R::Field(F::ControlByte)),
        (": b", R::Field(F::EmptyName)),
        ("A(: b", R::Field(F::BadName)),
        ("A\u{e4}: b", R::Field(F::BadName)),
        ("A b: c", R::Field(F::BadName)),
        ("A\x01: b", R::Field(F::BadName)),
        ("A : b", R::Field(F::SpaceBeforeColon)),
        ("Transfer-Encoding\t : chunked", R::Field(F::SpaceBeforeColon)),
        ("A", R::Field(F::MissingColon)),
        ("A: b\r\n c", R::Field(F::ObsFold)),
        ("A: b\r\n\tc: d", R::Field(F::ObsFold)),
        ("A: b\r\n \r\n", R::Field(F::ObsFold)),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", R::Framing(B::LengthWithEncoding)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", R::Framing(B::LengthWithEncoding)),
        ("Content-Length: 3\r\nContent-Length: 4", R::Framing(B::DuplicateLength)),
        ("Content-Length: 3\r\nContent-Length: 3", R::Framing(B::DuplicateLength)),
        ("Content-Length: 3, 3", R::Framing(B::DuplicateLength)),
        ("Content-Length: 3,4", R::Framing(B::DuplicateLength)),
        ("Content-Length:", R::Framing(B::BadLength)),
        ("Content-Length: +3", R::Framing(B::BadLength)),
        ("Content-Length: -3", R::Framing(B::BadLength)),
        ("Content-Length: 3 4", R::Framing(B::BadLength)),
        ("Content-Length: 0x3", R::Framing(B::BadLength)),
        ("Content-Length: 3a", R::Framing(B::BadLength)),
        ("Content-Length: 3.0", R::Framing(B::BadLength)),
        ("Content-Length: \u{663}", R::Framing(B::BadLength)),
        ("Content-Length: 18446744073709551616", R::Framing(B::LengthOverflow)),
        ("Content-Length: 00000000000000000003", R::Framing(B::LengthOverflow)),
        ("Transfer-Encoding:", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: chunked,", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: , chunked", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: chunked;q=1", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: \"chunked\"", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: chun ked", R::Framing(B::BadEncoding)),
        ("Transfer-Encoding: chunked, chunked", R::Framing(B::DuplicateChunked)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", R::Framing(B::DuplicateChunked)),
        ("Transfer-Encoding: xchunked", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: identity", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: gzip", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: chunked, gzip", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", R::Framing(B::NotChunked)),
        ("Transfer-Encoding: gzip, chunked", R::Framing(B::UnknownCoding)),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", R::Framing(B::UnknownCoding)),
        ("Connection: a b", R::Framing(B::BadConnection)),
        ("Connection: close, \"x\"", R::Framing(B::BadConnection)),
        ("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", R::Framing(B::TooManyOptions)),
        ("Expect: 200-ok", R::ExpectationFailed),
        ("Expect: 100-continue, x", R::ExpectationFailed),
        ("Expect: 100-continue\r\nExpect: 100-continue", R::ExpectationFailed),
    ];
    rows.extend(lines.iter().map(|(lines, error)| (request_with(lines), *error)));
    rows.push((b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), R::Framing(B::EncodingInHttp10)));
    let limits = Limits::default();
    rows.push((format!("GET /{} HTTP/1.1\r\n", "x".repeat(limits.line)).into_bytes(), R::LineTooLong));
    rows.push((request_with(&format!("A: {}", "x".repeat(limits.line))), R::Field(F::LineTooLong)));
    rows.push((request_with(&"A: b\r\n".repeat(limits.fields)), R::Field(F::TooMany)));
    rows.push((request_with(&format!("A: {}\r\n", "x".repeat(8000)).repeat(5)), R::HeadTooLarge));
    rows
}

#[test]
fn each_row_is_refused_for_its_reason() {
    for (input, error) in refused() {
        assert_eq!(request(&input).map(|_| ()), Err(error), "{}", input.escape_ascii());
    }
}

#[test]
fn every_refusal_has_a_row() {
    let tested: Vec<RequestError> = refused().into_iter().map(|(_, error)| error).collect();
    for error in RequestError::all() {
        assert!(tested.contains(&error), "no input provokes {}", error.code());
    }
}

#[test]
fn every_code_is_stable_in_form_and_unique() {
    let codes: Vec<&str> = RequestError::all().map(RequestError::code).collect();
    let unique: HashSet<&&str> = codes.iter().collect();
    assert_eq!(unique.len(), codes.len());
    assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')));
}

#[test]
fn every_refusal_has_a_status_rfc_9110_names() {
    for error in RequestError::all() {
        assert!(matches!(error.status(), 400 | 414 | 417 | 431 | 501 | 505), "{error}: {}", error.status());
    }
    assert_eq!(R::LineTooLong.status(), 414);
    assert_eq!(R::HeadTooLarge.status(), 431);
    assert_eq!(R::Field(F::TooMany).status(), 431);
    assert_eq!(R::VersionUnsupported.status(), 505);
    assert_eq!(R::Framing(B::UnknownCoding).status(), 501);
}

#[test]
fn limits_may_be_reached() {
    let limits = Limits::default();
    let line = "GET / HTTP/1.1".len();
    let target = format!("/{}", "x".repeat(limits.line - line));
    assert!(request(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).is_ok());
    assert!(request(&request_with(&format!("A:{}", "x".repeat(limits.line - 2)))).is_ok());
    let fields = "A: b\r\n".repeat(limits.fields - 1);
    assert!(request(&request_with(fields.trim_end())).is_ok());
    let input = request_with("A: b");
    let exact = Limits { head: input.len(), ..limits };
    assert!(request_within(&input, &exact).is_ok());
    let short = Limits { head: input.len() - 1, ..limits };
    assert_eq!(request_within(&input, &short).map(|_| ()), Err(R::HeadTooLarge));
}

#[test]
fn one_empty_line_before_the_request_line_is_skipped() {
    let input = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request(input).unwrap();
    assert_eq!(head.method_span.of(input), b"GET");
    assert_eq!(head.len, input.len());
}

#[test]
fn each_form_of_target_is_taken_apart() {
    let parts = |input: &'static [u8]| {
        let target = request(input).unwrap().target;
        let query = target.query.map(|query| query.of(input));
        (target.form, target.authority.of(input), target.path.of(input), query, target.path_of(input))
    };
    type Parts = (TargetForm, &'static [u8], &'static [u8], Option<&'static [u8]>, &'static [u8]);
    let rows: [(&[u8], Parts); 7] = [
        (b"GET /a/b?c?d HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Origin, b"", b"/a/b", Some(b"c?d"), b"/a/b")),
        (b"GET /? HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Origin, b"", b"/", Some(b""), b"/")),
        (b"GET HTTP://X:8/p?q HTTP/1.1\r\nHost: x:8\r\n\r\n", (TargetForm::Absolute, b"X:8", b"/p", Some(b"q"), b"/p")),
        (b"GET https://x HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Absolute, b"x", b"", None, b"/")),
        (b"GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Absolute, b"x", b"", Some(b"q"), b"/")),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Asterisk, b"", b"", None, b"")),
        (b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", (TargetForm::Authority, b"[::1]:443", b"", None, b"")),
    ];
    for (input, expected) in rows {
        assert_eq!(parts(input), expected, "{}", input.escape_ascii());
    }
}

#[test]
fn the_effective_host_is_that_of_the_target_or_of_host() {
    let host = |input: &'static [u8]| request(input).unwrap().host.of(input);
    assert_eq!(host(b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n"), b"a:80");
    assert_eq!(host(b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n"), b"A");
    assert_eq!(host(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), b"a:443");
    assert_eq!(host(b"GET http://a/ HTTP/1.0\r\n\r\n"), b"a");
    assert_eq!(host(b"GET / HTTP/1.0\r\n\r\n"), b"");
}

#[test]
fn framing_follows_rfc_9112_section_6_3() {
    let framing = |lines: &str| request(&request_with(lines)).unwrap().framing;
    assert_eq!(framing("A: b"), Framing::None);
    assert_eq!(framing("Content-Length: 0"), Framing::Length(0));
    assert_eq!(framing("content-length:  42\t"), Framing::Length(42));
    assert_eq!(framing("Content-Length: 9999999999999999999"), Framing::Length(9_999_999_999_999_999_999));
    assert_eq!(framing("Content-Length: 007"), Framing::Length(7));
    assert_eq!(framing("Transfer-Encoding: chunked"), Framing::Chunked);
    assert_eq!(framing("TRANSFER-ENCODING: \tChUnKeD "), Framing::Chunked);
}

#[test]
fn persistence_follows_rfc_9112_section_9_3() {
    let keep = |version: &str, lines: &str| {
        request(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap().keep_alive
    };
    assert!(keep("1.1", ""));
    assert!(!keep("1.1", "Connection: Close\r\n"));
    assert!(!keep("1.1", "Connection: keep-alive\r\nConnection: x, close\r\n"));
    assert!(!keep("1.0", ""));
    assert!(keep("1.0", "Connection: Keep-Alive\r\n"));
    assert!(keep("1.0", "Connection: x, Keep-Alive\r\n"));
    assert!(!keep("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn an_expectation_counts_only_with_a_body_and_in_1_1() {
    let expects = |input: &[u8]| request(input).unwrap().expect_continue;
    assert!(expects(&request_with("Expect: 100-Continue\r\nContent-Length: 1")));
    assert!(expects(&request_with("Expect: 100-continue\r\nTransfer-Encoding: chunked")));
    assert!(!expects(&request_with("Expect: 100-continue")));
    assert!(!expects(&request_with("Expect: 100-continue\r\nContent-Length: 0")));
    assert!(!expects(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
    assert!(!expects(b"POST / HTTP/1.0\r\nExpect: something\r\nContent-Length: 1\r\n\r\n"));
}

#[test]
fn an_upgrade_needs_the_field_and_the_option_and_1_1() {
    let upgrade = |input: &[u8]| request(input).unwrap().upgrade;
    assert!(upgrade(&request_with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket")));
    assert!(!upgrade(&request_with("Upgrade: websocket")));
    assert!(!upgrade(&request_with("Connection: upgrade")));
    assert!(!upgrade(b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
}

#[test]
fn fields_for_this_connection_are_marked_and_no_others() {
    let input = request_with(
        "Connection: x-private, Authorization, X-Forwarded-For, Host, close\r\nX-Private: 1\r\nAuthorization: b\r\n\
         X-Forwarded-For: c\r\nx-PRIVATE: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: y\r\nX-Public: z\r\nTransfer-Encoding: chunked",
    );
    let head = request(&input).unwrap();
    let marked: Vec<_> = head.fields.iter().filter(|f| f.hop_by_hop).map(|f| f.name.of(&input)).collect();
    let expected: [&[u8]; 10] = [
        b"Connection",
        b"X-Private",
        b"x-PRIVATE",
        b"Keep-Alive",
        b"TE",
        b"Proxy-Connection",
        b"Upgrade",
        b"HTTP2-Settings",
        b"Proxy-Authorization",
        b"Transfer-Encoding",
    ];
    assert_eq!(marked, expected);
}

#[test]
fn methods_are_case_sensitive_and_open_ended() {
    let method = |name: &str| request(format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap().method;
    assert_eq!(method("DELETE"), Method::Delete);
    assert_eq!(method("get"), Method::Other);
    assert_eq!(method("UPDATEREDIRECTREF"), Method::Other);
    assert!(Method::Put.is_idempotent() && !Method::Put.is_safe());
    assert!(!Method::Post.is_idempotent() && !Method::Patch.is_idempotent() && !Method::Other.is_idempotent());
    assert!(Method::Head.is_safe() && !Method::Connect.is_safe());
}

#[test]
fn a_head_is_reused_without_traces_of_the_last() {
    let limits = Limits::default();
    let (mut scan, mut head) = (HeadScan::default(), RequestHead::default());
    let first = b"POST /a?b HTTP/1.0\r\nContent-Length: 3\r\nA: b\r\n\r\n";
    assert_eq!(decode_request(first, &mut scan, &limits, &mut head), Ok(Progress::Complete));
    let second = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(decode_request(second, &mut scan, &limits, &mut head), Ok(Progress::Complete));
    assert_eq!(format!("{head:?}"), format!("{:?}", request(second).unwrap()));
}

#[test]
fn the_field_list_is_not_allocated_again() {
    let limits = Limits::default();
    let (mut scan, mut head) = (HeadScan::default(), RequestHead::default());
    let large = request_with("A: b\r\nC: d\r\nE: f\r\nG: h");
    assert_eq!(decode_request(&large, &mut scan, &limits, &mut head), Ok(Progress::Complete));
    let (place, capacity) = (head.fields.as_ptr(), head.fields.capacity());
    for _ in 0..10 {
        assert_eq!(decode_request(&large, &mut scan, &limits, &mut head), Ok(Progress::Complete));
        assert_eq!((head.fields.as_ptr(), head.fields.capacity()), (place, capacity));
    }
}
