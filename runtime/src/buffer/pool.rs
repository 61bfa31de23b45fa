//! A fixed set of equal receive buffers, lent out as reference-counted leases.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

use super::chunk::Chunk;

/// The receive buffers of one core: `count` buffers of `size` bytes in one mapping.
///
/// A buffer is free, filled and leased, or (with the ring engine) lent to the kernel, which counts as free here.
#[derive(Clone)]
pub struct Pool {
    inner: Rc<Inner>,
}

struct Inner {
    base: NonNull<u8>,
    size: usize,
    count: u16,
    /// Leases on each buffer.
    refs: Box<[Cell<u32>]>,
    /// Buffers nobody leases; the engine takes from here.
    free: RefCell<Vec<u16>>,
    leased: Cell<u16>,
}

impl Inner {
    fn is_low(&self) -> bool {
        u32::from(self.leased.get()) * 4 > u32::from(self.count) * 3
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: `base` came from mmap with exactly this length, and no lease is left: each holds the Rc.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size * usize::from(self.count)) };
    }
}

impl Pool {
    /// Maps `count` buffers of `size` bytes. Pages are touched only when first used.
    pub fn new(count: u16, size: usize) -> io::Result<Self> {
        let bytes = size
            .checked_mul(usize::from(count))
            .filter(|&bytes| bytes > 0 && u32::try_from(size).is_ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the buffer pool is empty or too large"))?;
        // SAFETY: an anonymous private mapping with no fixed address aliases nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: advice on the mapping made above. Large pages spare look-ups; without them all works as well.
        unsafe { libc::madvise(base, bytes, libc::MADV_HUGEPAGE) };
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::other("mmap returned the null page"))?;
        Ok(Self {
            inner: Rc::new(Inner {
                base,
                size,
                count,
                refs: (0..count).map(|_| Cell::new(0)).collect(),
                free: RefCell::new((0..count).rev().collect()),
                leased: Cell::new(0),
            }),
        })
    }

    /// Bytes of one buffer.
    pub fn buffer_size(&self) -> usize {
        self.inner.size
    }

    /// Number of buffers.
    pub fn count(&self) -> u16 {
        self.inner.count
    }

    /// Buffers under lease now.
    pub fn leased(&self) -> u16 {
        self.inner.leased.get()
    }

    /// Whether fewer than a quarter of the buffers are left. Data that may stay long is then copied to the heap,
    /// so that slow peers can never hold every buffer of the core.
    pub fn is_low(&self) -> bool {
        self.inner.is_low()
    }

    /// Takes a free buffer for the engine to fill.
    #[cfg(any(test, feature = "glommio", feature = "sim"))]
    pub(crate) fn take_free(&self) -> Option<u16> {
        self.inner.free.borrow_mut().pop()
    }

    /// Gives a buffer back that was taken and never leased.
    pub(crate) fn give_back(&self, id: u16) {
        self.inner.free.borrow_mut().push(id);
    }

    /// Moves up to `count` free buffers out to `lend`, the ones used last first: they are still in the cache.
    pub(crate) fn lend(&self, count: usize, lend: impl FnMut(u16)) {
        let mut free = self.inner.free.borrow_mut();
        let from = free.len().saturating_sub(count);
        free.drain(from..).rev().for_each(lend);
    }

    /// Where buffer `id` starts.
    pub(crate) fn address(&self, id: u16) -> *mut u8 {
        debug_assert!(id < self.inner.count);
        // SAFETY: `id` is below `count`, so the offset stays inside the mapping.
        unsafe { self.inner.base.as_ptr().add(usize::from(id) * self.inner.size) }
    }

    /// Leases the first `len` bytes of the filled buffer `id`. When buffers are low, the bytes move to the heap
    /// and the buffer is free again at once.
    pub(crate) fn lease(&self, id: u16, len: usize) -> Lease {
        debug_assert!(id < self.inner.count && len <= self.inner.size);
        let refs = &self.inner.refs[usize::from(id)];
        debug_assert_eq!(refs.get(), 0, "a buffer is leased once by the engine");
        refs.set(1);
        self.inner.leased.set(self.inner.leased.get() + 1);
        // SAFETY: as `address`; the base is not null.
        let start = unsafe { self.inner.base.add(usize::from(id) * self.inner.size) };
        let len = len.min(self.inner.size) as u32;
        // SAFETY: what `into_raw` gives is never null.
        let owner = unsafe { NonNull::new_unchecked(Rc::into_raw(self.inner.clone()).cast_mut()) };
        let lease = Lease { owner: owner.cast(), start, len, buffer: u32::from(id) };
        if self.is_low() { lease.to_heap() } else { lease }
    }
}

/// What stands for the buffer where the bytes are on the heap.
const ON_HEAP: u32 = u32::MAX;

/// Bytes that were received: a range of a pooled buffer, or of the heap when buffers are low.
///
/// Cloning shares the bytes. The buffer goes back when the last lease on it drops. It takes three words, since it is
/// moved several times between the ring and a body.
pub struct Lease {
    /// Out of `Rc::into_raw`, of an [`Inner`], or of a [`Chunk`] where `buffer` is [`ON_HEAP`]; it keeps the bytes where
    /// they are.
    owner: NonNull<()>,
    /// Always inside what `owner` holds, with `len` bytes from here on.
    start: NonNull<u8>,
    len: u32,
    /// The buffer of the pool. As wide as `len`, and no enum: so a move of a lease is one of whole words.
    buffer: u32,
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        match self.pool() {
            Some(pool) => {
                let refs = &pool.refs[self.buffer as usize];
                refs.set(refs.get() + 1);
                // SAFETY: it came out of `into_raw` of this type, and this lease has its share of it.
                unsafe { Rc::increment_strong_count(self.owner.cast::<Inner>().as_ptr()) };
            }
            // SAFETY: as above.
            None => unsafe { Rc::increment_strong_count(self.owner.cast::<Chunk>().as_ptr()) },
        }
        Self { ..*self }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        let Some(pool) = self.pool() else {
            // SAFETY: it came out of `into_raw` of this type, and this lease gives up its share of it.
            Chunk::let_go(unsafe { Rc::from_raw(self.owner.cast::<Chunk>().as_ptr()) });
            return;
        };
        let refs = &pool.refs[self.buffer as usize];
        refs.set(refs.get() - 1);
        if refs.get() == 0 {
            pool.leased.set(pool.leased.get() - 1);
            pool.free.borrow_mut().push(self.buffer as u16);
        }
        // SAFETY: as above.
        unsafe { Rc::decrement_strong_count(self.owner.cast::<Inner>().as_ptr()) };
    }
}

impl Lease {
    /// A lease over a copy of the first 4 GiB of `bytes` on the heap.
    pub fn copied(bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self::from(bytes.get(..len as usize).unwrap_or(bytes).to_vec())
    }

    /// A lease on the bytes `start..end` of what another task wrote. The range is clamped.
    pub(crate) fn of_chunk(chunk: Rc<Chunk>, start: usize, end: usize) -> Self {
        let len = chunk.bytes().len();
        let end = end.min(len).min(u32::MAX as usize);
        let start_at = start.min(end);
        // SAFETY: at most one past the last byte of the chunk.
        let first = unsafe { chunk.start().add(start_at) };
        let (start, len) = (first, (end - start_at) as u32);
        // SAFETY: what `into_raw` gives is never null.
        let owner = unsafe { NonNull::new_unchecked(Rc::into_raw(chunk).cast_mut()) };
        Self { owner: owner.cast(), start, len, buffer: ON_HEAP }
    }

    /// The bytes to be changed in place, where nobody else has a lease on any part of their buffer.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        let is_alone = if let Some(pool) = self.pool() {
            // The kernel has no buffer that is leased.
            pool.refs[self.buffer as usize].get() == 1
        } else {
            // SAFETY: it came out of `into_raw` of this type, and is not dropped here.
            let chunk = ManuallyDrop::new(unsafe { Rc::from_raw(self.owner.cast::<Chunk>().as_ptr()) });
            Rc::strong_count(&chunk) == 1
        };
        // SAFETY: as in `deref`; and this is the only lease on them, borrowed for as long as the slice lives, so nobody
        // reads or writes them meanwhile.
        is_alone.then(|| unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len()) })
    }

    /// The pool whose buffer it is on, if it is on one.
    #[inline]
    fn pool(&self) -> Option<&Inner> {
        // SAFETY: `Pool::lease` put it there, and this lease has its share of it.
        (self.buffer != ON_HEAP).then(|| unsafe { self.owner.cast::<Inner>().as_ref() })
    }

    fn to_heap(&self) -> Self {
        Self::copied(self)
    }

    /// Whether the bytes live in a pooled buffer rather than on the heap.
    pub fn is_pooled(&self) -> bool {
        self.buffer != ON_HEAP
    }

    /// The same bytes, off the pool when its buffers are low.
    #[must_use]
    pub fn relieved(self) -> Self {
        if self.pool().is_some_and(Inner::is_low) { self.to_heap() } else { self }
    }

    /// Bytes in the lease.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no byte is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops the first `count` bytes, all of them when there are fewer.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len());
        // SAFETY: at most one past the last byte of the lease.
        self.start = unsafe { self.start.add(count) };
        self.len -= count as u32;
    }

    /// Keeps the first `count` bytes only.
    pub fn truncate(&mut self, count: usize) {
        self.len = self.len().min(count) as u32;
    }

    /// A lease on the bytes `start..end` of this one, sharing the buffer. The range is clamped.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let mut part = self.clone();
        part.truncate(end);
        part.advance(start);
        part
    }
}

impl From<Vec<u8>> for Lease {
    /// A lease over bytes that are on the heap already, the first 4 GiB of them.
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self::of_chunk(Rc::new(Chunk::of(bytes)), 0, len)
    }
}

impl Deref for Lease {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `owner` holds these initialized bytes alive and in place; while a lease exists nobody, the kernel
        // included, writes to them: a chunk is written to only where nobody else has it (`Chunks::take`).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("len", &self.len()).field("pooled", &self.is_pooled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_and_a_read_of_one_are_small() {
        assert_eq!(size_of::<Option<Lease>>(), 24);
        assert_eq!(size_of::<std::task::Poll<io::Result<Option<Lease>>>>(), 32);
    }

    #[test]
    fn a_lease_outlives_the_handle_on_its_pool() {
        let pool = Pool::new(2, 64).unwrap();
        let lease = pool.lease(pool.take_free().unwrap(), 3);
        let (part, heap) = (lease.slice(1, 3), Lease::copied(b"abc").slice(1, 9));
        drop(pool);
        drop(lease);
        assert_eq!((part.len(), &*heap), (2, &b"bc"[..]));
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_lease_drops() {
        let pool = Pool::new(8, 64).unwrap();
        let id = pool.take_free().unwrap();
        let lease = pool.lease(id, 10);
        let part = lease.slice(2, 4);
        assert_eq!((lease.len(), part.len(), pool.leased()), (10, 2, 1));
        drop(lease);
        assert_eq!(pool.leased(), 1);
        drop(part);
        assert_eq!(pool.leased(), 0);
        assert_eq!(pool.inner.free.borrow().len(), 8);
    }

    #[test]
    fn only_a_lease_that_is_alone_on_its_bytes_may_change_them() {
        let pool = Pool::new(8, 64).unwrap();
        let pooled = pool.lease(pool.take_free().unwrap(), 10);
        for mut lease in [pooled, Lease::copied(&[0; 10]), Lease::from(vec![0; 10])] {
            let other = lease.slice(8, 10);
            assert!(lease.get_mut().is_none(), "{lease:?}");
            drop(other);
            lease.get_mut().unwrap().fill(7);
            lease.advance(4);
            lease.truncate(3);
            lease.get_mut().unwrap().fill(9);
            assert_eq!(*lease, [9; 3]);
        }
        assert_eq!(Lease::from(Vec::new()).len(), 0);
    }

    #[test]
    fn when_buffers_are_low_bytes_move_to_the_heap() {
        let pool = Pool::new(4, 64).unwrap();
        let leases: Vec<Lease> = (0..4).map(|_| pool.lease(pool.take_free().unwrap(), 64)).collect();
        assert_eq!(leases.iter().filter(|lease| lease.is_pooled()).count(), 3);
        assert!(pool.take_free().is_some(), "the fourth buffer is free again");
    }

    proptest! {
        #[test]
        fn slicing_agrees_with_slices(
            bytes in proptest::collection::vec(any::<u8>(), 0..50),
            cuts in proptest::collection::vec((0usize..60, 0usize..60), 0..6),
        ) {
            let pool = Pool::new(4, 64).unwrap();
            let id = pool.take_free().unwrap();
            // SAFETY: the buffer is ours until it is leased, and 50 bytes fit.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pool.address(id), bytes.len()) };
            let mut lease = pool.lease(id, bytes.len());
            let mut model = &bytes[..];
            for (start, end) in cuts {
                lease = lease.slice(start, end);
                let end = end.min(model.len());
                model = &model[start.min(end)..end];
                prop_assert_eq!(&*lease, model);
            }
            drop(lease);
            prop_assert_eq!(pool.leased(), 0);
        }
    }
}
