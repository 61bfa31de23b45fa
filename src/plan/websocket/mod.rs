//! `websocket` of a route: how WebSocket connections are carried.

mod origin;

use std::time::Duration;

use ringway_proto::websocket::Limits;
use ringway_proto::websocket::extension::Willing;

pub use origin::Origin;

/// `websocket` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// Which pages may open one; those of any origin when absent.
    pub origins: Option<Box<[Origin]>>,
    /// Whether handshakes and frames are looked at; bytes are carried as they come otherwise, as after any other upgrade.
    pub is_checked: bool,
    /// What becomes of permessage-deflate.
    pub compression: Compression,
    /// What a frame and a message of either side may have.
    pub limits: Limits,
    /// Messages that a client may send; any number when absent.
    pub messages: Option<Rate>,
    /// Data frames that a client may send; any number when absent.
    pub frames: Option<Rate>,
    /// Pings, pongs and close frames that a client may send; any number when absent.
    pub control_frames: Option<Rate>,
    /// How long a side may be silent before it is sent a ping; never when absent.
    pub ping_interval: Option<Duration>,
    /// How long a side may then stay silent.
    pub ping_timeout: Duration,
    /// How long neither side may send anything; `tunnel_idle` of the listener when absent.
    pub idle: Option<Duration>,
    /// How long the end may take once one side wants it.
    pub close_timeout: Duration,
    /// Within what time connections are closed that cannot stay.
    pub drain: Duration,
}

impl Default for Websocket {
    fn default() -> Self {
        Self {
            origins: None,
            is_checked: true,
            compression: Compression::Pass,
            limits: Limits::default(),
            messages: None,
            frames: None,
            control_frames: Some(Rate { count: 100, per: Duration::from_secs(1) }),
            ping_interval: None,
            ping_timeout: Duration::from_secs(20),
            idle: None,
            close_timeout: Duration::from_secs(5),
            drain: Duration::from_secs(10),
        }
    }
}

/// What becomes of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The two sides may agree on it.
    Pass,
    /// It is not offered to the endpoint.
    Off,
    /// Each side agrees on it with the gateway, which expands and compresses.
    Terminate(Termination),
}

/// How the gateway compresses and expands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// How hard it tries, 1 to 9.
    pub level: u8,
    /// Messages that are shorter go uncompressed.
    pub min_size: u32,
    /// What either side may use.
    pub willing: Willing,
    /// To how many times its size a message may expand, beyond its first 64 KiB.
    pub max_ratio: u32,
    /// Whether it is offered to the endpoint.
    pub to_upstream: bool,
}

impl Termination {
    /// What holds where nothing is said.
    pub const DEFAULT: Self = Self {
        level: 4,
        min_size: 128,
        willing: Willing { bits: 15, context_takeover: false },
        max_ratio: 200,
        to_upstream: true,
    };
}

/// So many in so much time, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least one.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}
