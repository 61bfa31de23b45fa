//! Sticky sessions: a cookie says which endpoint answered a client first.
//!
//! The cookie is an HMAC of the endpoint's name under the config's secret. Nobody without the secret can make one, it
//! tells nothing of the endpoint, and it means the same to every gateway, process and plan that has the secret. All of
//! them are made with the plan, so that a request costs a look and no HMAC.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::plan::{Sticky, Upstream};

/// The first bytes say where to look, all of them whether it is the one.
type Token = [u8; 32];

/// A cookie's value has so many characters: the token in hexadecimal digits.
const LENGTH: usize = 64;

/// The token of every endpoint.
pub(crate) struct Tokens {
    /// In the order of the tokens, with the endpoint of each.
    all: Box<[(Token, u32)]>,
    /// The value of the cookie of each endpoint.
    values: Box<[[u8; LENGTH]]>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

impl Tokens {
    pub(crate) fn new(sticky: &Sticky, upstream: &Upstream) -> Self {
        let mut all: Vec<(Token, u32)> = (0..)
            .zip(&upstream.endpoints)
            .map(|(at, endpoint)| {
                let parts = [&*upstream.name, &endpoint.address.to_string()];
                (token(sticky.secret.expose().as_bytes(), &parts), at)
            })
            .collect();
        let values = all.iter().map(|(token, _)| written(token)).collect();
        all.sort_unstable();
        Self { all: all.into(), values }
    }

    /// The endpoint that a cookie's value names, if it is one of ours.
    pub(crate) fn endpoint(&self, value: &[u8]) -> Option<usize> {
        let token = read(value)?;
        let at = self.all.partition_point(|(known, _)| known[..8] < token[..8]);
        let (known, endpoint) = self.all.get(at)?;
        // How long this takes says nothing of where they differ.
        let differ = known.iter().zip(&token).fold(0, |differ, (one, other)| differ | (one ^ other));
        (differ == 0).then_some(*endpoint as usize)
    }

    /// The value of the cookie for an endpoint.
    pub(crate) fn value(&self, endpoint: usize) -> Option<&[u8]> {
        self.values.get(endpoint).map(|value| &value[..])
    }
}

fn token(secret: &[u8], parts: &[&str]) -> Token {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(b"ringway sticky");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn written(token: &Token) -> [u8; LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; LENGTH];
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(token) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    text
}

fn read(text: &[u8]) -> Option<Token> {
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    if text.len() != LENGTH {
        return None;
    }
    let mut token = [0; 32];
    let (pairs, _) = text.as_chunks::<2>();
    for (byte, [high, low]) in token.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(token)
}
