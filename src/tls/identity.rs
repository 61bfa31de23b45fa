//! Who a client is, as its certificate says.

use rustls::{CertificateError, Error};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Names taken of a certificate at most: more are not worth a request's memory.
const NAMES_MAX: usize = 32;
/// Bytes of a subject or of all other names at most.
const BYTES_MAX: usize = 4096;

/// What a client's certificate says of it. Every text is printable ASCII, so that it can be the value of a header field;
/// other characters are `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The subject, as `CN=alice, O=Example` (RFC 4514, first to last as in the certificate).
    pub subject: Box<str>,
    /// The subject alternative names: `DNS:a.example, URI:spiffe://example/a`.
    pub names: Box<str>,
    /// The SPIFFE id: the one URI, where its scheme is `spiffe`.
    pub spiffe: Box<str>,
    /// Until when the certificate is good, in seconds since 1970.
    pub expires: i64,
}

/// Printable ASCII of bounded length.
fn shown(text: &str) -> Box<str> {
    let is_shown = |char: char| char == ' ' || char.is_ascii_graphic();
    text.chars().take(BYTES_MAX).map(|char| if is_shown(char) { char } else { '?' }).collect()
}

impl Identity {
    /// From a certificate in DER that was verified.
    pub(super) fn read(der: &[u8]) -> Result<Self, Error> {
        let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = parse_x509_certificate(der).map_err(|error| bad(error.to_string()))?;
        let others = parsed.subject_alternative_name().map_err(|error| bad(error.to_string()))?;
        let general = others.as_ref().map(|others| others.value.general_names.as_slice()).unwrap_or_default();
        let mut names = Vec::new();
        let mut uris = general.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        // An X.509-SVID has exactly one URI (SPIFFE X.509-SVID section 2).
        let spiffe = match (uris.next(), uris.next()) {
            (Some(uri), None) if uri.starts_with("spiffe://") => shown(uri),
            _ => Box::default(),
        };
        for name in general.iter().take(NAMES_MAX) {
            match name {
                GeneralName::DNSName(name) => names.push(format!("DNS:{name}")),
                GeneralName::URI(uri) => names.push(format!("URI:{uri}")),
                GeneralName::RFC822Name(address) => names.push(format!("email:{address}")),
                GeneralName::IPAddress(bytes) => names.extend(ip(bytes).map(|address| format!("IP:{address}"))),
                _ => {}
            }
        }
        Ok(Self {
            subject: shown(&parsed.subject().to_string()),
            names: shown(&names.join(", ")),
            spiffe,
            expires: parsed.validity().not_after.timestamp(),
        })
    }
}

pub(super) fn ip(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(Into::into);
    <[u8; 16]>::try_from(bytes).ok().map(Into::into).or_else(v4)
}
