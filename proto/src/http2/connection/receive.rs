//! From bytes to events (RFC 9113 sections 4 to 6).

use std::time::Duration;

use super::super::error::{ConnectionError, ErrorCode, Fault, Reset, Side, Violation};
use super::super::frame::{self, HEADER, Header, MAX};
use super::super::priority::Priority;
use super::super::streams::{How, Incoming, Outgoing, Place, Stream};
use super::send::DRIBBLE;
use super::{Connection, DRAIN_PING, EARLY_PRIORITIES, Event, Inbox, Leaving, Payload, Step};
use crate::http1::Span;

impl Connection {
    pub(in super::super) fn receive(
        &mut self,
        input: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Step, ConnectionError> {
        let input = input.get(..u32::MAX as usize).unwrap_or(input);
        let mut at = 0;
        loop {
            if let Some(error) = self.dead {
                return Err(error);
            }
            if let Some(event) = self.left_behind(now) {
                return Ok(Step { consumed: at, event: Some(event) });
            }
            let before = at;
            let found = match self.piece(input, &mut at, now, inbox) {
                Ok(found) => found,
                Err(Violation::Connection(fault)) => return Err(self.fail(fault)),
                Err(Violation::Stream(id, fault)) => {
                    self.stream_fault(id, fault, now).map_err(|fault| self.fail(fault))?
                }
            };
            if found.is_some() || at == before {
                // A queue that overflowed ends the connection, whatever it was about.
                if let Some(error) = self.dead {
                    return Err(error);
                }
                return Ok(Step { consumed: at, event: found });
            }
        }
    }

    /// Deals with the next frame or a piece of it; where nothing can be done, `at` stays.
    fn piece(
        &mut self,
        input: &[u8],
        at: &mut usize,
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let rest = input.get(*at..).unwrap_or_default();
        if self.is_server && self.preface < frame::PREFACE.len() {
            let expected = frame::PREFACE.get(self.preface..).unwrap_or_default();
            let len = rest.len().min(expected.len());
            if rest.get(..len) != expected.get(..len) {
                return Err(Fault::BadPreface.into());
            }
            self.preface += len;
            *at += len;
            return Ok(None);
        }
        if let Some(payload) = self.payload {
            return self.more_data(payload, rest, at, now);
        }
        let Some(bytes) = rest.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::read(bytes);
        if !self.has_settings && (header.kind != frame::SETTINGS || header.has(frame::ACK)) {
            return Err(Fault::SettingsMissing.into());
        }
        if header.len > self.config.frame as usize {
            return Err(Fault::FrameTooLarge.into());
        }
        match &self.block {
            Some(block) if header.kind != frame::CONTINUATION || header.stream != block.stream => {
                return Err(Fault::BlockInterrupted.into());
            }
            None if header.kind == frame::CONTINUATION => {
                return Err(if header.stream == 0 { Fault::StreamZero } else { Fault::StrayContinuation }.into());
            }
            _ => {}
        }
        let checked = header.check();
        if header.kind == frame::DATA {
            self.heard = now;
            checked?;
            return self.begin_data(header, rest, at, now).map(|()| None);
        }
        // The length of a frame is checked before its payload is waited for; a stream error skips the frame.
        if let Err(violation @ Violation::Connection(_)) = checked {
            return Err(violation);
        }
        let Some(payload) = rest.get(HEADER..HEADER + header.len) else {
            return Ok(None);
        };
        *at += HEADER + header.len;
        self.heard = now;
        checked?;
        self.frame(header, payload, now, inbox)
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let costs = self.config.budget.costs;
        match header.kind {
            frame::HEADERS => self.headers(header, payload, now, inbox),
            frame::CONTINUATION => self.continuation(header, payload, now, inbox),
            frame::PRIORITY => {
                self.spend(costs.priority, now)?;
                if frame::number(payload) & MAX == header.stream {
                    return Err(Violation::Stream(header.stream, Fault::SelfDependency));
                }
                Ok(None)
            }
            frame::RST_STREAM => self.peer_reset(header.stream, ErrorCode::from_u32(frame::number(payload)), now),
            frame::SETTINGS => self.settings(header, payload, now),
            frame::PING => self.ping(header, payload, now),
            frame::GOAWAY => self.goaway(payload),
            frame::WINDOW_UPDATE => {
                self.window_update(header.stream, frame::number(payload) & MAX, now)?;
                Ok(None)
            }
            frame::PRIORITY_UPDATE => {
                self.priority_update(payload, now)?;
                Ok(None)
            }
            // Unknown types are ignored (section 5.5).
            _ => {
                self.spend(costs.unknown, now)?;
                Ok(None)
            }
        }
    }

    /// Whether a stream was opened by nobody yet (section 5.1).
    fn is_idle(&self, id: u32) -> bool {
        let is_ours = id.is_multiple_of(2) == self.is_server;
        if is_ours { id >= self.next || self.is_server } else { id > self.peer_last }
    }

    /// Ends a stream for what the peer did.
    fn stream_fault(&mut self, id: u32, fault: Fault, now: Duration) -> Result<Option<Event>, Fault> {
        // Of a stream that is not open nothing may be said but that the connection ends.
        if self.is_idle(id) {
            return Err(fault);
        }
        self.spend(self.config.budget.costs.fault, now)?;
        let code = fault.error_code();
        self.control(|out| frame::with_number(out, frame::RST_STREAM, id, code.to_u32()));
        let Place::Open(stream) = self.streams.place(id) else {
            return Ok(None);
        };
        self.close(stream, How::ResetByUs, now);
        let reset = Reset { side: Side::Local, code, fault: Some(fault), is_retry_safe: false };
        Ok(Some(Event::Reset { stream, reset }))
    }

    /// A stream that the peer's GOAWAY left behind (section 6.8).
    fn left_behind(&mut self, now: Duration) -> Option<Event> {
        let last = self.going.filter(|_| !self.is_server)?;
        let stream = self.streams.last().filter(|stream| stream.id() > last)?;
        self.close(stream, How::ResetByPeer, now);
        let reset = Reset { side: Side::Remote, code: ErrorCode::RefusedStream, fault: None, is_retry_safe: true };
        Some(Event::Reset { stream, reset })
    }

    /// Begins a DATA frame (section 6.1).
    fn begin_data(&mut self, header: Header, rest: &[u8], at: &mut usize, now: Duration) -> Result<(), Violation> {
        let (mut data, mut padding, mut front) = (header.len, 0, 0);
        if header.has(frame::PADDED) {
            if header.len == 0 {
                return Err(Fault::FrameSize.into());
            }
            let Some(&length) = rest.get(HEADER) else {
                return Ok(());
            };
            front = 1;
            padding = usize::from(length);
            data = header.len.checked_sub(1 + padding).ok_or(Fault::Padding)?;
        }
        *at += HEADER + front;
        let end = header.has(frame::END_STREAM);
        let costs = self.config.budget.costs;
        if data == 0 && !end {
            self.spend(costs.empty_data, now)?;
        }
        // All of it counts (section 6.9.1), whatever becomes of the stream.
        if !self.receiving.receive(header.len) {
            return Err(Fault::WindowExceeded.into());
        }
        let mut payload = Payload { stream: None, data, padding, end };
        let place = self.streams.place(header.stream);
        let result = match place {
            Place::Open(stream) => self.check_data(stream, header.len, data, front + padding, now).map(|is_wanted| {
                payload.stream = is_wanted.then_some(stream);
            }),
            Place::Ended(How::ResetByPeer) => Err(Violation::Stream(header.stream, Fault::StreamClosed)),
            // What was under way when we reset it (section 5.1).
            Place::Ended(How::ResetByUs) | Place::Forgotten => self.spend(costs.closed, now).map_err(Into::into),
            Place::Never if self.is_idle(header.stream) => Err(Fault::IdleStream.into()),
            // The last was skipped, and so is closed (section 5.1.1).
            Place::Ended(How::Ended) | Place::Never => Err(Fault::StreamClosed.into()),
        };
        // What nobody will say to be done with is done with.
        if payload.stream.is_none() {
            self.give_back(header.len as u32, now);
            payload.end = false;
        } else {
            self.give_back((front + padding) as u32, now);
            if let Some(entry) = payload.stream.and_then(|stream| self.streams.get_mut(stream)) {
                entry.held += data as u32;
            }
        }
        if payload.data + payload.padding > 0 || payload.end {
            self.payload = Some(payload);
        }
        if let Place::Open(stream) = place
            && end
            && payload.stream.is_none()
            && result.is_ok()
        {
            // Nobody waits for it, but it is over.
            if let Some(entry) = self.streams.get_mut(stream) {
                entry.incoming = Incoming::Ended;
            }
            self.close_if_ended(stream, now);
        }
        result
    }

    /// Checks a DATA frame against its stream; whether anybody wants it.
    fn check_data(
        &mut self,
        stream: Stream,
        len: usize,
        data: usize,
        padding: usize,
        now: Duration,
    ) -> Result<bool, Violation> {
        let id = stream.id();
        let round_trip = self.round_trip;
        let Some(entry) = self.streams.get_mut(stream) else {
            return Ok(false);
        };
        match entry.incoming {
            Incoming::Head => return Err(Violation::Stream(id, Fault::DataBeforeHead)),
            Incoming::Ended => return Err(Violation::Stream(id, Fault::StreamClosed)),
            Incoming::Body | Incoming::Discard => {}
        }
        if !entry.receiving.receive(len) {
            return Err(Violation::Stream(id, Fault::WindowExceeded));
        }
        if entry.incoming == Incoming::Discard {
            return Ok(false);
        }
        if entry.is_bodiless && data > 0 {
            return Err(Violation::Stream(id, Fault::BodyForbidden));
        }
        if let Some(left) = &mut entry.length {
            *left = left.checked_sub(data as u64).ok_or(Violation::Stream(id, Fault::LengthMismatch))?;
        }
        if let Some(more) = entry.receiving.take(padding as u32, now, round_trip) {
            self.control(|out| frame::with_number(out, frame::WINDOW_UPDATE, id, more));
        }
        Ok(true)
    }

    /// Goes on with a DATA frame.
    fn more_data(
        &mut self,
        mut payload: Payload,
        rest: &[u8],
        at: &mut usize,
        now: Duration,
    ) -> Result<Option<Event>, Violation> {
        self.heard = now;
        let stream = payload.stream.filter(|&stream| self.streams.get(stream).is_some());
        let take = payload.data.min(rest.len());
        let skip = payload.padding.min(rest.len() - take);
        payload.data -= take;
        payload.padding -= skip;
        let span = Span::new(*at, *at + take);
        *at += take + skip;
        let is_whole = payload.data == 0 && payload.padding == 0;
        self.payload = (!is_whole).then_some(payload);
        let end = is_whole && payload.end;
        let Some(stream) = stream else {
            return Ok(None);
        };
        if end {
            self.end_incoming(stream, now)?;
        }
        Ok((end || take > 0).then_some(Event::Data { stream, data: span, end }))
    }

    /// The peer said all of a stream.
    pub(super) fn end_incoming(&mut self, stream: Stream, now: Duration) -> Result<(), Violation> {
        let Some(entry) = self.streams.get_mut(stream) else {
            return Ok(());
        };
        if entry.length.is_some_and(|left| left > 0) && !entry.is_bodiless && entry.incoming != Incoming::Discard {
            return Err(Violation::Stream(stream.id(), Fault::LengthMismatch));
        }
        entry.incoming = Incoming::Ended;
        self.close_if_ended(stream, now);
        Ok(())
    }

    /// RST_STREAM (section 6.4).
    fn peer_reset(&mut self, id: u32, code: ErrorCode, now: Duration) -> Result<Option<Event>, Violation> {
        let costs = self.config.budget.costs;
        let stream = match self.streams.place(id) {
            Place::Open(stream) => stream,
            _ if self.is_idle(id) => return Err(Fault::IdleStream.into()),
            _ => {
                self.spend(costs.closed, now)?;
                return Ok(None);
            }
        };
        if self.is_server {
            self.spend(costs.reset, now)?;
        }
        self.close(stream, How::ResetByPeer, now);
        let is_retry_safe = !self.is_server && code == ErrorCode::RefusedStream;
        Ok(Some(Event::Reset { stream, reset: Reset { side: Side::Remote, code, fault: None, is_retry_safe } }))
    }

    /// SETTINGS (section 6.5).
    fn settings(&mut self, header: Header, payload: &[u8], now: Duration) -> Result<Option<Event>, Violation> {
        let costs = self.config.budget.costs;
        if header.has(frame::ACK) {
            if self.is_acked {
                self.spend(costs.settings, now)?;
                return Ok(None);
            }
            self.is_acked = true;
            self.round_trip = Some(now.saturating_sub(self.settings_sent));
            self.decoder.set_allowed(self.config.decoder_table as usize);
            let window = self.config.stream_window;
            for at in 0..self.streams.len() {
                let round_trip = self.round_trip;
                let Some(entry) = self.streams.nth(at).and_then(|stream| self.streams.get_mut(stream)) else {
                    continue;
                };
                entry.receiving.shift(super::DEFAULT_WINDOW, window);
                // What was taken may be much of a window that is small now, and nothing more may come to say so.
                if entry.incoming == Incoming::Body
                    && let (id, Some(more)) = (entry.id, entry.receiving.take(0, now, round_trip))
                {
                    self.control(|out| frame::with_number(out, frame::WINDOW_UPDATE, id, more));
                }
            }
            return Ok(None);
        }
        if self.has_settings {
            self.spend(costs.settings, now)?;
        }
        self.has_settings = true;
        let before = self.peer.window;
        let Self { peer, streams, encoder, .. } = self;
        let window = |before: u32, after: u32| {
            for at in 0..streams.len() {
                if let Some(entry) = streams.nth(at).and_then(|stream| streams.get_mut(stream))
                    && !entry.sending.add(i64::from(after) - i64::from(before))
                {
                    return Err(Fault::WindowOverflow);
                }
            }
            Ok(())
        };
        peer.apply(payload, !self.is_server, window, |table| encoder.set_max(table as usize))?;
        self.control(|out| frame::header(out, 0, frame::SETTINGS, frame::ACK, 0));
        for at in 0..self.streams.len() {
            if let Some(stream) = self.streams.nth(at) {
                self.note_window(stream, self.peer.window < before);
                self.queue(stream);
            }
        }
        Ok(Some(Event::Settings))
    }

    /// PING (section 6.7).
    fn ping(&mut self, header: Header, payload: &[u8], now: Duration) -> Result<Option<Event>, Violation> {
        let Some(&data) = payload.first_chunk::<8>() else {
            return Err(Fault::FrameSize.into());
        };
        let cost = self.config.budget.costs.ping;
        if !header.has(frame::ACK) {
            self.spend(cost, now)?;
            self.control(|out| frame::ping(out, frame::ACK, data));
            return Ok(None);
        }
        if data == DRAIN_PING && matches!(self.leaving, Leaving::Announced(_)) {
            self.leave();
            return Ok(None);
        }
        let Some(sent) = self.ping.take_if(|_| data == super::LIVE_PING) else {
            self.spend(cost, now)?;
            return Ok(None);
        };
        self.round_trip = Some(now.saturating_sub(sent));
        Ok(Some(Event::Pong))
    }

    /// GOAWAY (section 6.8).
    fn goaway(&mut self, payload: &[u8]) -> Result<Option<Event>, Violation> {
        let last = frame::number(payload) & MAX;
        let code = ErrorCode::from_u32(frame::number(payload.get(4..).unwrap_or_default()));
        if self.going.is_some_and(|before| last > before) {
            return Err(Fault::GoAwayGrows.into());
        }
        self.going = Some(last);
        Ok(Some(Event::GoAway { last, code }))
    }

    /// WINDOW_UPDATE (section 6.9).
    fn window_update(&mut self, id: u32, more: u32, now: Duration) -> Result<(), Violation> {
        let costs = self.config.budget.costs;
        self.spend(costs.window_update, now)?;
        if id == 0 {
            if more == 0 {
                return Err(Fault::WindowZero.into());
            }
            if !self.sending.add(i64::from(more)) {
                return Err(Fault::WindowOverflow.into());
            }
            self.shut = None;
            return Ok(());
        }
        let stream = match self.streams.place(id) {
            Place::Open(stream) => stream,
            _ if self.is_idle(id) => return Err(Fault::IdleStream.into()),
            // It may be under way when the stream ends (section 5.1).
            _ => {
                self.spend(costs.closed, now)?;
                return Ok(());
            }
        };
        if more == 0 {
            return Err(Violation::Stream(id, Fault::WindowZero));
        }
        let Some(entry) = self.streams.get_mut(stream) else {
            return Ok(());
        };
        if !entry.sending.add(i64::from(more)) {
            return Err(Violation::Stream(id, Fault::WindowOverflow));
        }
        self.note_window(stream, false);
        self.queue(stream);
        Ok(())
    }

    /// The peer has opened the window of a stream, or shut it as far as `shuts` says.
    fn note_window(&mut self, stream: Stream, shuts: bool) {
        if let Some(entry) = self.streams.get_mut(stream) {
            let is_shut = entry.sending.left() < DRIBBLE && (shuts || entry.is_shut);
            self.shut_streams = self.shut_streams + u32::from(is_shut) - u32::from(entry.is_shut);
            entry.is_shut = is_shut;
        }
    }

    /// PRIORITY_UPDATE (RFC 9218 section 7.1).
    fn priority_update(&mut self, payload: &[u8], now: Duration) -> Result<(), Violation> {
        self.spend(self.config.budget.costs.priority_update, now)?;
        let id = frame::number(payload) & MAX;
        if !self.is_server || id == 0 || id.is_multiple_of(2) {
            return Err(Fault::PriorityUpdate.into());
        }
        let priority = Priority::parse(payload.get(4..).unwrap_or_default());
        match self.streams.place(id) {
            Place::Open(stream) => self.set_priority(stream, priority),
            Place::Never if id > self.peer_last => {
                self.early.retain(|&(other, _)| other != id);
                if self.early.len() < EARLY_PRIORITIES {
                    self.early.push((id, priority));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts a stream in line if it has data and window.
    pub(super) fn queue(&mut self, stream: Stream) {
        let Some(entry) = self.streams.get_mut(stream) else {
            return;
        };
        let is_ready = entry.wants && entry.sending.left() > 0 && entry.outgoing == Outgoing::Body;
        if is_ready && !entry.is_queued {
            entry.is_queued = true;
            entry.stalled = None;
            let priority = entry.priority;
            self.schedule.push(stream, priority);
        } else if !is_ready && entry.is_queued {
            entry.is_queued = false;
            self.schedule.remove(stream);
        }
    }
}
