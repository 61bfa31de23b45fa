//! The extensions of version 2: type, length, value (sections 2.2.1 to 2.2.8).

use super::crc32c::crc32c;
use super::{AUTHORITY_MAX, HeaderError, Limits, UNIQUE_ID_MAX};

pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
const NETNS: u8 = 0x30;

pub(super) const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// Bits of the first byte of [`SSL`].
pub(super) const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// What a header says beside the addresses. Extensions that are not here were skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tlvs<'a> {
    /// `ALPN`: what the connection speaks above TLS.
    pub alpn: Option<&'a [u8]>,
    /// `AUTHORITY`: the host that the client named, as by SNI. At most [`AUTHORITY_MAX`] bytes.
    pub authority: Option<&'a str>,
    /// `UNIQUE_ID`: what the sender calls the connection. At most [`UNIQUE_ID_MAX`] bytes of any kind.
    pub unique_id: Option<&'a [u8]>,
    /// `SSL`: how the client spoke to the sender.
    pub ssl: Option<Ssl<'a>>,
    /// Whether there was a checksum, which then was right.
    pub has_checksum: bool,
}

/// `SSL`: how the client spoke to the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ssl<'a> {
    /// Whether by TLS at all.
    pub is_tls: bool,
    /// Whether the client showed a certificate, in this connection or in the session that it goes on with.
    pub has_certificate: bool,
    /// Whether the sender found the certificate good.
    pub is_verified: bool,
    /// As `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The common name of the certificate.
    pub common_name: Option<&'a str>,
    /// As `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a str>,
}

/// Takes the first extension off `rest`: its type and its value.
fn next<'a>(rest: &mut &'a [u8], left: &mut usize) -> Result<Option<(u8, &'a [u8])>, HeaderError> {
    if rest.is_empty() {
        return Ok(None);
    }
    *left = left.checked_sub(1).ok_or(HeaderError::TlvTooMany)?;
    let (&[kind, high, low], after) = rest.split_first_chunk::<3>().ok_or(HeaderError::TlvTruncated)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, after) = after.split_at_checked(length).ok_or(HeaderError::TlvTruncated)?;
    *rest = after;
    Ok(Some((kind, value)))
}

/// Sets what can be there once.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), HeaderError> {
    if slot.replace(value).is_some() { Err(HeaderError::TlvTwice) } else { Ok(()) }
}

/// The extensions of the header that `whole` is, of which `rest` is the end.
pub(super) fn decode<'a>(whole: &'a [u8], rest: &'a [u8], limits: &Limits) -> Result<Tlvs<'a>, HeaderError> {
    let (mut tlvs, mut rest, mut left) = (Tlvs::default(), rest, limits.tlvs);
    let (mut netns, mut checksum) = (None, None);
    while let Some((kind, value)) = next(&mut rest, &mut left)? {
        match kind {
            ALPN => once(&mut tlvs.alpn, value)?,
            AUTHORITY if value.is_empty() || value.len() > AUTHORITY_MAX => return Err(HeaderError::TlvValue),
            AUTHORITY => once(&mut tlvs.authority, text(value)?)?,
            CRC32C => {
                let sum: [u8; 4] = value.try_into().map_err(|_| HeaderError::TlvValue)?;
                once(&mut checksum, (sum, whole.len() - rest.len()))?;
            }
            UNIQUE_ID if value.len() > UNIQUE_ID_MAX => return Err(HeaderError::TlvValue),
            UNIQUE_ID => once(&mut tlvs.unique_id, value)?,
            SSL => once(&mut tlvs.ssl, ssl(value, &mut left)?)?,
            // Of no use here, but two of them would be two statements.
            NETNS => once(&mut netns, value)?,
            // NOOP is padding; what is not known says nothing.
            _ => {}
        }
    }
    if let Some((sum, end)) = checksum {
        // Of the whole header with zeros where the checksum is.
        let pieces = [whole.get(..end - 4).unwrap_or_default(), &[0; 4], whole.get(end..).unwrap_or_default()];
        if crc32c(pieces) != u32::from_be_bytes(sum) {
            return Err(HeaderError::Checksum);
        }
        tlvs.has_checksum = true;
    }
    Ok(tlvs)
}

fn ssl<'a>(value: &'a [u8], left: &mut usize) -> Result<Ssl<'a>, HeaderError> {
    let (&[client, verify @ ..], mut rest) = value.split_first_chunk::<5>().ok_or(HeaderError::TlvValue)?;
    let mut ssl = Ssl {
        is_tls: client & CLIENT_SSL != 0,
        has_certificate: client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0,
        // Zero says only that nothing was wrong, which is so without a certificate, too.
        is_verified: client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0 && verify == [0; 4],
        ..Ssl::default()
    };
    while let Some((kind, value)) = next(&mut rest, left)? {
        match kind {
            SSL_VERSION => once(&mut ssl.version, text(value)?)?,
            SSL_CN => once(&mut ssl.common_name, text(value)?)?,
            SSL_CIPHER => once(&mut ssl.cipher, text(value)?)?,
            _ => {}
        }
    }
    Ok(ssl)
}

/// What ends up in logs and fields has no control bytes.
fn text(value: &[u8]) -> Result<&str, HeaderError> {
    let text = std::str::from_utf8(value).map_err(|_| HeaderError::TlvValue)?;
    if text.chars().any(char::is_control) { Err(HeaderError::TlvValue) } else { Ok(text) }
}
