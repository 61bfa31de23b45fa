//! When an endpoint is thought to be ill, and what follows.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{Respond, UpstreamId};

/// `health`: endpoints are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How they are asked.
    pub check: Check,
    /// The port, where it is not the endpoint's own.
    pub port: Option<u16>,
    /// From one question to the next.
    pub interval: Duration,
    /// How much of the interval it may be more or less, in millionths.
    pub jitter: u32,
    /// For the whole answer.
    pub timeout: Duration,
    /// So many failures in a row take an endpoint out.
    pub unhealthy_after: u32,
    /// So many successes in a row bring it back.
    pub healthy_after: u32,
    /// Whether an endpoint that is new is used before it was asked.
    pub starts_healthy: bool,
}

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It takes a connection.
    Tcp,
    /// It answers `grpc.health.v1.Health/Check` with `SERVING`.
    Grpc {
        /// Of this service; of all of it where the name is empty.
        service: Arc<str>,
        /// The `:authority`; the endpoint's name where nothing is said.
        host: Option<Arc<str>>,
    },
    /// It answers a GET.
    Http {
        /// For what.
        path: Arc<str>,
        /// The `Host`; the endpoint's name where nothing is said.
        host: Option<Arc<str>>,
        /// With one of these statuses.
        status: Box<[RangeInclusive<u16>]>,
        /// With this in its body.
        body: Option<Arc<str>>,
    },
}

/// `outlier`: endpoints whose answers are bad are left out for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// So many failures in a row; any number where nothing is said.
    pub consecutive_failures: Option<u32>,
    /// This part of the requests of the window, in millionths; any where nothing is said.
    pub failure_ratio: Option<u32>,
    /// Its answers take so many times longer than those of half of the others; any time where nothing is said.
    pub slow_factor: Option<u32>,
    /// How long a failure counts.
    pub window: Duration,
    /// With fewer requests in the window the ratio says nothing.
    pub min_requests: u32,
    /// How long an endpoint is left out the first time; twice as long each time that follows.
    pub eject_for: Duration,
    /// But no longer than this.
    pub max_eject_for: Duration,
    /// The part of the endpoints that may be left out at once, in millionths.
    pub max_ejected: u32,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(5),
            failure_ratio: Some(500_000),
            slow_factor: None,
            window: Duration::from_secs(10),
            min_requests: 20,
            eject_for: Duration::from_secs(30),
            max_eject_for: Duration::from_mins(5),
            max_ejected: 500_000,
        }
    }
}

/// `breaker`: what fails too often is not asked for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Whether each endpoint has one.
    pub of_endpoints: bool,
    /// Whether the upstream as a whole has one.
    pub of_upstream: bool,
    /// See [`Outlier::consecutive_failures`].
    pub consecutive_failures: Option<u32>,
    /// See [`Outlier::failure_ratio`].
    pub failure_ratio: Option<u32>,
    /// An answer that took longer to begin is a slow one.
    pub slow: Option<Duration>,
    /// This part of the requests of the window, in millionths.
    pub slow_ratio: u32,
    /// How long a request counts.
    pub window: Duration,
    /// With fewer requests in the window the ratios say nothing.
    pub min_requests: u32,
    /// How long it is open the first time; twice as long each time that its probes fail.
    pub open_for: Duration,
    /// But no longer than this.
    pub max_open_for: Duration,
    /// How much longer it may be by chance, in millionths.
    pub jitter: u32,
    /// Requests let through when that time has passed. When all of them go well, it closes.
    pub probes: u32,
    /// What answers meanwhile.
    pub fallback: Fallback,
}

/// What answers a request while nothing of an upstream may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing does: it is refused.
    #[default]
    Refuse,
    /// Another upstream. For that one no upstream stands in in turn.
    Upstream(UpstreamId),
    /// A fixed response, that of the service of this name.
    Respond(Arc<str>, Arc<Respond>),
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            of_endpoints: true,
            of_upstream: false,
            consecutive_failures: None,
            failure_ratio: Some(500_000),
            slow: None,
            slow_ratio: 500_000,
            window: Duration::from_secs(10),
            min_requests: 20,
            open_for: Duration::from_secs(30),
            max_open_for: Duration::from_mins(5),
            jitter: 100_000,
            probes: 3,
            fallback: Fallback::Refuse,
        }
    }
}
