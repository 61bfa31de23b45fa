//! The control thread: it starts the cores, listens to signals, and sees every core end.

mod machine;

pub use machine::{Failed, run};
