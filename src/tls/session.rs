//! What two sides have agreed on, and why they have not.

use super::identity::Identity;
use rustls::{CertificateError, CommonState, Error, HandshakeKind, ProtocolVersion};

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    /// As others call it.
    pub fn long_name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// What is spoken inside (RFC 7301).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `http/1.1`, and what is spoken where nothing was agreed on.
    #[default]
    Http1,
    /// `h2`.
    Http2,
}

impl Protocol {
    /// The name under which it is agreed on.
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// What was agreed on.
#[derive(Clone, Debug)]
pub struct Session {
    /// The version of TLS.
    pub version: Version,
    /// What is spoken inside.
    pub protocol: Protocol,
    /// Whether it goes on from an earlier session.
    pub resumed: bool,
    /// Whether it is an authority that asked a challenge (RFC 8737), and nobody who has anything to say.
    pub is_challenge: bool,
    /// Who the client is, where it showed a certificate that was verified.
    pub identity: Option<Identity>,
}

impl Session {
    /// Of a connection whose handshake is done. An error where the peer's certificate cannot be read.
    pub(super) fn of(state: &CommonState, is_server: bool) -> Result<Self, Error> {
        let shown = state.peer_certificates().filter(|_| is_server).and_then(<[_]>::first);
        let identity = shown.map(|der| Identity::read(der)).transpose()?;
        let resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
        // The certificate was verified when the session began, which may be long ago. That it is on no list of revoked ones
        // is in what the ticket is bound to.
        if resumed && identity.as_ref().is_some_and(|identity| identity.expires <= super::now()) {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        let is_http2 = state.alpn_protocol() == Some(Protocol::Http2.alpn());
        Ok(Self {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
                _ => Version::Tls12,
            },
            protocol: if is_http2 { Protocol::Http2 } else { Protocol::Http1 },
            resumed,
            is_challenge: is_server && state.alpn_protocol() == Some(super::resolver::ACME_TLS),
            identity,
        })
    }
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer speaks no version of TLS that is wanted here.
    Version,
    /// Both sides have no cipher suite, key exchange, signature or protocol inside in common.
    NothingInCommon,
    /// A certificate is wanted, and the peer has shown none.
    NoCertificate,
    /// There is no certificate to show.
    NoneToShow,
    /// Its certificate has expired, or is not good yet.
    Expired,
    /// Its certificate is revoked.
    Revoked,
    /// It is of an authority that is not trusted here.
    UnknownAuthority,
    /// It is not good for the name that was asked for.
    Name,
    /// It is wrong in another way.
    Certificate,
    /// The peer said that it gives up.
    Alert,
    /// The peer does not speak TLS, or not rightly.
    Protocol,
    /// The peer was gone before it was done.
    Gone,
    /// The gateway itself could not.
    Internal,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        use rustls::PeerIncompatible as Lacks;
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            // rustls has no other word for it; a test holds this.
            Error::General(why) if why == "no server certificate chain resolved" => Self::NoneToShow,
            Error::InvalidCertificate(why) => match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::Revoked => Self::Revoked,
                CertificateError::UnknownIssuer | CertificateError::UnknownRevocationStatus => Self::UnknownAuthority,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
                _ => Self::Certificate,
            },
            Error::PeerIncompatible(
                Lacks::ServerDoesNotSupportTls12Or13
                | Lacks::Tls12NotOffered
                | Lacks::Tls12NotOfferedOrEnabled
                | Lacks::Tls13RequiredForQuic
                | Lacks::SupportedVersionsExtensionRequired
                | Lacks::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::Version,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            Error::AlertReceived(_) => Self::Alert,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Protocol,
            _ => Self::Internal,
        }
    }
}
