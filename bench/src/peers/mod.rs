//! Bare proxies on other executors, over Ringway's own codec: what the choice of engine costs, and nothing else.
//! Each client connection has an upstream connection of its own; there is no pool, router, timeout or log.

mod exchange;
mod on_monoio;
mod on_tokio;

pub(crate) use on_monoio::run as run_monoio;
pub(crate) use on_tokio::run as run_tokio;
