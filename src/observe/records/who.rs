//! Who is at the other end of a connection, as the log names it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ringway_runtime::net::Remote;

use super::codec::{Reader, put_u64};

/// An address, or a process of this machine that came by a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// An address.
    Ip(IpAddr),
    /// A process.
    Unix {
        /// Its number; 0 for one of another namespace.
        pid: u32,
        /// Its user.
        uid: u32,
    },
}

impl Who {
    /// Whoever is there.
    pub fn of(remote: Remote) -> Self {
        match remote {
            Remote::Ip(address) => Self::Ip(address.ip().to_canonical()),
            Remote::Unix(peer) => Self::Unix { pid: peer.pid, uid: peer.uid },
        }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Ip(IpAddr::V4(v4)) => {
                out.push(1);
                out.extend_from_slice(&u128::from(v4.to_ipv6_mapped()).to_le_bytes());
            }
            Self::Ip(IpAddr::V6(v6)) => {
                out.push(0);
                out.extend_from_slice(&u128::from(v6).to_le_bytes());
            }
            Self::Unix { pid, uid } => {
                out.push(2);
                put_u64(out, pid.into());
                put_u64(out, uid.into());
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let kind = reader.u8()?;
        let bits = reader.u128()?;
        Some(match (kind, Ipv6Addr::from(bits).to_ipv4_mapped()) {
            (1, Some(v4)) => Self::Ip(v4.into()),
            (2, _) => Self::Unix { pid: bits as u32, uid: (bits >> 64) as u32 },
            _ => Self::Ip(Ipv6Addr::from(bits).into()),
        })
    }
}

/// `1.2.3.4`, or `unix:pid=1,uid=2`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { pid, uid } => write!(f, "unix:pid={pid},uid={uid}"),
        }
    }
}
