//! Any bytes against a naive reading of the specification, and whatever is written against what is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// What is said, in a form of its own: the protocol, both ends as text, and the bytes of the header.
type Model = (String, String, String, usize);

/// Reads a whole line, and says nothing where anything is wrong with it.
fn line(bytes: &[u8]) -> Option<Model> {
    let text: String = bytes.iter().take(V1_MAX).map(|&byte| char::from(byte)).collect();
    let (line, _) = text.split_once("\r\n")?;
    if line.chars().any(|c| c.is_ascii_control()) {
        return None;
    }
    let words: Vec<&str> = line.split(' ').collect();
    // Each byte became a character.
    let none = || Some(("nothing".to_owned(), String::new(), String::new(), line.chars().count() + 2));
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => none(),
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let is_ip = |text: &str| match family {
                "TCP4" => text.parse::<Ipv4Addr>().is_ok_and(|ip| ip.to_string() == text),
                _ => text.parse::<Ipv6Addr>().is_ok(),
            };
            let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port.to_string() == text);
            let is_right = is_ip(from) && is_ip(to) && is_port(from_port) && is_port(to_port);
            let shown = |ip: &str, port: &str| {
                let ip: IpAddr = ip.parse().unwrap();
                format!("{ip} {port}")
            };
            is_right.then(|| ("inet".to_owned(), shown(from, from_port), shown(to, to_port), line.len() + 2))
        }
        _ => None,
    }
}

/// Reads a whole binary header without its extensions, and says nothing where anything is wrong with it.
fn binary(bytes: &[u8]) -> Option<Model> {
    let block = bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let (command, family) = (*block.first()?, *block.get(1)?);
    let length = usize::from(*block.get(2)?) * 256 + usize::from(*block.get(3)?);
    let block = block.get(4..4 + length)?;
    let number = |at: usize| u16::from(block[at]) * 256 + u16::from(block[at + 1]);
    let (kind, from, to) = match (command, family) {
        (0x20, _) | (0x21, 0..=2) => ("nothing", String::new(), String::new()),
        (0x21, 0x11) if length >= 12 => {
            let ip = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
            ("inet", format!("{} {}", ip(0), number(8)), format!("{} {}", ip(4), number(10)))
        }
        (0x21, 0x21) if length >= 36 => {
            let ip = |at: usize| {
                let groups: Vec<u16> = (0..8).map(|group| number(at + 2 * group)).collect();
                Ipv6Addr::from(<[u16; 8]>::try_from(groups).unwrap())
            };
            ("inet", format!("{} {}", ip(0), number(32)), format!("{} {}", ip(16), number(34)))
        }
        (0x21, 0x31) if length >= 216 => {
            let name = |at: usize| {
                let name = &block[at..at + 108];
                let text: String = name.iter().map(|&byte| char::from(byte)).collect();
                match text.strip_prefix('\0') {
                    None => text.split('\0').next().unwrap_or_default().to_owned(),
                    Some(rest) => match rest.trim_end_matches('\0') {
                        "" => String::new(),
                        rest => format!("\0{rest}"),
                    },
                }
            };
            ("unix", name(0), name(108))
        }
        _ => return None,
    };
    Some((kind.to_owned(), from, to, 16 + length))
}

fn shown(header: &Header<'_>) -> Model {
    let text = |name: &[u8]| name.iter().map(|&byte| char::from(byte)).collect();
    let inet = |at: SocketAddr| format!("{} {}", at.ip(), at.port());
    let (kind, from, to) = match header.said {
        Said::Nothing { .. } => ("nothing", String::new(), String::new()),
        Said::Inet { source, destination } => ("inet", inet(source), inet(destination)),
        Said::Unix { source, destination } => ("unix", text(source), text(destination)),
    };
    (kind.to_owned(), from, to, header.len)
}

/// Any, but likely a header.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "PROXY",
        "TCP4",
        "TCP6",
        "UNKNOWN",
        "1.2.3.4",
        "0.0.0.0",
        "1.2.3.04",
        "::1",
        "2001:db8::7",
        "::ffff:1.2.3.4",
        "0",
        "1",
        "80",
        "65535",
        "65536",
        "080",
        "+1",
        "",
        "\r",
        "\n",
        "x",
    ]);
    let line = (
        prop::sample::select(vec![
            "PROXY TCP4 ",
            "PROXY TCP6 ",
            "PROXY UNKNOWN",
            "PROXY ",
            "PROXY TCP4 1.2.3.4 1.2.3.4 ",
        ]),
        prop::collection::vec(word, 0..6),
        prop::sample::select(vec!["\r\n", "\n", "\r\nGET", " \r\n", ""]),
    )
        .prop_map(|(start, words, end)| format!("{start}{}{end}", words.join(" ")).into_bytes());
    let families = prop::sample::select(vec![0x00_u8, 0x01, 0x10, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x41]);
    let block = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 216),
    ];
    let binary = (prop::sample::select(vec![0x20_u8, 0x21, 0x22, 0x11]), families, block, 0..3_usize).prop_map(
        |(command, family, block, more)| {
            let mut bytes = v2(command, family, &block);
            bytes.extend(vec![b'G'; more]);
            bytes
        },
    );
    prop_oneof![4 => line, 4 => binary, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn said() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = || any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port)));
    let v6 = || any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port)));
    prop_oneof![(v4(), v4()), (v6(), v6()), (v4(), v6()), (v6(), v4())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_reads_what_the_specification_says(bytes in likely()) {
        let limits = Limits { header: 70_000, tlvs: 1000 };
        let model = line(&bytes).or_else(|| binary(&bytes));
        match decode(&bytes, &limits) {
            Ok(Progress::Complete(header)) => prop_assert_eq!(Some(shown(&header)), model),
            Ok(Progress::Partial) => prop_assert_eq!(None, model),
            Err(error) => prop_assert!(
                model.is_none() || error.code().starts_with("proxy_tlv") || error == HeaderError::Checksum,
                "{error:?} {model:?}"
            ),
        }
    }

    #[test]
    fn pieces_change_nothing(bytes in likely(), limits in prop::sample::select(vec![20, 60, 107, 240, 4096])) {
        let limits = Limits { header: limits, tlvs: 4 };
        let at_once = decode(&bytes, &limits);
        for end in 0..bytes.len() {
            match decode(&bytes[..end], &limits) {
                Ok(Progress::Partial) => {}
                decided => prop_assert_eq!(decided, at_once),
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        ends in said(),
        id in prop::option::of(prop::collection::vec(any::<u8>(), 0..=UNIQUE_ID_MAX)),
        host in prop::option::of("[a-z.]{1,255}"),
        checksum in any::<bool>(),
    ) {
        let canonical = |at: SocketAddr| (at.ip().to_canonical(), at.port());
        let said = Said::Inet { source: ends.0, destination: ends.1 };
        let extras = Extras { unique_id: id.as_deref(), authority: host.as_deref(), tls: None, checksum };
        for version in [Version::V1, Version::V2] {
            let mut bytes = Vec::new();
            match version {
                Version::V1 => encode_v1(&said, &mut bytes),
                Version::V2 => encode_v2(&said, &extras, &mut bytes),
            }
            let header = whole(&bytes);
            prop_assert_eq!((header.len, header.version), (bytes.len(), version));
            let Said::Inet { source, destination } = header.said else { panic!("{header:?}") };
            prop_assert_eq!((canonical(source), canonical(destination)), (canonical(ends.0), canonical(ends.1)));
            if version == Version::V2 {
                let Tlvs { unique_id, authority, has_checksum, .. } = header.tlvs;
                prop_assert_eq!((unique_id, authority, has_checksum), (extras.unique_id, extras.authority, checksum));
            }
        }
    }
}
