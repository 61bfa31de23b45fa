//! The opening handshake (RFC 6455 section 4), of either side. Method, version, Host, Connection and Upgrade are for
//! whoever reads the head; here is what is WebSocket's own.

use super::extension::{self, Deflate};
use super::{AnswerError, HandshakeError};
use crate::http1::values;
use sha1::{Digest, Sha1};

/// The one version there is.
pub const VERSION: &[u8] = b"13";
/// What the accept value is made with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of an accept value.
pub const ACCEPT_LEN: usize = 28;
const KEY_LEN: usize = 24;

/// What an answer agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Agreed {
    /// permessage-deflate, and how.
    pub deflate: Option<Deflate>,
}

/// One of the fields of a head that are WebSocket's.
fn all<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn one<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &'static [u8]) -> Option<&'a [u8]> {
    let mut all = all(fields, name);
    all.next().filter(|_| all.next().is_none())
}

/// Checks the fields of a request, names and values (RFC 6455 section 4.2.1), and returns its key.
pub fn request<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Result<&'a [u8], HandshakeError> {
    if one(fields.clone(), b"sec-websocket-version") != Some(VERSION) {
        return Err(HandshakeError::Version);
    }
    let key = one(fields.clone(), b"sec-websocket-key").ok_or(HandshakeError::Key)?;
    if !is_key(key) {
        return Err(HandshakeError::Key);
    }
    let protocols = || all(fields.clone(), b"sec-websocket-protocol").flat_map(values::list);
    for (at, protocol) in protocols().enumerate() {
        // There are a few at most; a head has its limits.
        if !values::is_token(protocol) || protocols().take(at).any(|before| before == protocol) {
            return Err(HandshakeError::Protocol);
        }
    }
    if protocols().next().is_none() && all(fields.clone(), b"sec-websocket-protocol").next().is_some() {
        return Err(HandshakeError::Protocol);
    }
    if all(fields, b"sec-websocket-extensions").flat_map(extension::list).any(|extension| extension.is_err()) {
        return Err(HandshakeError::Extensions);
    }
    Ok(key)
}

/// Checks the fields of the answer to a request that [`request`] took (RFC 6455 section 4.2.2, step 5, and section 4.1).
/// `deflate_offered` says whether the extensions of the request went out.
pub fn answer<'a, 'r>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    request: &(impl Iterator<Item = (&'r [u8], &'r [u8])> + Clone),
    deflate_offered: bool,
) -> Result<Agreed, AnswerError> {
    let key = one(request.clone(), b"sec-websocket-key").ok_or(AnswerError::Accept)?;
    if one(fields.clone(), b"sec-websocket-accept") != Some(&accept(key)[..]) {
        return Err(AnswerError::Accept);
    }
    let mut protocols = all(fields.clone(), b"sec-websocket-protocol");
    if let Some(chosen) = protocols.next() {
        let mut offered = all(request.clone(), b"sec-websocket-protocol").flat_map(values::list);
        if protocols.next().is_some() || !offered.any(|offered| offered == chosen) {
            return Err(AnswerError::Protocol);
        }
    }
    let mut agreed = Agreed::default();
    for extension in all(fields, b"sec-websocket-extensions").flat_map(extension::list) {
        let extension = extension.map_err(|_| AnswerError::Extensions)?;
        let answer = extension.deflate().filter(|_| deflate_offered && agreed.deflate.is_none());
        let answer = answer.ok_or(AnswerError::Extensions)?;
        let offers = all(request.clone(), b"sec-websocket-extensions").flat_map(extension::list);
        if !offers.filter_map(|offer| offer.ok()?.deflate()).any(|offer| offer.may_be_answered(&answer)) {
            return Err(AnswerError::Extensions);
        }
        agreed.deflate = Some(answer);
    }
    Ok(agreed)
}

/// Whether it is 16 bytes in base64 (RFC 4648 section 4): 22 characters, of which the last has four bits to spare, and
/// the padding.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let Some((first, b"==")) = key.split_at_checked(KEY_LEN - 2) else { return false };
    first.iter().all(is_base64)
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &[u8]) -> [u8; ACCEPT_LEN] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut out = [b'='; ACCEPT_LEN];
    for (three, four) in digest.chunks(3).zip(out.as_chunks_mut::<4>().0) {
        let word = three.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for (at, place) in four.iter_mut().enumerate().take(three.len() + 1) {
            let six = (word >> (18 - 6 * at)) & 0x3f;
            *place = ALPHABET.get(six as usize).copied().unwrap_or(b'A');
        }
    }
    out
}
