//! What a server and a client have in common: the state of one connection.

mod heads;
mod receive;
mod send;
mod time;

pub use send::RequestLine;

use std::time::Duration;

use super::block::Scratch;
use super::budget::Tokens;
use super::config::Config;
use super::error::{ConnectionError, ErrorCode, Fault, HeadError, Reset};
use super::frame::{self, MAX};
use super::priority::Priority;
use super::schedule::Schedule;
use super::settings::{self, Settings};
use super::streams::{Entry, How, Incoming, Outgoing, Stream, Streams};
use super::window::{DEFAULT_WINDOW, Receiving, Sending};
use crate::hpack::{DEFAULT_TABLE_SIZE, Decoder, Encoder};
use crate::http1::{RequestHead, ResponseHead, Span, Trailers};

/// Priorities that came before their streams and are kept for them.
const EARLY_PRIORITIES: usize = 16;

/// The payload of the PING between the two steps of going away, and of those that look whether the peer lives.
const DRAIN_PING: [u8; 8] = *b"draining";
const LIVE_PING: [u8; 8] = *b"ringway?";

/// What a piece of input said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the input that are dealt with; the next call starts after them.
    pub consumed: usize,
    /// What they said; `None` if all that the input says so far is dealt with: call again with what follows the
    /// consumed part, and more.
    pub event: Option<Event>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request, of servers: its head is in the caller's storage.
    Request {
        /// The new stream.
        stream: Stream,
        /// Whether it has neither a body nor trailers.
        end: bool,
        /// Whether its scheme is https.
        is_https: bool,
        /// `:protocol` of an extended CONNECT, as a range of the text behind the head.
        protocol: Option<Span>,
    },
    /// A request that is well-formed and more than is accepted, of servers. Of its head there is what was read. It is
    /// to be answered with [`HeadError::status`]; data that comes for it is dropped.
    Refused {
        /// The new stream.
        stream: Stream,
        /// Why.
        error: HeadError,
    },
    /// A response, of clients: its head is in the caller's storage, and may be an interim one
    /// ([`ResponseHead::is_interim`]).
    Response {
        /// The stream of its request.
        stream: Stream,
        /// Whether it has neither a body nor trailers.
        end: bool,
    },
    /// Data of a body: say with `consumed` when it is out of the way.
    Data {
        /// The stream.
        stream: Stream,
        /// The bytes, inside the consumed part of the input. Empty only at the end.
        data: Span,
        /// Whether the body is whole.
        end: bool,
    },
    /// Trailers, in the caller's text. The body is whole.
    Trailers {
        /// The stream.
        stream: Stream,
        /// The checked section.
        trailers: Trailers,
    },
    /// A stream ended before its time. It is gone. Of a server it may be one that the caller never heard of, where the
    /// head was malformed. A server that has answered in full may say NO_ERROR: then the rest of the request is moot.
    Reset {
        /// The stream.
        stream: Stream,
        /// Why, and what may be done.
        reset: Reset,
    },
    /// The peer told its settings, or changed them.
    Settings,
    /// The peer goes away: no stream can be opened any more. Those it will not deal with end next, one
    /// [`Event::Reset`] each.
    GoAway {
        /// The last stream that it deals with.
        last: u32,
        /// Why.
        code: ErrorCode,
    },
    /// A PING of ours was answered.
    Pong,
}

/// Where a head goes.
pub(super) enum Head<'a> {
    Request(&'a mut RequestHead),
    Response(&'a mut ResponseHead),
}

/// Where heads go: the caller's storage.
pub(super) struct Inbox<'a> {
    pub(super) head: Head<'a>,
    pub(super) text: &'a mut Vec<u8>,
}

/// A DATA frame whose payload is coming.
#[derive(Clone, Copy, Debug)]
struct Payload {
    /// Where it goes, if anybody wants it.
    stream: Option<Stream>,
    data: usize,
    padding: usize,
    end: bool,
}

/// A header block whose end is to come.
#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    stream: u32,
    end: bool,
    continuations: u32,
    since: Duration,
}

/// How far going away is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    No,
    /// It was announced; new streams are still accepted until this time or an answer to the PING.
    Announced(Duration),
    /// No stream above this one is accepted.
    Final(u32),
}

/// The state of one connection. A [`Server`](super::Server) and a [`Client`](super::Client) each are one.
pub struct Connection {
    is_server: bool,
    config: Config,
    dead: Option<ConnectionError>,
    /// Bytes of the preface that came, and whether SETTINGS did.
    preface: usize,
    has_settings: bool,
    payload: Option<Payload>,
    block: Option<OpenBlock>,
    /// The fragments of the open block.
    fragments: Vec<u8>,
    decoder: Decoder,
    encoder: Encoder,
    scratch: Scratch,
    streams: Streams,
    /// How many of them the peer keeps shut.
    shut_streams: u32,
    schedule: Schedule,
    /// Priorities of streams that are not open yet.
    early: Vec<(u32, Priority)>,
    /// The highest stream that the peer opened, and the next that we open.
    peer_last: u32,
    next: u32,
    peer: Settings,
    /// Whether our settings hold.
    is_acked: bool,
    receiving: Receiving,
    sending: Sending,
    tokens: Tokens,
    /// Control frames that wait to be sent.
    control: Vec<u8>,
    /// The last stream of the peer's GOAWAY.
    going: Option<u32>,
    leaving: Leaving,
    round_trip: Option<Duration>,
    settings_sent: Duration,
    /// When the last frame came, and the PING that is out.
    heard: Duration,
    ping: Option<Duration>,
    /// When to look for streams that stall, and since when the window of the connection is shut.
    stall_check: Option<Duration>,
    shut: Option<Duration>,
}

impl Connection {
    pub(super) fn new(is_server: bool, config: &Config, now: Duration) -> Self {
        let config = settings::in_range(config);
        let mut connection = Self {
            is_server,
            config,
            dead: None,
            preface: 0,
            has_settings: false,
            payload: None,
            block: None,
            fragments: Vec::new(),
            decoder: Decoder::new(DEFAULT_TABLE_SIZE),
            encoder: Encoder::new(config.encoder_table as usize),
            scratch: Scratch::default(),
            streams: Streams::new(config.remembered),
            shut_streams: 0,
            schedule: Schedule::default(),
            early: Vec::new(),
            peer_last: 0,
            next: 1,
            peer: Settings::default(),
            is_acked: false,
            receiving: Receiving::new(config.connection_window, config.connection_window_max, now),
            sending: Sending::new(DEFAULT_WINDOW),
            tokens: Tokens::new(&config.budget, now),
            control: Vec::new(),
            going: None,
            leaving: Leaving::No,
            round_trip: None,
            settings_sent: now,
            heard: now,
            ping: None,
            stall_check: None,
            shut: None,
        };
        // Until the peer acknowledged less, it may use more.
        connection.decoder.set_allowed(DEFAULT_TABLE_SIZE.max(config.decoder_table as usize));
        if !is_server {
            connection.control.extend_from_slice(frame::PREFACE);
        }
        settings::write(&config, is_server, &mut connection.control);
        if config.connection_window > DEFAULT_WINDOW {
            let more = config.connection_window - DEFAULT_WINDOW;
            frame::with_number(&mut connection.control, frame::WINDOW_UPDATE, 0, more);
        }
        connection
    }

    /// Appends the control frames that wait to be sent. To be called after each event and when there is room to send;
    /// what else is sent puts them first itself.
    pub fn output(&mut self, out: &mut Vec<u8>) {
        if !self.control.is_empty() {
            out.extend_from_slice(&self.control);
            self.control.clear();
        }
    }

    /// Whether control frames wait to be sent.
    pub fn has_output(&self) -> bool {
        !self.control.is_empty()
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The open streams, oldest first.
    pub fn each_stream(&self) -> impl DoubleEndedIterator<Item = Stream> + '_ {
        self.streams.iter()
    }

    /// Whether a stream is open.
    pub fn is_open(&self, stream: Stream) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Tokens of the budget that are left, to be watched.
    pub fn budget_left(&self) -> u64 {
        self.tokens.left()
    }

    /// The last round trip that was measured: of settings or of a PING.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The priority that was stated for a stream.
    pub fn priority(&self, stream: Stream) -> Priority {
        self.streams.get(stream).map_or_else(Priority::default, |entry| entry.priority)
    }

    /// Changes the priority of a stream, as where a response states one (RFC 9218 section 8).
    pub fn set_priority(&mut self, stream: Stream, priority: Priority) {
        let Some(entry) = self.streams.get_mut(stream) else {
            return;
        };
        entry.priority = priority;
        if entry.is_queued {
            self.schedule.remove(stream);
            self.schedule.push(stream, priority);
        }
    }

    /// A stream that just opened.
    fn entry(&self, id: u32, now: Duration) -> Entry {
        let window = if self.is_acked { self.config.stream_window } else { DEFAULT_WINDOW };
        Entry {
            id,
            incoming: Incoming::Head,
            outgoing: Outgoing::Head,
            receiving: Receiving::new(window, self.config.stream_window_max, now),
            sending: Sending::new(self.peer.window),
            is_shut: false,
            length: None,
            is_head: false,
            is_bodiless: false,
            held: 0,
            priority: Priority::default(),
            wants: false,
            is_queued: false,
            stalled: None,
        }
    }

    /// Removes a stream. What the caller still holds of it no longer holds the connection back.
    fn close(&mut self, stream: Stream, how: How, now: Duration) {
        let Some(entry) = self.streams.get(stream) else {
            return;
        };
        let held = entry.held;
        self.shut_streams -= u32::from(entry.is_shut);
        if entry.is_queued {
            self.schedule.remove(stream);
        }
        self.streams.close(stream, how);
        self.give_back(held, now);
        if how == How::Ended {
            self.tokens.earn(self.config.budget.costs.ended);
        }
    }

    /// Removes a stream if both sides have said all.
    fn close_if_ended(&mut self, stream: Stream, now: Duration) {
        let is_ended = |entry: &Entry| entry.incoming == Incoming::Ended && entry.outgoing == Outgoing::Ended;
        if self.streams.get(stream).is_some_and(is_ended) {
            self.close(stream, How::Ended, now);
        }
    }

    /// Gives bytes back to the connection's window.
    fn give_back(&mut self, len: u32, now: Duration) {
        if let Some(more) = self.receiving.take(len, now, self.round_trip) {
            self.control(|out| frame::with_number(out, frame::WINDOW_UPDATE, 0, more));
        }
    }

    /// Queues a control frame. A peer that does not read what it makes us send ends the connection.
    fn control(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.dead.is_some() {
            return;
        }
        write(&mut self.control);
        if self.control.len() > self.config.control {
            self.fail(Fault::ControlQueue);
        }
    }

    /// Ends the connection: what waits to be sent ends with GOAWAY.
    fn fail(&mut self, fault: Fault) -> ConnectionError {
        if let Some(error) = self.dead {
            return error;
        }
        let last = self.last_dealt_with();
        // The text helps whoever debugs the peer; it names nothing of ours.
        frame::goaway(&mut self.control, last, fault.error_code().to_u32(), fault.code());
        *self.dead.insert(ConnectionError { fault })
    }

    /// The highest stream of the peer that we deal with.
    fn last_dealt_with(&self) -> u32 {
        match self.leaving {
            Leaving::Final(last) => last,
            _ => self.peer_last,
        }
    }

    /// Pays for something; the connection ends when the budget does.
    fn spend(&mut self, cost: u32, now: Duration) -> Result<(), Fault> {
        self.tokens.spend(cost, now)
    }

    /// Whether the connection is over.
    pub fn error(&self) -> Option<ConnectionError> {
        self.dead
    }

    /// Begins to go away without losing a request: what was sent before the peer hears of it is still served. A server
    /// first announces it, then, after a round trip, names the last stream; a client just opens none.
    pub fn drain(&mut self, now: Duration) {
        if self.leaving != Leaving::No || self.dead.is_some() {
            return;
        }
        if self.is_server {
            self.leaving = Leaving::Announced(now + self.config.drain_timeout);
            self.control(|out| {
                frame::goaway(out, MAX, ErrorCode::NoError.to_u32(), "");
                frame::ping(out, 0, DRAIN_PING);
            });
        } else {
            self.leave();
        }
    }

    /// The second step of going away.
    fn leave(&mut self) {
        let last = self.peer_last;
        self.leaving = Leaving::Final(last);
        self.control(|out| frame::goaway(out, last, ErrorCode::NoError.to_u32(), ""));
    }

    /// Whether the connection has gone away: nothing is open and nothing will be.
    pub fn is_drained(&self) -> bool {
        let over = matches!(self.leaving, Leaving::Final(_)) || (!self.is_server && self.going.is_some());
        over && self.streams.len() == 0
    }
}
