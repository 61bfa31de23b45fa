//! From header blocks to heads (RFC 9113 sections 4.3, 6.2, 6.10 and 8.1).

use std::time::Duration;

use super::super::block::{Notes, Reader};
use super::super::error::{Fault, HeadError, Violation};
use super::super::frame::{self, Header, MAX};
use super::super::streams::{How, Incoming, Outgoing, Place, Stream};
use super::send::DRIBBLE;
use super::{Connection, Event, Head, Inbox, Leaving, OpenBlock};

/// What becomes of a header block.
enum Fate {
    /// It opens a stream.
    Open,
    /// It is for an open stream: a response, or trailers.
    Next(Stream),
    /// It is read for the sake of the tables, and then that.
    Drop(Result<(), Violation>),
}

impl Connection {
    /// HEADERS (section 6.2).
    pub(super) fn headers(
        &mut self,
        header: Header,
        payload: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let mut fragment = frame::unpadded(header, payload)?;
        let mut depends_on_itself = false;
        if header.has(frame::WITH_PRIORITY) {
            // Five bytes of a scheme that nobody uses any more (section 5.3).
            let (priority, rest) = fragment.split_at_checked(5).ok_or(Fault::FrameSize)?;
            depends_on_itself = frame::number(priority) & MAX == header.stream;
            fragment = rest;
        }
        let end = header.has(frame::END_STREAM);
        let block = OpenBlock { stream: header.stream, end, continuations: 0, since: now };
        if fragment.is_empty() {
            self.spend(self.config.budget.costs.empty_fragment, now)?;
        }
        if header.has(frame::END_HEADERS) {
            return self.whole_block(block, fragment, depends_on_itself, now, inbox);
        }
        self.fragments.clear();
        if depends_on_itself {
            return Err(Fault::SelfDependency.into());
        }
        self.add_fragment(block, fragment)?;
        Ok(None)
    }

    /// CONTINUATION (section 6.10).
    pub(super) fn continuation(
        &mut self,
        header: Header,
        payload: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let costs = self.config.budget.costs;
        self.spend(costs.continuation, now)?;
        if payload.is_empty() {
            self.spend(costs.empty_fragment, now)?;
        }
        let Some(mut block) = self.block.take() else {
            return Err(Fault::StrayContinuation.into());
        };
        block.continuations += 1;
        if block.continuations > self.config.limits.continuations {
            return Err(Fault::BlockTooManyFrames.into());
        }
        self.add_fragment(block, payload)?;
        if !header.has(frame::END_HEADERS) {
            return Ok(None);
        }
        self.block = None;
        let mut fragments = std::mem::take(&mut self.fragments);
        let result = self.whole_block(block, &fragments, false, now, inbox);
        fragments.clear();
        // Blocks in several frames are rare: what one needed is not kept for the life of the connection.
        if fragments.capacity() <= frame::HEADER * 1024 {
            self.fragments = fragments;
        }
        result
    }

    fn add_fragment(&mut self, block: OpenBlock, fragment: &[u8]) -> Result<(), Fault> {
        if self.fragments.len() + fragment.len() > self.config.limits.block {
            return Err(Fault::BlockTooLarge);
        }
        self.fragments.extend_from_slice(fragment);
        self.block = Some(block);
        Ok(())
    }

    /// A header block is whole.
    fn whole_block(
        &mut self,
        block: OpenBlock,
        bytes: &[u8],
        depends_on_itself: bool,
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        if bytes.len() > self.config.limits.block {
            return Err(Fault::BlockTooLarge.into());
        }
        let fate = if self.is_server {
            self.fate_at_server(block.stream, now)?
        } else {
            self.fate_at_client(block.stream, now)?
        };
        match fate {
            Fate::Open if depends_on_itself => {
                self.drop_block(bytes, inbox)?;
                self.streams.remember(block.stream, How::ResetByUs);
                Err(Violation::Stream(block.stream, Fault::SelfDependency))
            }
            Fate::Open => self.request(block, bytes, now, inbox),
            Fate::Next(stream) => self.next_block(stream, block, bytes, now, inbox),
            Fate::Drop(then) => {
                self.drop_block(bytes, inbox)?;
                then.map(|()| None)
            }
        }
    }

    /// What becomes of a block that a client sent (section 5.1).
    fn fate_at_server(&mut self, id: u32, now: Duration) -> Result<Fate, Violation> {
        if id.is_multiple_of(2) {
            return Err(Fault::StreamId.into());
        }
        if id <= self.peer_last {
            return self.fate_of_old(id, now);
        }
        if let Leaving::Final(last) = self.leaving
            && id > last
        {
            // It comes too late, and so does what follows it.
            self.peer_last = id;
            self.streams.remember(id, How::ResetByUs);
            return Ok(Fate::Drop(Ok(())));
        }
        self.peer_last = id;
        let costs = self.config.budget.costs;
        let is_too_many = self.streams.len() >= self.config.streams as usize;
        if is_too_many || (self.begins_shut() && self.shut_streams >= self.config.shut) {
            self.spend(if is_too_many { costs.refused } else { costs.shut }, now)?;
            self.streams.remember(id, How::ResetByUs);
            let code = Fault::TooManyStreams.error_code().to_u32();
            self.control(|out| frame::with_number(out, frame::RST_STREAM, id, code));
            return Ok(Fate::Drop(Ok(())));
        }
        Ok(Fate::Open)
    }

    /// Whether next to nothing can be sent on streams that the peer opens, before it opens their windows.
    fn begins_shut(&self) -> bool {
        self.is_server && (self.peer.window as usize) < DRIBBLE
    }

    /// What becomes of a block that a server sent.
    fn fate_at_client(&mut self, id: u32, now: Duration) -> Result<Fate, Violation> {
        if id.is_multiple_of(2) {
            return Err(Fault::StreamId.into());
        }
        if id >= self.next {
            return Err(Fault::IdleStream.into());
        }
        self.fate_of_old(id, now)
    }

    fn fate_of_old(&mut self, id: u32, now: Duration) -> Result<Fate, Violation> {
        match self.streams.place(id) {
            Place::Open(stream) => {
                let is_ended = self.streams.get(stream).is_some_and(|entry| entry.incoming == Incoming::Ended);
                if is_ended {
                    return Ok(Fate::Drop(Err(Violation::Stream(id, Fault::StreamClosed))));
                }
                Ok(Fate::Next(stream))
            }
            Place::Ended(How::Ended) => Err(Fault::StreamClosed.into()),
            Place::Ended(How::ResetByPeer) => Ok(Fate::Drop(Err(Violation::Stream(id, Fault::StreamClosed)))),
            Place::Ended(How::ResetByUs) | Place::Forgotten => {
                self.spend(self.config.budget.costs.closed, now)?;
                Ok(Fate::Drop(Ok(())))
            }
            Place::Never => Err(Fault::StreamId.into()),
        }
    }

    /// Reads a block that nobody wants: the tables must follow it.
    fn drop_block(&mut self, bytes: &[u8], inbox: &mut Inbox<'_>) -> Result<(), Violation> {
        let Self { decoder, scratch, config, .. } = self;
        let reader = Reader { decoder, scratch, limits: &config.limits };
        reader.trailers(bytes, &mut Vec::new(), inbox.text).map_err(Fault::from)?;
        inbox.text.clear();
        Ok(())
    }

    /// A request (section 8.3.1).
    fn request(
        &mut self,
        block: OpenBlock,
        bytes: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let OpenBlock { stream: id, end, .. } = block;
        let Head::Request(head) = &mut inbox.head else {
            return Ok(None);
        };
        let Self { decoder, scratch, config, .. } = self;
        let reader = Reader { decoder, scratch, limits: &config.limits };
        let notes = reader.request(bytes, end, config.extended_connect, head, inbox.text).map_err(Fault::from)?;
        let mut entry = self.entry(id, now);
        entry.incoming = if end { Incoming::Ended } else { Incoming::Body };
        entry.length = notes.length;
        entry.priority = notes.priority;
        if let Some(at) = self.early.iter().position(|&(early, _)| early == id) {
            // The frame counts, and not the field (RFC 9218 section 7).
            entry.priority = self.early.swap_remove(at).1;
        }
        self.early.retain(|&(early, _)| early > id);
        let refusal = match notes.error {
            Some(error) if error.is_answerable() => Some(error),
            Some(error) => {
                self.streams.open(entry);
                return Err(Violation::Stream(id, error.into()));
            }
            None => None,
        };
        if end && notes.length.is_some_and(|length| length > 0) && refusal.is_none() {
            self.streams.open(entry);
            return Err(Violation::Stream(id, Fault::LengthMismatch));
        }
        if refusal.is_some() && !end {
            entry.incoming = Incoming::Discard;
        }
        entry.is_shut = self.begins_shut();
        self.shut_streams += u32::from(entry.is_shut);
        let stream = self.streams.open(entry);
        Ok(Some(match refusal {
            Some(error) => Event::Refused { stream, error },
            None => Event::Request { stream, end, is_https: notes.is_https, protocol: notes.protocol },
        }))
    }

    /// A block on an open stream: a response, or trailers (section 8.1).
    fn next_block(
        &mut self,
        stream: Stream,
        block: OpenBlock,
        bytes: &[u8],
        now: Duration,
        inbox: &mut Inbox<'_>,
    ) -> Result<Option<Event>, Violation> {
        let OpenBlock { stream: id, end, .. } = block;
        let Some(entry) = self.streams.get(stream) else {
            return Ok(None);
        };
        let (incoming, is_head) = (entry.incoming, entry.is_head);
        let Self { decoder, scratch, config, .. } = self;
        let reader = Reader { decoder, scratch, limits: &config.limits };
        if incoming == Incoming::Head
            && let Head::Response(head) = &mut inbox.head
        {
            let notes = reader.response(bytes, end, is_head, head, inbox.text).map_err(Fault::from)?;
            let (status, is_interim) = (head.status, head.is_interim());
            if let Some(error) = notes.error {
                return Err(Violation::Stream(id, error.into()));
            }
            return self.response(stream, status, is_interim, end, &notes, now);
        }
        let mut fields = Vec::new();
        let (notes, trailers) = reader.trailers(bytes, &mut fields, inbox.text).map_err(Fault::from)?;
        if let Some(error) = notes.error {
            return Err(Violation::Stream(id, error.into()));
        }
        if !end {
            return Err(Violation::Stream(id, HeadError::TrailersWithoutEnd.into()));
        }
        self.end_incoming(stream, now)?;
        Ok((incoming != Incoming::Discard).then_some(Event::Trailers { stream, trailers }))
    }

    fn response(
        &mut self,
        stream: Stream,
        status: u16,
        is_interim: bool,
        end: bool,
        notes: &Notes,
        now: Duration,
    ) -> Result<Option<Event>, Violation> {
        if is_interim {
            self.spend(self.config.budget.costs.interim, now)?;
        } else if let Some(entry) = self.streams.get_mut(stream) {
            entry.incoming = Incoming::Body;
            entry.is_bodiless = entry.is_head || status == 204 || status == 304;
            entry.length = notes.length;
        }
        if end {
            self.end_incoming(stream, now)?;
        }
        Ok(Some(Event::Response { stream, end }))
    }

    /// Whether the caller may still send on a stream.
    pub(super) fn may_send(&self, stream: Stream, outgoing: Outgoing) -> bool {
        self.dead.is_none() && self.streams.get(stream).is_some_and(|entry| entry.outgoing == outgoing)
    }
}
