//! Sockets and readiness for loops that never block unless asked: a thin layer over epoll, in safe code.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Most events one [`Poller::wait`] reports; the rest wait for the next call.
const EVENTS_MAX: usize = 128;

/// What became of a socket since it was last reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The number given to [`Poller::add`].
    pub(crate) token: u64,
    /// Bytes or the end of the stream are there to be read.
    pub(crate) readable: bool,
    /// The socket takes bytes again, or its connect has ended.
    pub(crate) writable: bool,
    /// The peer has closed its side, or the socket failed: read on until the end shows.
    pub(crate) ended: bool,
}

/// An epoll set.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Poller {
    /// # Errors
    /// When the kernel refuses another descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches a stream, edge-triggered: each change is told once, so a reader reads until a short read.
    ///
    /// # Errors
    /// When the kernel's watch limit is reached.
    pub(crate) fn add(&self, fd: &impl AsFd, token: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::HUP
            | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Watches a listener, level-triggered: it is told again for as long as connections wait.
    ///
    /// # Errors
    /// When the kernel's watch limit is reached.
    pub(crate) fn add_listener(&self, fd: &impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    /// Collects what is ready and says how many; `None` returns at once, a duration waits up to that long.
    ///
    /// # Errors
    /// When the wait itself fails; an interrupted wait counts as nothing ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.unwrap_or_default();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The event at `index` of the last wait.
    pub(crate) fn ready(&self, index: usize) -> Option<Ready> {
        let event = self.events.get(index)?;
        let (flags, data) = (event.flags, event.data);
        let ended = flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        Some(Ready {
            token: data.u64(),
            readable: flags.contains(epoll::EventFlags::IN) || ended,
            writable: flags.contains(epoll::EventFlags::OUT) || ended,
            ended,
        })
    }
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A listening socket that does not block; what it accepts inherits `TCP_NODELAY`.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn listen(address: &SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family(address), SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    rustix::net::bind(&fd, address)?;
    rustix::net::listen(&fd, 4096)?;
    Ok(fd)
}

/// The address a socket is bound to.
///
/// # Errors
/// When it is no IP socket.
pub(crate) fn local_address(fd: &impl AsFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(fd)?)?)
}

/// Takes one waiting connection, or `None`.
///
/// # Errors
/// When descriptors have run out and the like.
pub(crate) fn accept(listener: &impl AsFd) -> io::Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins to connect; the socket becomes writable when that has ended, and [`connect_outcome`] tells how.
///
/// # Errors
/// When it fails at once: no descriptor, no free port, refused.
pub(crate) fn connect(address: &SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family(address), SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match rustix::net::connect(&fd, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}

/// # Errors
/// The reason why the connect of this socket failed.
pub(crate) fn connect_outcome(fd: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(fd)??)
}

/// One read: the bytes got (0 is the end of the stream), or `None` when nothing is there.
///
/// # Errors
/// When the connection failed.
pub(crate) fn read(fd: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::net::recv(fd, buffer, rustix::net::RecvFlags::empty()) {
        Ok((_, count)) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One write: the bytes taken, or `None` when the socket is full.
///
/// # Errors
/// When the connection failed.
pub(crate) fn write(fd: &impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    match rustix::net::send(fd, bytes, rustix::net::SendFlags::NOSIGNAL) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One write of several pieces: the bytes taken, or `None` when the socket is full.
///
/// # Errors
/// When the connection failed.
pub(crate) fn write_vectored(fd: &impl AsFd, parts: &[io::IoSlice<'_>]) -> io::Result<Option<usize>> {
    let flags = rustix::net::SendFlags::NOSIGNAL;
    match rustix::net::sendmsg(fd, parts, &mut rustix::net::SendAncillaryBuffer::default(), flags) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the calling thread, and the threads and processes it starts later, on one CPU.
///
/// # Errors
/// When the machine has no such CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    pin_to(&[cpu])
}

/// Pins this thread, and those and the processes that it starts, to some CPUs.
///
/// # Errors
/// When the machine has no such CPU.
pub(crate) fn pin_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus {
        if cpu >= rustix::thread::CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("no such CPU: {cpu}")));
        }
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| io::Error::other(format!("cannot pin to CPUs {cpus:?}: {error}")))
}

/// Descriptors asked for where the process may raise its own hard limit.
const DESCRIPTORS_WANTED: u64 = 131_072;

/// Raises the limit of open descriptors to the most this process may have, and returns it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    for wanted in [DESCRIPTORS_WANTED.max(hard), hard] {
        if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(wanted) }).is_ok() {
            return wanted;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
