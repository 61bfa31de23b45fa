//! What must hold of PROXY headers for any bytes at all. The fuzz target and an ordinary test that replays its corpus
//! share it.

use ringway_proto::proxy_protocol::{
    AUTHORITY_MAX, Extras, Limits, Progress, Said, UNIQUE_ID_MAX, UNIX_NAME, V1_MAX, Version, decode, encode_v1,
    encode_v2,
};

/// Checks one connection.
pub(crate) fn proxy_protocol(data: &[u8]) {
    for limits in [Limits::default(), Limits { header: 60, tlvs: 2 }] {
        let at_once = decode(data, &limits);
        // In pieces it is the same, and never decided twice.
        let ends = (0..=data.len().min(200)).chain([data.len()]);
        for end in ends {
            let piece = decode(&data[..end], &limits);
            assert!(piece == Ok(Progress::Partial) || piece == at_once);
        }
        let Ok(Progress::Complete(header)) = at_once else { continue };
        assert!(header.len <= data.len() && header.len <= limits.header);
        assert!(header.version == Version::V2 || header.len <= V1_MAX);
        // What follows has no say.
        assert_eq!(decode(&data[..header.len], &limits), at_once);
        let tlvs = header.tlvs;
        assert!(tlvs.authority.is_none_or(|host| (1..=AUTHORITY_MAX).contains(&host.len())));
        assert!(tlvs.unique_id.is_none_or(|id| id.len() <= UNIQUE_ID_MAX));
        if let Said::Unix { source, destination } = header.said {
            assert!(source.len() <= UNIX_NAME && destination.len() <= UNIX_NAME);
        }
        // What is written again says the same.
        let tls = tlvs.ssl.and_then(|ssl| ssl.version).filter(|version| version.len() <= AUTHORITY_MAX);
        let extras = Extras { unique_id: tlvs.unique_id, authority: tlvs.authority, tls, checksum: true };
        let mut again = Vec::new();
        encode_v2(&header.said, &extras, &mut again);
        let Ok(Progress::Complete(read)) = decode(&again, &Limits::default()) else { unreachable!("{header:?}") };
        let canonical = |said: &Said<'_>| match *said {
            Said::Inet { source, destination } => [source, destination].map(|at| (at.ip().to_canonical(), at.port())),
            _ => [(std::net::Ipv4Addr::UNSPECIFIED.into(), 0); 2],
        };
        if let Said::Inet { .. } = header.said {
            assert_eq!(canonical(&read.said), canonical(&header.said));
            let mut line = Vec::new();
            encode_v1(&header.said, &mut line);
            let Ok(Progress::Complete(read)) = decode(&line, &Limits::default()) else { unreachable!("{header:?}") };
            assert_eq!(canonical(&read.said), canonical(&header.said));
        } else {
            assert_eq!(read.said, header.said);
        }
        if !matches!(header.said, Said::Nothing { .. }) {
            assert!((read.tlvs.unique_id, read.tlvs.authority) == (tlvs.unique_id, tlvs.authority));
        }
    }
}
