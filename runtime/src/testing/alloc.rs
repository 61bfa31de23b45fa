//! An allocator that counts, so that a test can show that a path allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // The allocator is found by every thread and owned by none, so its count has no other place to be.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting. For `#[global_allocator]` of a test binary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Blocks that the calling thread has allocated or made larger or smaller so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes in the blocks that the calling thread has allocated, less those it has freed: what one thread frees for another
/// counts for the one that frees.
pub fn held_bytes() -> i64 {
    HELD.with(Cell::get)
}

fn count(bytes: i64) {
    // A thread that is just ending has no count any more, and nobody to ask for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    hold(bytes);
}

fn hold(bytes: i64) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments, and `count` and `hold` neither allocate
// nor unwind: the thread-locals have a constant start and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps to the contract of `GlobalAlloc::alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as above, for `GlobalAlloc::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: `block` came from the system's allocator, through this one, with this layout.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: `block` came from the system's allocator, through this one, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
