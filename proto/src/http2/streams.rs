//! The streams of a connection: those that are open, and what is remembered of those that were.

use std::collections::VecDeque;
use std::time::Duration;

use super::priority::Priority;
use super::window::{Receiving, Sending};

/// A stream as the caller names it. Its slot is below the number of streams that were ever open at once and belongs to
/// it until it ends, so that the caller can keep what it has for it in a table. A stream that has ended is told from the
/// one that has its slot next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stream {
    pub(super) id: u32,
    pub(super) slot: u32,
}

impl Stream {
    /// Its number on the wire.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Its place in a table of streams.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What has come of a stream so far, and so what may come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Incoming {
    /// The head.
    Head,
    /// Data or trailers.
    Body,
    /// As before, but nobody wants it: the request was refused.
    Discard,
    /// The peer ended the stream.
    Ended,
}

/// What we have sent of a stream so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outgoing {
    /// Nothing, or interim responses.
    Head,
    /// The head.
    Body,
    /// All.
    Ended,
}

/// One open stream.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// 0 while the slot is free.
    pub(super) id: u32,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// Whether the peer keeps its window shut, or as good as.
    pub(super) is_shut: bool,
    /// What is to come by Content-Length.
    pub(super) length: Option<u64>,
    /// Whether the request is HEAD, so that the response has no body.
    pub(super) is_head: bool,
    /// Whether the response has no body.
    pub(super) is_bodiless: bool,
    /// Data that the caller was given and has not said to be done with.
    pub(super) held: u32,
    pub(super) priority: Priority,
    /// Whether there is data to send, and whether the stream waits for its turn.
    pub(super) wants: bool,
    pub(super) is_queued: bool,
    /// Since when the peer's window is in the way.
    pub(super) stalled: Option<Duration>,
}

/// How a stream ended, which is why frames for it may still come or must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// Both sides said all.
    Ended,
    /// We reset it: what was under way then still comes.
    ResetByUs,
    /// The peer reset it.
    ResetByPeer,
}

/// Where a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Open(Stream),
    Ended(How),
    /// It may have been open once; that was too long ago.
    Forgotten,
    /// It was never open, though a later one may have been.
    Never,
}

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Entry>,
    free: Vec<u32>,
    /// Identifier and slot of the open ones, in order.
    order: Vec<(u32, u32)>,
    /// Those that ended last, newest first.
    ended: VecDeque<(u32, How)>,
    remembered: usize,
    /// The highest identifier that is no longer remembered.
    forgotten: u32,
}

impl Streams {
    pub(super) fn new(remembered: usize) -> Self {
        Self { remembered: remembered.max(1), ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The open streams, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Stream> + '_ {
        self.order.iter().map(|&(id, slot)| Stream { id, slot })
    }

    pub(super) fn nth(&self, at: usize) -> Option<Stream> {
        self.order.get(at).map(|&(id, slot)| Stream { id, slot })
    }

    pub(super) fn last(&self) -> Option<Stream> {
        self.nth(self.len().checked_sub(1)?)
    }

    /// Opens a stream whose identifier is above those of all others.
    pub(super) fn open(&mut self, entry: Entry) -> Stream {
        let id = entry.id;
        debug_assert!(self.order.last().is_none_or(|&(last, _)| last < id), "streams are opened in order");
        let slot = if let Some(slot) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = entry;
            }
            slot
        } else {
            self.slots.push(entry);
            self.slots.len() as u32 - 1
        };
        self.order.push((id, slot));
        Stream { id, slot }
    }

    #[inline]
    pub(super) fn get(&self, stream: Stream) -> Option<&Entry> {
        self.slots.get(stream.slot()).filter(|entry| entry.id == stream.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, stream: Stream) -> Option<&mut Entry> {
        self.slots.get_mut(stream.slot()).filter(|entry| entry.id == stream.id)
    }

    /// Forgets a stream but for how it ended.
    pub(super) fn close(&mut self, stream: Stream, how: How) {
        let Some(entry) = self.get_mut(stream) else {
            return;
        };
        entry.id = 0;
        self.free.push(stream.slot);
        if let Ok(at) = self.order.binary_search_by_key(&stream.id, |&(id, _)| id) {
            self.order.remove(at);
        }
        self.remember(stream.id, how);
    }

    /// Remembers how a stream ended.
    pub(super) fn remember(&mut self, id: u32, how: How) {
        if self.ended.len() >= self.remembered
            && let Some((oldest, _)) = self.ended.pop_back()
        {
            self.forgotten = self.forgotten.max(oldest);
        }
        self.ended.push_front((id, how));
    }

    /// Where the stream of a frame is.
    #[inline]
    pub(super) fn place(&self, id: u32) -> Place {
        if let Some(&(last, slot)) = self.order.last()
            && last == id
        {
            return Place::Open(Stream { id, slot });
        }
        if let Ok(at) = self.order.binary_search_by_key(&id, |&(id, _)| id) {
            return self.nth(at).map_or(Place::Never, Place::Open);
        }
        match self.ended.iter().find(|&&(ended, _)| ended == id) {
            Some(&(_, how)) => Place::Ended(how),
            None if id <= self.forgotten => Place::Forgotten,
            None => Place::Never,
        }
    }
}
