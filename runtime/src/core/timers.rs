//! A hierarchical timer wheel (Varghese and Lauck, 1987, scheme 7): setting, moving and clearing a timer are O(1).
//!
//! A timer that moves later is only noted: its place in the wheel is corrected when the old place comes up. Requests
//! move their deadline at every stage, so that is the common case and costs one store.

use std::task::{Context, Poll};

use super::tasks::Waiter;
use crate::clock::Instant;

/// Nanoseconds in a tick, as a shift: 2^20 ns, a little over a millisecond.
const TICK_SHIFT: u32 = 20;
const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NONE: u32 = u32::MAX;
/// The furthest a timer is placed ahead, in ticks; a later one is placed again when it comes up.
const HORIZON: u64 = 1 << (SLOT_BITS as usize * LEVELS - 1);

#[derive(Debug)]
struct Entry {
    /// When it is due. `None` is a timer that is not set.
    deadline: Option<Instant>,
    /// The tick it is placed at, when it is in the wheel.
    tick: u64,
    place: Option<(u8, u8)>,
    previous: u32,
    next: u32,
    waiter: Waiter,
}

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey(u32);

/// The timers of one core.
pub(crate) struct Wheel {
    entries: slab::Slab<Entry>,
    heads: [[u32; SLOTS]; LEVELS],
    /// A bit for each slot in use.
    used: [u64; LEVELS],
    /// Every tick up to this one has been handled.
    tick: u64,
}

/// The first tick at which `deadline` has passed.
fn tick_of(deadline: Instant) -> u64 {
    deadline.as_nanos().saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            entries: slab::Slab::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            used: [0; LEVELS],
            tick: now.as_nanos() >> TICK_SHIFT,
        }
    }

    /// A new timer that is not set.
    pub(crate) fn add(&mut self) -> TimerKey {
        let entry = Entry { deadline: None, tick: 0, place: None, previous: NONE, next: NONE, waiter: Waiter::Nobody };
        TimerKey(self.entries.insert(entry) as u32)
    }

    /// Removes the timer for good.
    pub(crate) fn remove(&mut self, key: TimerKey) {
        self.unlink(key.0);
        self.entries.remove(key.0 as usize);
    }

    /// Sets, moves or clears the timer.
    pub(crate) fn set(&mut self, key: TimerKey, deadline: Option<Instant>) {
        let entry = &mut self.entries[key.0 as usize];
        entry.deadline = deadline;
        if let Some(deadline) = deadline {
            let tick = tick_of(deadline);
            // A place that comes up too early is corrected then; one too late must be corrected now.
            if entry.place.is_none() || entry.tick > tick {
                self.unlink(key.0);
                self.link(key.0, tick);
            }
        }
    }

    /// Ready once the timer is due; until then `waiter` says who is woken when it is.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        key: TimerKey,
        now: Instant,
        cx: &Context<'_>,
        waiter: impl FnOnce() -> Waiter,
    ) -> Poll<()> {
        let entry = &mut self.entries[key.0 as usize];
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            return Poll::Ready(());
        }
        match &entry.waiter {
            Waiter::Foreign(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waiter = waiter(),
        }
        Poll::Pending
    }

    /// When the wheel wants to be advanced next: never later than the first deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        let mut soonest: Option<u64> = None;
        for level in 0..LEVELS {
            let bits = self.used[level];
            if bits == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let here = self.tick >> shift;
            // Slots after the current one come up in this turn of the level, the others in the next.
            let rotated = bits.rotate_right(((here + 1) & (SLOTS as u64 - 1)) as u32);
            let ahead = u64::from(rotated.trailing_zeros()) + 1;
            let tick = (here + ahead) << shift;
            soonest = Some(soonest.map_or(tick, |best| best.min(tick)));
        }
        soonest.map(|tick| Instant::from_nanos(tick.saturating_mul(1 << TICK_SHIFT)))
    }

    /// Handles every tick up to `now`; `due` gets whoever waits for a timer that is due.
    pub(crate) fn advance(&mut self, now: Instant, mut due: impl FnMut(Waiter)) {
        let target = now.as_nanos() >> TICK_SHIFT;
        while self.tick < target {
            let next = self.next().map_or(target, |next| (next.as_nanos() >> TICK_SHIFT).min(target));
            self.tick = next.max(self.tick + 1).min(target);
            for level in (0..LEVELS).rev() {
                let shift = SLOT_BITS * level as u32;
                if self.tick & ((1 << shift) - 1) == 0 {
                    let slot = (self.tick >> shift) as usize & (SLOTS - 1);
                    self.take_slot(level, slot, now, &mut due);
                }
            }
        }
    }

    /// Empties a slot that came up: due timers fire, the others move closer.
    fn take_slot(&mut self, level: usize, slot: usize, now: Instant, due: &mut impl FnMut(Waiter)) {
        let mut at = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.used[level] &= !(1 << slot);
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            let next = entry.next;
            entry.place = None;
            (entry.previous, entry.next) = (NONE, NONE);
            match entry.deadline {
                Some(deadline) if deadline <= now => due(entry.waiter.take()),
                Some(deadline) => self.link(at, tick_of(deadline)),
                None => {}
            }
            at = next;
        }
    }

    fn link(&mut self, at: u32, tick: u64) {
        let tick = tick.clamp(self.tick + 1, self.tick + HORIZON);
        // The level is that of the highest group of bits in which the tick differs from now.
        let differs = tick ^ self.tick;
        let level = (differs.ilog2() / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        let head = self.heads[level][slot];
        let entry = &mut self.entries[at as usize];
        (entry.tick, entry.place) = (tick, Some((level as u8, slot as u8)));
        (entry.previous, entry.next) = (NONE, head);
        if head != NONE {
            self.entries[head as usize].previous = at;
        }
        self.heads[level][slot] = at;
        self.used[level] |= 1 << slot;
    }

    fn unlink(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        let Some((level, slot)) = entry.place.take() else { return };
        let (previous, next) = (entry.previous, entry.next);
        (entry.previous, entry.next) = (NONE, NONE);
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous == NONE {
            let (level, slot) = (usize::from(level), usize::from(slot));
            self.heads[level][slot] = next;
            if next == NONE {
                self.used[level] &= !(1 << slot);
            }
        } else {
            self.entries[previous as usize].next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Wake, Waker};

    struct Fired(AtomicU64);
    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Set(usize, u64),
        Clear(usize),
        Remove(usize),
        Advance(u64),
    }

    fn span() -> impl Strategy<Value = u64> {
        // From a fraction of a tick to past the horizon of several levels.
        (0u32..46, 0u64..1000).prop_map(|(shift, part)| (1u64 << shift) + part * (1 << shift) / 1000)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Add),
            4 => (0usize..20, span()).prop_map(|(at, by)| Step::Set(at, by)),
            1 => (0usize..20).prop_map(Step::Clear),
            1 => (0usize..20).prop_map(Step::Remove),
            4 => span().prop_map(Step::Advance),
        ]
    }

    proptest! {
        #[test]
        fn timers_fire_once_when_due_within_a_tick(steps in proptest::collection::vec(step(), 1..120)) {
            let mut now = 5_000_000_123_u64;
            let mut wheel = Wheel::new(Instant::from_nanos(now));
            // Key, the wake-up counter, the deadline while armed.
            let mut model: BTreeMap<usize, (TimerKey, Arc<Fired>, Option<u64>)> = BTreeMap::new();
            let mut next_id = 0;
            for step in steps {
                let pick = |at: usize, model: &BTreeMap<usize, _>| model.keys().nth(at).copied();
                match step {
                    Step::Add => {
                        model.insert(next_id, (wheel.add(), Arc::new(Fired(AtomicU64::new(0))), None));
                        next_id += 1;
                    }
                    Step::Set(at, by) => if let Some(id) = pick(at, &model) {
                        let (key, fired, deadline) = model.get_mut(&id).unwrap();
                        wheel.set(*key, Some(Instant::from_nanos(now + by)));
                        let waker = Waker::from(fired.clone());
                        let cx = Context::from_waker(&waker);
                        let polled = wheel.poll(*key, Instant::from_nanos(now), &cx, || Waiter::Foreign(waker.clone()));
                        prop_assert_eq!(polled.is_ready(), by == 0);
                        if polled.is_ready() {
                            wheel.set(*key, None);
                        }
                        *deadline = polled.is_pending().then_some(now + by);
                    },
                    Step::Clear(at) => if let Some(id) = pick(at, &model) {
                        wheel.set(model[&id].0, None);
                        model.get_mut(&id).unwrap().2 = None;
                    },
                    Step::Remove(at) => if let Some(id) = pick(at, &model) {
                        wheel.remove(model[&id].0);
                        model.remove(&id);
                    },
                    Step::Advance(by) => {
                        now += by;
                        if let (Some(next), Some(first)) =
                            (wheel.next(), model.values().filter_map(|timer| timer.2).min())
                        {
                            prop_assert!(next.as_nanos() < first + (1 << TICK_SHIFT) + 1, "it would sleep past a deadline");
                        }
                        wheel.advance(Instant::from_nanos(now), |waiter| {
                            if let Waiter::Foreign(waker) = waiter { waker.wake(); }
                        });
                        for (_, fired, deadline) in model.values_mut() {
                            let count = fired.0.swap(0, Ordering::Relaxed);
                            match *deadline {
                                Some(due) if due + (1 << TICK_SHIFT) <= now => {
                                    prop_assert_eq!(count, 1, "due at {} and now {}", due, now);
                                    *deadline = None;
                                }
                                Some(due) if due <= now && count == 1 => *deadline = None,
                                _ => prop_assert_eq!(count, 0),
                            }
                        }
                    }
                }
            }
        }
    }
}
