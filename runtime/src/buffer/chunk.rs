//! Bytes that one task of a core wrote for another one: they change hands and are not copied.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

/// Bytes that were written once and are read under leases. When the last lease drops they go home, for the next writer.
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    home: Weak<Chunks>,
}

/// Spare chunks of one core.
#[derive(Default)]
pub(crate) struct Chunks {
    spare: RefCell<Vec<Rc<Chunk>>>,
    /// Bytes that the spare ones have room for.
    room: Cell<usize>,
}

impl Chunks {
    /// Chunks kept for reuse, and the room that they may have together; more are freed.
    const KEEP: usize = 1024;
    const KEEP_BYTES: usize = 4 << 20;

    /// Takes what was written, and leaves empty memory in its place.
    pub(crate) fn take(self: &Rc<Self>, written: &mut Vec<u8>) -> Rc<Chunk> {
        let spare = self.spare.borrow_mut().pop();
        if let Some(mut chunk) = spare {
            self.room.set(self.room.get() - chunk.bytes.capacity());
            // Always so: a chunk goes home when nobody else has it.
            if let Some(inner) = Rc::get_mut(&mut chunk) {
                inner.bytes.clear();
                std::mem::swap(&mut inner.bytes, written);
                return chunk;
            }
        }
        Rc::new(Chunk { bytes: std::mem::take(written), home: Rc::downgrade(self) })
    }

    fn take_back(&self, chunk: Rc<Chunk>) {
        let room = self.room.get() + chunk.bytes.capacity();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < Self::KEEP && room <= Self::KEEP_BYTES {
            self.room.set(room);
            spare.push(chunk);
        }
    }
}

impl Chunk {
    /// These bytes, without a home.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, home: Weak::new() }
    }

    /// Where the bytes start. Whoever has the only lease on them may write to them there.
    pub(super) fn start(&self) -> NonNull<u8> {
        // SAFETY: the pointer of a vector is never null.
        unsafe { NonNull::new_unchecked(self.bytes.as_ptr().cast_mut()) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A lease on it drops.
    pub(super) fn let_go(this: Rc<Self>) {
        if Rc::strong_count(&this) == 1
            && let Some(home) = this.home.upgrade()
        {
            home.take_back(this);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lease;
    use super::*;

    #[test]
    fn memory_goes_back_and_forth() {
        let chunks = Rc::new(Chunks::default());
        let mut written = Vec::with_capacity(100);
        let mut places = Vec::new();
        for round in 0..6u8 {
            written.extend_from_slice(&[round; 50]);
            places.push(written.as_ptr() as usize);
            let lease = Lease::of_chunk(chunks.take(&mut written), 10, 40);
            assert!(written.is_empty());
            let part = lease.slice(0, 5);
            drop(lease);
            assert!(chunks.spare.borrow().is_empty(), "a lease is left");
            assert_eq!(*part, [round; 5]);
            assert!(!part.is_pooled());
            drop(part);
            assert_eq!(chunks.spare.borrow().len(), 1);
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.len() <= 3, "two pieces of memory take turns");
    }

    #[test]
    fn a_chunk_may_outlive_its_core_and_large_ones_are_freed() {
        let chunks = Rc::new(Chunks::default());
        let large = Lease::of_chunk(chunks.take(&mut vec![1; Chunks::KEEP_BYTES + 1]), 0, 3);
        drop(large);
        assert!(chunks.spare.borrow().is_empty());
        let lease = Lease::of_chunk(chunks.take(&mut vec![7; 3]), 0, 3);
        drop(chunks);
        assert_eq!(*lease, [7; 3]);
    }
}
