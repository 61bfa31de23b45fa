//! Two sides in memory.
