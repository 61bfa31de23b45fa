//! Upstreams: the endpoints of each, who is next, and the connections kept to them.

mod balance;
mod drained;
mod pool;

pub use balance::RoundRobin;
pub use drained::Drained;
pub use pool::{Connection, EndpointSight, Pool};
