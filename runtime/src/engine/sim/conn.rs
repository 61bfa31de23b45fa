//! A connection as its two kernels see it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::buffer::Outbox;
use crate::clock::Instant;
use crate::core::tasks::Waiter;

/// Names a connection; a stale id names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnId {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// The side that connected.
pub(super) const CLIENT: usize = 0;
/// The side that accepted.
pub(super) const SERVER: usize = 1;

/// What travels from one end to the other.
pub(super) enum Packet {
    Connect,
    Accepted,
    Refused,
    Data(Vec<u8>),
    /// No more bytes come.
    Finish,
    Reset,
    /// The reader took that many bytes.
    Credit(usize),
}

impl Packet {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Data(_) => "data",
            Self::Finish => "finish",
            Self::Reset => "reset",
            Self::Credit(_) => "credit",
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Credit(count) => *count,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A client that waits for an answer, or a server that does not know yet.
    Connecting,
    Open,
    /// Connecting failed, for this reason.
    Failed(i32),
    /// Its handle is gone. What the kernel took is still sent.
    Closed,
}

/// How receiving ended, once what was received is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    Eof,
    Error(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    No,
    /// After the bytes in the queue.
    Queued,
    Sent,
}

pub(super) struct End {
    pub(super) host: usize,
    pub(super) address: SocketAddr,
    pub(super) phase: Phase,

    /// Written, and the part of it that was flushed.
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) flushed: usize,
    /// Taken by the kernel and not yet sent.
    pub(super) queue: VecDeque<u8>,
    /// Bytes the peer's kernel still has room for, and those it had at first.
    pub(super) window: usize,
    whole_window: usize,
    pub(super) finish: Finish,
    pub(super) send_error: Option<i32>,
    pub(super) writer: Waiter,
    /// A later look at what was flushed is arranged.
    pub(super) pumping: bool,
    /// Under way to the peer, oldest first. Each has one arrival arranged.
    pub(super) wire: VecDeque<Packet>,
    /// When the youngest of these arrives; nothing overtakes it.
    pub(super) last_arrival: Instant,

    /// Received and not yet read.
    pub(super) inbox: VecDeque<u8>,
    pub(super) ended: Option<ReadEnd>,
    pub(super) reader: Waiter,
}

impl End {
    pub(super) fn new(host: usize, address: SocketAddr, window: usize) -> Self {
        Self {
            host,
            address,
            phase: Phase::Connecting,
            outbox: None,
            flushed: 0,
            queue: VecDeque::new(),
            window,
            whole_window: window,
            finish: Finish::No,
            send_error: None,
            writer: Waiter::Nobody,
            pumping: false,
            wire: VecDeque::new(),
            last_arrival: Instant::default(),
            inbox: VecDeque::new(),
            ended: None,
            reader: Waiter::Nobody,
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// Whether bytes were sent, or wait to be, of which the peer has not said that they were read.
    pub(super) fn has_unanswered(&self) -> bool {
        self.window < self.whole_window || !self.queue.is_empty()
    }

    /// Moves at most `count` flushed bytes into the kernel's queue.
    pub(super) fn take_flushed(&mut self, count: usize) -> usize {
        let Some(outbox) = &mut self.outbox else { return 0 };
        let mut left = count;
        outbox.slices(|slice| {
            let part = slice.get(..left.min(slice.len())).unwrap_or_default();
            self.queue.extend(part);
            left -= part.len();
            left > 0
        });
        let taken = count - left;
        outbox.consume(taken);
        self.flushed -= taken;
        taken
    }
}

pub(super) struct Conn {
    pub(super) serial: u64,
    pub(super) ends: [End; 2],
    /// Carries nothing any more, and nobody is told.
    pub(super) silent: bool,
}

impl Conn {
    pub(super) fn is_done(&self) -> bool {
        let idle = |end: &End| end.queue.is_empty() && end.wire.is_empty();
        self.ends.iter().all(|end| end.phase == Phase::Closed) && (self.silent || self.ends.iter().all(idle))
    }
}

/// Moves the first bytes of `from` to `to`, which is no longer than that.
pub(super) fn take_front(from: &mut VecDeque<u8>, to: &mut [u8]) {
    let (first, second) = from.as_slices();
    let split = first.len().min(to.len());
    let (head, tail) = to.split_at_mut(split);
    head.copy_from_slice(&first[..split]);
    tail.copy_from_slice(&second[..tail.len()]);
    from.drain(..to.len());
}
