//! `websocket` of a route: how WebSocket connections are carried.

use std::time::Duration;

use ringway_proto::websocket::Limits;

/// `websocket` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// Whether handshakes and frames are looked at; bytes are carried as they come otherwise, as after any other upgrade.
    pub is_checked: bool,
    /// Whether permessage-deflate may be agreed on.
    pub may_compress: bool,
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
            is_checked: true,
            may_compress: true,
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

/// So many in so much time, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least one.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}
