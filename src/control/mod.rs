//! The one thread beside the data cores: it starts them, hears signals and commands, and changes the plan they run.

pub mod admin;
mod build;
mod certificates;
mod command;
mod cores;
mod discovery;
mod events;
mod history;
mod log;
mod machine;
mod notify;
pub mod offers;
mod page;
mod plans;
mod sights;
mod socket;
mod start;
mod tickets;
mod upgrade;
mod watch;
mod watchdog;
mod words;

pub use build::resolve;
pub use certificates::{
    AcmeSight, Ask as CertificateAsk, KeptCertificate, Set as KeptCertificates, Source as CertificateSource,
};
pub use command::{Answer, Command, Handle, PlanNote};
pub use discovery::{Ask, InUse, Known, SourceSight};
pub use machine::Failed;
pub use sights::{Sight, Status};
pub(crate) use socket::is_unix_free;
pub use start::{Control, Source};
