//! Descriptors that go from one process to another over a Unix socket (`SCM_RIGHTS`), and who is at its other end.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg, sockopt,
};

/// Descriptors in one message; the kernel takes at most 253.
const BATCH: usize = 128;
/// What carries them: descriptors cannot go without a byte.
const CARRIER: u8 = b'F';

/// Who is at the other end of a Unix socket, as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected or listened.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// `unix:pid=1,uid=2`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:pid={},uid={}", self.pid, self.uid)
    }
}

/// Asks who is at the other end.
pub fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    let found = sockopt::socket_peercred(stream)?;
    Ok(Peer { pid: found.pid.as_raw_nonzero().get().unsigned_abs(), uid: found.uid.as_raw() })
}

/// The user that this process acts as.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Sends descriptors, which stay open here. The other end must take as many with [`receive`].
pub fn send(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::Error::other("a batch of descriptors does not fit"));
        }
        let sent = retry(|| sendmsg(stream, &[IoSlice::new(&[CARRIER])], &mut control, SendFlags::NOSIGNAL))?;
        if sent != 1 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Receives as many descriptors as [`send`] was given; none of them outlives an exec.
pub fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < count {
        let expected = BATCH.min(count - all.len());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut carrier = [0];
        let received = retry(|| {
            recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut carrier)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let before = all.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                all.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // Past the limit on open files the kernel leaves some out.
        if received.flags.contains(ReturnFlags::CTRUNC) || carrier != [CARRIER] || all.len() - before != expected {
            let message =
                format!("{} of {expected} descriptors came; is the limit on open files too low?", all.len() - before);
            return Err(io::Error::other(message));
        }
    }
    Ok(all)
}

fn retry<R>(mut call: impl FnMut() -> rustix::io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn descriptors_arrive_in_order_however_many_there_are() {
        let (one, two) = UnixStream::pair().unwrap();
        // Each pair tells by a byte which one it is.
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        let ends: Vec<BorrowedFd<'_>> = pairs.iter().map(|(end, _)| end.as_fd()).collect();
        let received = std::thread::scope(|scope| {
            let received = scope.spawn(|| receive(&two, 300).unwrap());
            send(&one, &ends).unwrap();
            received.join().unwrap()
        });
        assert_eq!(received.len(), 300);
        for (at, (descriptor, (_, other))) in (0_u16..).zip(received.into_iter().zip(&pairs)) {
            UnixStream::from(descriptor).write_all(&at.to_le_bytes()).unwrap();
            let mut told = [0; 2];
            let mut other: &UnixStream = other;
            other.read_exact(&mut told).unwrap();
            assert_eq!(u16::from_le_bytes(told), at);
        }
    }

    #[test]
    fn too_few_descriptors_are_an_error() {
        let (one, two) = UnixStream::pair().unwrap();
        send(&one, &[one.as_fd()]).unwrap();
        assert!(receive(&two, 2).unwrap_err().to_string().contains("1 of 2"));
        drop(one);
        assert_eq!(receive(&two, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_kernel_tells_who_is_there() {
        let (one, _two) = UnixStream::pair().unwrap();
        assert_eq!(peer(&one).unwrap(), Peer { pid: std::process::id(), uid: user() });
    }
}
