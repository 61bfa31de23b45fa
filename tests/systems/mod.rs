//! The gateway as a process of a machine.

mod lifecycle;
