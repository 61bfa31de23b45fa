//! The io_uring instance of one core: set-up, submission, the provided-buffer ring, waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, squeue, types};

use crate::buffer::Pool;

/// The one group of provided buffers.
pub(super) const BUFFER_GROUP: u16 = 0;

/// Buffers the kernel gets at first.
const FIRST_STOCK: u16 = 16;

/// From `linux/io_uring.h`; the crate has no name for them outside its private module.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: libc::c_long = 20;

/// A completion, copied out of the queue.
#[derive(Clone, Copy)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Owns the ring. Everything submitted stays valid until its completion: the caller owns those buffers in its slots.
pub(super) struct Driver {
    ring: IoUring,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<squeue::Entry>,
    buffers: BufferRing,
    /// The ring's index among the thread's registered rings, which spares a descriptor look-up on each enter.
    registered: Option<i32>,
}

/// What the ring was given at set-up.
pub(super) struct Setup {
    pub(super) submission_entries: u32,
    pub(super) completion_entries: u32,
    /// Size of the table of direct descriptors.
    pub(super) files: u32,
}

impl Driver {
    /// Creates the ring on the calling thread, which alone may use it.
    pub(super) fn new(setup: &Setup, pool: &Pool) -> io::Result<Self> {
        let explain = |what: &str, error: &io::Error| {
            io::Error::new(
                error.kind(),
                format!(
                    "{what}: {error}; `ringway doctor` tells what the machine lacks, and engine = \"glommio\" needs less"
                ),
            )
        };
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(setup.completion_entries);
        // Entries in order need no array of their indexes (Linux 6.6).
        let ring = builder
            .clone()
            .setup_no_sqarray()
            .build(setup.submission_entries)
            .or_else(|_| builder.build(setup.submission_entries))
            .map_err(|error| explain("cannot set up io_uring (Linux 6.1 or newer is needed)", &error))?;
        ring.submitter()
            .register_files_sparse(setup.files)
            .map_err(|error| explain("cannot register a table of direct descriptors", &error))?;
        let buffers = BufferRing::new(&ring, pool)
            .map_err(|error| explain("cannot register the ring of receive buffers", &error))?;
        let registered = register_ring(&ring).ok();
        Ok(Self { ring, backlog: VecDeque::new(), buffers, registered })
    }

    /// Another descriptor of the ring, by which other rings can post to it.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        // SAFETY: the ring's descriptor is open as long as the ring.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }.try_clone_to_owned()
    }

    /// Queues an entry. It is submitted by the next `enter`.
    ///
    /// # Safety
    /// Every buffer and address in `entry` must stay valid and unmoved until its completion arrives.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            // SAFETY: passed on to the caller.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    fn take_backlog(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry promised that it stays valid.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Notes that a completion brought a lent buffer back.
    pub(super) fn buffer_returned(&mut self) {
        self.buffers.lent -= 1;
    }

    /// Notes that the kernel found no buffer. True when it had all there are, and not only the stock so far.
    pub(super) fn buffers_ran_out(&mut self) -> bool {
        let had_all = self.buffers.lent_all;
        // Many find none in one turn: the stock grows once for them all.
        if self.buffers.grew {
            return had_all;
        }
        self.buffers.grew = true;
        self.buffers.stock = self.buffers.stock.saturating_mul(2).min(self.buffers.most);
        had_all
    }

    /// Puts a descriptor into the direct table, or takes it out with -1.
    pub(super) fn set_file(&self, slot: u32, fd: i32) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[fd]).map(drop)
    }

    /// Copies every completion that is there into `out`.
    pub(super) fn reap(&mut self, out: &mut Vec<Completion>) {
        out.extend(self.ring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// Whether a completion is there, or the kernel has work that an enter would turn into one.
    pub(super) fn has_events(&mut self) -> bool {
        if !self.ring.completion().is_empty() {
            return true;
        }
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether entries wait to be submitted.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.backlog.is_empty() || !self.ring.submission().is_empty()
    }

    /// Submits what is queued, runs deferred work, and waits for at least `want` completions, at most `timeout`.
    pub(super) fn enter(&mut self, pool: &Pool, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.buffers.lend(pool);
        loop {
            if !self.backlog.is_empty() {
                self.take_backlog();
            }
            let to_submit = self.ring.submission().len() as u32;
            // Waiting before everything is submitted could wait for what was never asked.
            let want = if self.backlog.is_empty() { want } else { 0 };
            let timespec;
            let mut args = types::SubmitArgs::new();
            if let Some(timeout) = timeout.filter(|_| want > 0) {
                timespec = types::Timespec::from(timeout);
                args = args.timespec(&timespec);
            }
            match self.enter_raw(to_submit, want, &args) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    // Time is up, a signal came, or completions must be reaped first: all lead back to the loop.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => return Ok(()),
                    _ => return Err(error),
                },
            }
            if self.backlog.is_empty() {
                return Ok(());
            }
        }
    }

    fn enter_raw(&self, to_submit: u32, want: u32, args: &types::SubmitArgs<'_, '_>) -> io::Result<i64> {
        let (fd, flag) = match self.registered {
            Some(index) => (index, ENTER_REGISTERED_RING),
            None => (self.ring.as_raw_fd(), 0),
        };
        // SAFETY: `args` has the layout of io_uring_getevents_arg and its true size is passed; it and the timespec
        // it points to live across the call. Submitted entries were promised valid when they were pushed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                want,
                ENTER_GETEVENTS | ENTER_EXT_ARG | flag,
                std::ptr::from_ref(args),
                size_of::<types::SubmitArgs<'_, '_>>(),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

fn register_ring(ring: &IoUring) -> io::Result<i32> {
    let mut update = RsrcUpdate { offset: u32::MAX, reserved: 0, data: ring.as_raw_fd() as u64 };
    // SAFETY: `update` has the layout of io_uring_rsrc_update, is writable and outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_RING_FDS, &raw mut update, 1) };
    if result == 1 { Ok(update.offset as i32) } else { Err(io::Error::last_os_error()) }
}

/// The shared queue through which free buffers go to the kernel.
struct BufferRing {
    entries: NonNull<types::BufRingEntry>,
    bytes: usize,
    mask: u16,
    tail: u16,
    size: u32,
    /// Buffers the kernel has now.
    lent: u16,
    /// Buffers it should have. It uses them in turn, so a few that come back quickly stay in the cache, where all of
    /// them would not; when it runs out, it gets more.
    stock: u16,
    most: u16,
    /// Whether the stock grew since the last lending.
    grew: bool,
    /// Whether the stock was all there are at the last lending.
    lent_all: bool,
}

impl BufferRing {
    fn new(ring: &IoUring, pool: &Pool) -> io::Result<Self> {
        let count = pool.count().checked_next_power_of_two().filter(|&count| count <= 1 << 15).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "at most 32768 receive buffers a core are possible")
        })?;
        let bytes = usize::from(count) * size_of::<types::BufRingEntry>();
        // SAFETY: an anonymous private mapping with no fixed address aliases nothing; it is page-aligned.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned the null page"))?;
        let this = Self {
            entries,
            bytes,
            mask: count - 1,
            tail: 0,
            size: pool.buffer_size() as u32,
            lent: 0,
            stock: FIRST_STOCK.min(pool.count()),
            most: pool.count(),
            grew: false,
            lent_all: false,
        };
        // SAFETY: the mapping holds `count` entries and outlives the ring: the driver drops the ring first.
        unsafe { ring.submitter().register_buf_ring_with_flags(base as u64, count, BUFFER_GROUP, 0) }?;
        Ok(this)
    }

    /// Hands free buffers to the kernel up to the stock, with one store of the tail.
    fn lend(&mut self, pool: &Pool) {
        self.grew = false;
        self.lent_all = self.stock == self.most;
        if self.lent >= self.stock {
            return;
        }
        let before = self.tail;
        pool.lend(usize::from(self.stock - self.lent), |id| {
            // SAFETY: the index is masked to the entries of the mapping; the kernel reads an entry only once the
            // tail below is past it.
            let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
            entry.set_addr(pool.address(id) as u64);
            entry.set_len(self.size);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
        });
        if self.tail != before {
            self.lent += self.tail.wrapping_sub(before);
            // SAFETY: the first entry of the mapping carries the tail, aligned for a u16 and shared with the kernel,
            // which reads it atomically.
            let tail = unsafe { AtomicU16::from_ptr(types::BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length. `Driver` declares the ring before this field, so the ring
        // is closed by now.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), self.bytes) };
    }
}
