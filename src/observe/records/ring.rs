//! The ring from one core to the log thread, with both its ends.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_runtime::clock::Instant;
use ringway_runtime::mesh::bytes;

use super::limit::Limit;
use super::record::{Access, Event, EventKind};

/// Bytes that requests leave free in the ring, so that events find a place when there are too many of them.
const FOR_EVENTS: usize = 1024;

/// What both ends count for each other.
#[derive(Debug, Default)]
struct Counts {
    /// Requests that the core could not tell of; only the core adds to it.
    dropped: AtomicU64,
    /// Requests that could not be written; only the log thread adds to it.
    unwritten: AtomicU64,
}

/// A core's end.
pub struct Recorder {
    /// Allocated where it is used: most of the core's state is touched more often.
    inner: RefCell<Inner>,
    counts: Arc<Counts>,
    limits: [Limit; EventKind::ALL.len()],
    /// Events of a kind that may be told in a second.
    most: Cell<u32>,
}

struct Inner {
    sender: bytes::Sender,
    /// The record that is being written.
    scratch: Vec<u8>,
    /// Bytes sent since the log thread was woken last.
    since_woken: usize,
    wake: Box<dyn Fn() + Send>,
}

/// The log thread's end.
pub struct Records {
    receiver: bytes::Receiver,
    counts: Arc<Counts>,
}

/// A ring of about `capacity` bytes. `wake` has the log thread look at it: it is called when a good part of the ring is
/// full, and at each event.
pub fn ring(capacity: usize, wake: impl Fn() + Send + 'static) -> (Recorder, Records) {
    let (sender, receiver) = bytes::channel(capacity);
    let counts = Arc::<Counts>::default();
    let inner = Inner { sender, scratch: Vec::new(), since_woken: 0, wake: Box::new(wake) };
    let recorder =
        Recorder { inner: RefCell::new(inner), counts: counts.clone(), limits: Default::default(), most: Cell::new(0) };
    (recorder, Records { receiver, counts })
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Recorder {
    /// One whose records nobody reads.
    pub fn to_nobody() -> Self {
        ring(0, || ()).0
    }

    /// Tells of a request. Of each text of its client `most` bytes are kept. False where it was dropped.
    pub fn access(&self, access: &Access<'_>, most: usize) -> bool {
        let mut inner = self.inner.borrow_mut();
        let is_told = inner.send(FOR_EVENTS, |out| access.put(out, most));
        if is_told {
            // A burst must not wait for the log thread's next look.
            if inner.since_woken >= inner.sender.capacity() / 4 {
                inner.wake();
            }
        } else {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_told
    }

    /// Of each kind of event so many may be told in a second.
    pub fn limit(&self, most: u32) {
        self.most.set(most);
    }

    /// Tells of an event, where there were not too many of its kind in this second and the ring has room. Those that are
    /// not told are told as a number later.
    pub fn event(&self, event: &Event<'_>, now: Instant) {
        let Some(limit) = self.limits.get(event.kind as usize) else { return };
        if limit.admits(now, self.most.get()) {
            let mut inner = self.inner.borrow_mut();
            if !inner.send(0, |out| event.put(out)) {
                limit.is_untold(1);
            }
            inner.wake();
        }
    }

    /// Tells how many events were not told, and returns the number.
    pub fn tell_untold(&self, at_unix_ns: impl Fn() -> u64) -> u64 {
        let mut all = 0;
        for (kind, limit) in EventKind::ALL.iter().zip(&self.limits) {
            let untold = limit.take_untold();
            if untold > 0 {
                let event = Event {
                    amount: untold,
                    code: kind.name().as_bytes(),
                    ..Event::new(EventKind::Untold, at_unix_ns())
                };
                let mut inner = self.inner.borrow_mut();
                let is_told = inner.send(0, |out| event.put(out));
                inner.wake();
                if !is_told {
                    // The next time, then.
                    limit.is_untold(untold);
                    continue;
                }
            }
            all += untold;
        }
        all
    }

    /// How many requests could not be written since this was last asked.
    pub fn take_unwritten(&self) -> u64 {
        self.counts.unwritten.swap(0, Ordering::Relaxed)
    }
}

impl Inner {
    fn send(&mut self, spare: usize, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.scratch.clear();
        put(&mut self.scratch);
        let is_sent = self.sender.push(&self.scratch, spare);
        if is_sent {
            self.since_woken += self.scratch.len();
        }
        is_sent
    }

    fn wake(&mut self) {
        self.since_woken = 0;
        (self.wake)();
    }
}

impl Records {
    /// Puts the oldest record in the place of what is in `bytes`. False when there is none.
    pub fn next(&mut self, bytes: &mut Vec<u8>) -> bool {
        self.receiver.pop(bytes)
    }

    /// Whether the core has ended and everything is taken.
    pub fn is_ended(&mut self) -> bool {
        self.receiver.is_ended()
    }

    /// Requests that the core dropped since its start.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// So many requests could not be written.
    pub fn unwritten(&self, count: u64) {
        self.counts.unwritten.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::observe::records::Record;

    fn started(capacity: usize) -> (Recorder, Records, Arc<AtomicUsize>) {
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = woken.clone();
        let (recorder, records) = ring(capacity, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (recorder, records, woken)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_events_still_find_a_place() {
        let (recorder, mut records, woken) = started(16 << 10);
        let told = (0..1000).filter(|&id| recorder.access(&Access::plain(id), 100)).count();
        assert!((20..200).contains(&told), "{told}");
        assert_eq!(records.dropped(), 1000 - told as u64);
        assert!((2..=8).contains(&woken.load(Ordering::Relaxed)), "woken in batches");
        recorder.limit(1);
        recorder.event(&Event::new(EventKind::UpstreamFailed, 7), Instant::default());
        let mut bytes = Vec::new();
        for id in 0..told as u64 {
            assert!(records.next(&mut bytes));
            assert_eq!(Record::read(&bytes), Some(Record::Access(Access::plain(id))));
        }
        assert!(records.next(&mut bytes));
        assert!(matches!(Record::read(&bytes), Some(Record::Event(Event { at_unix_ns: 7, .. }))));
        assert!(!records.next(&mut bytes));
        assert!(!records.is_ended());
        drop(recorder);
        assert!(records.is_ended());
    }

    #[test]
    fn events_past_the_limit_become_a_number() {
        let (recorder, mut records, woken) = started(64 << 10);
        for _ in 0..25 {
            recorder.limit(10);
            recorder.event(&Event::new(EventKind::Shed, 1), Instant::default());
            recorder.limit(30);
            recorder.event(&Event::new(EventKind::SlowRequest, 1), Instant::default());
        }
        assert_eq!(woken.load(Ordering::Relaxed), 35);
        assert_eq!(recorder.tell_untold(|| 9), 15);
        assert_eq!(recorder.tell_untold(|| 9), 0);
        let (mut bytes, mut last) = (Vec::new(), None);
        while records.next(&mut bytes) {
            last = Some(bytes.clone());
        }
        let last = last.expect("an event");
        let Some(Record::Event(event)) = Record::read(&last) else { panic!("an event") };
        assert_eq!((event.kind, event.amount, event.code), (EventKind::Untold, 15, &b"shed"[..]));
    }

    #[test]
    fn to_nobody_everything_is_dropped() {
        let recorder = Recorder::to_nobody();
        assert!(!recorder.access(&Access::plain(1), 100));
        recorder.limit(10);
        recorder.event(&Event::new(EventKind::Shed, 1), Instant::default());
        assert_eq!(recorder.tell_untold(|| 0), 0, "nobody was told how many either");
    }

    #[test]
    fn events_that_find_the_ring_full_become_a_number_once_there_is_room() {
        let (recorder, mut records, _) = started(1024);
        recorder.limit(1000);
        for _ in 0..100 {
            recorder.event(&Event::new(EventKind::EndpointChanged, 1), Instant::default());
        }
        assert_eq!(recorder.tell_untold(|| 9), 0, "there is no room for that either");
        let (mut bytes, mut told) = (Vec::new(), 0);
        while records.next(&mut bytes) {
            told += 1;
        }
        assert!((5..100).contains(&told), "{told}");
        assert_eq!(recorder.tell_untold(|| 9), 100 - told);
        assert!(records.next(&mut bytes));
        let Some(Record::Event(event)) = Record::read(&bytes) else { panic!("an event") };
        assert_eq!((event.kind, event.amount, event.code), (EventKind::Untold, 100 - told, &b"endpoint_changed"[..]));
    }
}
