//! Upstreams: the endpoints of each, who is next, and the connections kept to them.

mod balance;
mod budget;
mod drained;
mod pool;
mod shared;

pub use balance::{Asked, Avoid, Balancer, Outcome, Picked, Unpicked, hash};
pub use budget::Budget;
pub use drained::Drained;
pub use pool::{Connection, EndpointSight, Pool};
pub use shared::{Cause, Shared, Standing};
