//! Version 2: binary (section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::{FIXED, Header, HeaderError, Limits, Progress, SIGNATURE, Said, Tlvs, UNIX_NAME, Version, may_begin, tlv};

/// The byte of version and command.
const COMMAND_AT: usize = SIGNATURE.len();
/// The byte of family and transport.
const FAMILY_AT: usize = COMMAND_AT + 1;

pub(super) fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Progress<'a>, HeaderError> {
    if !may_begin(bytes, SIGNATURE) {
        return Err(HeaderError::Signature);
    }
    let is_local = match bytes.get(COMMAND_AT) {
        None => return Ok(Progress::Partial),
        Some(byte) if byte >> 4 != 2 => return Err(HeaderError::Version),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(HeaderError::Command),
    };
    let (family, transport) = match bytes.get(FAMILY_AT) {
        None => return Ok(Progress::Partial),
        Some(byte) => (byte >> 4, byte & 0x0f),
    };
    // A sender that speaks for itself may say there what it wants.
    if !is_local {
        match (family, transport) {
            (4.., _) | (_, 3..) => return Err(HeaderError::Family),
            (0, _) | (_, 1) => {}
            (_, 2) => return Err(HeaderError::Datagram),
            // Addresses of no transport.
            (_, _) => return Err(HeaderError::Family),
        }
    }
    let Some(&[high, low]) = bytes.get(FAMILY_AT + 1..FIXED) else { return Ok(Progress::Partial) };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > limits.header {
        return Err(HeaderError::TooLong);
    }
    let Some(whole) = bytes.get(..len) else { return Ok(Progress::Partial) };
    let nothing = Said::Nothing { is_local };
    let block = &whole[FIXED..];
    let (said, tlvs) = match family {
        _ if is_local => (nothing, Tlvs::default()),
        1 => inet::<4>(whole, block, limits)?,
        2 => inet::<16>(whole, block, limits)?,
        3 => {
            let (names, rest) = block.split_at_checked(2 * UNIX_NAME).ok_or(HeaderError::Truncated)?;
            let (source, destination) = names.split_at(UNIX_NAME);
            let said = Said::Unix { source: name(source), destination: name(destination) };
            (said, tlv::decode(whole, rest, limits)?)
        }
        // How long the addresses are that mean nothing is not said, so nothing after them can be told from them.
        _ => (nothing, Tlvs::default()),
    };
    Ok(Progress::Complete(Header { len, version: Version::V2, said, tlvs }))
}

fn inet<'a, const BYTES: usize>(
    whole: &'a [u8],
    block: &'a [u8],
    limits: &Limits,
) -> Result<(Said<'a>, Tlvs<'a>), HeaderError>
where
    IpAddr: From<[u8; BYTES]>,
{
    let (source, rest) = block.split_first_chunk::<BYTES>().ok_or(HeaderError::Truncated)?;
    let (destination, rest) = rest.split_first_chunk::<BYTES>().ok_or(HeaderError::Truncated)?;
    let (ports, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Truncated)?;
    let source = SocketAddr::new((*source).into(), u16::from_be_bytes([ports[0], ports[1]]));
    let destination = SocketAddr::new((*destination).into(), u16::from_be_bytes([ports[2], ports[3]]));
    Ok((Said::Inet { source, destination }, tlv::decode(whole, rest, limits)?))
}

/// A name without the bytes that it does not use. That of the abstract namespace begins with NUL.
fn name(bytes: &[u8]) -> &[u8] {
    let used = match bytes {
        // Nothing tells an unused byte at the end from one of the name.
        [0, rest @ ..] => rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 2),
        _ => bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()),
    };
    &bytes[..used]
}
