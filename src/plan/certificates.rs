//! Certificates that the gateway keeps itself, and where it gets them.

use crate::config::Secret;
use crate::tls::Authorities;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `[certificates]`: where the gateway keeps certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The directory of the store; there is no store when absent.
    pub directory: Option<PathBuf>,
    /// Certificates in the store at most.
    pub max: u32,
    /// One that expires within this is warned of.
    pub warn: Duration,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { directory: None, max: 1000, warn: Duration::from_hours(14 * 24) }
    }
}

/// Which certificates of the store a listener shows behind those of its own files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stored {
    /// None.
    #[default]
    Nothing,
    /// Those with these names, in this order, as far as they are there.
    Named(Arc<[Arc<str>]>),
    /// All, in the order of their names.
    All,
}

impl Stored {
    /// Whether it shows the one with this name, where that is there.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Named(names) => names.iter().any(|known| **known == *name),
            Self::All => true,
        }
    }
}

/// How an authority finds out whether a name leads to this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// It asks for a path on port 80 (RFC 8555 section 8.3).
    Http01,
    /// It shakes hands on port 443 (RFC 8737).
    TlsAlpn01,
}

impl AcmeChallenge {
    /// As the config has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// `[acme.NAME]`: a certificate that an authority issues by ACME (RFC 8555).
#[derive(Clone, Debug)]
pub struct Acme {
    /// Its name in the store.
    pub name: Arc<str>,
    /// The DNS names it is to be good for, at least one.
    pub names: Arc<[Arc<str>]>,
    /// The URL of the authority's directory.
    pub directory: Arc<str>,
    /// Whom the authority may write to: URLs.
    pub contact: Arc<[Arc<str>]>,
    /// Who vouches for the authority's own server.
    pub ca: Authorities,
    /// What binds the account to one that the authority has already: its id, and a key in base64url.
    pub external_account: Option<(Arc<str>, Secret)>,
    /// How the authority finds out whose the names are.
    pub challenge: AcmeChallenge,
    /// How long is waited after the first failure; each further one doubles it,
    pub retry: Duration,
    /// up to this.
    pub retry_max: Duration,
    /// How long one order may take.
    pub timeout: Duration,
}

impl PartialEq for Acme {
    fn eq(&self, other: &Self) -> bool {
        let all = |this: &Self| {
            let Self { name, names, directory, contact, challenge, retry, retry_max, timeout, .. } = this.clone();
            (name, names, directory, contact, challenge, retry, retry_max, timeout)
        };
        let is_same_ca = self.ca.is_same(&other.ca);
        all(self) == all(other) && is_same_ca && self.external_account == other.external_account
    }
}

/// What answers an authority that asks for a path: the token, and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpChallenges(HashMap<Box<[u8]>, Box<str>>);

/// Where an authority asks for it (RFC 8555 section 8.3).
const WELL_KNOWN: &[u8] = b"/.well-known/acme-challenge/";

impl HttpChallenges {
    /// What is said to who asks for this path, where an authority is expected to.
    #[inline]
    pub fn answer(&self, path: &[u8]) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(path.strip_prefix(WELL_KNOWN)?).map(|answer| &**answer)
    }
}

impl FromIterator<(Box<[u8]>, Box<str>)> for HttpChallenges {
    fn from_iter<T: IntoIterator<Item = (Box<[u8]>, Box<str>)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}
