//! One connection of the load generator: where it is in its life, what its bytes go through, and what it speaks.

use std::os::fd::OwnedFd;

use rustls::HandshakeKind;

use super::http1::Http1;
use super::http2::{self, Http2};
use super::tls::Tls;
use super::wire::{Read, Wire};
use super::{Failure, Plan};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    /// Closed by a failure; a later sweep tries again.
    Failed,
    Connecting,
    /// The handshake of TLS is under way, and nothing is sent before it is over.
    Shaking,
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
    /// How late it went, once it was due and a connection free.
    pub(crate) lateness: u64,
    /// For most of that the machine did not let the generator go on, or this is sent while it catches up after that.
    pub(crate) is_held: bool,
}

/// An answer that has come entirely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Sent,
    pub(crate) status: u16,
    pub(crate) body: u64,
    /// The server closes the connection after it.
    pub(crate) close: bool,
}

/// The request that is sent again and again, ready for the wire.
pub(crate) struct Requests {
    /// In HTTP/1.1: as often as one write may need it, and how long one is.
    repeated: Vec<u8>,
    length: usize,
    /// In HTTP/2.
    http2: Option<http2::Request>,
    to_head: bool,
}

impl Requests {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            repeated: plan.request.repeat(plan.pipeline + 1),
            length: plan.request.len(),
            http2: plan.http2.clone(),
            to_head: plan.head_request,
        }
    }
}

pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) state: State,
    /// When the state was entered.
    pub(crate) since: u64,
    wire: Option<Wire>,
    speech: Speech,
}

enum Speech {
    Http1(Http1),
    Http2(Box<Http2>),
}

impl Connection {
    pub(crate) fn new(plan: &Plan) -> Self {
        let speech = if plan.http2.is_some() {
            Speech::Http2(Box::new(Http2::new(plan.pipeline, 0)))
        } else {
            Speech::Http1(Http1::default())
        };
        Self { generation: 0, state: State::Closed, since: 0, wire: None, speech }
    }

    pub(crate) fn connecting(&mut self, fd: OwnedFd, tls: Option<&Tls>, now: u64) -> std::io::Result<()> {
        self.wire = Some(Wire::new(fd, tls)?);
        (self.state, self.since) = (State::Connecting, now);
        Ok(())
    }

    /// Ends the connection; the generation changes, so that what is still said of the old one is ignored.
    pub(crate) fn close(&mut self, now: u64) {
        self.generation = self.generation.wrapping_add(1);
        (self.wire, self.state, self.since) = (None, State::Closed, now);
        match &mut self.speech {
            Speech::Http1(http1) => http1.clear(),
            Speech::Http2(http2) => http2.begin(now),
        }
    }

    /// How the connect ended. Where there is TLS, its handshake comes first; a connection for one request sends that as
    /// soon as the handshake lets it.
    pub(crate) fn connected(&mut self, for_one: bool, now: u64) -> std::io::Result<()> {
        let wire = self.wire.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
        wire.connected()?;
        let state = if wire.has_tls() && !for_one { State::Shaking } else { State::Open };
        (self.state, self.since) = (state, now);
        Ok(())
    }

    /// Goes on with the handshake; whether the connection is open now.
    pub(crate) fn shake(&mut self, now: u64) -> Result<bool, Failure> {
        let Some(wire) = &mut self.wire else { return Err(Failure::Closed) };
        if !wire.shake()? {
            return Ok(false);
        }
        let protocol: &[u8] = if matches!(self.speech, Speech::Http2(_)) { b"h2" } else { b"http/1.1" };
        if !wire.agreed_on(protocol) {
            return Err(Failure::Tls);
        }
        (self.state, self.since) = (State::Open, now);
        Ok(true)
    }

    /// How the handshake went, once it is over.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        self.wire.as_ref()?.handshake()
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> usize {
        match &self.speech {
            Speech::Http1(http1) => http1.under_way(),
            Speech::Http2(http2) => http2.under_way(),
        }
    }

    /// When the oldest of them was sent.
    pub(crate) fn oldest(&self) -> Option<u64> {
        match &self.speech {
            Speech::Http1(http1) => http1.oldest(),
            Speech::Http2(http2) => http2.oldest(),
        }
    }

    /// Puts one more request under way; [`Connection::flush`] writes it.
    pub(crate) fn push(&mut self, sent: Sent, requests: &Requests) -> Result<(), Failure> {
        match (&mut self.speech, &requests.http2) {
            (Speech::Http1(http1), _) => http1.push(sent, requests.length),
            (Speech::Http2(http2), Some(request)) => http2.push(sent, request)?,
            (Speech::Http2(_), None) => {}
        }
        Ok(())
    }

    /// Whether the server takes no more requests on it.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(&self.speech, Speech::Http2(http2) if http2.is_leaving())
    }

    pub(crate) fn has_unsent(&self) -> bool {
        let said = match &self.speech {
            Speech::Http1(http1) => http1.has_unsent(),
            Speech::Http2(http2) => http2.has_unsent(),
        };
        said || self.wire.as_ref().is_some_and(Wire::has_unsent)
    }

    /// Writes what there is room for.
    pub(crate) fn flush(&mut self, requests: &Requests, now: u64) -> Result<(), Failure> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        match &mut self.speech {
            Speech::Http1(http1) => http1.flush(wire, &requests.repeated, requests.length)?,
            Speech::Http2(http2) => http2.flush(wire, now)?,
        }
        wire.flush()
    }

    /// Reads once into `buffer` and returns the bytes got.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<(usize, Read), Failure> {
        self.wire.as_mut().ok_or(Failure::Closed)?.read(buffer)
    }

    /// Takes answers off `input`, which follows what earlier calls were given, and tells each complete one.
    pub(crate) fn consume(
        &mut self,
        input: &[u8],
        requests: &Requests,
        now: u64,
        answered: &mut impl FnMut(Answer),
    ) -> Result<(), Failure> {
        match &mut self.speech {
            Speech::Http1(http1) => http1.consume(input, requests.to_head, answered),
            Speech::Http2(http2) => http2.consume(input, now, answered),
        }
    }

    /// Tells of the end of the stream: the answer it completes, or the failure it is.
    pub(crate) fn end(&mut self) -> Result<Option<Answer>, Failure> {
        match &mut self.speech {
            Speech::Http1(http1) => http1.end(),
            Speech::Http2(http2) if http2.under_way() == 0 => Ok(None),
            Speech::Http2(_) => Err(Failure::Closed),
        }
    }
}
