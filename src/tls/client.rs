//! What is asked of an upstream, and shown to it.

use super::certificate::{Authorities, Certificate};
use super::session::{Protocol, Version};
use super::{digest, provider, versions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Names of which a core keeps sessions, for each upstream.
const SESSIONS: usize = 256;

/// Whose word is taken for who an upstream is.
#[derive(Clone, Debug)]
pub enum Roots {
    /// That of these authorities.
    Of(Authorities),
    /// Nobody's: whoever answers is taken for it.
    Unverified,
}

/// The TLS of one upstream. It is in the plan, so all cores share it.
pub struct ClientSettings {
    provider: Arc<CryptoProvider>,
    roots: Roots,
    certificate: Option<Certificate>,
    server_name: Option<ServerName<'static>>,
    least: Version,
    protocols: Vec<Protocol>,
    ktls: bool,
    digest: [u8; 32],
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("server_name", &self.server_name)
            .field("digest", &u64::from_be_bytes(self.digest[..8].try_into().unwrap_or_default()))
            .finish_non_exhaustive()
    }
}

impl PartialEq for ClientSettings {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ClientSettings {}

/// The TLS of one upstream on one core.
#[derive(Clone, Debug)]
pub struct CoreClient {
    pub(super) config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    ktls: bool,
}

impl CoreClient {
    /// Whether the kernel is to seal what is sent, where it can.
    pub fn ktls(&self) -> bool {
        self.ktls
    }

    /// The name that an endpoint must show: the one of the config, else its own host.
    pub(super) fn name_of(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }
}

impl ClientSettings {
    /// Checks that it can be used.
    pub fn new(
        roots: Roots,
        certificate: Option<Certificate>,
        server_name: Option<&str>,
        least: Version,
        protocols: Vec<Protocol>,
        ktls: bool,
    ) -> Result<Self, String> {
        let name = server_name.map(|name| ServerName::try_from(name.to_owned()));
        let name = name.transpose().map_err(|_| "is neither a DNS name nor an IP address".to_owned())?;
        let of_roots = match &roots {
            Roots::Of(authorities) => authorities.digest.as_slice(),
            Roots::Unverified => b"unverified",
        };
        let of_certificate = certificate.as_ref().map(|certificate| certificate.digest.as_slice()).unwrap_or_default();
        let rest = format!("{server_name:?} {least:?} {protocols:?} {ktls}");
        let digest = digest(&[of_roots, of_certificate, rest.as_bytes()]);
        let this = Self { provider: provider(), roots, certificate, server_name: name, least, protocols, ktls, digest };
        this.on_core()?;
        Ok(this)
    }

    /// The certificate that it shows, where it has one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// What one core makes of it.
    pub fn on_core(&self) -> Result<CoreClient, String> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions(self.least))
            .map_err(|error| error.to_string())?;
        let builder = match &self.roots {
            Roots::Of(authorities) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(authorities.store.clone(), self.provider.clone());
                builder.with_webpki_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
            Roots::Unverified => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(self.provider.clone())))
            }
        };
        let mut config = match &self.certificate {
            Some(certificate) => {
                let shown = SingleCertAndKey::from((*certificate.key).clone());
                builder.with_client_cert_resolver(Arc::new(shown))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        config.enable_secret_extraction = true;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(CoreClient { config: Arc::new(config), server_name: self.server_name.clone(), ktls: self.ktls })
    }
}

/// What a client that is no part of a core asks of a server.
pub fn trusting(authorities: &Authorities) -> Result<Arc<ClientConfig>, String> {
    let settings =
        ClientSettings::new(Roots::Of(authorities.clone()), None, None, Version::Tls12, vec![Protocol::Http1], false)?;
    Ok(settings.on_core()?.config)
}

/// Takes any certificate; that its key signed the handshake is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
