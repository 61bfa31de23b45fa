//! Session tickets whose keys control makes and all cores know, so that a session goes on whichever core a client comes to.
//!
//! A ticket is `name of the key (16 bytes), nonce (12), sealed session, tag (16)`, with AES-256-GCM. What is sealed is bound
//! to the listener's settings on who may come: a session that one listener granted is worth nothing at one that asks for
//! client certificates, nor once it asks other authorities.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

const NAME: usize = 16;
const NONCE: usize = 12;
const KEY: usize = 32;
/// Keys that are known at once: the next, the one that is used, and two that were.
const KNOWN: usize = 4;
/// Which of them seals.
const SEALS: usize = 1;

struct Key {
    name: [u8; NAME],
    cipher: RandomizedNonceKey,
    /// What the key is made of: the process that takes over is told.
    bytes: Zeroizing<[u8; KEY]>,
}

impl Key {
    fn new() -> Option<Arc<Self>> {
        let (mut name, mut bytes) = ([0; NAME], Zeroizing::new([0; KEY]));
        rand::fill(&mut name).ok()?;
        rand::fill(&mut *bytes).ok()?;
        Self::of(name, bytes)
    }

    fn of(name: [u8; NAME], bytes: Zeroizing<[u8; KEY]>) -> Option<Arc<Self>> {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).ok()?;
        Some(Arc::new(Self { name, cipher, bytes }))
    }

    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.cipher.seal_in_place_append_tag(Aad::from(context), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE + sealed.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, context: &[u8], nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = sealed.to_vec();
        let length = self.cipher.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

/// The keys of tickets. Each is known before it is used, so that no core meets a ticket it cannot read, and for a time
/// after.
#[derive(Clone)]
pub struct TicketKeys(Box<[Arc<Key>]>);

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TicketKeys").field(&self.0.len()).finish()
    }
}

impl TicketKeys {
    /// The first keys. Nothing where the system has no randomness.
    pub fn new() -> Option<Self> {
        Some(Self([Key::new()?, Key::new()?].into()))
    }

    /// The same with another key in use, and without the oldest.
    pub fn rotated(&self) -> Option<Self> {
        let kept = self.0.iter().take(KNOWN - 1).cloned();
        Some(Self(std::iter::once(Key::new()?).chain(kept).collect()))
    }

    /// All of them as text, for the process that takes over.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 2 * (NAME + KEY)));
        for byte in self.0.iter().flat_map(|key| key.name.iter().chain(key.bytes.iter())) {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        text
    }

    /// Those of the process before. Nothing where it makes no sense.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let digits = text.as_bytes().chunks_exact(2 * (NAME + KEY));
        if !digits.remainder().is_empty() || !(SEALS + 1..=KNOWN).contains(&digits.len()) {
            return None;
        }
        let digit = |byte: u8| Some(char::from(byte).to_digit(16)? as u8);
        let keys = digits.map(|digits| {
            let (mut name, mut bytes) = ([0; NAME], Zeroizing::new([0; KEY]));
            for (byte, pair) in name.iter_mut().chain(bytes.iter_mut()).zip(digits.chunks_exact(2)) {
                let &[high, low] = pair else { return None };
                *byte = (digit(high)? << 4) | digit(low)?;
            }
            Key::of(name, bytes)
        });
        keys.collect::<Option<_>>().map(Self)
    }
}

/// The keys of tickets as one core has them.
///
/// Nobody else has this lock, so it is never waited for: rustls asks for something that could be shared.
pub struct CoreTickets(Mutex<Arc<TicketKeys>>);

impl fmt::Debug for CoreTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreTickets").finish_non_exhaustive()
    }
}

impl CoreTickets {
    /// With the keys of now.
    pub fn new(keys: Arc<TicketKeys>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(keys)))
    }

    /// Takes up other keys.
    pub fn set(&self, keys: Arc<TicketKeys>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn get(&self) -> Arc<TicketKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How far rustls is with the hello that it deals with, so that a client of TLS 1.2 that comes back is not given another
/// ticket each time, which it gains nothing by: its own is good for as long as the key in use.
///
/// Each hello begins with the choice of a certificate. In TLS 1.2 rustls then looks at the client's ticket and asks whether
/// to send one; in TLS 1.3, where a ticket is good for once, it asks before it looks. It waits for nothing in between.
///
/// Nobody else sees it: rustls asks for something that could be shared.
#[derive(Debug, Default)]
pub(super) struct Hello(AtomicU8);

impl Hello {
    const ASKED: u8 = 0;
    const BEGUN: u8 = 1;
    const HAS_GOOD: u8 = 2;

    pub(super) fn begin(&self) {
        self.0.store(Self::BEGUN, Ordering::Relaxed);
    }

    /// The client's ticket is as good as a new one.
    fn has_good(&self) {
        if self.0.load(Ordering::Relaxed) == Self::BEGUN {
            self.0.store(Self::HAS_GOOD, Ordering::Relaxed);
        }
    }

    fn wants_ticket(&self) -> bool {
        self.0.swap(Self::ASKED, Ordering::Relaxed) != Self::HAS_GOOD
    }
}

/// The tickets of one listener on one core.
#[derive(Debug)]
pub(super) struct Ticketer {
    pub(super) keys: Arc<CoreTickets>,
    pub(super) context: [u8; 32],
    /// How long clients are told that a ticket is good.
    pub(super) lifetime: Duration,
    pub(super) hello: Arc<Hello>,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.hello.wants_ticket()
    }

    fn lifetime(&self) -> u32 {
        self.lifetime.as_secs().min(u32::MAX.into()) as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.get().0.get(SEALS)?.seal(&self.context, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let keys = self.keys.get();
        // Names are no secret: they stand in the clear.
        let at = keys.0.iter().position(|key| key.name == name)?;
        let plain = keys.0.get(at)?.open(&self.context, nonce, sealed)?;
        if at <= SEALS {
            self.hello.has_good();
        }
        Some(plain)
    }
}
