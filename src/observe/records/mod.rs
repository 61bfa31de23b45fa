//! What a core has to tell that no counter can: a line of the access log for each request, and events. They go through
//! one ring from each core to the log thread, as bytes. A core writes and formats nothing, never waits, and allocates
//! nothing: what does not fit is dropped and counted.

mod codec;
mod limit;
mod record;
mod ring;
mod who;

#[cfg(test)]
pub(crate) use record::tests;
pub use record::{Access, Cut, Event, EventKind, Record, Spans, Texts, version_name};
pub use ring::{Recorder, Records, ring};
pub use who::Who;
