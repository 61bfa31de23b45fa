//! Why a WebSocket connection ends, and what each side is told.

use ringway_proto::websocket::{CloseCode, FrameError};

use crate::flow::{Client, Exchange};
use crate::observe::{Reason, WebsocketEnd, WebsocketError, WebsocketSide};

/// An endpoint that cannot be understood (the IANA registry of close codes, after RFC 6455 section 11.7).
const BAD_GATEWAY: Option<CloseCode> = CloseCode::new(1014);

/// Why the gateway ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The core ends, or no plan has the connection any more.
    Drain,
    /// Neither side said anything for too long.
    Idle,
    /// This side did that.
    Error(WebsocketSide, WebsocketError),
}

impl Cause {
    /// What the two sides are told, the client first.
    pub(super) fn codes(self) -> (CloseCode, CloseCode) {
        let away = CloseCode::GOING_AWAY;
        match self {
            Self::Drain | Self::Idle => (away, away),
            Self::Error(WebsocketSide::Client, error) => (code(error), away),
            Self::Error(_, error) => (BAD_GATEWAY.unwrap_or(CloseCode::INTERNAL), code(error)),
        }
    }

    /// The code that stands for the end in log and metrics.
    pub(super) fn code(self) -> CloseCode {
        match self {
            Self::Drain | Self::Idle => CloseCode::GOING_AWAY,
            Self::Error(_, error) => code(error),
        }
    }

    fn reason(self) -> Option<Reason> {
        match self {
            Self::Error(WebsocketSide::Client, _) => Some(Reason::WebsocketClient),
            Self::Error(..) => Some(Reason::WebsocketUpstream),
            Self::Drain | Self::Idle => None,
        }
    }
}

fn code(error: WebsocketError) -> CloseCode {
    match error {
        WebsocketError::Frame(error) => FrameError::close_code(error),
        _ => CloseCode::POLICY,
    }
}

/// Notes why the gateway ends the connection, where the log and the metrics find it.
pub(super) fn note(client: &Client, exchange: &mut Exchange, cause: Cause) {
    exchange.reason = exchange.reason.or(cause.reason());
    let Cause::Error(side, error) = cause else { return };
    client.state.metrics.websocket_error(side, error);
    if side == WebsocketSide::Upstream {
        crate::flow::tell::upstream_failed(client, exchange, Reason::WebsocketUpstream, error.code());
    }
}

/// Counts a connection as long as it lives.
pub(super) struct Open {
    metrics: std::rc::Rc<crate::observe::Metrics>,
    pub(super) end: Option<WebsocketEnd>,
}

impl Open {
    pub(super) fn new(client: &Client) -> Self {
        let metrics = client.state.metrics.clone();
        metrics.websocket_opened();
        Self { metrics, end: None }
    }

    /// It was closed so; what came first counts.
    pub(super) fn close(&mut self, by: WebsocketSide, code: u16) {
        self.end.get_or_insert(WebsocketEnd { by, code, received: 0, sent: 0 });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.websocket_closed(self.end);
    }
}
