//! Where sockets are, and who is at their other end: IP or Unix.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use socket2::{Domain, SockAddr, SockRef};

use super::handover;

/// Bytes of a Unix socket's name at most: `sun_path` without the NUL at its end.
pub const UNIX_NAME_MAX: usize = 107;

/// Where to listen, or to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(UnixName),
}

/// What a Unix socket is called: a path, or, behind `@`, a name of the abstract namespace, which has no file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixName(Arc<str>);

impl UnixName {
    /// From an absolute path or an `@` with a name. The error says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, &'static str> {
        match name.as_bytes() {
            [b'/' | b'@', rest @ ..] if rest.is_empty() || rest.iter().any(u8::is_ascii_control) => {
                Err("is no name of a Unix socket")
            }
            [b'/' | b'@', ..] if name.len() > UNIX_NAME_MAX => Err("is longer than the name of a Unix socket may be"),
            [b'/', .., b'/'] => Err("is a directory"),
            [b'/' | b'@', ..] => Ok(Self(name.into())),
            _ => Err("is no absolute path"),
        }
    }

    /// The path; none where it is of the abstract namespace.
    pub fn path(&self) -> Option<&Path> {
        (!self.is_abstract()).then(|| Path::new(&*self.0))
    }

    /// Whether it is of the abstract namespace.
    pub fn is_abstract(&self) -> bool {
        self.0.starts_with('@')
    }

    /// As the kernel has it: a name of the abstract namespace begins with NUL.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.as_bytes().to_vec();
        if let Some(first) = bytes.first_mut().filter(|_| self.is_abstract()) {
            *first = 0;
        }
        bytes
    }

    fn to_sock_addr(&self) -> io::Result<SockAddr> {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        SockAddr::unix(OsString::from_vec(self.to_bytes()))
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// The IP address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// The IP address and the port, where it has them.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The Unix socket, where it is one.
    pub fn unix(&self) -> Option<&UnixName> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(name) => Some(name),
        }
    }

    /// The same at another port. A Unix socket has none.
    #[must_use]
    pub fn with_port(&self, port: Option<u16>) -> Self {
        match (self, port) {
            (Self::Ip(address), Some(port)) => Self::Ip(SocketAddr::new(address.ip(), port)),
            _ => self.clone(),
        }
    }

    pub(crate) fn domain(&self) -> Domain {
        match self {
            Self::Ip(address) => Domain::for_address(*address),
            Self::Unix(_) => Domain::UNIX,
        }
    }

    pub(crate) fn to_sock_addr(&self) -> io::Result<SockAddr> {
        match self {
            Self::Ip(address) => Ok((*address).into()),
            Self::Unix(name) => name.to_sock_addr(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<UnixName> for Address {
    fn from(name: UnixName) -> Self {
        Self::Unix(name)
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// `1.2.3.4:80`, `[::1]:80`, `unix:/path` or `unix:@name`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(name) => UnixName::new(name).map(Self::Unix),
            None => text.parse().map(Self::Ip).map_err(|_| "is no IP address with a port"),
        }
    }
}

/// Who is at the other end of a connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Another address.
    Ip(SocketAddr),
    /// A process of this machine, by a Unix socket.
    Unix(handover::Peer),
}

impl Remote {
    /// Its IP address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr().map(|address| address.ip())
    }

    /// Its IP address and port, where it has them.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Who is at the other end of this socket.
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        Self::known(&SockRef::from(socket).peer_addr()?, socket)
    }

    /// The same where the address is known.
    pub(crate) fn known(address: &SockAddr, socket: &impl AsFd) -> io::Result<Self> {
        match address.as_socket() {
            Some(address) => Ok(Self::Ip(address)),
            None => handover::peer(socket).map(Self::Unix),
        }
    }
}

/// `1.2.3.4:80`, or `unix:pid=1,uid=2`.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(peer) => peer.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["1.2.3.4:80", "[::1]:8080", "unix:/run/web.sock", "unix:@name", "unix:/a b"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        let long = format!("unix:/{}", "x".repeat(UNIX_NAME_MAX));
        let wrong =
            ["", "unix:", "unix:web.sock", "unix:/", "unix:@", "unix:/run/", "unix:/a\0b", &long, "1.2.3.4", ":80"];
        for text in wrong {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(long.get(..long.len() - 1).unwrap().parse::<Address>().is_ok());
    }

    #[test]
    fn a_peer_costs_no_more_than_its_address() {
        assert_eq!(size_of::<Remote>(), size_of::<SocketAddr>());
    }
}
