//! Where else the endpoints of an upstream are looked for.

use super::Endpoint;
use crate::config::Secret;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `discover`: the endpoints of an upstream come from elsewhere while the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discover {
    /// Where they are looked for.
    pub place: DiscoverIn,
    /// Whether a set that has lost too many at once leaves those in use until somebody accepts it.
    pub keeps_last_good: bool,
    /// The part of a set, in millionths, that may be gone at once.
    pub max_shrink: u32,
    /// Endpoints of a set.
    pub max_endpoints: u32,
    /// What the config itself has: in use until the first set comes.
    pub first: Box<[Endpoint]>,
}

/// Where endpoints are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoverIn {
    /// The addresses of a name.
    Dns(Dns),
    /// The servers of a service (RFC 2782), and their addresses.
    Srv(Dns),
    /// A file.
    File(Box<Path>),
    /// They say so themselves, to the admin API.
    Registration(Registration),
}

impl DiscoverIn {
    /// As the config names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::Srv(_) => "dns-srv",
            Self::File(_) => "file",
            Self::Registration(_) => "registration",
        }
    }
}

/// What is asked of the DNS, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name.
    pub name: Arc<str>,
    /// The port of every address; services have their own.
    pub port: u16,
    /// Which addresses are used.
    pub family: Family,
    /// Who is asked; those whom the machine asks where there are none.
    pub servers: Box<[SocketAddr]>,
    /// An answer is used for at least so long,
    pub min_ttl: Duration,
    /// and for so long at most.
    pub max_ttl: Duration,
    /// How long a server may take.
    pub timeout: Duration,
}

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Those of IPv4 where there are any, otherwise those of IPv6.
    Auto,
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
    /// All.
    Both,
}

/// How endpoints register themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// How long one that says nothing stays.
    pub ttl: Duration,
    /// What lets somebody register who may do nothing else.
    pub token: Option<Secret>,
    /// The only places where they may be.
    pub allow: Box<[IpNet]>,
}

impl Registration {
    /// Whether an endpoint may be at this address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|network| network.contains(&address))
    }
}
