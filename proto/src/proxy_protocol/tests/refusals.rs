//! Each refusal, and that it comes as early as it can.

use super::*;

#[test]
fn lines_are_refused() {
    for (line, error) in [
        ("GET / HTTP/1.1\r\n\r\n", HeaderError::Signature),
        ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Signature),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeaderError::Signature),
        ("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Signature),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", HeaderError::Line),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r2\r\n", HeaderError::Line),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n", HeaderError::Line),
        ("PROXY UNKNOWN \0\r\n", HeaderError::Line),
        ("PROXY \r\n", HeaderError::Protocol),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Protocol),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Protocol),
        ("PROXY unknown\r\n", HeaderError::Protocol),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Protocol),
        ("PROXY TCP4\r\n", HeaderError::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", HeaderError::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", HeaderError::Fields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", HeaderError::Fields),
        ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", HeaderError::Fields),
        ("PROXY TCP4 1.2.3.4  1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 ::1 1.2.3.4 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", HeaderError::Address),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", HeaderError::Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", HeaderError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", HeaderError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", HeaderError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", HeaderError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 0x2\r\n", HeaderError::Port),
    ] {
        assert_eq!(refused(line.as_bytes()), error, "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX - 15));
    assert_eq!((long.len(), refused(long.as_bytes())), (V1_MAX + 1, HeaderError::TooLong));
    assert_eq!(refused(&long.as_bytes()[..V1_MAX]), HeaderError::TooLong);
    assert_eq!(decode(&long.as_bytes()[..V1_MAX - 1], &Limits::default()), Ok(Progress::Partial));
}

#[test]
fn binary_headers_are_refused() {
    for (bytes, error) in [
        (b"\x16\x03\x01\x02\x00".to_vec(), HeaderError::Signature),
        (b"\r\nGET / HTTP/1.1\r\n".to_vec(), HeaderError::Signature),
        (v2(0x11, 0x11, &[0; 12]), HeaderError::Version),
        (v2(0x31, 0x11, &[0; 12]), HeaderError::Version),
        (v2(0x22, 0x11, &[0; 12]), HeaderError::Command),
        (v2(0x21, 0x41, &[0; 12]), HeaderError::Family),
        (v2(0x21, 0x13, &[0; 12]), HeaderError::Family),
        (v2(0x21, 0x10, &[0; 12]), HeaderError::Family),
        (v2(0x21, 0x12, &[0; 12]), HeaderError::Datagram),
        (v2(0x21, 0x32, &[0; 216]), HeaderError::Datagram),
        (v2(0x21, 0x11, &[0; 11]), HeaderError::Truncated),
        (v2(0x21, 0x11, &[]), HeaderError::Truncated),
        (v2(0x21, 0x21, &[0; 35]), HeaderError::Truncated),
        (v2(0x21, 0x31, &[0; 215]), HeaderError::Truncated),
        (inet(&[vec![0x04]]), HeaderError::TlvTruncated),
        (inet(&[vec![0x04, 0]]), HeaderError::TlvTruncated),
        (inet(&[vec![0x04, 0, 1]]), HeaderError::TlvTruncated),
        (inet(&[vec![0x04, 0xff, 0xff, 0, 0]]), HeaderError::TlvTruncated),
        (inet(&[tlv(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9, b'a'])]), HeaderError::TlvTruncated),
        (inet(&[tlv(1, b"h2"), tlv(1, b"h2")]), HeaderError::TlvTwice),
        (inet(&[tlv(2, b"a"), tlv(2, b"b")]), HeaderError::TlvTwice),
        (inet(&[tlv(3, &[0; 4]), tlv(3, &[0; 4])]), HeaderError::TlvTwice),
        (inet(&[tlv(5, b"a"), tlv(5, b"")]), HeaderError::TlvTwice),
        (inet(&[tlv(0x20, &[0; 5]), tlv(0x20, &[0; 5])]), HeaderError::TlvTwice),
        (inet(&[tlv(0x30, b""), tlv(0x30, b"")]), HeaderError::TlvTwice),
        (inet(&[tlv(0x20, &[&[0; 5][..], &tlv(0x22, b"a"), &tlv(0x22, b"b")].concat())]), HeaderError::TlvTwice),
        (inet(&[tlv(2, b"")]), HeaderError::TlvValue),
        (inet(&[tlv(2, &[b'a'; AUTHORITY_MAX + 1])]), HeaderError::TlvValue),
        (inet(&[tlv(2, b"a\r\nb")]), HeaderError::TlvValue),
        (inet(&[tlv(2, b"\xff")]), HeaderError::TlvValue),
        (inet(&[tlv(3, &[0; 3])]), HeaderError::TlvValue),
        (inet(&[tlv(3, &[0; 4])]), HeaderError::Checksum),
        (inet(&[tlv(5, &[0; UNIQUE_ID_MAX + 1])]), HeaderError::TlvValue),
        (inet(&[tlv(0x20, &[0; 4])]), HeaderError::TlvValue),
        (inet(&[tlv(0x20, &[&[0; 5][..], &tlv(0x22, b"a\0")].concat())]), HeaderError::TlvValue),
        (inet(&vec![tlv(4, b""); 33]), HeaderError::TlvTooMany),
        (v2(0x20, 0, &[0; 4081]), HeaderError::TooLong),
    ] {
        assert_eq!(refused(&bytes), error, "{bytes:?}");
    }
    let bytes = inet(&vec![tlv(4, b""); 32]);
    whole(&bytes);
    // A length that cannot be is refused before its bytes have come.
    let bytes = v2(0x20, 0, &[0; 4081]);
    assert_eq!(refused(&bytes[..16]), HeaderError::TooLong);
    whole(&v2(0x20, 0, &[0; 4080]));
}

#[test]
fn codes_are_stable_and_apart() {
    let codes: std::collections::HashSet<&str> = HeaderError::ALL.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), HeaderError::ALL.len());
    for error in HeaderError::ALL {
        assert!(error.code().starts_with("proxy_") && !error.to_string().is_empty());
    }
}
