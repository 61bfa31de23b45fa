//! Certificates, keys and lists of revoked certificates, as files have them.

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use std::fmt;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Certificates of one chain at most, where somebody sends them to the gateway.
const CHAIN_MAX: usize = 10;

/// A certificate with its chain and its key, ready to be shown.
#[derive(Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// The DNS names it is good for, in lower case; `*.` may be their first label.
    pub(super) names: Vec<String>,
    /// From when it is good, in seconds since 1970.
    pub begins: i64,
    /// Until when it is good, in seconds since 1970.
    pub expires: i64,
    /// What else it says of itself.
    pub about: Arc<About>,
    pub(super) digest: [u8; 32],
}

/// What a certificate says of itself, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its subject (RFC 4514), often empty.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// The names it is good for, of whatever kind: a DNS name or an IP address as it is, others with their kind.
    pub names: Vec<String>,
    /// SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Which of the files of a certificate is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichFile {
    /// That of the certificate and its chain.
    Certificate,
    /// That of the private key.
    Key,
}

/// What is wrong with the files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which file.
    pub file: WhichFile,
    /// What is wrong with it, to be put behind its name.
    pub why: String,
}

/// What is wrong with a PEM file.
fn pem_problem(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("has no {what} in it; PEM is wanted"),
        error => format!("is no PEM file: {error:?}"),
    }
}

fn chain_of(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(pem_problem(&pem::Error::NoItemsFound, "certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(pem_problem(&error, "certificate")),
    }
}

impl Certificate {
    /// From the texts of PEM files: the certificate with those that lead from it to its authority, and its key; and the
    /// DER of an answer of its authority that it is not revoked (RFC 6960), which is stapled to it.
    pub fn read(chain: &[u8], key: &[u8], ocsp: Option<Vec<u8>>) -> Result<Self, Wrong> {
        let this = Self::parse(chain, key, ocsp)?;
        match this.key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(this),
            Err(Error::InconsistentKeys(_)) => {
                Err(Wrong { file: WhichFile::Key, why: "does not belong to the certificate".to_owned() })
            }
            Err(error) => {
                let why = format!("has no certificate that can be used: {error}");
                Err(Wrong { file: WhichFile::Certificate, why })
            }
        }
    }

    /// From what the gateway itself has made to answer an authority. It has an extension that only that understands, and
    /// whoever does not must not take it (RFC 8737 section 3).
    pub fn of_challenge(chain: &[u8], key: &[u8]) -> Result<Self, Wrong> {
        Self::parse(chain, key, None)
    }

    fn parse(chain: &[u8], key: &[u8], ocsp: Option<Vec<u8>>) -> Result<Self, Wrong> {
        let wrong_certificate = |why| Wrong { file: WhichFile::Certificate, why };
        let wrong_key = |why| Wrong { file: WhichFile::Key, why };
        let certificates = chain_of(chain).map_err(wrong_certificate)?;
        let read = certificates.first().map_or(Err("is empty".to_owned()), |first| about(first));
        let Read { names, begins, expires, about } = read.map_err(wrong_certificate)?;
        let der = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong_key(pem_problem(&error, "private key")))?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der);
        let signer = signer.map_err(|error| wrong_key(format!("is no key that can be used: {error}")))?;
        let digest = super::digest(&[chain, key, ocsp.as_deref().unwrap_or_default()]);
        let mut certified = CertifiedKey::new(certificates, signer);
        certified.ocsp = ocsp;
        Ok(Self { key: Arc::new(certified), names, begins, expires, about: Arc::new(about), digest })
    }

    /// The certificate itself, in DER.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }

    /// Checks what [`Self::read`] leaves to whoever writes the config: that each certificate is of the one after it, that
    /// there are not too many, that it has a name, and that it is good now. The error is to be put behind its name.
    pub fn check(&self, now: i64) -> Result<(), String> {
        let chain = &self.key.cert;
        if chain.len() > CHAIN_MAX {
            return Err(format!("has {} certificates; at most {CHAIN_MAX} are wanted", chain.len()));
        }
        let mut wanted: Option<Vec<u8>> = None;
        for (nth, der) in (1..).zip(chain) {
            let (_, parsed) = parse_x509_certificate(der)
                .map_err(|error| format!("has certificate {nth} of the chain, which cannot be read: {error}"))?;
            if wanted.is_some_and(|wanted| parsed.subject().as_raw() != wanted) {
                return Err(format!(
                    "has certificate {nth} of the chain, which is not the issuer of the one before it"
                ));
            }
            wanted = Some(parsed.issuer().as_raw().to_vec());
        }
        if self.about.names.is_empty() {
            return Err("is good for no name (it has no subject alternative name)".to_owned());
        }
        if self.expires <= now {
            return Err(format!("has expired {}", ago(now - self.expires)));
        }
        if self.begins > now {
            return Err("is not good yet".to_owned());
        }
        Ok(())
    }

    /// Whether both are the same, down to their keys.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// The DNS names it is good for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The kind of its key, as metrics have it.
    pub fn kind(&self) -> &'static str {
        match self.key.key.algorithm() {
            SignatureAlgorithm::RSA => "rsa",
            SignatureAlgorithm::ECDSA => "ecdsa",
            SignatureAlgorithm::ED25519 => "ed25519",
            _ => "other",
        }
    }
}

/// A time in words.
fn ago(seconds: i64) -> String {
    match seconds {
        ..7200 => format!("{} minutes ago", seconds / 60),
        7200..172_800 => format!("{} hours ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// What is read of a certificate.
struct Read {
    names: Vec<String>,
    begins: i64,
    expires: i64,
    about: About,
}

fn about(der: &CertificateDer<'_>) -> Result<Read, String> {
    let (_, parsed) =
        parse_x509_certificate(der).map_err(|error| format!("has no certificate that can be read: {error}"))?;
    let others =
        parsed.subject_alternative_name().map_err(|error| format!("has names that cannot be read: {error}"))?;
    let all = || others.iter().flat_map(|others| &others.value.general_names);
    let names = all().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let validity = parsed.validity();
    let fingerprint = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der);
    let about = About {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        serial: hex(parsed.raw_serial()),
        names: all().filter_map(shown).collect(),
        fingerprint: hex(fingerprint.as_ref()),
    };
    let (begins, expires) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Ok(Read { names: names.collect(), begins, expires, about })
}

/// A name as it is shown.
fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => super::identity::ip(bytes).map(|ip| ip.to_string()),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Authorities that are trusted.
#[derive(Clone)]
pub struct Authorities {
    pub(super) store: Arc<RootCertStore>,
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("count", &self.store.len()).finish_non_exhaustive()
    }
}

impl Authorities {
    /// From the text of a PEM file. The error is to be put behind its name.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for certificate in chain_of(text)? {
            store.add(certificate).map_err(|error| format!("has an authority that cannot be used: {error}"))?;
        }
        Ok(Self { store: Arc::new(store), digest: super::digest(&[text]) })
    }

    /// Whether both are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Those that the system trusts. The error says why there are none.
    pub fn of_system() -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let ders: Vec<Vec<u8>> = found.certs.iter().map(|der| der.to_vec()).collect();
        // The system may have some that nobody can use.
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
            return Err(format!("the authorities that the system trusts cannot be read: {why}"));
        }
        let parts: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
        Ok(Self { store: Arc::new(store), digest: super::digest(&parts) })
    }
}

/// Lists of certificates that their authorities have revoked (RFC 5280 section 5).
#[derive(Clone, Debug)]
pub struct Revocations {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    pub(super) digest: [u8; 32],
}

impl Revocations {
    /// From the text of a PEM file. The error is to be put behind its name.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
        let lists = lists.map_err(|error| pem_problem(&error, "certificate revocation list"))?;
        if lists.is_empty() {
            return Err(pem_problem(&pem::Error::NoItemsFound, "certificate revocation list"));
        }
        Ok(Self { lists, digest: super::digest(&[text]) })
    }
}
