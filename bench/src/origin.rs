//! An HTTP/1.1 origin that costs as little as an epoll loop can: one thread, one read and one write a request,
//! answers rendered beforehand. It reads just enough of a request to find its end, so any method works.
//!
//! `/bytes/N` answers N bytes; every other path answers the default size. It can run alone, or be stepped by the
//! load generator's loop, so that both share one core without fighting for it. A connection that begins with the preface
//! of HTTP/2 is spoken to in that, unless answers are to be late, to fail or to be very large.

mod http2;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::{Clock, nanoseconds};
use crate::http::{self, Body, Framing, Malformed};
use crate::net::{self, Poller};
use http2::{Http2, Ordinary};
use ringway_proto::http2::{Preface, preface};

const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 256 * 1024;
/// Bodies up to this size are copied behind their head and leave in one write.
const SMALL_BODY: u64 = 64 * 1024;
const BLOCK_BYTES: usize = 256 * 1024;
/// New connections taken in one go, so that a storm of them cannot hold up the others.
const ACCEPT_BURST: usize = 64;
/// Output waiting for one connection, in answers: past it the connection is closed, since its peer only sends.
const WAITING_MAX: usize = 1024;
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// What an origin does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// It answers 503.
    Status,
    /// It ends the connection.
    Reset,
}

/// The settings of an origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Where it listens; port 0 picks a free one.
    pub(crate) listen: SocketAddr,
    /// Body bytes of an ordinary answer.
    pub(crate) body: u64,
    /// How long each answer waits.
    pub(crate) delay: Duration,
    /// One request of so many fails, and how.
    pub(crate) fails: Option<(u64, Failing)>,
}

impl Options {
    /// Answers of `body` bytes, at once, on a free port of the loopback.
    pub(crate) fn plain(body: u64) -> Self {
        Self { listen: ([127, 0, 0, 1], 0).into(), body, delay: Duration::ZERO, fails: None }
    }
}

/// A running origin; it moves only inside [`Origin::poll`] and [`Origin::handle`].
pub(crate) struct Origin {
    listener: OwnedFd,
    poller: Poller,
    connections: Vec<Slot>,
    vacant: Vec<usize>,
    read_buffer: Vec<u8>,
    shared: Shared,
}

struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

struct Connection {
    fd: OwnedFd,
    /// The start of a head whose end has not come.
    partial: Vec<u8>,
    /// The request body being passed over.
    body: Body,
    speech: Speech,
    output: VecDeque<Output>,
    /// Answers that still wait for their delay.
    delayed: usize,
    /// Nothing more is read; the connection ends when all output is written.
    closing: bool,
    /// It ends now, whatever waits.
    cut: bool,
}

/// What a connection speaks.
enum Speech {
    /// Its first bytes have not come.
    Unknown,
    Http1,
    Http2(Box<Http2>),
}

enum Output {
    Bytes { bytes: Vec<u8>, at: usize },
    Block { left: u64 },
}

/// What all connections use.
struct Shared {
    clock: Clock,
    body: u64,
    ordinary: Vec<u8>,
    /// What is answered over HTTP/2, where that is spoken.
    over_http2: Option<Ordinary>,
    scratch: Vec<u8>,
    block: Vec<u8>,
    delay_ns: u64,
    delayed: VecDeque<Delayed>,
    served: u64,
    fails: Option<(u64, Failing)>,
}

struct Delayed {
    due: u64,
    token: u64,
    answer: Answer,
}

#[derive(Clone, Copy)]
struct Answer {
    body: u64,
    to_head: bool,
    close: bool,
}

impl Origin {
    /// Binds and listens.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let listener = net::listen(&options.listen)?;
        let poller = Poller::new()?;
        poller.add_listener(&listener, LISTENER)?;
        let mut ordinary = Vec::new();
        render(&mut ordinary, Answer { body: options.body, to_head: false, close: false });
        Ok(Self {
            listener,
            poller,
            connections: Vec::new(),
            vacant: Vec::new(),
            read_buffer: vec![0; READ_BYTES],
            shared: Shared {
                clock: Clock::start(),
                body: options.body,
                ordinary,
                over_http2: (options.delay.is_zero() && options.fails.is_none())
                    .then(|| Ordinary::new(options.body))
                    .flatten(),
                scratch: Vec::new(),
                block: vec![b'x'; BLOCK_BYTES],
                delay_ns: nanoseconds(options.delay),
                delayed: VecDeque::new(),
                served: 0,
                fails: options.fails,
            },
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        net::local_address(&self.listener)
    }

    /// Answers given since the start.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served
    }

    /// Ready to be read when [`Origin::poll`] has something to collect.
    pub(crate) fn readiness(&self) -> &impl AsFd {
        &self.poller
    }

    /// After how many nanoseconds the next delayed answer is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.shared.delayed.front().map(|next| next.due.saturating_sub(self.shared.clock.now()))
    }

    /// Collects what is ready, waiting up to `timeout`, and says how many calls of [`Origin::handle`] are due.
    ///
    /// # Errors
    /// When epoll fails.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if !self.shared.delayed.is_empty() {
            self.answer_due();
        }
        let timeout = match self.next_due() {
            Some(next) => timeout.map(|most| most.min(Duration::from_nanos(next))),
            None => timeout,
        };
        self.poller.wait(timeout)
    }

    /// Handles event `index` of the last poll.
    ///
    /// # Errors
    /// When no connection can be accepted any more.
    pub(crate) fn handle(&mut self, index: usize) -> io::Result<()> {
        let Some(ready) = self.poller.ready(index) else { return Ok(()) };
        if ready.token == LISTENER {
            return self.accept();
        }
        let Some(connection) = find(&mut self.connections, ready.token) else { return Ok(()) };
        let mut alive = true;
        if ready.readable {
            alive = receive(connection, ready.token, ready.ended, &mut self.read_buffer, &mut self.shared);
        }
        if alive && !connection.output.is_empty() {
            alive = flush(connection, &self.shared.block);
        }
        // Over HTTP/2 only so much is put together at once.
        while alive
            && connection.output.is_empty()
            && let Speech::Http2(http2) = &mut connection.speech
        {
            self.shared.scratch.clear();
            http2.write(Duration::from_nanos(self.shared.clock.now()), &mut self.shared.scratch);
            if self.shared.scratch.is_empty() {
                break;
            }
            alive = write_scratch(connection, &mut self.shared);
        }
        if !alive || connection.is_finished() {
            self.remove(ready.token);
        }
        Ok(())
    }

    /// Serves until `seconds` have passed or `stop` is set; a busy-polled origin never sleeps.
    ///
    /// # Errors
    /// When epoll or accept fails.
    pub(crate) fn serve(&mut self, lifetime: Duration, busy_poll: bool, stop: &AtomicBool) -> io::Result<()> {
        let end = self.shared.clock.now().saturating_add(nanoseconds(lifetime));
        let timeout = (!busy_poll).then_some(Duration::from_millis(100));
        while self.shared.clock.now() < end && !stop.load(Ordering::Relaxed) {
            for index in 0..self.poll(timeout)? {
                self.handle(index)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPT_BURST {
            let Some(fd) = net::accept(&self.listener)? else { break };
            let index = self.vacant.pop().unwrap_or_else(|| {
                self.connections.push(Slot { generation: 0, connection: None });
                self.connections.len() - 1
            });
            let Some(slot) = self.connections.get_mut(index) else { break };
            self.poller.add(&fd, token(index, slot.generation))?;
            slot.connection = Some(Connection {
                fd,
                partial: Vec::new(),
                body: Body::new(Framing::None),
                speech: if self.shared.over_http2.is_some() { Speech::Unknown } else { Speech::Http1 },
                output: VecDeque::new(),
                delayed: 0,
                closing: false,
                cut: false,
            });
        }
        Ok(())
    }

    fn remove(&mut self, token: u64) {
        let index = token as u32 as usize;
        if let Some(slot) = self.connections.get_mut(index) {
            slot.connection = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.vacant.push(index);
        }
    }

    fn answer_due(&mut self) {
        let now = self.shared.clock.now();
        while let Some(next) = self.shared.delayed.pop_front_if(|next| next.due <= now) {
            let Some(connection) = find(&mut self.connections, next.token) else { continue };
            connection.delayed -= 1;
            self.shared.scratch.clear();
            append(connection, &mut self.shared, next.answer);
            if !write_scratch(connection, &mut self.shared) || connection.is_finished() {
                self.remove(next.token);
            }
        }
    }
}

impl Connection {
    fn is_finished(&self) -> bool {
        self.closing && self.output.is_empty() && self.delayed == 0
    }
}

fn token(index: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | index as u64
}

fn find(slots: &mut [Slot], token: u64) -> Option<&mut Connection> {
    let slot = slots.get_mut(token as u32 as usize)?;
    if slot.generation == (token >> 32) as u32 { slot.connection.as_mut() } else { None }
}

/// Reads all there is and answers every complete request; false when the connection is over.
fn receive(connection: &mut Connection, token: u64, ended: bool, buffer: &mut [u8], shared: &mut Shared) -> bool {
    loop {
        let Ok(got) = net::read(&connection.fd, buffer) else { return false };
        let Some(count) = got else { return true };
        if count == 0 {
            // A client that has only shut its sending side still gets what it asked for.
            connection.closing = true;
            return !connection.is_finished();
        }
        let input = buffer.get(..count).unwrap_or_default();
        shared.scratch.clear();
        let taken = if connection.closing {
            Ok(())
        } else if connection.partial.is_empty() {
            consume(connection, token, input, shared).map(|used| {
                connection.partial.extend_from_slice(input.get(used..).unwrap_or_default());
            })
        } else {
            let mut whole = std::mem::take(&mut connection.partial);
            whole.extend_from_slice(input);
            consume(connection, token, &whole, shared).map(|used| {
                whole.drain(..used);
                connection.partial = whole;
            })
        };
        if connection.cut {
            return false;
        }
        if taken.is_err() && matches!(connection.speech, Speech::Http2(_)) {
            return false;
        }
        if taken.is_err() {
            shared
                .scratch
                .extend_from_slice(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.closing = true;
        }
        if !write_scratch(connection, shared) || connection.output.len() > WAITING_MAX {
            return false;
        }
        // A short read has emptied the socket; the next bytes make a new event.
        if count < buffer.len() && !ended {
            return true;
        }
    }
}

/// Answers the requests in `input` and returns how many bytes they took.
fn consume(connection: &mut Connection, token: u64, input: &[u8], shared: &mut Shared) -> Result<usize, Malformed> {
    if matches!(connection.speech, Speech::Unknown) {
        connection.speech = match preface(input) {
            Preface::Http2 => Speech::Http2(Box::new(Http2::new(Duration::from_nanos(shared.clock.now())))),
            Preface::Other => Speech::Http1,
            Preface::Partial => return Ok(0),
        };
    }
    if let Speech::Http2(http2) = &mut connection.speech
        && let Some(ordinary) = &shared.over_http2
    {
        let now = Duration::from_nanos(shared.clock.now());
        let (used, answered) = http2.receive(input, ordinary, now, &mut shared.scratch)?;
        shared.served += answered;
        return Ok(used);
    }
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        if !connection.body.is_done() {
            at += connection.body.skip(rest)?;
            if !connection.body.is_done() {
                return Ok(at);
            }
            continue;
        }
        if rest.is_empty() || connection.closing {
            return Ok(input.len().min(at + if connection.closing { rest.len() } else { 0 }));
        }
        let Some(head) = http::request_head(rest)? else { return Ok(at) };
        at += head.len;
        connection.body = Body::new(head.framing);
        if head.expects_continue && !connection.body.is_done() {
            shared.scratch.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let answer =
            Answer { body: size(head.target, shared.body)?, to_head: head.method == b"HEAD", close: head.close };
        shared.served += 1;
        match shared.fails {
            Some((every, how)) if shared.served.is_multiple_of(every) => match how {
                Failing::Status => shared.scratch.extend_from_slice(UNAVAILABLE),
                Failing::Reset => {
                    connection.cut = true;
                    return Ok(input.len());
                }
            },
            _ if shared.delay_ns > 0 => {
                let due = shared.clock.now() + shared.delay_ns;
                shared.delayed.push_back(Delayed { due, token, answer });
                connection.delayed += 1;
                connection.closing |= answer.close && connection.body.is_done();
            }
            _ => append(connection, shared, answer),
        }
    }
}

fn size(target: &[u8], ordinary: u64) -> Result<u64, Malformed> {
    let Some(digits) = target.strip_prefix(b"/bytes/") else { return Ok(ordinary) };
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

/// Adds an answer to the scratch buffer, and what is too large for it to the connection's output.
fn append(connection: &mut Connection, shared: &mut Shared, answer: Answer) {
    if answer.body == shared.body && !answer.to_head && !answer.close {
        shared.scratch.extend_from_slice(&shared.ordinary);
    } else {
        render(&mut shared.scratch, answer);
    }
    if !answer.to_head && answer.body > SMALL_BODY {
        let bytes = std::mem::take(&mut shared.scratch);
        connection.output.push_back(Output::Bytes { bytes, at: 0 });
        connection.output.push_back(Output::Block { left: answer.body });
    }
    connection.closing |= answer.close;
}

/// Writes the head, and a small body behind it.
fn render(out: &mut Vec<u8>, answer: Answer) {
    let connection = if answer.close { "Connection: close\r\n" } else { "" };
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n{connection}\r\n",
        answer.body
    );
    if !answer.to_head && answer.body <= SMALL_BODY {
        out.resize(out.len() + answer.body as usize, b'x');
    }
}

/// Sends the scratch buffer, at once where nothing waits before it; false when the connection failed.
fn write_scratch(connection: &mut Connection, shared: &mut Shared) -> bool {
    if shared.scratch.is_empty() {
        return connection.output.is_empty() || flush(connection, &shared.block);
    }
    if !connection.output.is_empty() {
        connection.output.push_back(Output::Bytes { bytes: std::mem::take(&mut shared.scratch), at: 0 });
        return flush(connection, &shared.block);
    }
    match net::write(&connection.fd, &shared.scratch) {
        Err(_) => return false,
        Ok(Some(count)) if count == shared.scratch.len() => {}
        Ok(count) => {
            let at = count.unwrap_or(0);
            connection.output.push_back(Output::Bytes { bytes: std::mem::take(&mut shared.scratch), at });
        }
    }
    shared.scratch.clear();
    true
}

/// Writes what waits until the socket is full; false when the connection failed.
fn flush(connection: &mut Connection, block: &[u8]) -> bool {
    while let Some(next) = connection.output.front_mut() {
        let bytes = match next {
            Output::Bytes { bytes, at } => bytes.get(*at..).unwrap_or_default(),
            Output::Block { left } => block.get(..(*left).min(block.len() as u64) as usize).unwrap_or_default(),
        };
        let expected = bytes.len();
        let Ok(written) = net::write(&connection.fd, bytes) else { return false };
        let Some(count) = written else { return true };
        let done = match next {
            Output::Bytes { bytes, at } => {
                *at += count;
                *at >= bytes.len()
            }
            Output::Block { left } => {
                *left -= count as u64;
                *left == 0
            }
        };
        if done {
            connection.output.pop_front();
        } else if count < expected {
            return true;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::sync::Arc;

    /// Sends `wire` to an origin with bodies of 5 bytes and returns all it answers until it closes.
    fn answer_to(pieces: &[&[u8]]) -> String {
        let mut origin = Origin::new(&Options::plain(5)).unwrap();
        let mut client = TcpStream::connect(origin.address().unwrap()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let reader = std::thread::spawn(move || {
            client.set_nodelay(true).unwrap();
            for piece in pieces {
                client.write_all(&piece).unwrap();
            }
            let mut got = Vec::new();
            let read = client.read_to_end(&mut got);
            ended.store(true, Ordering::Relaxed);
            read.unwrap();
            String::from_utf8(got).unwrap()
        });
        origin.serve(Duration::from_mins(1), false, &stop).unwrap();
        reader.join().unwrap()
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ";

    #[test]
    fn pipelined_requests_of_every_kind_are_answered_in_order() {
        let got = answer_to(&[
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /bytes/7 HTTP/1.1\r\nHost: a\r\n\r\nPOST /bytes/2 HTTP/1.1\r\nHost: a\r\n",
            b"Content-Length: 4\r\n\r\nabcdPUT /bytes/0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            b"c\r\n0\r\n\r\nGET /bytes/1 HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ]);
        let expected = format!(
            "{HEAD}5\r\n\r\nxxxxx{HEAD}7\r\n\r\n{HEAD}2\r\n\r\nxx{HEAD}0\r\n\r\n{HEAD}1\r\nConnection: close\r\n\r\nx"
        );
        assert_eq!(got, expected);
    }

    #[test]
    fn an_expecting_client_is_told_to_go_on() {
        let got = answer_to(&[
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
            b"ok",
        ]);
        assert_eq!(got, format!("HTTP/1.1 100 Continue\r\n\r\n{HEAD}5\r\nConnection: close\r\n\r\nxxxxx"));
    }

    #[test]
    fn large_bodies_come_whole_and_nonsense_ends_the_connection() {
        let got = answer_to(&[b"GET /bytes/5000000 HTTP/1.1\r\nConnection: close\r\n\r\n"]);
        assert!(got.ends_with(&"x".repeat(5_000_000)) && got.starts_with(HEAD));
        assert!(answer_to(&[b"nonsense\r\n\r\n"]).starts_with("HTTP/1.1 400 "));
    }
}
