//! What a listener asks of its clients, and shows them.

use super::certificate::{Authorities, Certificate, Revocations};
use super::record::{CoreSuites, Returned};
use super::resolver::{ACME_TLS, CoreResolver, Resolver};
use super::session::{Protocol, Version};
use super::sessions::Sessions;
use super::tickets::{CoreTickets, Hello, Ticketer};
use super::{digest, provider, versions};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{KeyLogFile, crypto::CryptoProvider};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sessions that a core keeps for clients that take no tickets.
const SESSIONS: usize = 1024;

/// Whether clients show certificates.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Whose certificates are taken.
    pub authorities: Authorities,
    /// Those of them that are taken no more.
    pub revocations: Vec<Revocations>,
    /// Whether a client may do without.
    pub is_optional: bool,
}

/// The TLS of one listener. It is in the plan, so all cores share it.
pub struct ServerSettings {
    /// Those of its files, and behind them those of the store.
    certificates: Vec<Certificate>,
    /// How many are of its files.
    own: usize,
    /// Certificates that answer challenges of an authority, by the names they are for.
    challenges: Vec<(String, Certificate)>,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    least: Version,
    protocols: Vec<Protocol>,
    tickets: bool,
    ticket_lifetime: Duration,
    key_log: bool,
    early: Option<Early>,
    /// Says whether two are the same but for their certificates.
    rest: [u8; 32],
    /// Says whether two are the same.
    digest: [u8; 32],
    /// What tickets are bound to.
    context: [u8; 32],
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("certificates", &self.certificates)
            .field("digest", &u64::from_be_bytes(self.digest[..8].try_into().unwrap_or_default()))
            .finish_non_exhaustive()
    }
}

impl PartialEq for ServerSettings {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ServerSettings {}

/// What is taken before the handshake is done.
#[derive(Clone, Copy, Debug)]
pub struct EarlyParts {
    /// Bytes of one client at most.
    pub size: u32,
    /// Sessions that may begin with it.
    pub sessions: usize,
}

#[derive(Clone)]
struct Early {
    size: u32,
    /// All cores have the same.
    sessions: Arc<Sessions>,
}

/// What the settings of a listener are made of.
#[derive(Debug)]
pub struct ServerParts {
    /// Those of its files. Without any, and without any of the store, no handshake comes to an end.
    pub certificates: Vec<Certificate>,
    /// Whether clients show certificates.
    pub client_auth: Option<ClientAuth>,
    /// The least version of TLS.
    pub least: Version,
    /// What may be spoken inside, the best first.
    pub protocols: Vec<Protocol>,
    /// Whether sessions may go on later.
    pub tickets: bool,
    /// How long clients are told that a ticket is good.
    pub ticket_lifetime: Duration,
    /// Whether the keys of sessions go to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
    /// Whether data is taken before the handshake is done. It takes tickets, and clients that show no certificates: they
    /// show them only then.
    pub early: Option<EarlyParts>,
}

/// The TLS of one listener on one core.
#[derive(Clone)]
pub struct CoreServer {
    pub(super) config: Arc<ServerConfig>,
    pub(super) returned: Returned,
}

impl ServerSettings {
    /// Checks that it can be used. `name` is that of the listener.
    pub fn new(name: &str, parts: ServerParts) -> Result<Self, String> {
        let ServerParts { certificates, client_auth, least, protocols, tickets, ticket_lifetime, key_log, early } =
            parts;
        let early = early.filter(|_| tickets && client_auth.is_none());
        let provider = provider();
        let mut who: Vec<&[u8]> = vec![name.as_bytes()];
        if let Some(auth) = &client_auth {
            who.push(if auth.is_optional { b"optional" } else { b"required" });
            who.push(&auth.authorities.digest);
            who.extend(auth.revocations.iter().map(|list| list.digest.as_slice()));
        }
        let context = digest(&who);
        let rest = format!("{least:?} {protocols:?} {tickets} {ticket_lifetime:?} {key_log} {early:?}");
        let rest = digest(&[&context, rest.as_bytes()]);
        let verifier = client_auth.map(|auth| verifier(auth, &provider)).transpose()?;
        let resolver = Arc::new(Resolver::new(&certificates, &[]));
        let this = Self {
            own: certificates.len(),
            digest: digest_with(&rest, &certificates, &[]),
            challenges: Vec::new(),
            certificates,
            resolver,
            provider,
            verifier,
            least,
            protocols,
            tickets,
            ticket_lifetime,
            key_log,
            early: early.map(|EarlyParts { size, sessions }| Early {
                size,
                sessions: Arc::new(Sessions::new(sessions, ticket_lifetime)),
            }),
            rest,
            context,
        };
        this.build(&this.provider)?;
        Ok(this)
    }

    /// The certificates that it shows.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Those of its files.
    pub fn own_certificates(&self) -> &[Certificate] {
        self.certificates.get(..self.own).unwrap_or_default()
    }

    /// The same with these certificates of the store behind its own, and with these that answer challenges. Nothing where
    /// it has them already.
    #[must_use]
    pub fn with_stored(&self, stored: &[Certificate], challenges: &[(String, Certificate)]) -> Option<Self> {
        let certificates: Vec<Certificate> = self.own_certificates().iter().chain(stored).cloned().collect();
        let digest = digest_with(&self.rest, &certificates, challenges);
        (digest != self.digest).then(|| Self {
            resolver: Arc::new(Resolver::new(&certificates, challenges)),
            certificates,
            own: self.own,
            challenges: challenges.to_vec(),
            provider: self.provider.clone(),
            verifier: self.verifier.clone(),
            least: self.least,
            protocols: self.protocols.clone(),
            tickets: self.tickets,
            ticket_lifetime: self.ticket_lifetime,
            key_log: self.key_log,
            early: self.early.clone(),
            rest: self.rest,
            digest,
            context: self.context,
        })
    }

    /// What may be spoken inside.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// Whether data is taken before the handshake is done.
    pub fn takes_early_data(&self) -> bool {
        self.early.is_some()
    }

    fn build(&self, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions(self.least))
            .map_err(|error| error.to_string())?;
        let builder = match &self.verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        // Ours is the order that counts. Clients that know only one kind of suite get it all the same.
        config.ignore_client_order = true;
        // The records after the handshake are ours.
        config.enable_secret_extraction = true;
        if !self.challenges.is_empty() {
            config.alpn_protocols.push(ACME_TLS.to_vec());
        }
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        // One is enough for a client to come back with, and it gets another then.
        config.send_tls13_tickets = usize::from(self.tickets);
        Ok(config)
    }

    /// What one core makes of it.
    pub fn on_core(&self, keys: &Arc<CoreTickets>, suites: &CoreSuites) -> Result<CoreServer, String> {
        let mut config = self.build(&suites.provider)?;
        // Without `early` its size stays nothing, so that none can be taken whatever tickets there are.
        if let Some(early) = &self.early {
            config.max_early_data_size = early.size;
            config.send_half_rtt_data = true;
            // Without tickets of ours, which could be shown twice.
            config.session_storage = early.sessions.clone();
        } else if self.tickets {
            let (keys, context, lifetime) = (keys.clone(), self.context, self.ticket_lifetime);
            let (resolver, hello) = (self.resolver.clone(), Arc::<Hello>::default());
            config.cert_resolver = Arc::new(CoreResolver { resolver, hello: hello.clone() });
            config.ticketer = Arc::new(Ticketer { keys, context, lifetime, hello });
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        } else {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        }
        Ok(CoreServer { config: Arc::new(config), returned: suites.returned })
    }
}

/// Tells settings apart that differ in their certificates.
fn digest_with(rest: &[u8; 32], certificates: &[Certificate], challenges: &[(String, Certificate)]) -> [u8; 32] {
    let mut all: Vec<&[u8]> = vec![rest];
    all.extend(certificates.iter().map(|certificate| certificate.digest.as_slice()));
    for (name, certificate) in challenges {
        all.extend([name.as_bytes(), &certificate.digest]);
    }
    digest(&all)
}

fn verifier(auth: ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let lists: Vec<_> = auth.revocations.into_iter().flat_map(|list| list.lists).collect();
    let mut builder = WebPkiClientVerifier::builder_with_provider(auth.authorities.store, provider.clone());
    if !lists.is_empty() {
        // What is asked of the client's own certificate is that a list of its authority is there and does not have it.
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if auth.is_optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| error.to_string())
}
