//! The physical floor: bytes forwarded between two TCP connections by one hand-written `io_uring` loop, without HTTP,
//! tasks, timers or limits. No proxy on this kernel can spend less, so it is what a gateway's cost is measured
//! against; it serves nobody.
//!
//! Every accepted connection gets an upstream connection of its own. Both are direct descriptors under a multishot
//! receive; what arrives is sent to the other side from the buffer the kernel put it in, and the buffer goes back when
//! the send completes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, DestinationSlot, Fd, Fixed, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The settings of the forwarder.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where every connection goes.
    pub to: SocketAddr,
    /// Receive buffers, a power of two up to 32,768.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: u32,
    /// Connections open at once, both sides counted.
    pub connections: u32,
    /// Never sleep in the kernel.
    pub busy_poll: bool,
}

const SUBMISSIONS: u32 = 4096;
const BUFFER_GROUP: u16 = 0;
/// How often the stop flag is looked at.
const TICK: &Timespec = &Timespec::new().nsec(100_000_000);
const NO_DELAY: &libc::c_int = &1;

/// Forwards until `stop` is set. `ready` is told the address bound.
///
/// # Errors
/// When the kernel lacks a feature (Linux 6.7 has all), the address is taken or memory runs out.
pub fn run(options: &Options, ready: &mut dyn FnMut(SocketAddr), stop: &AtomicBool) -> io::Result<()> {
    let listener = Socket::new(domain(&options.listen), Type::STREAM, Some(Protocol::TCP))?;
    listener.set_reuse_address(true)?;
    // What a listener is set to, its connections inherit.
    listener.set_tcp_nodelay(true)?;
    listener.bind(&options.listen.into())?;
    listener.listen(4096)?;
    let bound = listener.local_addr()?.as_socket().unwrap_or(options.listen);

    let upstream = SockAddr::from(options.to);
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_defer_taskrun()
        .setup_no_sqarray()
        .setup_cqsize(SUBMISSIONS * 4)
        .build(SUBMISSIONS)?;
    let mut floor = Floor::new(&mut ring, options, &upstream)?;
    floor.accept(&listener)?;
    floor.tick()?;
    ready(bound);
    let want = usize::from(!options.busy_poll);
    while !stop.load(Ordering::Relaxed) {
        floor.enter(want)?;
        floor.reap(&listener)?;
    }
    Ok(())
}

fn domain(address: &SocketAddr) -> Domain {
    if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Operation {
    Accept,
    Socket,
    NoDelay,
    Connect,
    Receive,
    Send,
    Shutdown,
    Close,
    Tick,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::Accept,
        Self::Socket,
        Self::NoDelay,
        Self::Connect,
        Self::Receive,
        Self::Send,
        Self::Shutdown,
        Self::Close,
        Self::Tick,
    ];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// Its counterpart is not connected yet.
    Opening,
    Open,
    /// Shut down; closed when no operation is left.
    Closing,
    Closed,
}

/// One direct descriptor. Its place in the table is its number in the kernel.
#[derive(Default)]
struct Half {
    state: State,
    peer: Option<u32>,
    /// Operations whose last completion has not come.
    pending: u32,
    receiving: bool,
    /// Nothing more comes from here.
    ended: bool,
    /// Buffers to send here, the first one under way.
    queue: VecDeque<(u16, u32)>,
}

struct Floor<'a> {
    submitter: Submitter<'a>,
    submissions: SubmissionQueue<'a>,
    completions: CompletionQueue<'a>,
    halves: Vec<Half>,
    buffers: Buffers,
    upstream: &'a SockAddr,
    domain: Domain,
    /// Receives that stopped because all buffers were out.
    starved: Vec<u32>,
}

impl<'a> Floor<'a> {
    fn new(ring: &'a mut IoUring, options: &Options, upstream: &'a SockAddr) -> io::Result<Self> {
        let (mut submitter, submissions, completions) = ring.split();
        submitter.register_files_sparse(options.connections)?;
        submitter.register_ring_fd()?;
        let buffers = Buffers::new(&submitter, options.buffers, options.buffer_bytes)?;
        Ok(Self {
            submitter,
            submissions,
            completions,
            halves: (0..options.connections).map(|_| Half::default()).collect(),
            buffers,
            upstream,
            domain: domain(&options.to),
            starved: Vec::new(),
        })
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry, operation: Operation, slot: u32) -> io::Result<()> {
        let entry = entry.user_data(u64::from(slot) << 8 | operation as u64);
        loop {
            // SAFETY: what the entry points to outlives its completion: buffers are never freed, the upstream's
            // address is copied when the entry is submitted, and `NO_DELAY` and `TICK` are constants.
            if unsafe { self.submissions.push(&entry) }.is_ok() {
                return Ok(());
            }
            self.enter(0)?;
        }
    }

    /// Submits what was pushed and waits for `want` completions.
    #[inline]
    fn enter(&mut self, want: usize) -> io::Result<()> {
        self.submissions.sync();
        let entered = self.submitter.submit_and_wait(want);
        self.submissions.sync();
        match entered {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Pushes an operation on a descriptor, which stays open until it has completed.
    #[inline]
    fn start(&mut self, entry: squeue::Entry, operation: Operation, slot: u32) -> io::Result<()> {
        if let Some(half) = self.half(slot) {
            half.pending += 1;
        }
        self.push(entry, operation, slot)
    }

    #[inline]
    fn half(&mut self, slot: u32) -> Option<&mut Half> {
        self.halves.get_mut(slot as usize)
    }

    fn accept(&mut self, listener: &Socket) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).allocate_file_index(true);
        self.push(accept.build(), Operation::Accept, 0)
    }

    fn tick(&mut self) -> io::Result<()> {
        self.push(opcode::Timeout::new(TICK).build(), Operation::Tick, 0)
    }

    /// Handles every completion there is.
    fn reap(&mut self, listener: &Socket) -> io::Result<()> {
        self.completions.sync();
        while let Some(entry) = self.completions.next() {
            let Some(&operation) = Operation::ALL.get((entry.user_data() & 0xff) as usize) else { continue };
            let slot = (entry.user_data() >> 8) as u32;
            match operation {
                Operation::Accept => {
                    if !cqueue::more(entry.flags()) {
                        self.accept(listener)?;
                    }
                    if let Ok(slot) = u32::try_from(entry.result()) {
                        self.accepted(slot)?;
                    }
                }
                Operation::Tick => self.tick()?,
                Operation::Close => {
                    if let Some(half) = self.half(slot).filter(|half| half.state == State::Closed) {
                        half.state = State::Free;
                    }
                }
                _ => self.complete(operation, slot, entry.result(), entry.flags())?,
            }
        }
        self.completions.sync();
        self.buffers.publish();
        if !self.starved.is_empty() && self.buffers.out < self.buffers.count {
            for slot in std::mem::take(&mut self.starved) {
                self.receive(slot)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn complete(&mut self, operation: Operation, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        let Some(half) = self.half(slot) else { return Ok(()) };
        if !cqueue::more(flags) {
            half.pending -= 1;
        }
        match operation {
            Operation::Receive => self.received(slot, result, flags)?,
            Operation::Send => self.sent(slot, result)?,
            Operation::Socket => self.made(slot, result)?,
            Operation::Connect => self.connected(slot, result)?,
            _ => {}
        }
        let Some(half) = self.half(slot) else { return Ok(()) };
        if half.state == State::Closing && half.pending == 0 {
            half.state = State::Closed;
            self.push(opcode::Close::new(Fixed(slot)).build(), Operation::Close, slot)?;
        }
        Ok(())
    }

    fn open(&mut self, slot: u32, peer: Option<u32>) {
        if let Some(half) = self.half(slot) {
            let queue = std::mem::take(&mut half.queue);
            *half = Half { state: State::Opening, peer, queue, ..Half::default() };
        }
    }

    fn accepted(&mut self, slot: u32) -> io::Result<()> {
        self.open(slot, None);
        let socket = opcode::Socket::new(self.domain.into(), libc::SOCK_STREAM, libc::IPPROTO_TCP)
            .file_index(Some(DestinationSlot::auto_target()));
        self.start(socket.build(), Operation::Socket, slot)
    }

    /// The socket for the upstream of client `slot` has been made.
    fn made(&mut self, slot: u32, result: i32) -> io::Result<()> {
        let Ok(upstream) = u32::try_from(result) else { return self.end(slot) };
        if let Some(client) = self.half(slot) {
            client.peer = Some(upstream);
        }
        self.open(upstream, Some(slot));
        let (level, name) = (libc::IPPROTO_TCP as u32, libc::TCP_NODELAY as u32);
        let value: *const libc::c_int = NO_DELAY;
        let option =
            opcode::SetSockOpt::new(Fixed(upstream), level, name, value.cast(), size_of::<libc::c_int>() as u32);
        self.start(option.build(), Operation::NoDelay, upstream)?;
        let connect = opcode::Connect::new(Fixed(upstream), self.upstream.as_ptr().cast(), self.upstream.len());
        self.start(connect.build(), Operation::Connect, upstream)
    }

    fn connected(&mut self, slot: u32, result: i32) -> io::Result<()> {
        if result < 0 {
            return self.end(slot);
        }
        let client = self.half(slot).and_then(|half| half.peer);
        for slot in [Some(slot), client].into_iter().flatten() {
            if let Some(half) = self.half(slot).filter(|half| half.state == State::Opening) {
                half.state = State::Open;
                self.receive(slot)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        match self.half(slot) {
            Some(half) if half.state == State::Open && !half.receiving && !half.ended => half.receiving = true,
            _ => return Ok(()),
        }
        self.start(opcode::RecvMulti::new(Fixed(slot), BUFFER_GROUP).build(), Operation::Receive, slot)
    }

    #[inline]
    fn received(&mut self, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        let Some(half) = self.half(slot) else { return Ok(()) };
        let more = cqueue::more(flags);
        half.receiving = more;
        let (peer, open) = (half.peer, half.state == State::Open);
        if let Some(id) = cqueue::buffer_select(flags) {
            self.buffers.out += 1;
            match peer {
                Some(peer) if open && result > 0 => self.forward(peer, id, result as u32)?,
                _ => self.buffers.give_back(id),
            }
        }
        if result == -libc::ENOBUFS {
            self.starved.push(slot);
            return Ok(());
        }
        if result <= 0 {
            return self.no_more(slot);
        }
        if more { Ok(()) } else { self.receive(slot) }
    }

    /// Sends a buffer to `slot`, behind those already waiting.
    #[inline]
    fn forward(&mut self, slot: u32, id: u16, len: u32) -> io::Result<()> {
        match self.half(slot) {
            Some(half) if half.state == State::Open => {
                half.queue.push_back((id, len));
                if half.queue.len() == 1 { self.send(slot, id, len) } else { Ok(()) }
            }
            _ => {
                self.buffers.give_back(id);
                Ok(())
            }
        }
    }

    #[inline]
    fn send(&mut self, slot: u32, id: u16, len: u32) -> io::Result<()> {
        // The kernel itself goes on after a short send, so a completion means all of it, or failure.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let send = opcode::Send::new(Fixed(slot), self.buffers.address(id), len).flags(flags);
        self.start(send.build(), Operation::Send, slot)
    }

    #[inline]
    fn sent(&mut self, slot: u32, result: i32) -> io::Result<()> {
        let Some(half) = self.halves.get_mut(slot as usize) else { return Ok(()) };
        let Some((id, len)) = half.queue.pop_front() else { return Ok(()) };
        self.buffers.give_back(id);
        if i64::from(result) != i64::from(len) || half.state != State::Open {
            while let Some((id, _)) = half.queue.pop_front() {
                self.buffers.give_back(id);
            }
            return self.end(slot);
        }
        if let Some(&(id, len)) = half.queue.front() {
            return self.send(slot, id, len);
        }
        let source = half.peer.and_then(|peer| self.half(peer));
        if source.is_some_and(|source| source.ended) { self.end(slot) } else { Ok(()) }
    }

    /// Nothing more comes from `slot`: both connections end when what it said has been passed on.
    fn no_more(&mut self, slot: u32) -> io::Result<()> {
        let Some(half) = self.half(slot) else { return Ok(()) };
        half.ended = true;
        let peer = half.peer;
        let waiting = peer.and_then(|peer| self.half(peer)).is_some_and(|peer| !peer.queue.is_empty());
        if waiting { Ok(()) } else { self.end(slot) }
    }

    /// Ends both connections now. A receive under way holds a socket open, so it is shut down first.
    fn end(&mut self, slot: u32) -> io::Result<()> {
        // The two part here: the slot of the one closed first may soon belong to another connection.
        let peer = self.half(slot).and_then(|half| half.peer.take());
        for slot in [Some(slot), peer].into_iter().flatten() {
            if let Some(half) = self.half(slot).filter(|half| matches!(half.state, State::Opening | State::Open)) {
                half.state = State::Closing;
                half.peer = None;
                let shutdown = opcode::Shutdown::new(Fixed(slot), libc::SHUT_RDWR);
                self.start(shutdown.build(), Operation::Shutdown, slot)?;
            }
        }
        Ok(())
    }
}

/// A provided-buffer ring and its memory, both kept until the process ends: the kernel tears a ring down after its
/// descriptor is closed, and may write until then.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    count: u16,
    bytes: u32,
    tail: u16,
    /// Buffers that the kernel does not have.
    out: u16,
}

impl Buffers {
    fn new(submitter: &Submitter<'_>, count: u16, bytes: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "buffers must be a power of two, and not empty"));
        }
        let entries: *mut BufRingEntry = map(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let memory = map(usize::from(count) * bytes as usize)?;
        // SAFETY: the mapping is page-aligned, holds `count` entries and is never unmapped.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, count, BUFFER_GROUP, 0)? };
        let mut buffers = Self { entries, memory, count, bytes, tail: 0, out: count };
        for id in 0..count {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    #[inline]
    fn address(&self, id: u16) -> *const u8 {
        // SAFETY: the kernel returns only the ids it was given, all below `count`, so this stays inside the mapping.
        unsafe { self.memory.add(usize::from(id) * self.bytes as usize) }
    }

    #[inline]
    fn give_back(&mut self, id: u16) {
        let address = self.address(id) as u64;
        // SAFETY: the index is masked to the ring; the kernel does not read entries past the published tail.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail & (self.count - 1))) };
        entry.set_addr(address);
        entry.set_len(self.bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.out -= 1;
    }

    /// Lets the kernel see what was given back.
    #[inline]
    fn publish(&self) {
        // SAFETY: the tail lies in the first entry of the mapping, is aligned to two bytes, and the kernel only reads
        // it; the release store orders the entries before it.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast_mut().cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Maps zeroed memory for as long as the process lives.
fn map(bytes: usize) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(memory.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::{Arc, mpsc};

    /// Runs the floor before `to` while `clients` use its address.
    fn with_floor(to: SocketAddr, clients: impl FnOnce(SocketAddr)) {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (tell, told) = mpsc::channel();
        let floor = std::thread::spawn(move || {
            let listen = ([127, 0, 0, 1], 0).into();
            // Few and small buffers, so that a large body runs out of them.
            let options = Options { listen, to, buffers: 4, buffer_bytes: 1024, connections: 256, busy_poll: false };
            run(&options, &mut |address| tell.send(address).unwrap(), &stopped)
        });
        let Ok(address) = told.recv() else {
            panic!("the floor did not start: {:?}", floor.join());
        };
        clients(address);
        stop.store(true, Ordering::Relaxed);
        floor.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_sent_comes_back_and_the_end_is_passed_on() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        with_floor(echo.local_addr().unwrap(), |address| {
            for size in [1, 100, 5000, 300_000] {
                let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
                let expected = bytes.clone();
                let mut client = TcpStream::connect(address).unwrap();
                let mut writer = client.try_clone().unwrap();
                let write = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
                let (mut served, _) = echo.accept().unwrap();
                let serve = std::thread::spawn(move || {
                    let mut body = vec![0; size as usize];
                    served.read_exact(&mut body).unwrap();
                    served.write_all(&body).unwrap();
                    served.shutdown(Shutdown::Both).unwrap();
                });
                let mut got = Vec::new();
                client.read_to_end(&mut got).unwrap();
                assert!(got == expected, "{size} bytes came back as {} others", got.len());
                write.join().unwrap();
                serve.join().unwrap();
            }
        });
    }

    #[test]
    fn a_connection_that_ends_takes_no_other_with_it() {
        const CLIENTS: usize = 24;
        const EACH: usize = 250;
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = echo.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for stream in echo.incoming().take(CLIENTS * EACH) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut asked = [0; 4];
                    stream.read_exact(&mut asked).unwrap();
                    stream.write_all(&asked).unwrap();
                });
            }
        });
        with_floor(to, |address| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    std::thread::spawn(move || {
                        for _ in 0..EACH {
                            let mut client = TcpStream::connect(address).unwrap();
                            client.write_all(b"ping").unwrap();
                            let mut got = Vec::new();
                            client.read_to_end(&mut got).unwrap();
                            assert_eq!(got, b"ping");
                        }
                    })
                })
                .collect();
            for client in clients {
                client.join().unwrap();
            }
        });
        server.join().unwrap();
    }
}
