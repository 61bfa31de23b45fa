//! What touches the machine. The only crate of Ringway with unsafe code, system calls and clocks.

<<<<<<< HEAD
pub mod buffer;
pub mod clock;
pub mod core;
pub mod engine;
pub mod net;
=======
pub mod histogram;
>>>>>>> metrics
