//! Request heads: what is read, and what is refused.

use super::*;

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
