//! Tests of the codec as its callers see it.

mod model;
mod refusals;

use std::net::SocketAddr;

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

/// A TCP/IPv4 connection with these extensions.
fn inet(extensions: &[Vec<u8>]) -> Vec<u8> {
    let addresses = [&[192, 0, 2, 7, 198, 51, 100, 1][..], &[0x9c, 0x40, 0x01, 0xbb]].concat();
    v2(0x21, 0x11, &[addresses, extensions.concat()].concat())
}

fn whole(bytes: &[u8]) -> Header<'_> {
    match decode(bytes, &Limits::default()) {
        Ok(Progress::Complete(header)) => header,
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> HeaderError {
    decode(bytes, &Limits::default()).expect_err("it is refused")
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn lines_tell_who_is_there() {
    for (line, source, destination) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", "192.0.2.7:40000", "198.51.100.1:443"),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255:65535",
            "255.255.255.255:65535",
        ),
        ("PROXY TCP6 2001:db8::1 ::1 0 1\r\n", "[2001:db8::1]:0", "[::1]:1"),
        ("PROXY TCP6 ::ffff:192.0.2.7 2001:DB8::2 1 2\r\n", "[::ffff:192.0.2.7]:1", "[2001:db8::2]:2"),
    ] {
        let bytes = [line.as_bytes(), b"GET"].concat();
        let header = whole(&bytes);
        assert_eq!((header.len, header.version), (line.len(), Version::V1));
        assert_eq!(header.said, Said::Inet { source: address(source), destination: address(destination) });
    }
    // The longest of the specification.
    let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:f".repeat(7).get(..39).unwrap());
    assert_eq!(longest.len(), V1_MAX);
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN whatever  there is\r\n", &longest] {
        assert_eq!(whole(line.as_bytes()).said, Said::Nothing { is_local: false });
    }
}

#[test]
fn binary_headers_tell_who_is_there() {
    let bytes = inet(&[]);
    let header = whole(&bytes);
    assert_eq!((header.len, header.version, header.tlvs), (28, Version::V2, Tlvs::default()));
    let (source, destination) = (address("192.0.2.7:40000"), address("198.51.100.1:443"));
    assert_eq!(header.said, Said::Inet { source, destination });
    let v6 = [&[0x20; 16][..], &[0x30; 16], &[0, 1, 0, 2]].concat();
    let bytes = v2(0x21, 0x21, &v6);
    let source = address("[2020:2020:2020:2020:2020:2020:2020:2020]:1");
    let destination = address("[3030:3030:3030:3030:3030:3030:3030:3030]:2");
    assert_eq!(whole(&bytes).said, Said::Inet { source, destination });
    let mut names = [0; 216];
    names[..4].copy_from_slice(b"\0abs");
    names[108..113].copy_from_slice(b"/sock");
    let bytes = v2(0x21, 0x31, &names);
    assert_eq!(whole(&bytes).said, Said::Unix { source: b"\0abs", destination: b"/sock" });
    let bytes = v2(0x21, 0x31, &[0; 216]);
    assert_eq!(whole(&bytes).said, Said::Unix { source: b"", destination: b"" });
}

#[test]
fn whoever_speaks_for_itself_may_say_anything_else() {
    for family in [0x00, 0x11, 0x12, 0x21, 0xff] {
        let bytes = v2(0x20, family, b"no addresses, no extensions");
        assert_eq!(whole(&bytes).said, Said::Nothing { is_local: true });
    }
    for transport in 0..=2 {
        let bytes = v2(0x21, transport, b"?");
        assert_eq!((whole(&bytes).said, whole(&bytes).len), (Said::Nothing { is_local: false }, 17));
    }
}

#[test]
fn extensions_are_read() {
    let inner = [tlv(0x21, b"TLSv1.3"), tlv(0x22, "Zo\u{eb}".as_bytes()), tlv(0x23, b"AES"), tlv(0x29, b"?")].concat();
    let bytes = inet(&[
        tlv(0x01, b"h2"),
        tlv(0x04, &[0; 40]),
        tlv(0x04, b""),
        tlv(0x02, b"example.com"),
        tlv(0x05, &[0, 1, 0xff]),
        tlv(0x30, b"net"),
        tlv(0xee, b"of nobody"),
        tlv(0xee, b"of nobody"),
        tlv(0x20, &[&[0x07, 0, 0, 0, 0][..], &inner].concat()),
    ]);
    let ssl = Ssl {
        is_tls: true,
        has_certificate: true,
        is_verified: true,
        version: Some("TLSv1.3"),
        common_name: Some("Zo\u{eb}"),
        cipher: Some("AES"),
    };
    let tlvs = Tlvs {
        alpn: Some(b"h2"),
        authority: Some("example.com"),
        unique_id: Some(&[0, 1, 0xff]),
        ssl: Some(ssl),
        has_checksum: false,
    };
    assert_eq!(whole(&bytes).tlvs, tlvs);
    // No certificate was shown: that none was found bad says nothing.
    let bytes = inet(&[tlv(0x20, &[0x01, 0, 0, 0, 0])]);
    assert_eq!(whole(&bytes).tlvs.ssl, Some(Ssl { is_tls: true, ..Ssl::default() }));
    let bytes = inet(&[tlv(0x20, &[0x05, 0, 0, 0, 1])]);
    assert_eq!(whole(&bytes).tlvs.ssl, Some(Ssl { is_tls: true, has_certificate: true, ..Ssl::default() }));
}

#[test]
fn a_checksum_is_verified_where_there_is_one() {
    let said = Said::Inet { source: address("192.0.2.7:1"), destination: address("192.0.2.8:2") };
    let extras = Extras { unique_id: Some(b"id"), authority: Some("a.example"), tls: None, checksum: true };
    let mut bytes = Vec::new();
    encode_v2(&said, &extras, &mut bytes);
    let header = whole(&bytes);
    assert!(header.tlvs.has_checksum);
    assert_eq!(
        (header.said, header.tlvs.unique_id, header.tlvs.authority),
        (said, Some(&b"id"[..]), Some("a.example"))
    );
    // Any one bit that is not of the structure.
    for at in [16, 20, 26, bytes.len() - 1, bytes.len() - 4] {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        assert_eq!(refused(&wrong), HeaderError::Checksum, "{at}");
    }
    // In the middle, too.
    let mut known = inet(&[tlv(0x03, &[0; 4]), tlv(0x04, b"xx")]);
    let sum = crc32c::crc32c([&known[..]]).to_be_bytes();
    known[31..35].copy_from_slice(&sum);
    assert!(whole(&known).tlvs.has_checksum);
}

#[test]
fn what_is_written_is_read() {
    let unix = Said::Unix { source: b"", destination: b"/run/web.sock" };
    let nothing = Said::Nothing { is_local: true };
    let mut out = b"before".to_vec();
    encode_v1(&unix, &mut out);
    encode_v1(&nothing, &mut out);
    let v4 = Said::Inet { source: address("[::ffff:192.0.2.7]:1"), destination: address("192.0.2.8:2") };
    encode_v1(&v4, &mut out);
    let mixed = Said::Inet { source: address("[2001:db8::1]:1"), destination: address("192.0.2.8:2") };
    encode_v1(&mixed, &mut out);
    let lines = "beforePROXY UNKNOWN\r\nPROXY UNKNOWN\r\nPROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n\
                 PROXY TCP6 2001:db8::1 ::ffff:192.0.2.8 1 2\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), lines);
    let mut out = Vec::new();
    encode_v2(&unix, &Extras::default(), &mut out);
    assert_eq!((whole(&out).said, out.len()), (unix, 232));
    out.clear();
    encode_v2(&nothing, &Extras { checksum: true, ..Extras::default() }, &mut out);
    assert_eq!(out, v2(0x20, 0, b""));
    out.clear();
    encode_v2(&v4, &Extras { tls: Some("TLSv1.2"), ..Extras::default() }, &mut out);
    assert_eq!(whole(&out).said, Said::Inet { source: address("192.0.2.7:1"), destination: address("192.0.2.8:2") });
    assert_eq!(whole(&out).tlvs.ssl, Some(Ssl { is_tls: true, version: Some("TLSv1.2"), ..Ssl::default() }));
}
