//! How requests spread over the endpoints of an upstream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringway_proto::jwt;

use crate::config::Secret;

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, by weight.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// Of two drawn by weight the one with fewer requests under way.
    TwoChoices,
    /// The one with the fewest requests under way, of all cores.
    LeastRequests {
        /// How many are looked at, drawn by weight where there are more.
        choices: u32,
    },
    /// Of two drawn by weight the one whose recent worst response time, times its requests under way, is least.
    PeakEwma {
        /// How fast a peak is forgotten.
        decay: Duration,
    },
    /// Of a few drawn by weight the one that a model of its response time says is fastest now.
    Adaptive {
        /// How fast a peak is forgotten.
        decay: Duration,
        /// After how long without an answer an endpoint is tried again.
        explore: Duration,
    },
    /// The one whose point on a ring is next to the request's.
    RingHash {
        /// What of the request is hashed.
        key: HashKey,
        /// Points of an endpoint for each unit of its weight.
        points: u32,
        /// The most an endpoint may have under way, in percent of its even share.
        max_load: Option<u32>,
    },
    /// The one that a table has for the request's hash.
    Maglev {
        /// What of the request is hashed.
        key: HashKey,
        /// Places in the table, a prime.
        table: u32,
        /// The most an endpoint may have under way, in percent of its even share.
        max_load: Option<u32>,
    },
}

impl Balance {
    /// As the config names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::TwoChoices => "two-choices",
            Self::LeastRequests { .. } => "least-requests",
            Self::PeakEwma { .. } => "peak-ewma",
            Self::Adaptive { .. } => "adaptive",
            Self::RingHash { .. } => "ring-hash",
            Self::Maglev { .. } => "maglev",
        }
    }

    /// What of a request is hashed.
    pub fn key(&self) -> Option<&HashKey> {
        match self {
            Self::RingHash { key, .. } | Self::Maglev { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The most an endpoint may have under way, in percent of its even share.
    pub fn max_load(&self) -> Option<u32> {
        match self {
            Self::RingHash { max_load, .. } | Self::Maglev { max_load, .. } => *max_load,
            _ => None,
        }
    }
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address, through trusted proxies.
    ClientIp,
    /// A header field, by its name in lower case.
    Header(Arc<str>),
    /// A cookie.
    Cookie(Arc<str>),
    /// What the path template of the route captured under this name.
    PathParameter(Arc<str>),
    /// A claim of the token that the request brings.
    Claim(jwt::Path),
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client-ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::PathParameter(name) => write!(f, "path:{name}"),
            Self::Claim(path) => write!(f, "claim:{path}"),
        }
    }
}

/// `sticky`: a client comes back to the endpoint that answered it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Arc<str>,
    /// What cookies are signed with.
    pub secret: Secret,
    /// How long a client keeps the cookie; as long as its session where nothing is said.
    pub max_age: Option<Duration>,
}

/// `failover`: which endpoints are asked first, and when others are. Shares are those of a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Where this gateway is: endpoints of the same zone go before others of their priority.
    pub zone: Option<Arc<str>>,
    /// A group with this share of its weight available takes all of its requests; with less, the next one helps.
    pub enough: u32,
    /// With less than this share of all available, those that are not well are used all the same. 0 is never.
    pub panic: u32,
}

impl Default for Failover {
    fn default() -> Self {
        Self { zone: None, enough: 700_000, panic: 500_000 }
    }
}

/// `slow_start`: an endpoint that comes, or comes back, gets its share little by little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// How long until it has its whole weight.
    pub window: Duration,
    /// What it begins with, in percent of its weight.
    pub from: u32,
}

/// Some endpoints of an upstream: those whose metadata say all of this, by name. Empty is every endpoint.
pub type Subset = Box<[(Arc<str>, Arc<str>)]>;

/// Whether metadata, sorted by name, say all that a subset wants.
pub fn is_in(subset: &[(Arc<str>, Arc<str>)], metadata: &[(Arc<str>, Arc<str>)]) -> bool {
    subset.iter().all(|wanted| metadata.contains(wanted))
}
