//! What a stream has still to send: owned bytes and leases, in order.

use std::collections::VecDeque;

use std::rc::Rc;

use super::Lease;
use super::chunk::Chunks;

enum Piece {
    /// The owned bytes up to this offset.
    Bytes(usize),
    Lease(Lease),
    /// The owned bytes up to this offset, as one record of this kind, for the kernel to seal.
    Record(u8, usize),
}

/// An ordered queue of bytes to send. Owned bytes are written once, straight in; leases are sent from where they
/// were received.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    pieces: VecDeque<Piece>,
    /// Owned bytes that are already in `pieces`.
    placed: usize,
    /// Bytes already sent of what stands first.
    sent: usize,
    len: usize,
}

impl Outbox {
    /// Leases up to this many bytes are copied next to the bytes before them: one plain send is cheaper than a
    /// vectored one.
    pub const COPY_UP_TO: usize = 2048;

    /// Bytes not yet sent.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `write` append owned bytes.
    pub fn write<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        // A writer only appends; whatever it took away must not be sent twice or lost silently.
        debug_assert!(self.bytes.len() >= before, "a writer only appends");
        self.len += self.bytes.len().saturating_sub(before);
        result
    }

    /// Appends a lease, by copy when it is small.
    pub fn push(&mut self, lease: Lease) {
        if lease.is_empty() {
            return;
        }
        if lease.len() <= Self::COPY_UP_TO {
            self.write(|bytes| bytes.extend_from_slice(&lease));
            return;
        }
        self.place_bytes();
        self.len += lease.len();
        self.pieces.push_back(Piece::Lease(lease.relieved()));
    }

    /// Appends what is to be sent by itself, for the kernel to seal as one record of this kind.
    pub(crate) fn push_record(&mut self, kind: u8, plain: &[u8]) {
        self.place_bytes();
        self.write(|bytes| bytes.extend_from_slice(plain));
        self.placed = self.bytes.len();
        self.pieces.push_back(Piece::Record(kind, self.placed));
    }

    /// Moves everything that `other` has behind what is here; owned bytes are copied where there are some here. Nothing of it
    /// may be marked as sent.
    pub(crate) fn append(&mut self, other: &mut Self) {
        debug_assert_eq!(other.sent, 0, "what is moved is not sent");
        if self.is_empty() {
            self.clear();
            std::mem::swap(self, other);
            return;
        }
        let mut from = 0;
        for piece in other.pieces.drain(..) {
            match piece {
                Piece::Bytes(end) => {
                    let bytes = other.bytes.get(std::mem::replace(&mut from, end)..end).unwrap_or_default();
                    self.write(|out| out.extend_from_slice(bytes));
                }
                Piece::Lease(lease) => self.push(lease),
                Piece::Record(kind, end) => {
                    let bytes = other.bytes.get(std::mem::replace(&mut from, end)..end).unwrap_or_default();
                    self.push_record(kind, bytes);
                }
            }
        }
        let rest = other.bytes.get(other.placed..).unwrap_or_default();
        self.write(|out| out.extend_from_slice(rest));
        other.clear();
    }

    fn place_bytes(&mut self) {
        if self.bytes.len() > self.placed {
            self.placed = self.bytes.len();
            self.pieces.push_back(Piece::Bytes(self.placed));
        }
    }

    /// The unsent bytes when they are all owned and contiguous.
    pub(crate) fn contiguous(&self) -> Option<&[u8]> {
        self.pieces.is_empty().then_some(self.bytes.as_slice())
    }

    /// The record that is to be sent next, where that is a record, and its kind.
    pub(crate) fn first_record(&self) -> Option<(u8, &[u8])> {
        match self.pieces.front() {
            Some(Piece::Record(kind, end)) => Some((*kind, self.bytes.get(self.sent..*end).unwrap_or_default())),
            _ => None,
        }
    }

    /// Calls `each` with every unsent slice in order until it returns false, or up to the first record.
    pub fn slices<'a>(&'a self, mut each: impl FnMut(&'a [u8]) -> bool) {
        let mut skip = self.sent;
        let mut from = 0;
        for piece in &self.pieces {
            let slice = match piece {
                Piece::Bytes(end) => {
                    let slice = self.bytes.get(from..*end).unwrap_or_default();
                    from = *end;
                    slice
                }
                Piece::Lease(lease) => lease,
                Piece::Record(..) => return,
            };
            // `sent` counts within the first piece; owned bytes before it were dropped from the front.
            let slice = slice.get(skip.min(slice.len())..).unwrap_or_default();
            skip = 0;
            if !slice.is_empty() && !each(slice) {
                return;
            }
        }
        let rest = self.bytes.get(self.placed..).unwrap_or_default();
        if !rest.is_empty() {
            each(rest);
        }
    }

    /// Marks the first `count` unsent bytes as sent and lets go of leases that are done.
    pub(crate) fn consume(&mut self, count: usize) {
        let mut count = count.min(self.len);
        self.len -= count;
        if self.len == 0 {
            self.clear();
            return;
        }
        self.place_bytes();
        let mut cut = 0;
        while let Some(first) = self.pieces.front() {
            let whole = match first {
                Piece::Bytes(end) | Piece::Record(_, end) => end - cut,
                Piece::Lease(lease) => lease.len(),
            };
            let left = whole - self.sent;
            if count < left {
                self.sent += count;
                break;
            }
            count -= left;
            self.sent = 0;
            if let Some(Piece::Bytes(end) | Piece::Record(_, end)) = self.pieces.pop_front() {
                cut = end;
            }
        }
        if cut > 0 {
            self.bytes.drain(..cut);
            self.placed -= cut;
            for piece in &mut self.pieces {
                if let Piece::Bytes(end) | Piece::Record(_, end) = piece {
                    *end -= cut;
                }
            }
        }
    }

    /// Moves everything into leases, in order. What was written changes hands, and is not copied. Nothing of it may be
    /// marked as sent.
    pub(crate) fn hand_over(&mut self, chunks: &Rc<Chunks>, mut to: impl FnMut(Lease)) {
        debug_assert_eq!(self.sent, 0, "what is handed over is not sent");
        self.place_bytes();
        let chunk = (!self.bytes.is_empty()).then(|| chunks.take(&mut self.bytes));
        let mut from = 0;
        for piece in self.pieces.drain(..) {
            match (piece, &chunk) {
                (Piece::Bytes(end) | Piece::Record(_, end), Some(chunk)) => {
                    to(Lease::of_chunk(chunk.clone(), std::mem::replace(&mut from, end), end));
                }
                (Piece::Bytes(_) | Piece::Record(..), None) => {}
                (Piece::Lease(lease), _) => to(lease),
            }
        }
        self.clear();
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
        self.placed = 0;
        self.sent = 0;
        self.len = 0;
    }

    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Spare outboxes of one core, so that an idle stream holds none and a busy one allocates none.
#[derive(Default)]
pub struct Outboxes {
    #[expect(clippy::vec_box, reason = "streams hold the box, so that an idle one costs a pointer")]
    spare: Vec<Box<Outbox>>,
}

impl Outboxes {
    /// Outboxes kept for reuse; more are freed.
    const KEEP: usize = 1024;
    /// An outbox that grew past this many bytes is freed. A whole receive buffer behind a head fits, as records of TLS too.
    const KEEP_BYTES: usize = 72 * 1024;
    /// First capacity in bytes: an ordinary head with a small body.
    const FIRST: usize = 2048;

    /// An empty outbox.
    pub fn take(&mut self) -> Box<Outbox> {
        self.spare
            .pop()
            .unwrap_or_else(|| Box::new(Outbox { bytes: Vec::with_capacity(Self::FIRST), ..Outbox::default() }))
    }

    /// Takes `outbox` back for reuse.
    pub fn give_back(&mut self, mut outbox: Box<Outbox>) {
        if self.spare.len() < Self::KEEP && outbox.capacity() <= Self::KEEP_BYTES {
            outbox.clear();
            self.spare.push(outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(Vec<u8>),
        Push(usize),
        Consume(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Write),
            (0usize..6000).prop_map(Step::Push),
            (0usize..9000).prop_map(Step::Consume),
        ]
    }

    /// Appends a lease of `len` bytes, which differ from turn to turn.
    fn push(outbox: &mut Outbox, model: &mut Vec<u8>, len: usize, turn: usize) {
        let bytes: Vec<u8> = (0..len).map(|at| (at + turn) as u8).collect();
        outbox.push(Lease::copied(&bytes));
        model.extend(bytes);
    }

    /// Does the steps to an outbox that nothing is sent from.
    fn filled(steps: &[Step], model: &mut Vec<u8>) -> Outbox {
        let mut outbox = Outbox::default();
        for (turn, step) in steps.iter().enumerate() {
            match step {
                Step::Write(bytes) => {
                    outbox.write(|out| out.extend_from_slice(bytes));
                    model.extend(bytes);
                }
                Step::Push(len) | Step::Consume(len) => push(&mut outbox, model, *len, turn),
            }
        }
        outbox
    }

    /// All that is sent, as data and as records with their kind, some bytes at a time.
    fn sent(mut outbox: Outbox, at_once: usize) -> Vec<(Option<u8>, Vec<u8>)> {
        let mut sent: Vec<(Option<u8>, Vec<u8>)> = Vec::new();
        while !outbox.is_empty() {
            if let Some((kind, plain)) = outbox.first_record() {
                let count = plain.len();
                sent.push((Some(kind), plain.to_vec()));
                outbox.consume(count);
                continue;
            }
            let mut bytes = Vec::new();
            outbox.slices(|slice| {
                bytes.extend_from_slice(slice);
                bytes.len() < at_once
            });
            bytes.truncate(at_once);
            outbox.consume(bytes.len());
            match sent.last_mut() {
                Some((None, before)) => before.extend(bytes),
                _ => sent.push((None, bytes)),
            }
        }
        sent
    }

    proptest! {
        #[test]
        fn records_are_sent_by_themselves_behind_what_was_there(
            before in proptest::collection::vec(step(), 0..10),
            between in proptest::collection::vec(step(), 0..10),
            behind in proptest::collection::vec(step(), 0..10),
            consumed in 0_usize..5000,
            at_once in 1_usize..9000,
        ) {
            let mut models = [Vec::new(), Vec::new(), Vec::new()];
            let mut outbox = filled(&before, &mut models[0]);
            outbox.consume(consumed);
            models[0].drain(..consumed.min(models[0].len()));
            outbox.push_record(21, &[1, 0]);
            let mut other = filled(&between, &mut models[1]);
            other.push_record(22, &[24, 0]);
            outbox.append(&mut other);
            prop_assert!(other.is_empty());
            // And what is left of `other` takes more.
            outbox.append(&mut filled(&behind, &mut models[2]));
            let [first, second, third] = models;
            let wanted: Vec<_> = [(None, first), (Some(21), vec![1, 0]), (None, second), (Some(22), vec![24, 0]), (None, third)]
                .into_iter()
                .filter(|(_, bytes)| !bytes.is_empty())
                .collect();
            prop_assert_eq!(outbox.len(), wanted.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
            prop_assert_eq!(sent(outbox, at_once), wanted);
        }

        #[test]
        fn what_is_appended_to_nothing_changes_hands(steps in proptest::collection::vec(step(), 0..10)) {
            let mut model = Vec::new();
            let (mut outbox, mut other) = (Outbox::default(), filled(&steps, &mut model));
            let places = |outbox: &Outbox| {
                let mut places = Vec::new();
                outbox.slices(|slice| { places.push(slice.as_ptr()); true });
                places
            };
            let before = places(&other);
            outbox.append(&mut other);
            prop_assert_eq!(places(&outbox), before);
        }

        #[test]
        fn what_is_handed_over_is_what_was_put_in_and_in_order(steps in proptest::collection::vec(step(), 0..20)) {
            let chunks = Rc::new(Chunks::default());
            let mut outbox = Outbox::default();
            let (mut model, mut seen) = (Vec::new(), Vec::new());
            for (turn, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write(bytes) => {
                        outbox.write(|out| out.extend_from_slice(&bytes));
                        model.extend(bytes);
                    }
                    Step::Push(len) => push(&mut outbox, &mut model, len, turn),
                    Step::Consume(_) => {
                        let mut leases = Vec::new();
                        outbox.hand_over(&chunks, |lease| leases.push(lease));
                        seen.extend(leases.iter().flat_map(|lease| lease.to_vec()));
                        prop_assert_eq!(&seen, &model);
                        prop_assert!(outbox.is_empty());
                    }
                }
            }
        }

        #[test]
        fn an_outbox_sends_what_was_put_in_and_in_order(steps in proptest::collection::vec(step(), 0..40)) {
            let mut outbox = Outbox::default();
            let mut model: Vec<u8> = Vec::new();
            for (turn, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write(bytes) => {
                        outbox.write(|out| out.extend_from_slice(&bytes));
                        model.extend(bytes);
                    }
                    Step::Push(len) => push(&mut outbox, &mut model, len, turn),
                    Step::Consume(count) => {
                        outbox.consume(count);
                        model.drain(..count.min(model.len()));
                    }
                }
                let mut seen = Vec::new();
                outbox.slices(|slice| { seen.extend_from_slice(slice); true });
                prop_assert_eq!(&seen, &model);
                prop_assert_eq!(outbox.len(), model.len());
                if let Some(bytes) = outbox.contiguous() {
                    prop_assert_eq!(bytes, &model[..]);
                }
            }
        }
    }
}
