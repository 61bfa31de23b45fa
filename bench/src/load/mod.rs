//! The load generator: one thread, one epoll loop that never sleeps, every time in nanoseconds.
//!
//! Closed loop: each connection sends its next request when the last answer has come, which finds the most a server
//! can do. Open loop: requests are due at a constant rate whatever the server does, and latency counts from the
//! moment a request was due, so that a server that stalls cannot hide the requests it kept from being sent.

mod connection;
mod generator;
mod held;
mod http1;
pub(crate) mod http2;
mod pauses;
mod report;
mod stops;
pub(crate) mod tls;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use generator::{Edge, run};
pub(crate) use pauses::watch;
pub(crate) use report::{Outcome, Percentiles, Summary, histogram};

/// One run of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub(crate) target: SocketAddr,
    /// One whole request of HTTP/1.1.
    pub(crate) request: Vec<u8>,
    /// The same for HTTP/2, which is spoken where it is there.
    pub(crate) http2: Option<http2::Request>,
    /// Connections are over TLS.
    pub(crate) tls: Option<tls::Tls>,
    /// The request is a HEAD, so answers have no body.
    pub(crate) head_request: bool,
    /// Connections kept busy.
    pub(crate) connections: usize,
    /// Requests that may be under way on one connection, which HTTP/2 has as streams.
    pub(crate) pipeline: usize,
    /// A connection of its own for each request.
    pub(crate) close: bool,
    /// Requests a second; `None` is the closed loop.
    pub(crate) rate: Option<f64>,
    /// Time before the measured window.
    pub(crate) warm_up: Duration,
    /// The measured window.
    pub(crate) duration: Duration,
    /// An answer later than this is an error, as is a connect.
    pub(crate) timeout: Duration,
    /// After the window, how long answers under way are waited for.
    pub(crate) grace: Duration,
    /// The status every answer must have. A call of gRPC that fails has none.
    pub(crate) status: u16,
    /// Body bytes every answer must have; `None` takes those of the first answer as the rule.
    pub(crate) body: Option<u64>,
    /// Wait in the kernel when there is nothing to do, instead of polling: for a core that others share.
    pub(crate) blocking: bool,
    /// The CPU of the server in an open loop, which is watched, so that requests that met no stop of the machine are told apart.
    pub(crate) watched: Option<usize>,
}

impl Plan {
    /// Requests for `/` over one connection, for ten seconds, each answered with 200.
    pub(crate) fn get(target: SocketAddr) -> Self {
        Self {
            target,
            request: format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes(),
            http2: None,
            tls: None,
            head_request: false,
            connections: 1,
            pipeline: 1,
            close: false,
            rate: None,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            grace: Duration::from_secs(2),
            status: 200,
            body: None,
            blocking: false,
            watched: None,
        }
    }
}

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Failure {
    /// The connection could not be opened.
    Connect,
    /// The connection was reset, or a stream of it.
    Reset,
    /// The connection was closed before an answer began, or inside its head.
    Closed,
    /// The connection was closed inside a body.
    Truncated,
    /// The answer has another status.
    Status,
    /// The body has another length.
    Length,
    /// The answer is no HTTP, or nobody asked for it.
    Malformed,
    /// TLS broke: the handshake failed, or records are wrong.
    Tls,
    /// No answer in time.
    Timeout,
    /// The request was due, and no connection was free to send it on before the run ended.
    Unsent,
}

impl Failure {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Connect,
        Self::Reset,
        Self::Closed,
        Self::Truncated,
        Self::Status,
        Self::Length,
        Self::Malformed,
        Self::Tls,
        Self::Timeout,
        Self::Unsent,
    ];

    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Status => "status",
            Self::Length => "length",
            Self::Malformed => "malformed",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Unsent => "unsent",
        }
    }
}

#[cfg(test)]
mod tests;
