//! A bounded ring between one sender and one receiver (Lamport, 1983), with each side's view of the other cached
//! (Lee, Bu and Chandranmenon, 2009): as long as a side does not run into the other, it
//! touches no line that the other writes but the slots.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use super::padded::Padded;
use super::sync::{Arc, AtomicBool, AtomicUsize, UnsafeCell, fence};

/// Why a message was not taken, and the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// There is no room now.
    Full(T),
    /// The receiver has ended and will never take it.
    Ended(T),
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Ended(value) => value,
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Ended(_) => "Ended",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the ring is full",
            Self::Ended(_) => "the receiver has ended",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}

struct Shared<T> {
    /// Messages taken so far; only the receiver writes it. Counts run on past the size of the ring and wrap.
    head: Padded<AtomicUsize>,
    /// Messages put in so far; only the sender writes it.
    tail: Padded<AtomicUsize>,
    /// Changes seldom, so both sides may look at it often.
    rare: Padded<Rare>,
    mask: usize,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

struct Rare {
    sender_ended: AtomicBool,
    receiver_ended: AtomicBool,
    /// Whether the sender wants to hear of room.
    wants_room: AtomicBool,
}

// SAFETY: messages move from one thread to the other, so they must be Send. A slot is only touched by the side that it
// belongs to: the sender from `head + size` down to `tail`, the receiver from `head` to `tail`; each side hands slots
// over by a release store of its count, which the other loads with acquire before it touches them.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; whoever drops it last drops the messages in it.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, count: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // The mask keeps the index within the slots, whose number is one more.
        &self.slots[count & self.mask]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone, and dropping the last Arc has synchronized with both.
        let (mut head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        while head != tail {
            // SAFETY: slots from `head` to `tail` hold messages, and nobody else is left.
            self.slot(head).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// A ring for at least `capacity` messages: the next power of two, at least one.
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let size = capacity.clamp(1, 1 << 31).next_power_of_two();
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        rare: Padded(Rare {
            sender_ended: AtomicBool::new(false),
            receiver_ended: AtomicBool::new(false),
            wants_room: AtomicBool::new(false),
        }),
        mask: size - 1,
        slots: (0..size).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    (
        Sender { shared: shared.clone(), tail: 0, head: 0, not_sync: PhantomData },
        Receiver { shared, head: 0, tail: 0, not_sync: PhantomData },
    )
}

/// The end that puts messages in. There is one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The receiver's count as last seen: the truth is no smaller.
    head: usize,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> Sender<T> {
    /// Puts one message in.
    pub fn push(&mut self, value: T) -> Result<(), SendError<T>> {
        if self.is_ended() {
            return Err(SendError::Ended(value));
        }
        if self.room() == 0 {
            return Err(SendError::Full(value));
        }
        self.write(value);
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Takes messages from `values` as long as there is room, and shows them to the receiver all at once. Returns how
    /// many; none to a receiver that has ended.
    pub fn push_from(&mut self, values: &mut impl Iterator<Item = T>) -> usize {
        /// Shows what was written, also if `values` panics.
        struct Publish<'a, T>(&'a mut Sender<T>);
        impl<T> Drop for Publish<'_, T> {
            fn drop(&mut self) {
                self.0.shared.tail.store(self.0.tail, Ordering::Release);
            }
        }
        if self.is_ended() {
            return 0;
        }
        // A batch wants all the room there is, not only what was seen last.
        self.head = self.shared.head.load(Ordering::Acquire);
        let room = self.room();
        let publish = Publish(self);
        let mut pushed = 0;
        while pushed < room
            && let Some(value) = values.next()
        {
            publish.0.write(value);
            pushed += 1;
        }
        pushed
    }

    /// Whether so many messages fit now.
    pub fn has_room(&mut self, count: usize) -> bool {
        let size = self.shared.mask + 1;
        if size - self.tail.wrapping_sub(self.head) < count {
            self.head = self.shared.head.load(Ordering::Acquire);
        }
        size - self.tail.wrapping_sub(self.head) >= count
    }

    /// Messages the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.shared.mask + 1
    }

    /// Whether the receiver has ended.
    pub fn is_ended(&self) -> bool {
        self.shared.rare.receiver_ended.load(Ordering::Relaxed)
    }

    /// Asks the receiver to say when there is room. True if there is room by now, or will never be: then do not wait.
    pub(crate) fn want_room(&mut self) -> bool {
        self.shared.rare.wants_room.store(true, Ordering::Relaxed);
        // Pairs with the fence of `room_wanted`: either this sees the room, or the receiver sees the wish.
        fence(Ordering::SeqCst);
        self.is_ended() || self.room() > 0
    }

    /// Free slots; looks at the receiver's count only if none is known.
    fn room(&mut self) -> usize {
        let size = self.shared.mask + 1;
        if self.tail.wrapping_sub(self.head) == size {
            self.head = self.shared.head.load(Ordering::Acquire);
        }
        size - self.tail.wrapping_sub(self.head)
    }

    /// Writes into the next slot, which must be free.
    fn write(&mut self, value: T) {
        // SAFETY: the slot is free: the receiver's count was seen past it, and this is the one sender.
        self.shared.slot(self.tail).with_mut(|slot| unsafe { (*slot).write(value) });
        self.tail = self.tail.wrapping_add(1);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // After the last message: who sees the end has seen them all.
        self.shared.rare.sender_ended.store(true, Ordering::Release);
    }
}

/// The end that takes messages out. There is one.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The sender's count as last seen: the truth is no smaller.
    tail: usize,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> Receiver<T> {
    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<T> {
        if !self.look() {
            return None;
        }
        let value = self.read();
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Takes the oldest messages, at most `max`, and gives their room back all at once when the chunk is dropped.
    /// Those of the chunk that nobody took stay in the ring.
    pub fn pop_chunk(&mut self, max: usize) -> Chunk<'_, T> {
        if self.tail.wrapping_sub(self.head) < max {
            self.tail = self.shared.tail.load(Ordering::Acquire);
        }
        let left = self.tail.wrapping_sub(self.head).min(max);
        Chunk { receiver: self, left }
    }

    /// Whether there is no message.
    pub fn is_empty(&mut self) -> bool {
        !self.look()
    }

    /// Whether the sender has ended and everything is taken.
    pub fn is_ended(&mut self) -> bool {
        self.shared.rare.sender_ended.load(Ordering::Acquire) && self.is_empty()
    }

    /// Takes nothing more: drops what is there, and tells the sender.
    pub(crate) fn end(&mut self) {
        self.shared.rare.receiver_ended.store(true, Ordering::Relaxed);
        while self.pop().is_some() {}
        // A chunk that was forgotten has not given its room back.
        self.shared.head.store(self.head, Ordering::Release);
    }

    /// Whether the sender asked to hear of room, once for each time it asked. Call it after taking.
    pub(crate) fn room_wanted(&self) -> bool {
        // Pairs with the fence of `want_room`.
        fence(Ordering::SeqCst);
        let wish = &self.shared.rare.wants_room;
        wish.load(Ordering::Relaxed) && wish.swap(false, Ordering::Relaxed)
    }

    /// Whether there is a message; looks at the sender's count only if none is known.
    fn look(&mut self) -> bool {
        if self.head == self.tail {
            self.tail = self.shared.tail.load(Ordering::Acquire);
        }
        self.head != self.tail
    }

    /// Reads the next slot, which must hold a message.
    fn read(&mut self) -> T {
        // SAFETY: the sender's count was seen past the slot, so it holds a message; the count moves past it here, so
        // the message is read once.
        let value = self.shared.slot(self.head).with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        value
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // What the sender puts in meanwhile goes with the ring.
        self.end();
    }
}

/// Messages that are being taken.
pub struct Chunk<'a, T> {
    receiver: &'a mut Receiver<T>,
    left: usize,
}

impl<T> Iterator for Chunk<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        Some(self.receiver.read())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Chunk<'_, T> {}

impl<T> Drop for Chunk<'_, T> {
    fn drop(&mut self) {
        self.receiver.shared.head.store(self.receiver.head, Ordering::Release);
    }
}
