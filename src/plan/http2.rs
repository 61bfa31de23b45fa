//! What is allowed of HTTP/2.

use std::time::Duration;

use ringway_proto::http2::{Budget, Config, Limits};

use super::{Limits as Http1Limits, Timeouts};

/// `http2` of a listener or an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Whether it is spoken at all.
    pub is_enabled: bool,
    /// Streams of one connection at once.
    pub streams: u32,
    /// Streams of one connection at once whose windows a client keeps shut.
    pub shut_streams: u32,
    /// What may be on its way to the gateway.
    pub windows: Http2Windows,
    /// CONTINUATION frames of a header block.
    pub continuations: u32,
    /// Whether extended CONNECT is taken (RFC 8441).
    pub websocket: bool,
    /// After how long without a frame the peer is asked whether it lives.
    pub ping: Option<Duration>,
    /// How long it may take to answer.
    pub ping_timeout: Duration,
    /// What a peer may cost without use, in tokens, and how many more of them each second.
    pub budget: u32,
    /// See [`Http2::budget`].
    pub budget_refill: u32,
}

/// Bytes that may be on their way to the gateway: of a stream, and of all streams of a connection together. Each starts
/// with the first and grows to the second where the bytes are taken as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Windows {
    /// Of a stream.
    pub stream: u32,
    /// See [`Http2Windows::stream`].
    pub stream_max: u32,
    /// Of a connection.
    pub connection: u32,
    /// See [`Http2Windows::connection`].
    pub connection_max: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            is_enabled: true,
            streams: 100,
            shut_streams: 8,
            windows: Http2Windows {
                stream: 64 << 10,
                stream_max: 1 << 20,
                connection: 256 << 10,
                connection_max: 4 << 20,
            },
            continuations: 8,
            websocket: true,
            ping: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(10),
            budget: 10_000,
            budget_refill: 500,
        }
    }
}

impl Http2 {
    /// What the codec holds the clients of a listener to, whose limits and timeouts these are.
    pub fn of_clients(&self, limits: &Http1Limits, timeouts: &Timeouts) -> Config {
        Config {
            limits: Limits {
                list: limits.head as usize,
                fields: limits.headers as usize,
                line: limits.request_line as usize,
                block: limits.head as usize,
                continuations: self.continuations,
            },
            settings_timeout: timeouts.head,
            block_timeout: timeouts.head,
            stall_timeout: timeouts.send_idle,
            extended_connect: self.websocket,
            ..self.of_both()
        }
    }

    /// What the codec holds endpoints to.
    pub fn of_endpoints(&self) -> Config {
        let limits = Http1Limits::default();
        Config {
            limits: Limits {
                list: limits.response_head as usize,
                fields: limits.response_headers as usize,
                line: limits.response_head as usize,
                block: limits.response_head as usize,
                continuations: self.continuations,
            },
            ..self.of_both()
        }
    }

    fn of_both(&self) -> Config {
        let Http2Windows { stream, stream_max, connection, connection_max } = self.windows;
        Config {
            streams: self.streams,
            shut: self.shut_streams,
            stream_window: stream,
            stream_window_max: stream_max.max(stream),
            connection_window: connection,
            connection_window_max: connection_max.max(connection),
            budget: Budget { capacity: self.budget, per_second: self.budget_refill, ..Budget::default() },
            ping_after: self.ping,
            ping_timeout: self.ping_timeout,
            ..Config::default()
        }
    }
}
