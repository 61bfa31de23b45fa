//! What one data core is made of: its pinning, its tasks, its timers.

pub mod cpus;
pub mod memory;
pub(crate) mod random;
pub(crate) mod tasks;
pub(crate) mod timers;
