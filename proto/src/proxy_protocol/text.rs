//! Version 1: one line (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Header, HeaderError, Limits, Progress, Said, Tlvs, V1_MAX, Version, may_begin};

const PREFIX: &[u8] = b"PROXY ";

pub(super) fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Progress<'a>, HeaderError> {
    if !may_begin(bytes, PREFIX) {
        return Err(HeaderError::Signature);
    }
    let most = V1_MAX.min(limits.header);
    let Some(end) = bytes.iter().take(most).position(|&byte| byte == b'\n') else {
        return if bytes.len() >= most { Err(HeaderError::TooLong) } else { Ok(Progress::Partial) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(HeaderError::Line)?;
    if line.iter().any(u8::is_ascii_control) {
        return Err(HeaderError::Line);
    }
    let said = fields(line.get(PREFIX.len()..).ok_or(HeaderError::Fields)?)?;
    Ok(Progress::Complete(Header { len: end + 1, version: Version::V1, said, tlvs: Tlvs::default() }))
}

fn fields(line: &[u8]) -> Result<Said<'static>, HeaderError> {
    let mut fields = line.split(|&byte| byte == b' ');
    let protocol = fields.next().unwrap_or_default();
    match protocol {
        // Whatever follows is to be ignored.
        b"UNKNOWN" => return Ok(Said::Nothing { is_local: false }),
        b"TCP4" | b"TCP6" => {}
        _ => return Err(HeaderError::Protocol),
    }
    let mut next = || fields.next().ok_or(HeaderError::Fields);
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if fields.next().is_some() {
        return Err(HeaderError::Fields);
    }
    let ip = if protocol == b"TCP4" { address::<Ipv4Addr> } else { address::<Ipv6Addr> };
    Ok(Said::Inet {
        source: SocketAddr::new(ip(source)?, port(source_port)?),
        destination: SocketAddr::new(ip(destination)?, port(destination_port)?),
    })
}

/// The standard library takes just the forms that the specification allows: no leading zeros, no zone.
fn address<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Result<IpAddr, HeaderError> {
    let text = std::str::from_utf8(text).map_err(|_| HeaderError::Address)?;
    text.parse::<A>().map(Into::into).map_err(|_| HeaderError::Address)
}

fn port(text: &[u8]) -> Result<u16, HeaderError> {
    let is_plain = match text {
        [] => false,
        [_] => text[0].is_ascii_digit(),
        [first, rest @ ..] => (b'1'..=b'9').contains(first) && rest.iter().all(u8::is_ascii_digit),
    };
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain);
    text.and_then(|text| text.parse().ok()).ok_or(HeaderError::Port)
}
