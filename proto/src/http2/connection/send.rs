//! What is sent: heads, data, trailers, resets.

use std::time::Duration;

use super::super::error::{ErrorCode, Fault, SendError};
use super::super::frame::{self, HEADER};
use super::super::settings::FRAME_MIN;
use super::super::streams::{How, Incoming, Outgoing, Stream};
use super::{Connection, Leaving};
use crate::hpack::FIELD_COST;
use crate::http1::Known;

/// Less data than this in a frame, though there is more, is a dribble.
pub(super) const DRIBBLE: usize = 256;

/// The request line of HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// What Host says.
    pub authority: &'a [u8],
    /// The path with its query, or `*`.
    pub path: &'a [u8],
    /// The protocol of an extended CONNECT (RFC 8441), which needs the server's leave: see
    /// [`Client::has_extended_connect`](super::super::Client::has_extended_connect).
    pub protocol: Option<&'a [u8]>,
}

impl Connection {
    /// Says that data of a body is out of the way, so that the peer may send more. The rest is done by itself when the
    /// stream ends.
    pub fn consumed(&mut self, stream: Stream, len: usize, now: Duration) {
        let round_trip = self.round_trip;
        let Some(entry) = self.streams.get_mut(stream) else {
            return;
        };
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(entry.held);
        entry.held -= len;
        if entry.incoming == Incoming::Body
            && let Some(more) = entry.receiving.take(len, now, round_trip)
        {
            self.control(|out| frame::with_number(out, frame::WINDOW_UPDATE, stream.id(), more));
        }
        self.give_back(len, now);
    }

    /// Ends a stream at once. Of a stream that has ended already nothing is sent.
    pub fn reset(&mut self, stream: Stream, code: ErrorCode, now: Duration) {
        if self.streams.get(stream).is_none() {
            return;
        }
        self.control(|out| frame::with_number(out, frame::RST_STREAM, stream.id(), code.to_u32()));
        self.close(stream, How::ResetByUs, now);
    }

    /// Says whether there is data to send on a stream, after its head. What there is, [`Connection::turn`] gives its turn.
    pub fn wants(&mut self, stream: Stream, wants: bool, now: Duration) {
        let Some(entry) = self.streams.get_mut(stream) else {
            return;
        };
        entry.wants = wants;
        if !wants {
            entry.stalled = None;
        } else if entry.sending.left() == 0 {
            self.stall(stream, now);
        } else if self.sending.left() == 0 && self.schedule.next().is_none() {
            self.shut = Some(now);
        }
        self.queue(stream);
    }

    /// The stream whose turn it is to send data; none while the window of the connection is shut.
    pub fn turn(&self) -> Option<Stream> {
        if self.sending.left() == 0 || self.dead.is_some() { None } else { self.schedule.next() }
    }

    /// What the windows let through on a stream now.
    pub fn window(&self, stream: Stream) -> usize {
        self.streams.get(stream).map_or(0, |entry| entry.sending.left().min(self.sending.left()))
    }

    /// Appends the head of a DATA frame for up to `available` bytes, and says how many of them have to follow at once.
    /// `end` says that the body ends with the last of those available. `None` if nothing can be sent: the window is shut,
    /// or the stream has ended.
    pub fn data(
        &mut self,
        stream: Stream,
        available: usize,
        end: bool,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        if !self.may_send(stream, Outgoing::Body) {
            return None;
        }
        let frame_max = self.peer.frame.min(self.config.frame_sent) as usize;
        let len = available.min(self.window(stream)).min(frame_max);
        if len == 0 && (available > 0 || !end) {
            if available > 0 {
                self.wants(stream, true, now);
            }
            return None;
        }
        if len < available && len < DRIBBLE && len < frame_max {
            let cost = self.config.budget.costs.dribble;
            if let Err(fault) = self.spend(cost, now) {
                self.fail(fault);
                return None;
            }
        } else if len > 0 {
            self.tokens.earn(self.config.budget.costs.sent);
        }
        let ends = end && len == available;
        self.output(out);
        frame::header(out, len, frame::DATA, if ends { frame::END_STREAM } else { 0 }, stream.id());
        self.sending.send(len);
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.sending.send(len);
            entry.stalled = None;
            if ends {
                (entry.outgoing, entry.wants) = (Outgoing::Ended, false);
            } else {
                entry.wants = len < available;
            }
        }
        self.schedule.served(stream);
        self.queue(stream);
        if self.sending.left() == 0 {
            self.shut = Some(now);
        }
        if len < available && self.streams.get(stream).is_some_and(|entry| entry.sending.left() == 0) {
            self.stall(stream, now);
        }
        if ends {
            self.finish(stream, now);
        }
        Some(len)
    }

    /// Notes that the peer's window is in the way of a stream.
    fn stall(&mut self, stream: Stream, now: Duration) {
        let check = now + self.config.stall_timeout;
        if let Some(entry) = self.streams.get_mut(stream)
            && entry.stalled.is_none()
        {
            entry.stalled = Some(now);
            self.stall_check = Some(self.stall_check.map_or(check, |before| before.min(check)));
        }
    }

    /// Sends trailers, which end the stream.
    pub fn trailers<'a>(
        &mut self,
        stream: Stream,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if !self.may_send(stream, Outgoing::Body) {
            return Err(SendError::Ended);
        }
        self.fits(0, fields.clone())?;
        self.head(stream.id(), true, &[], fields, false, out);
        self.end_outgoing(stream, now);
        Ok(())
    }

    /// Sends the head of a response, or an interim one (1xx), after which another follows.
    pub(in super::super) fn response_head<'a>(
        &mut self,
        stream: Stream,
        status: u16,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        end: bool,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if !self.may_send(stream, Outgoing::Head) {
            return Err(SendError::Ended);
        }
        self.fits(FIELD_COST + 10, fields.clone())?;
        let mut digits = [b'0'; 3];
        let status = status.clamp(100, 999);
        for (digit, value) in digits.iter_mut().zip([status / 100, status / 10 % 10, status % 10]) {
            *digit += value as u8;
        }
        let is_interim = status < 200;
        let end = end && !is_interim;
        self.head(stream.id(), end, &[(b":status", &digits)], fields, false, out);
        if is_interim {
            return Ok(());
        }
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.outgoing = Outgoing::Body;
        }
        if end {
            self.end_outgoing(stream, now);
        }
        Ok(())
    }

    /// Opens a stream with a request.
    pub(in super::super) fn request_head<'a>(
        &mut self,
        line: &RequestLine<'_>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        end: bool,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<Stream, SendError> {
        if !self.can_open() {
            return Err(SendError::NoStream);
        }
        let own = line.method.len() + line.scheme.len() + line.authority.len() + line.path.len();
        self.fits(own + 5 * FIELD_COST + 40, fields.clone())?;
        let id = self.next;
        self.next += 2;
        let mut entry = self.entry(id, now);
        entry.is_head = line.method == b"HEAD";
        entry.outgoing = if end { Outgoing::Ended } else { Outgoing::Body };
        let stream = self.streams.open(entry);
        let mut pseudo: [(&[u8], &[u8]); 5] = [
            (b":method", line.method),
            (b":scheme", line.scheme),
            (b":authority", line.authority),
            (b":path", line.path),
            (b":protocol", b""),
        ];
        let mut count = 4;
        if let (Some(protocol), Some(last)) = (line.protocol, pseudo.last_mut()) {
            last.1 = protocol;
            count = 5;
        }
        self.head(id, end, pseudo.get(..count).unwrap_or_default(), fields, true, out);
        Ok(stream)
    }

    /// Whether a stream can be opened now.
    pub(in super::super) fn can_open(&self) -> bool {
        self.dead.is_none()
            && self.going.is_none()
            && self.leaving == Leaving::No
            && self.next < frame::MAX
            && self.streams.len() < self.peer.streams.min(self.config.streams) as usize
    }

    /// Streams that may be open at once.
    pub(in super::super) fn most_streams(&self) -> u32 {
        self.peer.streams.min(self.config.streams)
    }

    /// Whether no stream will be opened any more.
    pub(in super::super) fn is_leaving(&self) -> bool {
        self.dead.is_some() || self.going.is_some() || self.leaving != Leaving::No || self.next >= frame::MAX
    }

    /// Whether the server takes extended CONNECT (RFC 8441 section 3).
    pub(in super::super) fn takes_extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// Whether the peer accepts fields that come to this much.
    fn fits<'a>(&self, own: usize, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<(), SendError> {
        if self.peer.list == u32::MAX {
            return Ok(());
        }
        let list: usize = fields.map(|(name, value)| name.len() + value.len() + FIELD_COST).sum();
        if own + list > self.peer.list as usize { Err(SendError::TooLarge) } else { Ok(()) }
    }

    /// Appends a header block in as many frames as it needs. What speaks of a connection, and what pseudo-header fields
    /// say, is left out (sections 8.2.2 and 8.3.1).
    fn head<'a>(
        &mut self,
        id: u32,
        end: bool,
        pseudo: &[(&[u8], &[u8])],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        is_request: bool,
        out: &mut Vec<u8>,
    ) {
        self.output(out);
        let start = out.len();
        frame::header(out, 0, frame::HEADERS, 0, id);
        self.encoder.begin(out);
        for (name, value) in pseudo {
            self.encoder.field(name, value, out);
        }
        for (name, value) in fields {
            let is_left_out = match Known::of(name) {
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade
                | Known::Http2Settings => true,
                Known::Te => !is_request || !value.eq_ignore_ascii_case(b"trailers"),
                Known::Host => is_request,
                _ => false,
            };
            if !is_left_out {
                self.encoder.field(name, value, out);
            }
        }
        let end = if end { frame::END_STREAM } else { 0 };
        let frame_max = self.peer.frame.max(FRAME_MIN) as usize;
        let len = out.len() - start - HEADER;
        if len <= frame_max {
            patch(out, start, len, frame::HEADERS, frame::END_HEADERS | end, id);
            return;
        }
        // Rare, and so not worth avoiding the copy.
        let block = out.split_off(start + HEADER);
        out.truncate(start);
        let mut pieces = block.chunks(frame_max).peekable();
        let (mut kind, mut flags) = (frame::HEADERS, end);
        while let Some(piece) = pieces.next() {
            flags |= if pieces.peek().is_none() { frame::END_HEADERS } else { 0 };
            frame::header(out, piece.len(), kind, flags, id);
            out.extend_from_slice(piece);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }

    fn end_outgoing(&mut self, stream: Stream, now: Duration) {
        if let Some(entry) = self.streams.get_mut(stream) {
            (entry.outgoing, entry.wants, entry.stalled) = (Outgoing::Ended, false, None);
        }
        self.queue(stream);
        self.finish(stream, now);
    }

    /// All was sent: what nobody reads need not be sent either (section 8.1).
    fn finish(&mut self, stream: Stream, now: Duration) {
        if self.streams.get(stream).is_some_and(|entry| entry.incoming == Incoming::Discard) {
            self.reset(stream, ErrorCode::NoError, now);
        }
        self.close_if_ended(stream, now);
    }

    /// Ends the connection at once, as where the caller cannot go on: GOAWAY is queued, and nothing else is done any more.
    pub fn abort(&mut self, fault: Fault) {
        self.fail(fault);
    }
}

/// Fills in the header of a frame whose payload is written.
fn patch(out: &mut [u8], start: usize, len: usize, kind: u8, flags: u8, id: u32) {
    if let Some(header) = out.get_mut(start..start + HEADER) {
        header.copy_from_slice(&frame::header_bytes(len, kind, flags, id));
    }
}
