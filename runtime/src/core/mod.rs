//! What one data core is made of: its pinning, its tasks, its timers, and its pulse for those who watch.

pub mod cpus;
mod frames;
pub mod memory;
mod pulse;
pub(crate) mod random;
mod ready;
pub(crate) mod tasks;
pub(crate) mod timers;

pub use frames::{Framed, Frames};
pub use pulse::{Look, Pulse};
pub use ready::Ready;
