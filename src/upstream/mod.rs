//! Upstreams: the endpoints of each, how they are, who is next, and the connections kept to them.

mod balance;
mod breaker;
mod budget;
mod copies;
mod drained;
mod health;
mod hedging;
pub(crate) mod http2;
mod judge;
mod news;
mod outlier;
mod pool;
mod secure;
mod shared;
mod window;

pub use balance::{Asked, Avoid, Balancer, Outcome, Picked, Unpicked, hash};
pub use budget::Budget;
pub use copies::CopyPlace;
pub use drained::Drained;
pub use health::{Checked, Checks, Seat};
pub(crate) use health::{Probed, probe};
pub use hedging::Hedging;
pub use judge::HealthSight;
pub use news::Change;
pub use pool::{Connection, EndpointSight, Pool, Short};
pub use ringway_runtime::mesh::gate::GateState as BreakerState;
pub use shared::{Cause, Shared, Standing};
