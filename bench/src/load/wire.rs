//! What a connection's bytes go through: the socket itself, or TLS over it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustls::{ClientConnection, HandshakeKind};

use super::Failure;
use super::tls::Tls;
use crate::net;

/// How one read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There was less than the buffer holds, or nothing.
    Drained,
    /// There may be more.
    More,
    /// The stream has ended.
    End,
}

#[derive(Debug)]
pub(crate) struct Wire {
    fd: OwnedFd,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    pub(crate) fn new(fd: OwnedFd, tls: Option<&Tls>) -> io::Result<Self> {
        let tls = tls.map(Tls::connection).transpose()?.map(Box::new);
        Ok(Self { fd, tls })
    }

    /// How the connect ended.
    pub(crate) fn connected(&self) -> io::Result<()> {
        net::connect_outcome(&self.fd)
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Goes on with the handshake; whether it is over.
    pub(crate) fn shake(&mut self) -> Result<bool, Failure> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        loop {
            flush(tls, &self.fd)?;
            if !tls.is_handshaking() {
                return Ok(true);
            }
            match pull(tls, &self.fd)? {
                Pulled::Nothing => return Ok(false),
                Pulled::End => return Err(Failure::Closed),
                Pulled::Some { .. } => {}
            }
        }
    }

    /// How the handshake went, once it is over.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.as_ref()?.handshake_kind()
    }

    /// Whether both sides agreed on this protocol.
    pub(crate) fn agreed_on(&self, protocol: &[u8]) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.alpn_protocol().unwrap_or(b"http/1.1") == protocol)
    }

    /// Whether records wait for room in the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends what has waited.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.tls {
            Some(tls) => flush(tls, &self.fd).map(drop),
            None => Ok(()),
        }
    }

    /// Takes as many of these bytes as it can; 0 when the socket is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(tls) = &mut self.tls else {
            return Ok(net::write(&self.fd, bytes).map_err(|_| Failure::Reset)?.unwrap_or(0));
        };
        if !flush(tls, &self.fd)? {
            return Ok(0);
        }
        let taken = tls.writer().write(bytes).map_err(|_| Failure::Tls)?;
        flush(tls, &self.fd)?;
        Ok(taken)
    }

    /// Reads into `buffer` and returns the bytes got.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<(usize, Read), Failure> {
        let Some(tls) = &mut self.tls else {
            return Ok(match net::read(&self.fd, buffer).map_err(|_| Failure::Reset)? {
                None => (0, Read::Drained),
                Some(0) => (0, Read::End),
                Some(count) if count < buffer.len() => (count, Read::Drained),
                Some(count) => (count, Read::More),
            });
        };
        let mut is_drained = false;
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Ok((0, Read::End)),
                Ok(count) if is_drained && count < buffer.len() => return Ok((count, Read::Drained)),
                Ok(count) => return Ok((count, Read::More)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Whether an answer is whole its framing tells.
                Err(_) => return Ok((0, Read::End)),
            }
            if is_drained {
                return Ok((0, Read::Drained));
            }
            match pull(tls, &self.fd)? {
                Pulled::Nothing => return Ok((0, Read::Drained)),
                Pulled::Some { is_all } => is_drained = is_all,
                // The reader tells.
                Pulled::End => {}
            }
            flush(tls, &self.fd)?;
        }
    }
}

enum Pulled {
    Nothing,
    /// Bytes, and whether the socket held no more.
    Some {
        is_all: bool,
    },
    End,
}

/// Reads once from the socket and opens the records.
fn pull(tls: &mut ClientConnection, fd: &OwnedFd) -> Result<Pulled, Failure> {
    let mut socket = Socket { fd, is_all: false };
    let pulled = match tls.read_tls(&mut socket) {
        Ok(0) => Pulled::End,
        Ok(_) => Pulled::Some { is_all: socket.is_all },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pulled::Nothing),
        Err(_) => return Err(Failure::Reset),
    };
    tls.process_new_packets().map_err(|_| Failure::Tls)?;
    Ok(pulled)
}

/// Sends what waits; whether the socket took all of it.
fn flush(tls: &mut ClientConnection, fd: &OwnedFd) -> Result<bool, Failure> {
    while tls.wants_write() {
        match tls.write_tls(&mut Socket { fd, is_all: false }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Failure::Reset),
        }
    }
    Ok(true)
}

/// A socket as rustls wants it.
struct Socket<'a> {
    fd: &'a OwnedFd,
    /// The last read took all there was.
    is_all: bool,
}

impl io::Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = net::read(self.fd, buffer)?.ok_or(io::ErrorKind::WouldBlock)?;
        self.is_all = count < buffer.len();
        Ok(count)
    }
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::write(self.fd, bytes)?.ok_or(io::ErrorKind::WouldBlock)?)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Ok(net::write_vectored(self.fd, parts)?.ok_or(io::ErrorKind::WouldBlock)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
