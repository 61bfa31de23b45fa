//! What WebSocket connections do: messages, control frames, errors, and how they are closed.

use ringway_proto::websocket::{FrameError, Kind};
use ringway_runtime::histogram::{CounterId, CounterSet, GaugeId, HistogramSet, SchemaBuilder, Shape, Unit};

use super::labels::label;

label! {
    /// Who sent something.
    WebsocketSide {
        /// The client.
        Client = "client",
        /// The endpoint.
        Upstream = "upstream",
        /// The gateway itself.
        Gateway = "gateway",
    }
}

impl WebsocketSide {
    /// All of them; the discriminant is the place.
    pub const ALL: [Self; 3] = [Self::Client, Self::Upstream, Self::Gateway];
}

label! {
    /// A control frame that was passed on, or a ping that the gateway sent.
    ControlFrame {
        /// A ping.
        Ping = "ping",
        /// A pong.
        Pong = "pong",
        /// A close frame.
        Close = "close",
    }
}

/// What a side did that ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebsocketError {
    /// It broke the protocol, or a limit on frames and messages.
    Frame(FrameError),
    /// It sent more messages than it may in their time.
    MessageRate,
    /// It sent more data frames than it may in their time.
    FrameRate,
    /// It sent more control frames than it may in their time.
    ControlRate,
    /// It did not answer a ping.
    PingTimeout,
}

impl WebsocketError {
    const OWN: [(Self, &'static str); 4] = [
        (Self::MessageRate, "message_rate"),
        (Self::FrameRate, "frame_rate"),
        (Self::ControlRate, "control_rate"),
        (Self::PingTimeout, "ping_timeout"),
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        if let Self::Frame(error) = self {
            return error.code();
        }
        Self::OWN.iter().find(|(own, _)| *own == self).map_or("", |(_, code)| code)
    }

    fn place(self) -> usize {
        match self {
            Self::Frame(error) => error as usize,
            own => FrameError::ALL.len() + Self::OWN.iter().take_while(|(known, _)| *known != own).count(),
        }
    }
}

/// The codes that connections are closed with, as labels have them: numbers of their own, ranges, and two that no frame
/// has.
const CLOSES: [&str; 16] = [
    "1000", "1001", "1002", "1003", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014", "3xxx", "4xxx",
    "none", "abnormal",
];
/// What becomes of the bytes of messages that the gateway expands or compresses.
const STAGES: [&str; 4] = ["expanded_from", "expanded_to", "compressed_from", "compressed_to"];
/// What the log calls an end without a close frame (RFC 6455 section 7.4.1).
const ABNORMAL: u16 = 1006;
/// What the log calls a close frame without a code.
const NO_CODE: u16 = 1005;

/// How a WebSocket connection ended, and how many messages went over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebsocketEnd {
    /// Who closed it.
    pub by: WebsocketSide,
    /// The code; 1005 where the close frame had none, 1006 where there was none.
    pub code: u16,
    /// Messages of the client.
    pub received: u64,
    /// Messages of the endpoint.
    pub sent: u64,
}

impl WebsocketEnd {
    /// It was closed with this code, or without one.
    pub fn code(code: Option<u16>) -> u16 {
        code.unwrap_or(NO_CODE)
    }

    /// It ended without a close frame.
    pub const ABNORMAL: u16 = ABNORMAL;
}

/// Where the metrics of a core are.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) open: GaugeId,
    pub(super) opened: CounterId,
    messages: CounterSet,
    pub(super) message_bytes: HistogramSet,
    control: CounterSet,
    recoded: CounterSet,
    errors: CounterSet,
    closes: CounterSet,
}

impl Ids {
    pub(super) fn new(build: &mut SchemaBuilder) -> Self {
        const PEERS: [&str; 2] = ["client", "upstream"];
        let errors = FrameError::ALL.iter().map(|error| error.code());
        let errors: Vec<&str> = errors.chain(WebsocketError::OWN.iter().map(|(_, code)| *code)).collect();
        Self {
            open: build.gauge("ringway_websocket_connections_open", Unit::None, &[]),
            opened: build.counter("ringway_websocket_connections_total", Unit::None, &[]),
            messages: build.counters(
                "ringway_websocket_messages_total",
                Unit::None,
                PEERS.iter().flat_map(|&side| ["text", "binary"].map(|kind| [("side", side), ("kind", kind)])),
            ),
            message_bytes: build.histograms(
                "ringway_websocket_message_bytes",
                Unit::Bytes,
                Shape::COARSE,
                PEERS.map(|side| [("side", side)]),
            ),
            recoded: build.counters(
                "ringway_websocket_recoded_bytes_total",
                Unit::Bytes,
                PEERS.iter().flat_map(|&side| STAGES.map(|stage| [("side", side), ("stage", stage)])),
            ),
            control: build.counters(
                "ringway_websocket_control_frames_total",
                Unit::None,
                WebsocketSide::VALUES
                    .iter()
                    .flat_map(|&side| ControlFrame::VALUES.iter().map(move |&kind| [("side", side), ("kind", kind)])),
            ),
            errors: build.counters(
                "ringway_websocket_errors_total",
                Unit::None,
                PEERS.iter().flat_map(|&side| errors.iter().map(move |&error| [("side", side), ("error", error)])),
            ),
            closes: build.counters(
                "ringway_websocket_closes_total",
                Unit::None,
                WebsocketSide::VALUES.iter().flat_map(|&by| CLOSES.map(|code| [("by", by), ("code", code)])),
            ),
        }
    }

    pub(super) fn message(&self, side: WebsocketSide, kind: Kind) -> Option<CounterId> {
        self.messages.get(side as usize * 2 + usize::from(kind == Kind::Binary))
    }

    pub(super) fn recoded(&self, side: WebsocketSide, stage: usize) -> Option<CounterId> {
        self.recoded.get(side as usize * STAGES.len() + stage)
    }

    pub(super) fn control(&self, side: WebsocketSide, frame: ControlFrame) -> Option<CounterId> {
        self.control.get(side as usize * ControlFrame::VALUES.len() + frame as usize)
    }

    pub(super) fn error(&self, side: WebsocketSide, error: WebsocketError) -> Option<CounterId> {
        let each = FrameError::ALL.len() + WebsocketError::OWN.len();
        self.errors.get(side as usize * each + error.place())
    }

    pub(super) fn close(&self, by: WebsocketSide, code: u16) -> Option<CounterId> {
        let number = code.to_string();
        let named = match code {
            ABNORMAL => "abnormal",
            NO_CODE => "none",
            3000..=3999 => "3xxx",
            4000..=4999 => "4xxx",
            _ => &number,
        };
        let at = CLOSES.iter().position(|known| *known == named)?;
        self.closes.get(by as usize * CLOSES.len() + at)
    }
}
