//! What touches the machine. The only crate of Ringway with unsafe code, system calls and clocks.

pub mod histogram;
