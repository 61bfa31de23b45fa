//! Writing headers.

use std::net::{IpAddr, SocketAddr};

use super::crc32c::crc32c;
use super::{AUTHORITY_MAX, FIXED, SIGNATURE, Said, UNIQUE_ID_MAX, UNIX_NAME, tlv};

/// What a header of version 2 says beside the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extras<'a> {
    /// What the connection is called, up to [`UNIQUE_ID_MAX`] bytes; a longer one is left out.
    pub unique_id: Option<&'a [u8]>,
    /// The host that the client named, up to [`AUTHORITY_MAX`] bytes; a longer one is left out.
    pub authority: Option<&'a str>,
    /// The version of TLS that the client speaks, as `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// Whether a checksum is added.
    pub checksum: bool,
}

/// Both ends in one family: IPv4 where both can be, else IPv6.
fn paired(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |at: SocketAddr| match at.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), at.port()),
        IpAddr::V6(_) => at,
    };
    (mapped(source), mapped(destination))
}

/// Appends a header of version 1. It has no words for Unix sockets: they are `UNKNOWN`.
pub fn encode_v1(said: &Said<'_>, out: &mut Vec<u8>) {
    let Said::Inet { source, destination } = *said else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let (from, to) = paired(source, destination);
    let family = if from.is_ipv4() { 4 } else { 6 };
    let (from_port, to_port) = (from.port(), to.port());
    let line = format!("PROXY TCP{family} {} {} {from_port} {to_port}\r\n", from.ip(), to.ip());
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2.
pub fn encode_v2(said: &Said<'_>, extras: &Extras<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    let (command, family) = match said {
        Said::Nothing { is_local } => (if *is_local { 0x20 } else { 0x21 }, 0x00),
        Said::Inet { source, destination } if paired(*source, *destination).0.is_ipv4() => (0x21, 0x11),
        Said::Inet { .. } => (0x21, 0x21),
        Said::Unix { .. } => (0x21, 0x31),
    };
    out.extend_from_slice(&[command, family, 0, 0]);
    match *said {
        // What follows would not be read.
        Said::Nothing { .. } => return,
        Said::Inet { source, destination } => {
            let (source, destination) = paired(source, destination);
            for ip in [source.ip(), destination.ip()] {
                match ip {
                    IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
                    IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Said::Unix { source, destination } => {
            for name in [source, destination] {
                let used = name.get(..UNIX_NAME).unwrap_or(name);
                out.extend_from_slice(used);
                out.resize(out.len() + UNIX_NAME - used.len(), 0);
            }
        }
    }
    if let Some(id) = extras.unique_id.filter(|id| id.len() <= UNIQUE_ID_MAX) {
        tlv(tlv::UNIQUE_ID, &[id], out);
    }
    if let Some(host) = extras.authority.filter(|host| !host.is_empty() && host.len() <= AUTHORITY_MAX) {
        tlv(tlv::AUTHORITY, &[host.as_bytes()], out);
    }
    if let Some(version) = extras.tls.filter(|version| version.len() <= AUTHORITY_MAX) {
        let inner = [tlv::SSL_VERSION, 0, version.len() as u8];
        tlv(tlv::SSL, &[&[tlv::CLIENT_SSL, 0, 0, 0, 0], &inner, version.as_bytes()], out);
    }
    if extras.checksum {
        tlv(tlv::CRC32C, &[&[0; 4]], out);
    }
    let length = (out.len() - start - FIXED) as u16;
    if let Some(at) = out.get_mut(start + FIXED - 2..start + FIXED) {
        at.copy_from_slice(&length.to_be_bytes());
    }
    if extras.checksum {
        let sum = crc32c([out.get(start..).unwrap_or_default()]).to_be_bytes();
        let end = out.len();
        if let Some(at) = out.get_mut(end - 4..) {
            at.copy_from_slice(&sum);
        }
    }
}

fn tlv(kind: u8, value: &[&[u8]], out: &mut Vec<u8>) {
    let length = value.iter().map(|piece| piece.len()).sum::<usize>() as u16;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    for piece in value {
        out.extend_from_slice(piece);
    }
}
