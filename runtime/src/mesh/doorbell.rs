//! How a thread that sleeps is woken by another.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::sleep::Sleep;

/// The doorbell of one thread.
pub(crate) struct Doorbell {
    sleep: Sleep,
    /// What any thread can do, as writing to an eventfd.
    bell: Box<dyn Fn() + Send + Sync>,
    /// A descriptor of the thread's `io_uring`, to which another ring can post a completion. It is a duplicate, so that
    /// its number belongs to nobody else as long as somebody may ring.
    ring: Option<OwnedFd>,
}

impl Doorbell {
    /// `bell` makes its owner come back from sleep.
    pub(crate) fn new(bell: impl Fn() + Send + Sync + 'static) -> Self {
        Self { sleep: Sleep::new(), bell: Box::new(bell), ring: None }
    }

    /// As [`Doorbell::new`], for a thread with an `io_uring` that other rings may post to.
    pub(crate) fn with_ring(bell: impl Fn() + Send + Sync + 'static, ring: OwnedFd) -> Self {
        Self { ring: Some(ring), ..Self::new(bell) }
    }

    pub(crate) fn sleep(&self) -> &Sleep {
        &self.sleep
    }

    /// Rings, in the way that any thread can.
    pub(crate) fn ring(&self) {
        (self.bell)();
    }

    /// The `io_uring` to post a completion to instead.
    pub(crate) fn ring_descriptor(&self) -> Option<RawFd> {
        self.ring.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Lets go of the `io_uring`, whose thread ends. Its number stays taken: whoever rings there is refused, instead of
    /// reaching another file.
    pub(crate) fn let_go_of_ring(&self) {
        let Some(ring) = &self.ring else { return };
        let Ok(stand_in) = eventfd() else { return };
        // SAFETY: both descriptors are open and ours. The call swaps the file behind `ring` at once, and `ring` stays an
        // open descriptor that is closed once.
        unsafe { libc::dup3(stand_in.as_raw_fd(), ring.as_raw_fd(), libc::O_CLOEXEC) };
    }
}

/// A counter in the kernel that can be waited for and does not block.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers; the descriptor it returns is ours.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Adds to an eventfd, so that whoever waits for it comes back.
pub(crate) fn write_eventfd(eventfd: BorrowedFd<'_>) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes. Only a counter that is already far from zero refuses to grow.
    unsafe { libc::write(eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Empties an eventfd, so that it can be waited for again.
pub(crate) fn clear_eventfd(eventfd: BorrowedFd<'_>) {
    let mut count = 0u64;
    // SAFETY: `count` is eight writable bytes. The eventfd does not block, so an empty one returns at once.
    unsafe { libc::read(eventfd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
}
