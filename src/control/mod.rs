//! The control thread: it starts the cores, listens to signals, and sees every core end.

mod drain;
mod machine;

pub use drain::DrainSignal;
pub use machine::{Failed, run};
