//! What the tests stand on: the gateway's process, a raw client, and origins that the test itself drives.
//!
//! Nothing here sleeps: every wait is for an event of the other side, and ends with a failed test after [`PATIENCE`].

mod client;
pub(crate) mod dns;
pub(crate) mod frames;
mod gateway;
mod message;
mod origin;
mod process;
mod reserved;

use std::time::Duration;

pub(crate) use client::Client;
pub(crate) use gateway::{Config, Engine, Gateway};
pub(crate) use message::{Head, Message, Transfer};
pub(crate) use origin::{Origin, OriginConn};
pub(crate) use process::{Child, Process};
pub(crate) use reserved::Reserved;

/// How long an event may take before its test fails. Far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Makes of each function `fn name(engine: Engine)` one test for each engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $( #[test] fn $name() { super::$name($crate::support::Engine::Ring); } )*
        }
        mod glommio {
            $( #[test] fn $name() { super::$name($crate::support::Engine::Glommio); } )*
        }
    };
}
pub(crate) use on_both_engines;
