//! What a connection allows, promises and costs.

use std::time::Duration;

use crate::hpack::DEFAULT_TABLE_SIZE;

/// Bounds on what is accepted of one head. Reaching a bound is allowed, passing it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// What the fields of a head may come to, each counted with 32 bytes more; also what the peer is told (section
    /// 6.5.2). A head beyond it is answered with 431, one beyond four times as much ends the connection. Default
    /// 32 KiB.
    pub list: usize,
    /// Fields in a head, and again in trailers. Default 100.
    pub fields: usize,
    /// Bytes of a target, of a field, and of all cookies together. Default 8 KiB.
    pub line: usize,
    /// Bytes of a header block as sent. Default 32 KiB.
    pub block: usize,
    /// CONTINUATION frames of a header block. Default 8.
    pub continuations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { list: 32_768, fields: 100, line: 8192, block: 32_768, continuations: 8 }
    }
}

/// The bound on what a peer may cost without use. A bucket of tokens: it starts full, fills at a steady rate and by what
/// is of use, and pays for what only costs. When it is empty the connection ends with ENHANCE_YOUR_CALM.
///
/// No honest client comes near it: what each does in answer to what it gets is paid for by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Tokens at the start, and at most. Default 10,000.
    pub capacity: u32,
    /// Tokens that come each second. Default 500.
    pub per_second: u32,
    /// What each thing costs.
    pub costs: Costs,
}

impl Default for Budget {
    fn default() -> Self {
        Self { capacity: 10_000, per_second: 500, costs: Costs::default() }
    }
}

/// What things cost in tokens of a [`Budget`], and what they earn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// The peer resets a stream that had not ended: rapid reset (CVE-2023-44487). Default 50.
    pub reset: u32,
    /// The peer has us reset a stream: MadeYouReset (CVE-2025-8671). Default 50.
    pub fault: u32,
    /// A stream beyond those allowed at once. Default 20.
    pub refused: u32,
    /// A stream beyond those whose windows may be shut ([`Config::shut`]). Default 200.
    pub shut: u32,
    /// A PING (CVE-2019-9512), or an acknowledgement of a PING that was not sent. Default 25.
    pub ping: u32,
    /// A SETTINGS frame (CVE-2019-9515), or an acknowledgement of none. Default 100.
    pub settings: u32,
    /// A PRIORITY frame, which is ignored (CVE-2019-9513). Default 2.
    pub priority: u32,
    /// A PRIORITY_UPDATE frame. Default 5.
    pub priority_update: u32,
    /// A WINDOW_UPDATE. Default 1.
    pub window_update: u32,
    /// A DATA frame without data that ends nothing (CVE-2019-9518). Default 20.
    pub empty_data: u32,
    /// A CONTINUATION frame (CVE-2024-27316). Default 5.
    pub continuation: u32,
    /// A HEADERS or CONTINUATION frame without a byte of its block. Default 50.
    pub empty_fragment: u32,
    /// An interim response, of which a server may send any number. Default 20.
    pub interim: u32,
    /// A frame of a type that we do not know. Default 5.
    pub unknown: u32,
    /// A frame for a stream that has ended. Default 5.
    pub closed: u32,
    /// A window that makes us send less than 256 bytes of data though there is more (CVE-2019-9511). Default 20.
    pub dribble: u32,
    /// A stream whose window the peer keeps shut until it is reset (CVE-2019-9517): it held what waits for it all that
    /// time. Default 500.
    pub stall: u32,
    /// Earned by each stream that ends as it should: half of all streams may be reset. Default 50.
    pub ended: u32,
    /// Earned by each DATA frame that we send, which the peer may answer with window updates. Default 4.
    pub sent: u32,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            reset: 50,
            fault: 50,
            refused: 20,
            shut: 200,
            ping: 25,
            settings: 100,
            priority: 2,
            priority_update: 5,
            window_update: 1,
            empty_data: 20,
            continuation: 5,
            empty_fragment: 50,
            interim: 20,
            unknown: 5,
            closed: 5,
            dribble: 20,
            stall: 500,
            ended: 50,
            sent: 4,
        }
    }
}

/// How a connection behaves. All of it is told to the peer where the protocol has a setting for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Bounds on heads.
    pub limits: Limits,
    /// Streams that the peer may have open at once, or, of a client, that it opens at once, if the server allows as
    /// many. Default 100.
    pub streams: u32,
    /// Streams that the peer may have open at once whose windows it keeps shut: nearly nothing could be sent on them from
    /// the start, and it has given them no more since. Each is served and then held, which costs a client nothing
    /// (CVE-2019-9517); those beyond are refused and may be sent again. Default 8.
    pub shut: u32,
    /// Bytes that a stream's window starts with. Default 64 KiB less one, the protocol's own.
    pub stream_window: u32,
    /// Bytes that a stream's window grows to where its data is taken as fast as it comes. Default 1 MiB.
    pub stream_window_max: u32,
    /// Bytes that the connection's window starts with; at least 65,535. Default 256 KiB.
    pub connection_window: u32,
    /// Bytes that it grows to. Default 4 MiB.
    pub connection_window_max: u32,
    /// Payload of the longest frame that is accepted, and so what the caller's buffer must be able to hold, with 9
    /// bytes more; 16,384 to 16,777,215. Default 16 KiB.
    pub frame: u32,
    /// Bytes of data in a frame that we send, at most, so that streams take turns. Default 16 KiB.
    pub frame_sent: u32,
    /// The tables of HPACK, in bytes: that which the peer may use, and the most that we use. Default 4 KiB each.
    pub decoder_table: u32,
    /// See [`Config::decoder_table`].
    pub encoder_table: u32,
    /// Whether CONNECT with `:protocol` is accepted (RFC 8441). Default false.
    pub extended_connect: bool,
    /// Bytes of control frames that may wait to be sent; the queue of acknowledgements ends here. Default 16 KiB.
    pub control: usize,
    /// Streams that ended lately and are remembered. Default 100.
    pub remembered: usize,
    /// What the peer may cost.
    pub budget: Budget,
    /// How long the peer may take to acknowledge settings. Default 10 seconds.
    pub settings_timeout: Duration,
    /// After how long without a frame the peer is pinged; `None` for never. Default none.
    pub ping_after: Option<Duration>,
    /// How long it may take to answer. Default 10 seconds.
    pub ping_timeout: Duration,
    /// How long a header block may take from its first frame to its last. Default 10 seconds.
    pub block_timeout: Duration,
    /// How long the peer may keep its window shut while there is data for it. Default 30 seconds.
    pub stall_timeout: Duration,
    /// How long the first step of going away lasts at most. Default 1 second.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            streams: 100,
            shut: 8,
            stream_window: 65_535,
            stream_window_max: 1 << 20,
            connection_window: 256 << 10,
            connection_window_max: 4 << 20,
            frame: 16_384,
            frame_sent: 16_384,
            decoder_table: DEFAULT_TABLE_SIZE as u32,
            encoder_table: DEFAULT_TABLE_SIZE as u32,
            extended_connect: false,
            control: 16_384,
            remembered: 100,
            budget: Budget::default(),
            settings_timeout: Duration::from_secs(10),
            ping_after: None,
            ping_timeout: Duration::from_secs(10),
            block_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(1),
        }
    }
}
