//! A stream in the ring: its receive, its send, and its end.
//!
//! The slot owns everything the kernel may touch. A dropped handle cancels what is in flight; the slot, its buffers and
//! its descriptor are freed with the last completion, and a generation in the user data turns late ones away.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::driver::BUFFER_GROUP;
use super::{Io, Op, Ring, user_data};
use crate::buffer::{Lease, Outbox, Pool};
use crate::core::tasks::Waiter;
use crate::net::{self, Address, CONTROL, Offered, SendKeys};

/// Slices in one vectored send.
const SLICES: usize = 16;
/// The send with which a stream gets its place in the table of direct descriptors. To put it there and to take it out is a
/// system call each, which a connection for one request does not earn back.
const DIRECT_AT: u8 = 4;
/// A send that waits for room before it is tried (`IORING_RECVSEND_POLL_FIRST`).
const POLL_FIRST: u16 = 1;
/// Spare vector headers kept by a core.
const KEEP_VECTORS: usize = 64;

/// The header of a vectored send, at an address that does not move while the kernel reads it.
pub(super) struct Vectors {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES],
    control: [u8; CONTROL],
}

impl Vectors {
    /// Points at what `outbox` has to send next, and says how it is to be sent.
    fn fill(&mut self, outbox: &Outbox) -> u16 {
        let mut count = 0;
        let mut add = |slice: &[u8]| {
            self.slices[count] = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() };
            count += 1;
            count < SLICES
        };
        let record = outbox.first_record();
        match record {
            Some((_, plain)) => _ = add(plain),
            None => outbox.slices(add),
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = count;
        let Some((kind, _)) = record else {
            self.header.msg_control = std::ptr::null_mut();
            self.header.msg_controllen = 0;
            return 0;
        };
        self.control = net::control(kind);
        self.header.msg_control = self.control.as_mut_ptr().cast();
        self.header.msg_controllen = CONTROL;
        // With room for it the kernel keeps nothing back of this record and of those before, which would be lost where the
        // connection is shut down behind it.
        POLL_FIRST
    }
}

/// How receiving ended.
#[derive(Clone, Copy)]
enum End {
    Eof,
    Error(i32),
}

pub(super) struct Conn {
    socket: OwnedFd,
    generation: u32,
    /// Whether the slot's index is also its place in the table of direct descriptors.
    direct: bool,
    /// The handle is gone; only completions are awaited.
    dropped: bool,

    receiving: bool,
    cancelling: bool,
    /// The handle is about to be let go of: a receive that ends is not armed again.
    stopping: bool,
    /// What was received and not yet read; `more` holds what came after `first`.
    first: Option<Lease>,
    more: VecDeque<Lease>,
    unread: usize,
    end: Option<End>,
    reader: Waiter,

    sending: bool,
    /// A send begins at the end of this turn.
    queued: bool,
    /// Sends that were begun, as far as they are counted.
    sends: u8,
    /// How it is sent: the kernel that seals does not know all ways.
    send_flags: i32,
    /// Written and not yet given to the kernel.
    filling: Option<Box<Outbox>>,
    /// In the kernel's hands.
    flight: Option<Box<Outbox>>,
    vectors: Option<Box<Vectors>>,
    send_error: Option<i32>,
    writer: Waiter,

    /// The address of a connect in flight.
    connecting: Option<Box<SockAddr>>,
    connected: Option<i32>,
}

impl Conn {
    fn new(socket: OwnedFd, generation: u32) -> Self {
        Self {
            socket,
            generation,
            direct: false,
            dropped: false,
            receiving: false,
            cancelling: false,
            stopping: false,
            first: None,
            more: VecDeque::new(),
            unread: 0,
            end: None,
            reader: Waiter::Nobody,
            sending: false,
            queued: false,
            sends: 0,
            send_flags: libc::MSG_NOSIGNAL | libc::MSG_WAITALL,
            filling: None,
            flight: None,
            vectors: None,
            send_error: None,
            writer: Waiter::Nobody,
            connecting: None,
            connected: None,
        }
    }

    fn in_flight(&self) -> bool {
        self.receiving || self.sending || self.connecting.is_some()
    }

    fn unsent(&self) -> usize {
        self.filling.as_ref().map_or(0, |outbox| outbox.len()) + self.flight.as_ref().map_or(0, |outbox| outbox.len())
    }

    fn is_quiet(&self) -> bool {
        self.first.is_none() && self.end.is_none() && self.send_error.is_none()
    }

    fn take_read(&mut self) -> Option<Lease> {
        let lease = self.first.take()?;
        if self.more.capacity() > 0 {
            self.move_up();
        }
        self.unread -= lease.len();
        Some(lease)
    }

    /// The next of several leases comes first.
    #[cold]
    fn move_up(&mut self) {
        self.first = self.more.pop_front();
        if self.first.is_none() {
            // Idle connections hold no memory for what they once received.
            self.more = VecDeque::new();
        }
    }

    /// Gives up what the kernel may still read, at the end of a core that could not wait for it.
    pub(super) fn leak(&mut self) {
        std::mem::forget((self.flight.take(), self.vectors.take(), self.connecting.take()));
    }
}

/// The handle on a stream. Dropping it abandons the connection.
pub(crate) struct Stream {
    engine: Rc<Ring>,
    slot: u32,
}

impl Stream {
    /// Takes a connected socket in.
    pub(crate) fn adopt(engine: &Rc<Ring>, socket: OwnedFd) -> Self {
        Self::adopt_with(engine, &mut engine.io.borrow_mut(), socket)
    }

    fn adopt_with(engine: &Rc<Ring>, io: &mut Io, socket: OwnedFd) -> Self {
        let generation = io.next_generation();
        let entry = io.conns.vacant_entry();
        let slot = entry.key() as u32;
        entry.insert(Conn::new(socket, generation));
        io.stats.streams += 1;
        Self { engine: engine.clone(), slot }
    }

    /// Starts connecting; `poll_connected` tells the outcome.
    pub(crate) fn connect(engine: &Rc<Ring>, address: &Address) -> io::Result<Self> {
        let to = address.to_sock_addr()?;
        let socket = net::stream_socket(address)?;
        let mut io = engine.io.borrow_mut();
        let this = Self::adopt_with(engine, &mut io, socket);
        let conn = &mut io.conns[this.slot as usize];
        let address = conn.connecting.insert(Box::new(to));
        let entry = opcode::Connect::new(types::Fd(conn.socket.as_raw_fd()), address.as_ptr().cast(), address.len())
            .build()
            .user_data(user_data(Op::Connect, this.slot, conn.generation));
        // SAFETY: the address is boxed and stays in the slot until the completion.
        unsafe { io.driver.push(entry) };
        drop(io);
        Ok(this)
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        net::local_address(&self.engine.io.borrow().conns[self.slot as usize].socket)
    }

    pub(crate) fn poll_connected(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.engine.io.borrow_mut();
        let conn = &mut io.conns[self.slot as usize];
        match conn.connected {
            Some(0) => Poll::Ready(Ok(())),
            Some(error) => Poll::Ready(Err(io::Error::from_raw_os_error(-error))),
            None => {
                conn.writer = self.engine.tasks.waiter(cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Lease>>> {
        let mut io = self.engine.io.borrow_mut();
        let conn = &mut io.conns[self.slot as usize];
        if let Some(lease) = conn.take_read() {
            return Poll::Ready(Ok(Some(lease)));
        }
        match conn.end {
            Some(End::Eof) => return Poll::Ready(Ok(None)),
            Some(End::Error(error)) => return Poll::Ready(Err(io::Error::from_raw_os_error(error))),
            None => {}
        }
        conn.reader = self.engine.tasks.waiter(cx);
        conn.stopping = false;
        if !conn.receiving {
            io.arm_receive(self.slot);
        }
        Poll::Pending
    }

    pub(crate) fn poll_still(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut io = self.engine.io.borrow_mut();
        let conn = &mut io.conns[self.slot as usize];
        if !conn.is_quiet() || conn.unsent() > 0 || conn.sending {
            conn.stopping = false;
            return Poll::Ready(false);
        }
        conn.stopping = true;
        if !conn.receiving {
            conn.reader = Waiter::Nobody;
            return Poll::Ready(true);
        }
        conn.reader = self.engine.tasks.waiter(cx);
        if !conn.cancelling {
            conn.cancelling = true;
            let target = user_data(Op::Receive, self.slot, conn.generation);
            io.cancel(target);
        }
        Poll::Pending
    }

    pub(crate) fn detach(&self) -> io::Result<OwnedFd> {
        self.engine.io.borrow().conns[self.slot as usize].socket.try_clone()
    }

    /// Whether the stream is open and nothing has come that was not asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.engine.io.borrow().conns[self.slot as usize].is_quiet()
    }

    /// Starts receiving without anybody waiting, so that an idle stream notices its end.
    pub(crate) fn watch(&self) -> bool {
        let mut io = self.engine.io.borrow_mut();
        let conn = &mut io.conns[self.slot as usize];
        conn.reader = Waiter::Nobody;
        let (is_quiet, is_receiving) = (conn.is_quiet(), conn.receiving);
        if is_quiet && !is_receiving {
            io.arm_receive(self.slot);
        }
        is_quiet
    }

    pub(crate) fn with_outbox<R>(&self, write: impl FnOnce(&mut Outbox) -> R) -> R {
        let mut io = self.engine.io.borrow_mut();
        let io = &mut *io;
        let conn = &mut io.conns[self.slot as usize];
        write(conn.filling.get_or_insert_with(|| io.outboxes.take()))
    }

    pub(crate) fn unsent(&self) -> usize {
        self.engine.io.borrow().conns[self.slot as usize].unsent()
    }

    pub(crate) fn flush(&self) {
        let mut io = self.engine.io.borrow_mut();
        let conn = &io.conns[self.slot as usize];
        if conn.send_error.is_none() && conn.filling.is_some() {
            io.queue_send(self.slot);
        }
    }

    pub(crate) fn poll_unsent_at_most(&self, cx: &Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        let mut io = self.engine.io.borrow_mut();
        let conn = &mut io.conns[self.slot as usize];
        if let Some(error) = conn.send_error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        if conn.unsent() <= bytes {
            return Poll::Ready(Ok(()));
        }
        conn.writer = self.engine.tasks.waiter(cx);
        io.queue_send(self.slot);
        Poll::Pending
    }

    /// What is sent from now on waits in the kernel for the end that follows, as far as it fills no packet of its own.
    pub(crate) fn say_end(&self) {
        self.engine.io.borrow_mut().conns[self.slot as usize].send_flags |= libc::MSG_MORE;
    }

    pub(crate) fn shut_down_write(&self) -> io::Result<()> {
        net::shut_down_write(&self.engine.io.borrow().conns[self.slot as usize].socket)
    }

    /// Has the kernel seal what is written from now on. Nothing may be unsent.
    pub(crate) fn offer(&self, keys: &SendKeys) -> Offered {
        let conn = &mut self.engine.io.borrow_mut().conns[self.slot as usize];
        let offered = net::offer(&conn.socket, keys);
        if offered == Offered::Taken {
            conn.send_flags = libc::MSG_NOSIGNAL;
        }
        offered
    }

    pub(crate) fn reset_on_close(&self) {
        net::reset_on_close(&self.engine.io.borrow().conns[self.slot as usize].socket);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut io = self.engine.io.borrow_mut();
        let io = &mut *io;
        if io.conns[self.slot as usize].queued {
            // What was flushed goes out as far as the kernel takes it at once.
            io.start_send(self.slot);
        }
        let conn = &mut io.conns[self.slot as usize];
        conn.dropped = true;
        (conn.reader, conn.writer) = (Waiter::Nobody, Waiter::Nobody);
        // Outside the borrow of the waiters nothing here can run foreign code.
        let unread = (conn.first.take(), std::mem::take(&mut conn.more));
        if let Some(outbox) = conn.filling.take() {
            io.outboxes.give_back(outbox);
        }
        let generation = conn.generation;
        let cancel = [
            (conn.receiving && !conn.cancelling, Op::Receive),
            (conn.sending, Op::Send),
            (conn.connecting.is_some(), Op::Connect),
        ];
        if conn.in_flight() {
            for (_, op) in cancel.into_iter().filter(|(wanted, _)| *wanted) {
                io.cancel(user_data(op, self.slot, generation));
            }
        } else {
            io.free(self.slot);
        }
        drop(unread);
    }
}

impl Io {
    /// The live slot a completion is for.
    fn conn(&mut self, slot: u32, generation: u32) -> Option<&mut Conn> {
        self.conns.get_mut(slot as usize).filter(|conn| conn.generation == generation)
    }

    fn free(&mut self, slot: u32) {
        let mut conn = self.conns.remove(slot as usize);
        if conn.direct {
            // The table holds the socket open as well; the slot is empty or will be overwritten.
            let _ = self.driver.set_file(slot, -1);
        }
        for outbox in [conn.filling.take(), conn.flight.take()].into_iter().flatten() {
            self.outboxes.give_back(outbox);
        }
        self.stats.streams -= 1;
    }

    fn free_if_done(&mut self, slot: u32) {
        let conn = &self.conns[slot as usize];
        if conn.dropped && !conn.in_flight() {
            self.free(slot);
        }
    }

    fn arm_receive(&mut self, slot: u32) {
        let (cap, read_ahead) = (self.receive_cap, self.read_ahead);
        let conn = &mut self.conns[slot as usize];
        let mut entry = if conn.direct {
            opcode::RecvMulti::new(types::Fixed(slot), BUFFER_GROUP).build()
        } else {
            opcode::RecvMulti::new(types::Fd(conn.socket.as_raw_fd()), BUFFER_GROUP).build()
        }
        .user_data(user_data(Op::Receive, slot, conn.generation));
        if cap {
            super::probe::set_receive_cap(&mut entry, read_ahead as u32);
        }
        conn.receiving = true;
        conn.cancelling = false;
        // SAFETY: the buffers of the group live as long as the ring, and the slot keeps the socket open.
        unsafe { self.driver.push(entry) };
    }

    pub(super) fn received(
        &mut self,
        pool: &Pool,
        slot: u32,
        generation: u32,
        result: i32,
        buffer: Option<u16>,
        more: bool,
    ) -> Waiter {
        // The buffer comes back whatever becomes of the stream.
        if buffer.is_some() {
            self.driver.buffer_returned();
        }
        let lease = match buffer {
            Some(id) if result > 0 => Some(pool.lease(id, result as usize)),
            Some(id) => {
                pool.give_back(id);
                None
            }
            None => None,
        };
        let read_ahead = self.read_ahead;
        let Some(conn) = self.conn(slot, generation) else { return Waiter::Nobody };
        if !more {
            conn.receiving = false;
            conn.cancelling = false;
        }
        if conn.dropped {
            self.free_if_done(slot);
            return Waiter::Nobody;
        }
        if let Some(lease) = lease {
            conn.unread += lease.len();
            if conn.first.is_none() {
                conn.first = Some(lease);
            } else {
                conn.more.push_back(lease);
            }
            // Too much for a reader that is not reading: stop, and go on when it has.
            if more && conn.unread >= read_ahead && !conn.cancelling {
                conn.cancelling = true;
                let target = user_data(Op::Receive, slot, generation);
                let waiter = conn.reader.take();
                self.cancel(target);
                return waiter;
            }
        } else if result == 0 {
            conn.end = Some(End::Eof);
        } else if result == -libc::ENOBUFS {
            if conn.stopping {
                return conn.reader.take();
            }
            self.stats.starved += u64::from(self.driver.buffers_ran_out());
            self.starved.push(slot);
            return Waiter::Nobody;
        } else if result == -libc::ECANCELED {
            if conn.stopping {
                return conn.reader.take();
            }
            // Cancelled for backpressure. A reader that caught up meanwhile is served again at once.
            if conn.first.is_none() && !matches!(conn.reader, Waiter::Nobody) {
                self.arm_receive(slot);
            }
            return Waiter::Nobody;
        } else {
            conn.end = Some(End::Error(-result));
        }
        // A receive that ended by itself with a reader at hand is armed again by its next poll.
        conn.reader.take()
    }

    /// Arms the receives that found no buffer, now that there are some.
    pub(super) fn revive_starved(&mut self, pool: &Pool) {
        if self.starved.is_empty() || pool.leased() == pool.count() {
            return;
        }
        for slot in std::mem::take(&mut self.starved) {
            if let Some(conn) = self.conns.get(slot as usize)
                && !conn.receiving
                && !conn.dropped
                && !conn.stopping
                && conn.end.is_none()
            {
                self.arm_receive(slot);
            }
        }
    }

    /// Has a send begin at the end of this turn, unless one is under way. What is written until then goes out with it.
    fn queue_send(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if !conn.sending && !conn.queued {
            conn.queued = true;
            self.to_send[usize::from(conn.connected.is_some())].push(slot);
        }
    }

    /// Begins the sends of this turn.
    pub(super) fn start_sends(&mut self) {
        let mut sides = std::mem::take(&mut self.to_send);
        for slot in sides.iter_mut().flat_map(|slots| slots.drain(..)) {
            // Its stream may be gone, and the slot be another's.
            if self.conns.get(slot as usize).is_some_and(|conn| conn.queued) {
                self.start_send(slot);
            }
        }
        self.to_send = sides;
    }

    fn start_send(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        conn.queued = false;
        conn.sends = conn.sends.saturating_add(1);
        if conn.sends == DIRECT_AT && slot < self.files {
            // A full table is no error: the plain descriptor works, only a little slower.
            conn.direct = self.driver.set_file(slot, conn.socket.as_raw_fd()).is_ok();
        }
        if conn.flight.is_none() {
            conn.flight = conn.filling.take();
        }
        let Some(outbox) = &conn.flight else { return };
        let flags = conn.send_flags;
        let entry = if let Some(bytes) = outbox.contiguous() {
            let (start, len) = (bytes.as_ptr(), bytes.len() as u32);
            if conn.direct {
                opcode::Send::new(types::Fixed(slot), start, len).flags(flags).build()
            } else {
                opcode::Send::new(types::Fd(conn.socket.as_raw_fd()), start, len).flags(flags).build()
            }
        } else {
            let spare = &mut self.vectors;
            let vectors = conn.vectors.get_or_insert_with(|| spare.pop().unwrap_or_else(|| Box::new(empty_vectors())));
            let how = vectors.fill(outbox);
            let header = std::ptr::from_ref(&vectors.header);
            if conn.direct {
                opcode::SendMsg::new(types::Fixed(slot), header).flags(flags as u32).ioprio(how).build()
            } else {
                opcode::SendMsg::new(types::Fd(conn.socket.as_raw_fd()), header).flags(flags as u32).ioprio(how).build()
            }
        };
        conn.sending = true;
        let entry: squeue::Entry = entry.user_data(user_data(Op::Send, slot, conn.generation));
        // SAFETY: the outbox in flight and the vector header stay in the slot, unmoved and unwritten, until the
        // completion: the slot is freed only then.
        unsafe { self.driver.push(entry) };
    }

    pub(super) fn sent(&mut self, slot: u32, generation: u32, result: i32) -> Waiter {
        let Some(conn) = self.conn(slot, generation) else { return Waiter::Nobody };
        conn.sending = false;
        let mut done = None;
        if let Some(outbox) = &mut conn.flight {
            if result >= 0 {
                outbox.consume(result as usize);
            }
            if result < 0 || outbox.is_empty() {
                done = conn.flight.take();
            }
        }
        if result < 0 {
            conn.send_error = Some(-result);
        }
        if conn.dropped {
            self.free_if_done(slot);
            return Waiter::Nobody;
        }
        let waiter = conn.writer.take();
        let again = result >= 0 && (conn.flight.is_some() || conn.filling.is_some());
        if let Some(outbox) = done {
            let vectors = conn.vectors.take();
            self.outboxes.give_back(outbox);
            if let Some(vectors) = vectors
                && self.vectors.len() < KEEP_VECTORS
            {
                self.vectors.push(vectors);
            }
        }
        if again {
            self.queue_send(slot);
        }
        waiter
    }

    pub(super) fn connected(&mut self, slot: u32, generation: u32, result: i32) -> Waiter {
        let Some(conn) = self.conn(slot, generation) else { return Waiter::Nobody };
        conn.connecting = None;
        conn.connected = Some(result.min(0));
        let waiter = conn.writer.take();
        self.free_if_done(slot);
        waiter
    }
}

fn empty_vectors() -> Vectors {
    // SAFETY: an all-zero msghdr, iovec and array of bytes are valid: null pointers with length zero.
    unsafe { std::mem::zeroed() }
}
