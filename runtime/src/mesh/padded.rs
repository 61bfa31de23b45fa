//! Values that no other value shares a cache line with.

use std::ops::Deref;

/// A value on cache lines of its own: 128 bytes, since Intel's prefetcher fetches lines in pairs and some ARM cores
/// have lines of that size.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
