//! The systems: the recipes of `docs/recipes` as they stand, and the gateway as a process of a machine.

mod config;
mod lifecycle;
mod s01_basic;
mod s04_load_balancing;
mod s07_retry;
mod s10_health_aggregator;
