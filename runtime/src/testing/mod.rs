//! What tests need of the machine. No product is built with it.

mod alloc;

pub use alloc::{Counting, allocations, held_bytes};
