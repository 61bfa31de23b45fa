//! What touches the machine. The only crate of Ringway with unsafe code, system calls and clocks.

#[cfg(feature = "floor")]
pub mod floor;
