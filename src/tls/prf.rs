//! What TLS 1.2 makes keys with (RFC 5246 section 5), where its hash is SHA-256.
//!
//! A resumed handshake asks for it three times, and hashes a dozen blocks for each. aws-lc takes as long for the contexts
//! around them as for the blocks.

use hmac::{Hmac, KeyInit, Mac};
use rustls::Error;
use rustls::crypto::ActiveKeyExchange;
use rustls::crypto::tls12::Prf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a block of SHA-256: a secret of HMAC that is no longer is filled up with zeros (RFC 2104 section 2).
const BLOCK: usize = 64;
/// Bytes of a hash.
const HASH: usize = 32;

/// The function with secrets up to the length of a block, as all are but those of a handshake that exchanges keys. Those are for
/// the other.
pub(super) struct OfSecrets(pub(super) &'static dyn Prf);

impl Prf for OfSecrets {
    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        key: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        self.0.for_key_exchange(output, exchange, key, label, seed)
    }

    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        let mut block = Zeroizing::new([0; BLOCK]);
        let Some(room) = block.get_mut(..secret.len()) else {
            return self.0.for_secret(output, secret, label, seed);
        };
        room.copy_from_slice(secret);
        let keyed = Hmac::<Sha256>::new((&*block).into());
        let mut chain = hash(keyed.clone(), &[label, seed]);
        let mut pieces = output.chunks_mut(HASH).peekable();
        while let Some(piece) = pieces.next() {
            let mut begun = keyed.clone();
            begun.update(&*chain);
            if pieces.peek().is_some() {
                chain = hash(begun.clone(), &[]);
            }
            let made = hash(begun, &[label, seed]);
            piece.copy_from_slice(&made[..piece.len()]);
        }
    }
}

/// The end of a hash that was begun, once it has these as well.
fn hash(mut begun: Hmac<Sha256>, parts: &[&[u8]]) -> Zeroizing<[u8; HASH]> {
    for part in parts {
        begun.update(part);
    }
    Zeroizing::new(begun.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::SupportedCipherSuite;
    use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

    fn of_aws_lc() -> &'static dyn Prf {
        let SupportedCipherSuite::Tls12(suite) = TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 else { unreachable!() };
        suite.prf_provider
    }

    /// A vector that was sent to the working group's list in 2009.
    #[test]
    fn it_is_the_function_of_tls_1_2() {
        let secret = 0x9bbe_436b_a940_f017_b176_5284_9a71_db35_u128.to_be_bytes();
        let seed = 0xa0ba_9f93_6cda_3118_27a6_f796_ffd5_198c_u128.to_be_bytes();
        let mut made = [0; 100];
        OfSecrets(of_aws_lc()).for_secret(&mut made, &secret, b"test label", &seed);
        let hex = made.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let wanted = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7\
                      077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66";
        assert_eq!(hex, wanted);
    }

    proptest! {
        #[test]
        fn it_makes_what_aws_lc_makes(
            secret in prop::collection::vec(any::<u8>(), 1..80),
            label in prop::collection::vec(any::<u8>(), 1..40),
            seed in prop::collection::vec(any::<u8>(), 1..100),
            length in 1..200_usize,
        ) {
            let (mut ours, mut theirs) = (vec![0; length], vec![0; length]);
            OfSecrets(of_aws_lc()).for_secret(&mut ours, &secret, &label, &seed);
            of_aws_lc().for_secret(&mut theirs, &secret, &label, &seed);
            prop_assert_eq!(ours, theirs);
        }
    }
}
