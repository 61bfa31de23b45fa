//! The one thread beside the data cores: it starts them, hears signals and commands, and changes the plan they run.

mod build;
mod command;
mod history;
mod machine;
mod notify;
pub mod offers;
mod plans;
mod watch;
mod watchdog;

pub use build::resolve;
pub use command::{Answer, Command, Handle, PlanNote};
pub use machine::{Control, Failed, Source};
