//! What the kernel offers, found out by trying.

use std::io;

use io_uring::{IoUring, opcode, squeue, types};

/// What the ring engine found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether a multishot receive can be told to end after so many bytes (Linux 6.17); without it, receives that run
    /// ahead of their reader are cancelled.
    pub receive_cap: bool,
    /// Whether send and receive may be bundled over several buffers (Linux 6.10).
    pub bundles: bool,
    /// Whether one core's ring can wake another's (in full from Linux 6.3 on); without it, cores ring an eventfd.
    pub message_ring: bool,
}

/// Sets up a small ring as the engine would. The error is what the engine would meet.
pub fn probe() -> io::Result<Probe> {
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(4)?;
    ring.submitter().register_files_sparse(1)?;
    Ok(Probe {
        receive_cap: receive_cap(),
        bundles: ring.params().is_feature_recvsend_bundle(),
        message_ring: message_ring(),
    })
}

/// Sets the total number of bytes after which a multishot receive ends by itself.
pub(super) fn set_receive_cap(entry: &mut squeue::Entry, bytes: u32) {
    /// Where `optlen` lies in `struct io_uring_sqe`, in bytes.
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64 && align_of::<squeue::Entry>() >= align_of::<u32>()) };
    // SAFETY: an entry is the 64 bytes of a `struct io_uring_sqe` (repr(C) around it, checked above); the write of four
    // aligned bytes at 44 stays inside, and any value is valid there.
    unsafe { std::ptr::from_mut(entry).cast::<u32>().add(OPTLEN / size_of::<u32>()).write(bytes) };
}

/// Tries a capped multishot receive on a socket pair: older kernels refuse it as invalid.
pub(super) fn receive_cap() -> bool {
    let attempt = || -> io::Result<bool> {
        let mut ring: IoUring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(4)?;
        let (left, right) = std::os::unix::net::UnixStream::pair()?;
        let mut entry =
            opcode::RecvMulti::new(types::Fd(std::os::fd::AsRawFd::as_raw_fd(&left)), super::driver::BUFFER_GROUP)
                .build();
        set_receive_cap(&mut entry, 4096);
        // SAFETY: no buffer group is registered, so the kernel writes nowhere; the socket outlives the wait below.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        drop(right);
        ring.submit_and_wait(1)?;
        let result = ring.completion().next().map(|entry| entry.result());
        Ok(result.is_some_and(|result| result != -libc::EINVAL))
    };
    attempt().unwrap_or(false)
}

/// Tries a message from one ring to another.
pub(super) fn message_ring() -> bool {
    /// What the message carries.
    const WORD: u64 = 7;
    let attempt = || -> io::Result<bool> {
        let small =
            || -> io::Result<IoUring> { IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(4) };
        let (mut from, mut to) = (small()?, small()?);
        let target = types::Fd(std::os::fd::AsRawFd::as_raw_fd(&to));
        let entry = opcode::MsgRingData::new(target, 0, WORD, None).build();
        // SAFETY: a message names no memory, and both rings outlive the wait below.
        unsafe { from.submission().push(&entry) }.map_err(io::Error::other)?;
        from.submit_and_wait(1)?;
        if from.completion().next().is_none_or(|entry| entry.result() < 0) {
            return Ok(false);
        }
        to.submit_and_wait(1)?;
        Ok(to.completion().next().is_some_and(|entry| entry.user_data() == WORD))
    };
    attempt().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_runs_the_ring_engine() {
        super::probe().unwrap();
    }
}
