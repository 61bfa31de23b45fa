//! What touches the machine. The only crate of Ringway with unsafe code, system calls and clocks.

pub mod buffer;
pub mod clock;
pub mod core;
pub mod engine;
#[cfg(feature = "floor")]
pub mod floor;
pub mod histogram;
pub mod mesh;
pub mod net;
#[cfg(feature = "testing")]
pub mod testing;
