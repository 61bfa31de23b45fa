//! One connection of the load generator: what it has sent, what it reads, and where in an answer it is.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use super::Failure;
use crate::http::{self, Body, Framing, ResponseHead};
use crate::net;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    /// Closed by a failure; a later sweep tries again.
    Failed,
    Connecting,
    Open,
    /// The last answer has come; only the server's close is waited for.
    Ending,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it was due.
    pub(crate) intended: u64,
    /// When sending began.
    pub(crate) started: u64,
    /// How much of the time between is the generator's own fault.
    pub(crate) lateness: u64,
}

/// An answer that has come entirely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Sent,
    pub(crate) status: u16,
    pub(crate) body: u64,
    pub(crate) close: bool,
}

/// How one read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There was less than the buffer holds, or nothing.
    Drained,
    /// The buffer is full: there may be more.
    More,
    /// The stream has ended.
    End,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) state: State,
    /// When the state was entered.
    pub(crate) since: u64,
    pub(crate) in_flight: VecDeque<Sent>,
    fd: Option<OwnedFd>,
    /// The start of a head whose end has not come.
    partial: Vec<u8>,
    /// The answer being read.
    reading: Option<(ResponseHead, Body)>,
    /// Bytes of requests still to be written, and where in a request the next one is.
    unsent: usize,
    at: usize,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            generation: 0,
            state: State::Closed,
            since: 0,
            in_flight: VecDeque::new(),
            fd: None,
            partial: Vec::new(),
            reading: None,
            unsent: 0,
            at: 0,
        }
    }

    pub(crate) fn connecting(&mut self, fd: OwnedFd, now: u64) {
        (self.fd, self.state, self.since) = (Some(fd), State::Connecting, now);
    }

    /// Ends the connection; the generation changes, so that what is still said of the old one is ignored.
    pub(crate) fn close(&mut self, now: u64) {
        self.generation = self.generation.wrapping_add(1);
        (self.fd, self.state, self.since) = (None, State::Closed, now);
        (self.reading, self.unsent, self.at) = (None, 0, 0);
        self.partial.clear();
        self.in_flight.clear();
    }

    /// How the connect ended.
    pub(crate) fn connected(&mut self, now: u64) -> io::Result<()> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        net::connect_outcome(fd)?;
        (self.state, self.since) = (State::Open, now);
        Ok(())
    }

    /// Counts one more request of `length` bytes; [`Connection::flush`] writes it.
    pub(crate) fn push(&mut self, sent: Sent, length: usize) {
        self.in_flight.push_back(sent);
        self.unsent += length;
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Writes what the socket takes. `requests` holds the request of `length` bytes as often as one write may need it.
    pub(crate) fn flush(&mut self, requests: &[u8], length: usize) -> io::Result<()> {
        let Some(fd) = self.fd.as_ref() else { return Ok(()) };
        while self.unsent > 0 {
            let bytes = requests.get(self.at..self.at + self.unsent).ok_or(io::ErrorKind::InvalidInput)?;
            let Some(count) = net::write(fd, bytes)? else { return Ok(()) };
            self.unsent -= count;
            self.at = (self.at + count) % length;
        }
        Ok(())
    }

    /// Reads once into `buffer` and returns the bytes got.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Read)> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(match net::read(fd, buffer)? {
            None => (0, Read::Drained),
            Some(0) => (0, Read::End),
            Some(count) if count < buffer.len() => (count, Read::Drained),
            Some(count) => (count, Read::More),
        })
    }

    /// Takes answers off `input`, which follows what earlier calls were given, and tells each complete one.
    pub(crate) fn consume(
        &mut self,
        input: &[u8],
        to_head_request: bool,
        answered: &mut impl FnMut(Answer),
    ) -> Result<(), Failure> {
        if self.partial.is_empty() {
            let used = self.consume_all(input, to_head_request, answered)?;
            self.partial.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let used = self.consume_all(&whole, to_head_request, answered)?;
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(())
    }

    fn consume_all(
        &mut self,
        input: &[u8],
        to_head_request: bool,
        answered: &mut impl FnMut(Answer),
    ) -> Result<usize, Failure> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let (head, body) = match &mut self.reading {
                Some((head, body)) => {
                    at += body.skip(rest).map_err(|_| Failure::Malformed)?;
                    (*head, *body)
                }
                None if rest.is_empty() => return Ok(at),
                None => {
                    if self.in_flight.is_empty() {
                        return Err(Failure::Malformed);
                    }
                    let head = http::response_head(rest, to_head_request).map_err(|_| Failure::Malformed)?;
                    let Some(head) = head else { return Ok(at) };
                    at += head.len;
                    // An interim answer (1xx) only announces the one that counts.
                    if head.status >= 200 {
                        self.reading = Some((head, Body::new(head.framing)));
                    }
                    continue;
                }
            };
            if !body.is_done() {
                return Ok(at);
            }
            self.reading = None;
            let Some(sent) = self.in_flight.pop_front() else { return Err(Failure::Malformed) };
            answered(Answer { sent, status: head.status, body: body.content, close: head.close });
        }
    }

    /// Tells of the end of the stream: the answer it completes, or the failure it is.
    pub(crate) fn end(&mut self) -> Result<Option<Answer>, Failure> {
        match self.reading.take() {
            Some((head, body)) if head.framing == Framing::UntilClose => {
                let sent = self.in_flight.pop_front();
                let answer = |sent| Answer { sent, status: head.status, body: body.content, close: true };
                if self.in_flight.is_empty() { Ok(sent.map(answer)) } else { Err(Failure::Closed) }
            }
            Some(_) => Err(Failure::Truncated),
            None if self.in_flight.is_empty() => Ok(None),
            None => Err(Failure::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(requests: u64) -> Connection {
        let mut connection = Connection::new();
        for intended in 0..requests {
            connection.push(Sent { intended, started: intended, lateness: 0 }, 1);
        }
        connection
    }

    fn feed(connection: &mut Connection, pieces: &[&[u8]]) -> (Vec<Answer>, Result<(), Failure>) {
        let mut answers = Vec::new();
        for piece in pieces {
            if let Err(failure) = connection.consume(piece, false, &mut |answer| answers.push(answer)) {
                return (answers, Err(failure));
            }
        }
        (answers, Ok(()))
    }

    #[test]
    fn pipelined_answers_come_in_order_however_they_are_cut() {
        let wire: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            let mut connection = connection(2);
            let (answers, outcome) = feed(&mut connection, &[&wire[..cut], &wire[cut..]]);
            outcome.unwrap();
            let seen: Vec<_> = answers.iter().map(|a| (a.sent.intended, a.status, a.body)).collect();
            assert_eq!(seen, [(0, 200, 3), (1, 404, 2)], "cut at {cut}");
            assert!(connection.end().unwrap().is_none());
        }
    }

    #[test]
    fn an_answer_nobody_asked_for_is_malformed() {
        let (answers, outcome) = feed(&mut connection(1), &[b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n"]);
        assert_eq!((answers.len(), outcome), (1, Err(Failure::Malformed)));
    }

    #[test]
    fn the_end_of_the_stream_is_told_by_where_it_came() {
        let end = |wire: &[u8]| {
            let mut connection = connection(1);
            feed(&mut connection, &[wire]).1.unwrap();
            connection.end().map(|answer| answer.map(|answer| answer.body))
        };
        assert_eq!(end(b""), Err(Failure::Closed));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nConte"), Err(Failure::Closed));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Err(Failure::Truncated));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), Err(Failure::Truncated));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(Some(3)));
    }
}
