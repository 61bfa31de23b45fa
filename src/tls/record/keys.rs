//! The keys of one direction: one record sealed or opened at a time, where it lies.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ringway_runtime::net::{Cipher, SendKeys};
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved};
use std::ops::Range;
use zeroize::Zeroizing;

use super::{DATA, HEADER, MOST};

/// Bytes of a nonce, with any suite.
const NONCE: usize = 12;
/// Bytes of a tag, with any suite.
pub(super) const TAG: usize = 16;
/// The last sequence numbers are never used: beyond them nonces would begin again.
const LAST: u64 = u64::MAX - 0xffff;

/// How records are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// RFC 8446 section 5.2: what a record is stands sealed behind its plaintext.
    Tls13,
    /// RFC 5288: a part of the nonce stands before the plaintext.
    Tls12Gcm,
    /// RFC 7905.
    Tls12ChaCha,
}

impl Shape {
    /// Bytes of the nonce that stand in each record.
    pub(super) fn explicit(self) -> usize {
        if self == Self::Tls12Gcm { 8 } else { 0 }
    }

    /// Bytes that a record is longer than its header and plaintext, where there is no padding.
    pub(super) fn overhead(self) -> usize {
        self.explicit() + usize::from(self == Self::Tls13) + TAG
    }
}

/// The cipher, the key and what the sequence number is mixed into.
fn parts(secrets: ConnectionTrafficSecrets) -> Result<(Cipher, AeadKey, Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => Ok((Cipher::Aes128Gcm, key, iv)),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => Ok((Cipher::Aes256Gcm, key, iv)),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((Cipher::ChaCha20Poly1305, key, iv)),
        _ => Err(Error::General("a cipher suite that is not known".to_owned())),
    }
}

/// The keys of one direction and how many records they have been used for.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: Zeroizing<[u8; NONCE]>,
    sequence: u64,
    shape: Shape,
    /// What `key` is of, as long as the kernel may have it.
    for_kernel: Option<(Cipher, AeadKey)>,
}

impl Keys {
    /// Keys with which the next record has this sequence number. With `keeps` the kernel may have them.
    pub(super) fn new(
        is_tls13: bool,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        keeps: bool,
    ) -> Result<Self, Error> {
        let (cipher, raw, iv) = parts(secrets)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        let mut keys = Self::of(cipher, is_tls13, raw, Zeroizing::new(iv))?;
        keys.sequence = sequence;
        if !keeps {
            keys.keep_from_kernel();
        }
        Ok(keys)
    }

    /// Keys of TLS 1.2 that were not used yet. What nonces are made of may come in two parts, of which the second stands in records;
    /// where those are received it is not known. The kernel may have them.
    pub(super) fn tls12(cipher: Cipher, raw: AeadKey, [fixed, explicit]: [&[u8]; 2]) -> Result<Self, Error> {
        let mut iv = Zeroizing::new([0; NONCE]);
        for (byte, given) in iv.iter_mut().zip(fixed.iter().chain(explicit)) {
            *byte = *given;
        }
        Self::of(cipher, false, raw, iv)
    }

    fn of(cipher: Cipher, is_tls13: bool, raw: AeadKey, iv: Zeroizing<[u8; NONCE]>) -> Result<Self, Error> {
        let (algorithm, shape): (&'static Algorithm, _) = match cipher {
            Cipher::Aes128Gcm => (&AES_128_GCM, Shape::Tls12Gcm),
            Cipher::Aes256Gcm => (&AES_256_GCM, Shape::Tls12Gcm),
            Cipher::ChaCha20Poly1305 => (&CHACHA20_POLY1305, Shape::Tls12ChaCha),
        };
        let shape = if is_tls13 { Shape::Tls13 } else { shape };
        let key = UnboundKey::new(algorithm, raw.as_ref()).map_err(|_| Error::EncryptError)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence: 0, shape, for_kernel: Some((cipher, raw)) })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Records that these keys have been used for.
    pub(super) fn used(&self) -> u64 {
        self.sequence
    }

    /// Whether the kernel may have them.
    pub(super) fn are_kept(&self) -> bool {
        self.for_kernel.is_some()
    }

    /// The kernel is not to have them any more.
    pub(super) fn keep_from_kernel(&mut self) {
        self.for_kernel = None;
    }

    /// The same for the kernel to go on with.
    pub(super) fn for_kernel(&self) -> Option<SendKeys> {
        let (cipher, key) = self.for_kernel.as_ref()?;
        let version = if self.shape == Shape::Tls13 { 0x0304 } else { 0x0303 };
        let nonce = if self.shape == Shape::Tls12Gcm { self.far_nonce() } else { self.iv.clone() };
        SendKeys::new(version, *cipher, key.as_ref(), &nonce, self.sequence)
    }

    /// Where whoever counts nonces up may begin, for as many records as keys may seal: ours have the sequence number mixed in,
    /// and none of them differs in its highest bits from the others, as these do.
    fn far_nonce(&self) -> Zeroizing<[u8; NONCE]> {
        let mut nonce = self.iv.clone();
        nonce[NONCE - 8] ^= 0x80;
        nonce[NONCE - 6..].fill(0);
        nonce
    }

    /// The sequence number mixed into the bytes that came of the handshake.
    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = *self.iv;
        for (byte, mixed) in nonce.iter_mut().rev().zip(self.sequence.to_le_bytes()) {
            *byte ^= mixed;
        }
        nonce
    }

    /// What is authenticated beside the plaintext in TLS 1.2: the header with the length of the plaintext.
    fn beside(&self, record: [u8; 3], length: usize) -> [u8; 13] {
        let mut beside = [0; 13];
        beside[..8].copy_from_slice(&self.sequence.to_be_bytes());
        beside[8..11].copy_from_slice(&record);
        beside[11..].copy_from_slice(&(length as u16).to_be_bytes());
        beside
    }

    /// Begins a record at the end of `send`. Its plaintext is to be appended, [`MOST`] bytes at most.
    pub(super) fn begin(&self, send: &mut Vec<u8>) -> usize {
        let start = send.len();
        send.extend_from_slice(&[0; HEADER + 8][..HEADER + self.shape.explicit()]);
        start
    }

    /// Seals the record of this kind that begins at `start` and ends where `send` does. Takes it away where that fails.
    pub(super) fn seal(&mut self, kind: ContentType, start: usize, send: &mut Vec<u8>) -> Result<(), Error> {
        self.try_seal(kind, start, send).inspect_err(|_| send.truncate(start))
    }

    fn try_seal(&mut self, kind: ContentType, start: usize, send: &mut Vec<u8>) -> Result<(), Error> {
        let body = start + HEADER + self.shape.explicit();
        let nonce = self.nonce();
        let kind = u8::from(kind);
        let length = send.len().saturating_sub(body);
        if self.sequence >= LAST {
            return Err(Error::EncryptError);
        }
        if self.shape == Shape::Tls13 {
            send.push(kind);
        }
        let outer = if self.shape == Shape::Tls13 { DATA } else { kind };
        let [high, low] = ((length + self.shape.overhead()) as u16).to_be_bytes();
        let header = [outer, 3, 3, high, low];
        if let Some(bytes) = send.get_mut(start..start + HEADER) {
            bytes.copy_from_slice(&header);
        }
        if let Some(bytes) = send.get_mut(start + HEADER..body)
            && !bytes.is_empty()
        {
            bytes.copy_from_slice(&nonce[NONCE - 8..]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = send.get_mut(body..).unwrap_or_default();
        let tag = if self.shape == Shape::Tls13 {
            self.key.seal_in_place_separate_tag(nonce, Aad::from(header), plain)
        } else {
            let beside = self.beside([kind, 3, 3], length);
            self.key.seal_in_place_separate_tag(nonce, Aad::from(beside), plain)
        };
        send.extend_from_slice(tag.map_err(|_| Error::EncryptError)?.as_ref());
        self.sequence += 1;
        Ok(())
    }

    /// Opens a whole record where it lies: its kind, and where its plaintext is.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), Error> {
        let Some((header, body)) = record.split_first_chunk_mut::<HEADER>() else { return Err(Error::DecryptError) };
        let (kind, plain) = self.open_body(*header, body)?;
        Ok((kind, HEADER + plain.start..HEADER + plain.end))
    }

    /// The same with its header apart.
    pub(super) fn open_body(
        &mut self,
        header: [u8; HEADER],
        body: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), Error> {
        let wrong = Error::DecryptError;
        if self.sequence >= LAST {
            return Err(wrong);
        }
        let [kind, major, minor, ..] = header;
        let mut nonce = self.nonce();
        let explicit = self.shape.explicit();
        let Some((given, sealed)) = body.split_at_mut_checked(explicit) else { return Err(wrong) };
        let Some(length) = sealed.len().checked_sub(TAG) else { return Err(wrong) };
        if explicit > 0 {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[NONCE - 8..].copy_from_slice(given);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = if self.shape == Shape::Tls13 {
            self.key.open_in_place(nonce, Aad::from(header), sealed)
        } else {
            let beside = self.beside([kind, major, minor], length);
            self.key.open_in_place(nonce, Aad::from(beside), sealed)
        };
        let plain = opened.map_err(|_| wrong)?;
        self.sequence += 1;
        if self.shape != Shape::Tls13 {
            return if length > MOST {
                Err(Error::PeerSentOversizedRecord)
            } else {
                Ok((ContentType::from(kind), explicit..explicit + length))
            };
        }
        if plain.len() > MOST + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        // What the record is stands behind its plaintext and before its padding, which is zeros.
        match plain.iter().rposition(|byte| *byte != 0) {
            Some(at) => Ok((ContentType::from(plain[at]), explicit..explicit + at)),
            None => Err(PeerMisbehaved::IllegalTlsInnerPlaintext.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The kernel counts up where we mix in: no nonce is used by both.
    #[test]
    fn the_kernel_begins_far_from_the_nonces_that_were_used_here() {
        for iv in [[0; NONCE], [0xff; NONCE], std::array::from_fn(|at| 0x5a ^ at as u8)] {
            let secrets = ConnectionTrafficSecrets::Aes256Gcm { key: [7; 32].into(), iv: iv.into() };
            let Ok(mut keys) = Keys::new(false, (0, secrets), true) else { panic!("no keys") };
            let explicit = |nonce: &[u8; NONCE]| u64::from_be_bytes(*nonce.last_chunk().unwrap());
            let mut used = HashSet::new();
            for sequence in (0..1000).chain((1 << 24) - 1000..1 << 24) {
                keys.sequence = sequence;
                used.insert(explicit(&keys.nonce()));
            }
            let first = keys.far_nonce();
            assert_eq!(first[..4], iv[..4]);
            assert!((0..1 << 24).all(|count| !used.contains(&(explicit(&first) + count))));
        }
    }
}
