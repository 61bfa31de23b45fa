//! TLS, by rustls, as a [`Layer`](ringway_runtime::engine::Layer) over a stream.
//!
//! What the config says becomes a [`ServerSettings`] or [`ClientSettings`] in the plan, which all cores share and nobody
//! changes. Each core makes its own rustls config of it, with its own cache of sessions, so that no handshake waits for
//! another core. Only the keys of tickets are the same everywhere: control makes them, and a session goes on whichever
//! core a client comes to. A listener that takes early data has its sessions in one place instead, which gives each out once.

mod certificate;
mod client;
mod handshake;
mod identity;
mod layer;
mod prf;
mod record;
mod resolver;
mod server;
mod session;
mod sessions;
mod tickets;

pub use certificate::{About, Authorities, Certificate, Revocations, WhichFile, Wrong};
pub use client::{ClientSettings, CoreClient, Roots, trusting};
pub use handshake::{EarlyData, Handshake};
pub use identity::Identity;
pub use layer::{KernelAsked, accept, connect};
pub use record::CoreSuites;
pub use server::{ClientAuth, CoreServer, EarlyParts, ServerParts, ServerSettings};
pub use session::{Failure, Protocol, Session, Version};
pub use tickets::{CoreTickets, TicketKeys};

use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;

/// The cipher suites, the best first: with AES-128-GCM a handshake costs less than with AES-256-GCM, whose hash is
/// SHA-384, since processors have instructions for SHA-256; nobody can break either.
static SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The algorithms: those of aws-lc, with X25519MLKEM768 before all other key exchanges.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: SUITES.to_vec(), ..aws_lc_rs::default_provider() })
}

fn versions(least: Version) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match least {
        Version::Tls12 => &BOTH,
        Version::Tls13 => &BOTH[..1],
    }
}

/// The time now, in seconds since 1970, as certificates are held against it.
pub(crate) fn now() -> i64 {
    rustls::pki_types::UnixTime::now().as_secs() as i64
}

/// Tells two lists of bytes apart.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ::aws_lc_rs::digest::Context::new(&::aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod early_tests;
#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod tests;
