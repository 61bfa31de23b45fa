//! Keys of TLS 1.2 that are taken over as they were made.
//!
//! rustls gives up the keys of a connection by deriving them once more, and each direction would be made ready for its
//! cipher once more. With TLS 1.2 nothing else of the connection is needed after the handshake: no key ever follows. So what
//! listeners shake hands with has ciphers of its own. rustls seals and opens with their keys; when it is done with a connection and
//! drops them, they come back to where the layer takes them.

use super::HEADER;
use super::keys::Keys;
use crate::tls::prf::OfSecrets;
use crate::tls::provider;
use ringway_runtime::net::Cipher;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::tls12::Prf;
use rustls::{CipherSuiteCommon, ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls12CipherSuite};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// What the listeners of one core shake hands with.
///
/// rustls wants suites that are there for ever: some 2 KiB are never given back, so a core has one of these in its life.
#[derive(Clone)]
pub struct CoreSuites {
    pub(in crate::tls) provider: Arc<CryptoProvider>,
    pub(in crate::tls) returned: Returned,
}

impl fmt::Debug for CoreSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreSuites").finish_non_exhaustive()
    }
}

impl CoreSuites {
    /// Those of a core that starts.
    pub fn of_new_core() -> Self {
        let returned = Returned { places: Box::leak(Box::default()), here: PhantomData };
        let mut provider = CryptoProvider::clone(&provider());
        for suite in &mut provider.cipher_suites {
            if let SupportedCipherSuite::Tls12(of_rustls) = *suite {
                *suite = SupportedCipherSuite::Tls12(Box::leak(Box::new(returning(of_rustls, returned.places))));
            }
        }
        Self { provider: Arc::new(provider), returned }
    }
}

/// The same suite with keys that come back.
fn returning(suite: &'static Tls12CipherSuite, places: &'static Places) -> Tls12CipherSuite {
    let prf_provider: &'static dyn Prf = match suite.common.hash_provider.algorithm() {
        HashAlgorithm::SHA256 => Box::leak(Box::new(OfSecrets(suite.prf_provider))),
        _ => suite.prf_provider,
    };
    Tls12CipherSuite {
        common: CipherSuiteCommon { ..suite.common },
        prf_provider,
        kx: suite.kx,
        sign: suite.sign,
        aead_alg: Box::leak(Box::new(Returning { of_rustls: suite.aead_alg, places })),
    }
}

/// Where the keys of both directions come back to. What comes back is of the connection that was just dropped, as no other
/// thread can have one of these.
#[derive(Clone, Copy)]
pub(in crate::tls) struct Returned {
    places: &'static Places,
    here: PhantomData<Rc<()>>,
}

impl Returned {
    /// The keys to send and to receive with that rustls dropped last.
    pub(super) fn take(self) -> Result<(Keys, Keys), Error> {
        // Both are taken whatever is there: what is left would be somebody else's.
        let (sends, receives) = (self.places.sends.set(None), self.places.receives.set(None));
        sends.zip(receives).ok_or(Error::HandshakeNotComplete)
    }

    /// Forgets keys of a handshake that came to nothing.
    pub(in crate::tls) fn clear(self) {
        drop(self.take());
    }
}

#[derive(Default)]
struct Places {
    sends: Place,
    receives: Place,
}

/// Its lock is never waited for, as only one thread gets here: rustls asks for something that could be shared.
#[derive(Default)]
struct Place(Mutex<Option<Keys>>);

impl Place {
    /// Puts keys there, or none. What was there.
    fn set(&self, keys: Option<Keys>) -> Option<Keys> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), keys)
    }
}

/// Keys that rustls has. Nothing where they cannot be used, of which it hears with the first record.
struct Held {
    keys: Option<Keys>,
    place: &'static Place,
}

impl Held {
    /// The keys for the record that both sides count as this one.
    fn at(&mut self, sequence: u64, wrong: Error) -> Result<&mut Keys, Error> {
        self.keys.as_mut().filter(|keys| keys.used() == sequence).ok_or(wrong)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.place.set(self.keys.take());
    }
}

impl MessageEncrypter for Held {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, sequence: u64) -> Result<OutboundOpaqueMessage, Error> {
        let keys = self.at(sequence, Error::EncryptError)?;
        let mut record = Vec::with_capacity(HEADER + message.payload.len() + keys.shape().overhead());
        let start = keys.begin(&mut record);
        message.payload.copy_to_vec(&mut record);
        keys.seal(message.typ, start, &mut record)?;
        let payload = PrefixedPayload::from(record.get(HEADER..).unwrap_or_default());
        Ok(OutboundOpaqueMessage::new(message.typ, message.version, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        length + self.keys.as_ref().map_or(0, |keys| keys.shape().overhead())
    }
}

impl MessageDecrypter for Held {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let [major, minor] = u16::from(message.version).to_be_bytes();
        let [high, low] = (message.payload.len() as u16).to_be_bytes();
        let header = [u8::from(message.typ), major, minor, high, low];
        let (_, plain) = self.at(sequence, Error::DecryptError)?.open_body(header, &mut message.payload)?;
        Ok(message.into_plain_message_range(plain))
    }
}

/// A cipher whose keys come back.
struct Returning {
    of_rustls: &'static dyn Tls12AeadAlgorithm,
    places: &'static Places,
}

impl Returning {
    fn keys(&self, key: AeadKey, iv: [&[u8]; 2]) -> Option<Keys> {
        let cipher = match self.key_block_shape() {
            KeyBlockShape { enc_key_len: 16, .. } => Cipher::Aes128Gcm,
            KeyBlockShape { explicit_nonce_len: 0, .. } => Cipher::ChaCha20Poly1305,
            _ => Cipher::Aes256Gcm,
        };
        Keys::tls12(cipher, key, iv).ok()
    }
}

impl Tls12AeadAlgorithm for Returning {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Held { keys: self.keys(key, [iv, explicit]), place: &self.places.sends })
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Held { keys: self.keys(key, [iv, &[]]), place: &self.places.receives })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.of_rustls.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.of_rustls.extract_keys(key, iv, explicit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CipherSuite, ContentType, ProtocolVersion};

    const SAID: &[u8] = b"finished";
    /// Those whose keys can be made here: a shorter one can rustls alone make.
    const SUITES: [CipherSuite; 2] = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];

    fn aead(provider: &CryptoProvider, suite: CipherSuite) -> &'static dyn Tls12AeadAlgorithm {
        match provider.cipher_suites.iter().find(|known| known.suite() == suite) {
            Some(SupportedCipherSuite::Tls12(suite)) => suite.aead_alg,
            _ => unreachable!(),
        }
    }

    /// Both directions of a connection whose sides have the same keys.
    fn sides(core: &CoreSuites, suite: CipherSuite) -> (Box<dyn MessageEncrypter>, Box<dyn MessageDecrypter>) {
        let aead = aead(&core.provider, suite);
        let shape = aead.key_block_shape();
        let (iv, explicit) = (&[1; 12][..shape.fixed_iv_len], &[2; 8][..shape.explicit_nonce_len]);
        let key = || AeadKey::from([7; 32]);
        (aead.encrypter(key(), iv, explicit), aead.decrypter(key(), iv))
    }

    fn said(seal: &mut dyn MessageEncrypter, sequence: u64) -> Result<Vec<u8>, Error> {
        let typ = ContentType::Handshake;
        let message = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload: SAID.into() };
        let sealed = seal.encrypt(message, sequence)?;
        assert_eq!(sealed.payload.as_ref().len(), seal.encrypted_payload_len(SAID.len()));
        Ok(sealed.payload.as_ref().to_vec())
    }

    fn heard(open: &mut dyn MessageDecrypter, sealed: &[u8], sequence: u64) -> Result<Vec<u8>, Error> {
        let mut sealed = sealed.to_vec();
        let message = InboundOpaqueMessage::new(ContentType::Handshake, ProtocolVersion::TLSv1_2, &mut sealed);
        Ok(open.decrypt(message, sequence)?.payload.to_vec())
    }

    #[test]
    fn keys_go_on_where_rustls_was() {
        let core = CoreSuites::of_new_core();
        for suite in SUITES {
            let (mut seal, mut open) = sides(&core, suite);
            let first = said(&mut *seal, 0).unwrap();
            assert_eq!(heard(&mut *open, &first, 0).unwrap(), SAID, "{suite:?}");
            assert!(core.returned.take().is_err(), "rustls has them yet");
            drop((seal, open));
            let (mut sends, mut receives) = core.returned.take().unwrap();
            assert_eq!((sends.used(), receives.used()), (1, 1), "{suite:?}");
            let mut record = Vec::new();
            let start = sends.begin(&mut record);
            record.extend_from_slice(SAID);
            sends.seal(ContentType::ApplicationData, start, &mut record).unwrap();
            let (kind, plain) = receives.open(&mut record).unwrap();
            assert_eq!((kind, &record[plain]), (ContentType::ApplicationData, SAID));
            assert!(core.returned.take().is_err(), "nothing is given twice");
        }
    }

    #[test]
    fn records_are_counted_as_rustls_counts_them() {
        let core = CoreSuites::of_new_core();
        for suite in SUITES {
            let (mut seal, mut open) = sides(&core, suite);
            assert_eq!(said(&mut *seal, 1), Err(Error::EncryptError), "{suite:?}");
            let first = said(&mut *seal, 0).unwrap();
            assert_eq!(said(&mut *seal, 0), Err(Error::EncryptError), "{suite:?}: the nonce was used");
            assert_eq!(heard(&mut *open, &first, 1), Err(Error::DecryptError));
            assert_eq!(heard(&mut *open, &first[1..], 0), Err(Error::DecryptError), "{suite:?}");
            assert_eq!(heard(&mut *open, &first, 0).unwrap(), SAID);
        }
    }

    #[test]
    fn what_came_to_nothing_leaves_nothing() {
        let core = CoreSuites::of_new_core();
        drop(sides(&core, SUITES[0]));
        core.returned.clear();
        assert!(core.returned.take().is_err());
        // Half of a pair is nobody's, and not for the next either.
        let (seal, open) = sides(&core, SUITES[0]);
        drop(seal);
        assert!(core.returned.take().is_err());
        drop(open);
        assert!(core.returned.take().is_err());
    }
}
