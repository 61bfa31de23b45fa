//! Upstreams: the endpoints of each, who is next, and the connections kept to them.

mod balance;
mod pool;

pub use balance::RoundRobin;
pub use pool::{Connection, Pool};
