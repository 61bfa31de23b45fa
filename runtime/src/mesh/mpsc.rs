//! A bounded ring between several senders and one receiver, for the few places with several writers. Each slot carries
//! a sequence number that says whose turn it is (Vyukov's bounded queue, 2010), with one receiver instead of several.
//!
//! A sender that is stopped between claiming its slot and filling it holds up what comes after it, though never what
//! other senders do. The mesh itself uses [`super::spsc`]; nothing here wakes a receiver.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use super::padded::Padded;
use super::spsc::SendError;
use super::sync::{Arc, AtomicBool, AtomicUsize, UnsafeCell};

struct Slot<T> {
    /// With `turn` the count of the message that the slot is for: `turn` while it is free, `turn + 1` while it is
    /// full, and then `turn + size`, which is the next one's `turn`.
    sequence: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

struct Shared<T> {
    /// Slots claimed so far.
    tail: Padded<AtomicUsize>,
    receiver_ended: Padded<AtomicBool>,
    mask: usize,
    slots: Box<[Slot<T>]>,
}

// SAFETY: messages move between threads, so they must be Send. A slot is only touched by whoever its sequence number
// says: a sender that claimed its turn, then the receiver; each hands it over by a release store of the number, which
// the other loads with acquire.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; whoever drops it last drops the messages in it.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, turn: usize) -> &Slot<T> {
        // The mask keeps the index within the slots, whose number is one more.
        &self.slots[turn & self.mask]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        for (at, slot) in self.slots.iter().enumerate() {
            // There are at least two slots, so a full one cannot be mistaken for the next turn's free one.
            if slot.sequence.load(Ordering::Relaxed) & self.mask == (at + 1) & self.mask {
                // SAFETY: the slot is full, and nobody else is left.
                slot.value.with_mut(|value| unsafe { (*value).assume_init_drop() });
            }
        }
    }
}

/// A ring for at least `capacity` messages: the next power of two, at least two.
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let size = capacity.clamp(2, 1 << 31).next_power_of_two();
    let slot = |turn| Slot { sequence: AtomicUsize::new(turn), value: UnsafeCell::new(MaybeUninit::uninit()) };
    let shared = Arc::new(Shared {
        tail: Padded(AtomicUsize::new(0)),
        receiver_ended: Padded(AtomicBool::new(false)),
        mask: size - 1,
        slots: (0..size).map(slot).collect(),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, head: 0 })
}

/// An end that puts messages in. Clone it for each writer.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Sender<T> {
    /// Puts one message in.
    pub fn push(&self, value: T) -> Result<(), SendError<T>> {
        let shared = &*self.shared;
        if shared.receiver_ended.load(Ordering::Relaxed) {
            return Err(SendError::Ended(value));
        }
        let mut turn = shared.tail.load(Ordering::Relaxed);
        let slot = loop {
            let slot = shared.slot(turn);
            let behind = turn.wrapping_sub(slot.sequence.load(Ordering::Acquire)) as isize;
            match behind {
                0 => {
                    let next = turn.wrapping_add(1);
                    match shared.tail.compare_exchange_weak(turn, next, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => break slot,
                        Err(now) => turn = now,
                    }
                }
                1.. => {
                    // The message of the turn before is still there, unless the count read above is old.
                    let now = shared.tail.load(Ordering::Relaxed);
                    if now == turn {
                        return Err(SendError::Full(value));
                    }
                    turn = now;
                }
                // Another sender claimed this turn.
                ..0 => turn = shared.tail.load(Ordering::Relaxed),
            }
        };
        // SAFETY: the turn is claimed and its slot free, so nobody else touches it until the store below.
        slot.value.with_mut(|place| unsafe { (*place).write(value) });
        slot.sequence.store(turn.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Messages the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.shared.mask + 1
    }
}

/// The end that takes messages out. There is one.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
}

impl<T> Receiver<T> {
    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<T> {
        let slot = self.shared.slot(self.head);
        if slot.sequence.load(Ordering::Acquire) != self.head.wrapping_add(1) {
            return None;
        }
        // SAFETY: the number says that the slot is full, and the store below that it is free again, so the message is
        // read once.
        let value = slot.value.with(|place| unsafe { (*place).assume_init_read() });
        slot.sequence.store(self.head.wrapping_add(self.shared.mask).wrapping_add(1), Ordering::Release);
        self.head = self.head.wrapping_add(1);
        Some(value)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_ended.store(true, Ordering::Relaxed);
        // What a sender puts in meanwhile goes with the ring.
        while self.pop().is_some() {}
    }
}
