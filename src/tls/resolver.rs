//! Which certificate a client is shown: by the name it asks for, and by what it can verify.

use super::certificate::Certificate;
use super::tickets::Hello;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureAlgorithm};
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates that are good for the same name, those with the quickest keys first.
type Choices = Vec<Arc<CertifiedKey>>;

/// What an authority speaks that asks a challenge over TLS (RFC 8737).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates of one listener.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    /// What answers an authority that asks a challenge for a name.
    challenges: HashMap<String, Arc<CertifiedKey>>,
    exact: HashMap<String, Choices>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Choices>,
    /// For clients that ask for no name, or for one that no certificate has.
    otherwise: Choices,
}

fn rank(key: &CertifiedKey) -> u8 {
    match key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl Resolver {
    pub(super) fn new(certificates: &[Certificate], challenges: &[(String, Certificate)]) -> Self {
        let challenges = challenges.iter().map(|(name, one)| (name.clone(), one.key.clone())).collect();
        let mut this = Self { challenges, ..Self::default() };
        for certificate in certificates {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut this.wildcard, rest),
                    None => (&mut this.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(certificate.key.clone());
            }
        }
        // The first, and those for the same names with keys of another kind.
        let first = certificates.first();
        let same = certificates.iter().filter(|one| first.is_some_and(|first| first.names == one.names));
        this.otherwise = same.map(|one| one.key.clone()).collect();
        for choices in this.exact.values_mut().chain(this.wildcard.values_mut()).chain([&mut this.otherwise]) {
            choices.sort_by_key(|key| rank(key));
        }
        this
    }

    /// The certificates for a name in lower case.
    pub(super) fn choices(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.otherwise };
        // A wildcard stands for exactly one label (RFC 9525 section 6.3).
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.otherwise)
    }
}

/// Whether a client that offers this suite can take a certificate with a key of this kind. Those of TLS 1.3 say nothing
/// of keys.
fn suits(suite: CipherSuite, algorithm: SignatureAlgorithm) -> bool {
    match u16::from(suite) {
        0x1301..=0x1305 => true,
        // ECDHE-ECDSA, and ECDHE-RSA.
        0xc02b | 0xc02c | 0xcca9 => algorithm != SignatureAlgorithm::RSA,
        0xc02f | 0xc030 | 0xcca8 => algorithm == SignatureAlgorithm::RSA,
        _ => false,
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        // Who asks a challenge offers nothing else. With no answer for it the handshake fails (RFC 8737 section 3).
        if !self.challenges.is_empty() && hello.alpn().is_some_and(|mut alpn| alpn.any(|one| one == ACME_TLS)) {
            return self.challenges.get(name.as_deref()?).cloned();
        }
        let can_take = |key: &&Arc<CertifiedKey>| {
            key.key.choose_scheme(hello.signature_schemes()).is_some()
                && hello.cipher_suites().iter().any(|suite| suits(*suite, key.key.algorithm()))
        };
        let choices = self.choices(name.as_deref());
        // With none that suits, rustls says what is not in common.
        choices.iter().find(can_take).or(choices.first()).cloned()
    }
}

/// The same on one core, where each hello begins with it.
#[derive(Debug)]
pub(super) struct CoreResolver {
    pub(super) resolver: Arc<Resolver>,
    pub(super) hello: Arc<Hello>,
}

impl ResolvesServerCert for CoreResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.hello.begin();
        self.resolver.resolve(hello)
    }
}
