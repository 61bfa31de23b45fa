//! Kernel TLS: the kernel seals what is sent over a TCP socket (`linux/tls.h`).
//!
//! Of TLS there is nothing here but how keys are laid out for the kernel, and how it is told what a record is.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

/// Options of [`libc::SOL_TLS`].
const TLS_TX: libc::c_int = 1;
const TLS_SET_RECORD_TYPE: libc::c_int = 1;

/// Bytes of a nonce, with any cipher.
const NONCE: usize = 12;
/// Bytes of a nonce that come before those that stand in each record of TLS 1.2, with AES-GCM.
const SALT: usize = 4;
/// Bytes of what the kernel is told, with the longest key.
const MOST: usize = 56;
/// Bytes of a control message's header.
const HEAD: usize = size_of::<libc::cmsghdr>();
/// Bytes of a control message with one byte.
pub(crate) const CONTROL: usize = (HEAD + 1).next_multiple_of(size_of::<usize>());

/// A cipher that the kernel may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-GCM with a key of 128 bits.
    Aes128Gcm,
    /// The same with 256 bits.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Cipher {
    /// How the kernel calls it, and bytes of its key.
    fn shape(self) -> (u16, usize) {
        match self {
            Self::Aes128Gcm => (51, 16),
            Self::Aes256Gcm => (52, 32),
            Self::ChaCha20Poly1305 => (54, 32),
        }
    }
}

/// What the kernel is to seal records with. Gone from memory with it.
pub struct SendKeys {
    bytes: Zeroizing<[u8; MOST]>,
    len: usize,
}

impl SendKeys {
    /// Keys of a version (`0x0303` is TLS 1.2), of which the next record has this sequence number. With AES-GCM in TLS 1.2 the
    /// last eight bytes of `nonce` stand in the next record, and count up from there. Nothing where the key is not as long as it
    /// is to be.
    pub fn new(version: u16, cipher: Cipher, key: &[u8], nonce: &[u8; NONCE], sequence: u64) -> Option<Self> {
        let (kind, length) = cipher.shape();
        if key.len() != length {
            return None;
        }
        let (salt, iv) = nonce.split_at(if cipher == Cipher::ChaCha20Poly1305 { 0 } else { SALT });
        let (mut bytes, mut len) = (Zeroizing::new([0; MOST]), 0);
        for part in [&version.to_ne_bytes(), &kind.to_ne_bytes(), iv, key, salt, &sequence.to_be_bytes()] {
            bytes.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        Some(Self { bytes, len })
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What became of keys that the kernel was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It seals from now on.
    Taken,
    /// It does not seal on this socket.
    Refused,
    /// It has no TLS, for any socket.
    Unknown,
}

fn set_option(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the value is readable for as long as the call, which keeps no reference.
    let result =
        unsafe { libc::setsockopt(socket, level, name, value.as_ptr().cast(), value.len() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn attach(socket: &impl AsFd) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

/// Has the kernel seal what is sent from now on. Where it does not, the socket sends what it is given as it did before.
pub(crate) fn offer(socket: &impl AsFd, keys: &SendKeys) -> Offered {
    match attach(socket) {
        Ok(()) => {}
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT)) => {
            return Offered::Unknown;
        }
        Err(_) => return Offered::Refused,
    }
    match set_option(socket, libc::SOL_TLS, TLS_TX, keys.as_slice()) {
        Ok(()) => Offered::Taken,
        Err(_) => Offered::Refused,
    }
}

/// Whether the kernel has TLS, as far as a socket that is not connected tells.
pub fn has_kernel_tls() -> bool {
    let socket = [Domain::IPV4, Domain::IPV6]
        .into_iter()
        .find_map(|domain| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).ok());
    socket.is_some_and(|socket| match attach(&socket) {
        Ok(()) => true,
        // It is there, and wants a connection.
        Err(error) => error.raw_os_error() == Some(libc::ENOTCONN),
    })
}

/// The control message that says of what kind the record is that goes with it.
pub(crate) fn control(kind: u8) -> [u8; CONTROL] {
    let mut message = [0; CONTROL];
    let (length, rest) = message.split_at_mut(HEAD - 2 * size_of::<libc::c_int>());
    length.copy_from_slice(&(HEAD + 1).to_ne_bytes());
    let (level, rest) = rest.split_at_mut(size_of::<libc::c_int>());
    level.copy_from_slice(&libc::SOL_TLS.to_ne_bytes());
    let (name, rest) = rest.split_at_mut(size_of::<libc::c_int>());
    name.copy_from_slice(&TLS_SET_RECORD_TYPE.to_ne_bytes());
    rest[0] = kind;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `linux/tls.h` has them.
    #[test]
    fn keys_are_laid_out_as_the_kernel_wants_them() {
        let nonce: [u8; NONCE] = std::array::from_fn(|at| 100 + at as u8);
        let sequence = 0x0102_0304_0506_0708;
        let counts = [1, 2, 3, 4, 5, 6, 7, 8];
        for (cipher, kind, length, whole) in [(Cipher::Aes128Gcm, 51_u16, 16, 40), (Cipher::Aes256Gcm, 52, 32, 56)] {
            let key: Vec<u8> = (0..length).collect();
            let keys = SendKeys::new(0x0304, cipher, &key, &nonce, sequence).unwrap();
            let info = [&0x0304_u16.to_ne_bytes()[..], &kind.to_ne_bytes()].concat();
            assert_eq!(keys.as_slice(), [&info[..], &nonce[4..], &key, &nonce[..4], &counts].concat());
            assert_eq!(keys.as_slice().len(), whole);
            assert!(SendKeys::new(0x0304, cipher, &key[1..], &nonce, sequence).is_none());
        }
        let key = [7; 32];
        let keys = SendKeys::new(0x0303, Cipher::ChaCha20Poly1305, &key, &nonce, sequence).unwrap();
        let info = [&0x0303_u16.to_ne_bytes()[..], &54_u16.to_ne_bytes()].concat();
        assert_eq!(keys.as_slice(), [&info[..], &nonce, &key, &counts].concat());
        assert_eq!(keys.as_slice().len(), 56);
    }

    #[test]
    fn a_control_message_is_as_the_c_library_makes_it() {
        let message = control(21);
        // SAFETY: the macros only compute.
        let (space, length) = unsafe { (libc::CMSG_SPACE(1) as usize, libc::CMSG_LEN(1) as usize) };
        assert_eq!((message.len(), HEAD + 1), (space, length));
        // SAFETY: the bytes are those of a header, of which any are valid.
        let head = unsafe { message.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        assert_eq!((head.cmsg_len, head.cmsg_level, head.cmsg_type), (length, 282, 1));
        assert_eq!(message[HEAD], 21);
    }

    #[test]
    fn a_socket_that_cannot_have_them_keeps_as_it_is() {
        let keys = SendKeys::new(0x0304, Cipher::Aes128Gcm, &[1; 16], &[2; NONCE], 0).unwrap();
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(offer(&unix, &keys), Offered::Refused);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = if has_kernel_tls() { Offered::Refused } else { Offered::Unknown };
        assert_eq!(offer(&listener, &keys), wanted);
    }
}
