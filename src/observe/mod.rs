//! What the gateway says of itself: why it refused, what it counted and how long things took.

mod metrics;
mod names;
mod reason;

pub use metrics::{Metrics, Timeout, UpstreamFailure};
pub use names::{MAX_ROUTES, MAX_SEGMENTS, MAX_UPSTREAMS, Names, NewNames, Segment, Series, Slots, UpstreamSeries};
pub use reason::{Reason, Side};
