//! Why the gateway answers by itself. One code for each reason, the same in the log, the metric and the answer.

use std::fmt;

use ringway_proto::grpc::FrameError;
use ringway_proto::http1::{BodyError, RequestError};
use ringway_proto::websocket::HandshakeError;

use crate::plan::PathError;

/// Whose doing a refusal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The client asked for something it cannot have, or asked wrongly.
    Client,
    /// The upstream failed.
    Upstream,
    /// The gateway cannot or will not serve now.
    Internal,
}

impl Side {
    /// The label value of the side.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Internal => "internal",
        }
    }
}

/// Declares the gateway's own reasons, and beside them those that a codec states.
macro_rules! reasons {
    ( $( $(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $side:ident, $text:literal; )* ) => {
        /// Why a request is answered by the gateway itself with something other than success.
        ///
        /// What a codec refuses is carried as the codec's own error, so its codes are written down once, where the
        /// refusal is made. An upstream that breaks the protocol is one reason for the client; the codec's error
        /// goes to the log.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Reason {
            $( $(#[$doc])* #[doc = concat!("(`", $code, "`, ", stringify!($status), ")")] $variant, )*
            /// The head of an HTTP/1 request is refused.
            Request(RequestError),
            /// The body of an HTTP/1 request is refused.
            Body(BodyError),
            /// The path can be read in more than one way (400).
            Path(PathError),
            /// An opening handshake of WebSocket is refused.
            Websocket(HandshakeError),
            /// What a client of gRPC-Web sends is refused.
            Grpc(FrameError),
        }

        impl Reason {
            /// The stable code, in `snake_case`.
            pub fn code(self) -> &'static str {
                match self {
                    $( Reason::$variant => $code, )*
                    Reason::Request(error) => error.code(),
                    Reason::Body(error) => error.code(),
                    Reason::Path(error) => error.code(),
                    Reason::Websocket(error) => error.code(),
                    Reason::Grpc(error) => error.code(),
                }
            }

            /// The status of the answer (RFC 9110 section 15).
            pub fn status(self) -> u16 {
                match self {
                    $( Reason::$variant => $status, )*
                    Reason::Request(error) => error.status(),
                    Reason::Body(error) => error.status(),
                    Reason::Path(_) => 400,
                    // RFC 6455 section 4.4.
                    Reason::Websocket(HandshakeError::Version) => 426,
                    Reason::Websocket(_) => 400,
                    Reason::Grpc(FrameError::MessageTooLarge) => 413,
                    Reason::Grpc(_) => 400,
                }
            }

            /// Whose doing it is.
            pub fn side(self) -> Side {
                match self {
                    $( Reason::$variant => Side::$side, )*
                    Reason::Request(_) | Reason::Body(_) | Reason::Path(_) | Reason::Websocket(_) | Reason::Grpc(_) => Side::Client,
                }
            }

            /// Every reason once. Two of them may share a code, where a head and a body break the same rule.
            pub fn all() -> impl Iterator<Item = Reason> {
                let own: &'static [Reason] = &[$( Reason::$variant, )*];
                let codec = RequestError::all().map(Reason::Request).chain(BodyError::all().map(Reason::Body));
                own.iter().copied().chain(codec).chain(PathError::all().map(Reason::Path)).chain(HandshakeError::ALL.iter().copied().map(Reason::Websocket)).chain(FrameError::ALL.iter().copied().map(Reason::Grpc))
            }
        }

        /// What a client may read; nothing internal.
        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Reason::$variant => f.write_str($text), )*
                    Reason::Request(error) => error.fmt(f),
                    Reason::Body(error) => error.fmt(f),
                    Reason::Path(error) => error.fmt(f),
                    Reason::Websocket(error) => error.fmt(f),
                    Reason::Grpc(error) => error.fmt(f),
                }
            }
        }
    };
}

reasons! {
    /// No route has this host and path.
    NoRoute = "no_route", 404, Client, "no route matches this host and path";
    /// Routes have this path, but none has this method.
    MethodNotAllowed = "method_not_allowed", 405, Client, "the method is not allowed for this path";
    /// A redirect needs to know the host, and a request of HTTP/1.0 names none.
    HostMissing = "host_missing", 400, Client, "the request names no host";
    /// The request may be replayed, and its route does not allow that.
    TooEarly = "too_early", 425, Client, "the request may be a replay: send it again once the handshake is done";
    /// The request body is longer than the route allows.
    BodyTooLarge = "body_too_large", 413, Client, "the request body is too large";
    /// The request head did not come in time.
    HeadTimeout = "head_timeout", 408, Client, "the request head did not arrive in time";
    /// The request body stopped coming.
    BodyTimeout = "body_timeout", 408, Client, "the request body did not arrive in time";
    /// The client sends or reads more slowly than the least rate.
    RateTooSlow = "rate_too_slow", 408, Client, "the client is below the minimum rate";
    /// CONNECT. 501 and not 405: no resource here takes it, so there is no Allow to give (RFC 9110 section 15.6.2).
    ConnectNotSupported = "connect_not_supported", 501, Client, "CONNECT is not supported";
    /// No connection to the upstream could be made.
    UpstreamConnectFailed = "upstream_connect_failed", 502, Upstream, "the upstream could not be reached";
    /// No TLS session with the upstream could be made.
    UpstreamTlsFailed = "upstream_tls_failed", 502, Upstream, "no secure connection to the upstream could be made";
    /// The upstream closed or reset the connection before its answer.
    UpstreamReset = "upstream_reset", 502, Upstream, "the upstream closed the connection without an answer";
    /// The upstream's answer breaks the protocol.
    UpstreamProtocolError = "upstream_protocol_error", 502, Upstream, "the upstream sent an invalid answer";
    /// The upstream did not accept a connection in time.
    UpstreamTimeoutConnect = "upstream_timeout_connect", 504, Upstream, "the upstream did not accept in time";
    /// The upstream accepted the request and did not begin to answer in time.
    UpstreamTimeoutFirstByte = "upstream_timeout_first_byte", 504, Upstream, "the upstream did not answer in time";
    /// One try at the upstream took longer than a try may.
    UpstreamTimeoutTry = "upstream_timeout_try", 504, Upstream, "the upstream did not answer in time";
    /// The upstream stopped reading or sending in the middle.
    UpstreamTimeoutIdle = "upstream_timeout_idle", 504, Upstream, "the upstream stalled";
    /// The whole exchange took longer than the route allows.
    UpstreamTimeoutTotal = "upstream_timeout_total", 504, Upstream, "the upstream did not finish in time";
    /// The deadline that the client gave passed.
    DeadlineExceeded = "deadline_exceeded", 504, Internal, "the deadline of the request has passed";
    /// All connections are in use and as many requests as may wait are waiting.
    PoolExhausted = "pool_exhausted", 503, Upstream, "too many requests wait for the upstream";
    /// No connection came free in time.
    PoolTimeout = "pool_timeout", 503, Upstream, "no connection to the upstream came free in time";
    /// The upstream has no endpoint that may be used.
    NoEndpoint = "no_endpoint", 503, Upstream, "the upstream has no usable endpoint";
    /// The breaker of the upstream, or those of all its endpoints, are open.
    BreakerOpen = "breaker_open", 503, Upstream, "the upstream failed too often and is not asked for a time";
    /// A policy took longer than the request may take.
    PolicyTimeout = "policy_timeout", 504, Internal, "the request was not admitted in time";
    /// A policy of type fault refuses its share. The status is the policy's.
    FaultInjected = "fault_injected", 503, Internal, "an injected fault";
    /// The core is at one of its limits.
    Overloaded = "overloaded", 503, Internal, "the gateway is at its limit";
    /// The gateway is about to end.
    Draining = "draining", 503, Internal, "the gateway is shutting down";
    /// A page whose origin is not among those of the route asks for a WebSocket connection.
    WebsocketOrigin = "websocket_origin", 403, Client, "pages of this origin may not open WebSocket connections here";
    /// A client broke the WebSocket protocol or a limit after its handshake, or did not answer a ping. Never sent: it is
    /// why the connection was closed.
    WebsocketClient = "websocket_client_error", 400, Client, "the client broke the WebSocket protocol or a limit";
    /// The same of an upstream.
    WebsocketUpstream = "websocket_upstream_error", 502, Upstream, "the upstream broke the WebSocket protocol or a limit";
    /// A fault of the gateway's own.
    Internal = "internal", 500, Internal, "internal error";
}

impl From<RequestError> for Reason {
    fn from(error: RequestError) -> Reason {
        Reason::Request(error)
    }
}

impl From<BodyError> for Reason {
    fn from(error: BodyError) -> Reason {
        Reason::Body(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn codes_are_snake_case_and_statuses_are_errors() {
        for reason in Reason::all() {
            let code = reason.code();
            assert!(
                code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{code}"
            );
            assert!((400..600).contains(&reason.status()), "{code}: {}", reason.status());
            assert!(!reason.to_string().is_empty(), "{code} has no text");
        }
    }

    #[test]
    fn a_client_is_blamed_with_4xx_or_501_and_505_and_nobody_else_is() {
        for reason in Reason::all() {
            let of_client = reason.status() < 500 || matches!(reason.status(), 501 | 505);
            assert_eq!(reason.side() == Side::Client, of_client, "{}", reason.code());
        }
    }

    #[test]
    fn one_code_means_one_status() {
        let mut statuses = HashMap::new();
        for reason in Reason::all() {
            let status = *statuses.entry(reason.code()).or_insert(reason.status());
            assert_eq!(status, reason.status(), "{}", reason.code());
        }
    }
}
