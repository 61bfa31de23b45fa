//! What the gateway says of itself: why it refused, what it counted and how long things took.

mod metrics;
mod reason;

pub use metrics::{MAX_ROUTES, MAX_UPSTREAMS, Metrics, Timeout, UpstreamFailure};
pub use reason::{Reason, Side};
