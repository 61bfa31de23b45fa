//! What the gateway says of itself: why it refused, what it counted and how long things took.

mod activity;
mod early;
pub mod figures;
mod labels;
mod metrics;
mod names;
pub mod prometheus;
mod reason;
pub mod records;
mod run;
mod twice;
mod websocket;

pub(crate) mod stamp;

pub use activity::Activity;
pub use early::{EarlyDataOutcome, EarlyRequest};
pub use labels::{
    Cause, Direction, HandshakeFailure, HealthResult, Http2Reset, Http2Side, Lost, MeshPeer, PolicyEvent, ProxyHeader,
    ShadowOutcome, Timeout, TlsSide, UpstreamEvent, UpstreamFailure, UpstreamPick,
};
pub use metrics::Metrics;
pub use names::{
    HealthSeries, MAX_CHECKS, MAX_POLICIES, MAX_ROUTES, MAX_SEGMENTS, MAX_UPSTREAMS, NAMED, Names, NewNames, PlanNames,
    Segment, Series, Slots, UpstreamSeries,
};
pub use reason::{Reason, Side};
pub use run::{NoRun, Run, read_run};
pub use twice::{Hedged, Mirrored};
pub use websocket::{ControlFrame, WebsocketEnd, WebsocketError, WebsocketSide};
