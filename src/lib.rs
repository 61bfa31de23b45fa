//! Ringway as a library, so that tests can run a whole gateway in one process.
#![forbid(unsafe_code)]

pub mod config;
pub mod plan;
pub mod policy;
pub mod service;
