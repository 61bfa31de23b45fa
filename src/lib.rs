//! Ringway as a library, so that tests can run a whole gateway in one process.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod flow;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod service;
pub mod tls;
pub mod upstream;
