//! What the gateway says of itself: why it refused, what it counted and how long things took.

mod metrics;
mod names;
mod reason;

pub use metrics::{Cause, Metrics, PolicyEvent, ShadowOutcome, Timeout, UpstreamFailure};
pub use names::{
    MAX_POLICIES, MAX_ROUTES, MAX_SEGMENTS, MAX_UPSTREAMS, Names, NewNames, PlanNames, Segment, Series, Slots,
    UpstreamSeries,
};
pub use reason::{Reason, Side};
