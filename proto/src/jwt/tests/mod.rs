use super::*;

/// A token with this payload.
fn token(payload: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = b"eyJhbGciOiJub25lIn0.".to_vec();
    for group in payload.chunks(3) {
        let bits = group.iter().chain(&[0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        token.extend((0..=group.len()).map(|at| DIGITS[bits >> (18 - 6 * at) & 63]));
    }
    token.push(b'.');
    token
}

fn text(token: &[u8], path: &str) -> Result<Option<String>, TokenError> {
    let mut value = Value::default();
    let text = claim(token, &Path::new(path).unwrap(), &mut value)?;
    Ok(text.map(|text| String::from_utf8(text.to_vec()).unwrap()))
}

fn of(payload: &str, path: &str) -> Result<Option<String>, TokenError> {
    text(&token(payload.as_bytes()), path)
}

#[test]
fn the_example_of_the_rfc_is_read() {
    // RFC 7519 section 3.1.
    let token = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly\
                  9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(text(token, "iss"), Ok(Some("joe".to_owned())));
    assert_eq!(text(token, "exp"), Ok(Some("1300819380".to_owned())));
    assert_eq!(text(token, "http://example.com/is_root"), Ok(Some("true".to_owned())));
    assert_eq!(text(token, "/http:~1~1example.com~1is_root"), Ok(Some("true".to_owned())));
    assert_eq!(text(token, "sub"), Ok(None));
}

#[test]
fn strings_integers_and_booleans_have_a_text() {
    for (value, found) in [
        ("\"a\"", Some("a")),
        ("\"\"", Some("")),
        ("\"\\u00e9\\ud83d\\uDE00\\n\\/\"", Some("\u{e9}\u{1f600}\n/")),
        ("0", Some("0")),
        ("-12", Some("-12")),
        ("123456789012345678901234567890", Some("123456789012345678901234567890")),
        ("true", Some("true")),
        ("false", Some("false")),
        ("1.5", None),
        ("1e3", None),
        ("null", None),
        ("[\"a\"]", None),
        ("{\"a\":1}", None),
    ] {
        let payload = format!("{{\"x\":{{\"c\":0}}, \"c\" : {value} ,\"y\":[{{\"c\":0}}]}}");
        assert_eq!(of(&payload, "c"), Ok(found.map(str::to_owned)), "{payload}");
        assert_eq!(of(&format!("{{\"o\":{{\"i\":{payload}}}}}"), "/o/i/c"), Ok(found.map(str::to_owned)), "{payload}");
    }
}

#[test]
fn a_path_goes_through_objects_alone() {
    let payload =
        "{\"a\":{\"b\":{\"c\":\"yes\",\"d\":[{\"c\":1}]},\"c\":\"no\"},\"b\":{\"c\":\"no\"},\"/a\":\"slash\",\"~\":2}";
    for (path, found) in [
        ("/a/b/c", Some("yes")),
        ("/a/c", Some("no")),
        ("a", None),
        ("/a/b/d", None),
        ("/a/b/d/c", None),
        ("/a/b/d/0/c", None),
        ("/a/b/c/x", None),
        ("/~1a", Some("slash")),
        ("~", Some("2")),
        ("/~0", Some("2")),
        ("/", None),
        ("a/b/c", None),
    ] {
        assert_eq!(of(payload, path), Ok(found.map(str::to_owned)), "{path}");
    }
}

#[test]
fn what_is_wrong_with_a_path_is_said() {
    assert_eq!(Path::new(""), Err(PathError::Empty));
    assert_eq!(Path::new("/a~"), Err(PathError::Escape));
    assert_eq!(Path::new("/a~2"), Err(PathError::Escape));
    assert!(Path::new(&"/a".repeat(STEPS_MAX)).is_ok());
    assert_eq!(Path::new(&"/a".repeat(STEPS_MAX + 1)), Err(PathError::TooDeep));
    assert_eq!(Path::new("/a~1b/c").unwrap().to_string(), "/a~1b/c");
}

#[test]
fn a_claim_that_is_there_twice_is_none() {
    for payload in
        ["{\"c\":1,\"c\":1}", "{\"c\":1,\"\\u0063\":2}", "{\"c\":[],\"c\":2}", "{\"c\":1,\"d\":{},\"c\":null}"]
    {
        assert_eq!(of(payload, "c"), Err(TokenError::Twice), "{payload}");
    }
    assert_eq!(of("{\"a\":{\"c\":1},\"a\":{\"d\":2}}", "/a/c"), Err(TokenError::Twice));
    // Others are no matter.
    assert_eq!(of("{\"d\":1,\"d\":{\"c\":2},\"c\":3}", "c"), Ok(Some("3".to_owned())));
}

#[test]
fn what_is_no_token_is_refused() {
    for (token, error) in [
        ("", TokenError::Parts),
        ("e30.e30", TokenError::Parts),
        ("e30.e30..", TokenError::Parts),
        ("e30.e30.e30.e30.e30", TokenError::Parts),
        (".e30.", TokenError::Base64),
        ("e30=.e30.", TokenError::Base64),
        ("e30.e30.=", TokenError::Base64),
        ("e30.e30=.", TokenError::Base64),
        ("e30.ew.", TokenError::Json),
        ("e30.e31.", TokenError::Base64),
        ("e30.e.", TokenError::Base64),
        ("e30.e3 0.", TokenError::Base64),
        ("e30.e3+0.", TokenError::Base64),
        ("e30..", TokenError::Json),
    ] {
        assert_eq!(text(token.as_bytes(), "c"), Err(error), "{token}");
    }
    assert_eq!(text(b"e30.e30.", "c"), Ok(None));
}

#[test]
fn what_is_no_object_of_json_is_refused() {
    for payload in [
        "",
        " ",
        "1",
        "\"c\"",
        "[]",
        "null",
        "{",
        "}",
        "{}}",
        "{}{}",
        "{\"c\"}",
        "{\"c\":}",
        "{\"c\":1,}",
        "{,}",
        "{c:1}",
        "{\"c\":1 \"d\":2}",
        "{\"c\":[1,]}",
        "{\"c\":[1}",
        "{\"c\":{]}",
        "{\"c\":01}",
        "{\"c\":1.}",
        "{\"c\":1e}",
        "{\"c\":-}",
        "{\"c\":.5}",
        "{\"c\":tru}",
        "{\"c\":truer}",
        "{\"c\":\"a}",
        "{\"c\":\"\\\"}",
        "{\"c\":\"\n\"}",
        "{\"c\":\"\\a\"}",
        "{\"c\":\"\\u12\"}",
        "{\"c\":\"\\ud800\"}",
        "{\"c\":\"\\udc00\"}",
        "{\"c\":\"\\ud800\\ud800\"}",
        "\u{feff}{}",
        "{\"c\":1}\0",
        "{\"c\":'a'}",
        "{\"c\":1}//",
    ] {
        assert_eq!(of(payload, "c"), Err(TokenError::Json), "{payload}");
    }
    for payload in [&b"{\"c\":\"\xff\"}"[..], b"{\"c\":\"\xed\xa0\x80\"}", b"{\"c\":\"\xc3"] {
        assert_eq!(text(&token(payload), "c"), Err(TokenError::Utf8), "{payload:?}");
    }
}

#[test]
fn what_is_beyond_a_bound_is_refused_and_what_reaches_it_is_not() {
    let nested = |depth: usize| format!("{{\"c\":1,\"d\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(of(&nested(DEPTH_MAX), "c"), Ok(Some("1".to_owned())));
    assert_eq!(of(&nested(DEPTH_MAX + 1), "c"), Err(TokenError::TooDeep));
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(of(&deep(DEPTH_MAX), &"/a".repeat(DEPTH_MAX)), Ok(Some("1".to_owned())));

    let long = |len: usize| format!("{{\"c\":\"{}\"}}", "x".repeat(len));
    assert_eq!(of(&long(VALUE_MAX), "c"), Ok(Some("x".repeat(VALUE_MAX))));
    assert_eq!(of(&long(VALUE_MAX + 1), "c"), Err(TokenError::ValueTooLong));
    assert_eq!(of(&long(VALUE_MAX + 1), "d"), Ok(None), "another one may be");

    let mut large = token(format!("{{\"d\":\"{}\",\"c\":1}}", "x".repeat(6000)).as_bytes());
    large.resize(TOKEN_MAX, b'A');
    assert_eq!(text(&large, "c"), Ok(Some("1".to_owned())));
    large.push(b'A');
    assert_eq!(text(&large, "c"), Err(TokenError::TooLong));
}

#[test]
fn room_is_used_again() {
    let mut value = Value::default();
    let path = Path::new("c").unwrap();
    for (payload, found) in [("{\"c\":\"long enough\"}", "long enough"), ("{\"c\":1}", "1"), ("{\"c\":\"\"}", "")] {
        assert_eq!(claim(&token(payload.as_bytes()), &path, &mut value), Ok(Some(found.as_bytes())));
    }
}
