//! The grammars inside field values.

use super::super::values::*;

#[test]
fn lists_are_split_and_trimmed_and_empty_elements_left_out() {
    let elements: Vec<&[u8]> = list(b" ,a, b\t,,c d ,").collect();
    assert_eq!(elements, [&b"a"[..], b"b", b"c d"]);
    assert_eq!(list(b"").count(), 0);
    assert!(list_contains(b"Foo, BAR", b"bar"));
    assert!(!list_contains(b"Foo, BARS", b"bar"));
}

#[test]
fn authorities_are_host_and_perhaps_port() {
    let read = |value: &'static str| authority(value.as_bytes()).map(|a| (a.host, a.port));
    let accepted: [(&str, &str, Option<u16>); 9] = [
        ("example.com", "example.com", None),
        ("example.com.", "example.com.", None),
        ("a_b-c~1:0", "a_b-c~1", Some(0)),
        ("EXAMPLE.com:65535", "EXAMPLE.com", Some(65535)),
        ("127.0.0.1:00080", "127.0.0.1", Some(80)),
        ("[::1]", "[::1]", None),
        ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
        ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
        ("x", "x", None),
    ];
    for (value, host, port) in accepted {
        assert_eq!(read(value), Some((host.as_bytes(), port)), "{value}");
    }
    let refused = [
        "",
        ":80",
        "a:",
        "a:65536",
        "a:000080",
        "a:8a",
        "a:-1",
        "a:80:80",
        ".",
        ".a",
        "a..b",
        "a b",
        "a,b",
        "a/b",
        "a@b",
        "a%41",
        "a!b",
        "\u{e4}",
        "[",
        "[]",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "[v1.x]",
        "a\0",
        "a#",
        "a?",
    ];
    for value in refused {
        assert_eq!(authority(value.as_bytes()), None, "{value}");
    }
    assert!(authority("x".repeat(254).as_bytes()).is_some());
    assert!(authority("x".repeat(255).as_bytes()).is_none());
    assert!(authority(format!("{}:80", "x".repeat(255)).as_bytes()).is_none());
}

#[test]
fn names_of_hosts_are_read_alike_in_every_place_of_a_word() {
    for at in 0..20 {
        for byte in 0..=255_u8 {
            let is = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && at > 0);
            let mut name = [b'a'; 20];
            name[at] = byte;
            assert_eq!(authority(&name).is_some(), is, "{byte:#x} at {at}");
        }
        let mut dots = [b'a'; 21];
        dots[at..at + 2].fill(b'.');
        assert_eq!(authority(&dots), None, "two dots at {at}");
    }
}

#[test]
fn field_values_hold_no_control_byte_and_are_trimmed() {
    for value in [&b""[..], b"a", b"a b\tc", b"\xff\x80", b"0123456789abcdef\t0"] {
        assert!(is_field_value(value), "{}", value.escape_ascii());
    }
    for value in [&b" a"[..], b"a\t", b"a\r\nSet-Cookie: b", b"a\n", b"\0", b"0123456789abcde\x7f"] {
        assert!(!is_field_value(value), "{}", value.escape_ascii());
    }
}

#[test]
fn tokens_are_exactly_those_of_rfc_9110() {
    for byte in 0..=255_u8 {
        let is = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // In every place of a word that is looked at as a whole, and after it.
        for at in 0..20 {
            let mut bytes = [b'a'; 20];
            bytes[at] = byte;
            assert_eq!(is_token(&bytes), is, "{byte:#x} at {at}");
        }
    }
    assert!(!is_token(b""));
}

#[test]
fn lengths_are_digits_that_can_be_counted() {
    assert_eq!(content_length(b"0"), Ok(0));
    assert_eq!(content_length(b"9999999999999999999"), Ok(9_999_999_999_999_999_999));
    assert_eq!(content_length(b"10000000000000000000"), Err(LengthError::Overflow));
    assert_eq!(content_length(b""), Err(LengthError::Malformed));
    assert_eq!(content_length(b"1,1"), Err(LengthError::List));
}
