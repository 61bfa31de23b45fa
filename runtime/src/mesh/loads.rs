//! What cores tell each other of their load, so that connections can go where there is least of it.

use std::sync::atomic::Ordering;

use super::padded::Padded;
use super::sync::{Arc, AtomicU64};

/// Set in a core's word once it takes no more.
const CLOSED: u64 = 1 << 63;
/// Where the busy share is in a word, and how wide.
const BUSY_SHIFT: u32 = 32;
const BUSY_MASK: u64 = 0x3ff << BUSY_SHIFT;
const COUNT_MASK: u64 = (1 << BUSY_SHIFT) - 1;

/// What a core has to do, as it was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that it has, those included that are on their way to it.
    pub connections: u32,
    /// The share of the latest second or so that its thread was running, in thousandths.
    pub busy: u16,
}

/// The loads of all cores, each in a cache line of its own.
///
/// A core counts its connections; whoever sends it one counts that before it goes, so that several senders do not all
/// fill up the same core, and no core ends while one is on its way to it.
#[derive(Clone)]
pub struct Loads(Arc<Vec<Padded<AtomicU64>>>);

impl Loads {
    /// Of so many cores, without load.
    pub fn new(cores: usize) -> Self {
        Self(Arc::new((0..cores).map(|_| Padded(AtomicU64::new(0))).collect()))
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.0.len()
    }

    fn read(&self, core: usize) -> u64 {
        // What is read decides only where a connection goes; no other memory hangs on it.
        self.0.get(core).map_or(CLOSED, |word| word.load(Ordering::Relaxed))
    }

    /// The load of a core; `None` when it takes no more.
    pub fn of(&self, core: usize) -> Option<Load> {
        let word = self.read(core);
        (word & CLOSED == 0).then(|| load(word))
    }

    /// Connections of a core, also of one that takes no more.
    pub fn connections(&self, core: usize) -> u32 {
        load(self.read(core)).connections
    }

    /// Counts a connection of `core` that it has taken by itself, open or not.
    pub fn add(&self, core: usize) {
        if let Some(word) = self.0.get(core) {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection of `core` is gone, or did not get there.
    pub fn remove(&self, core: usize) {
        if let Some(word) = self.0.get(core) {
            let before = word.fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before & COUNT_MASK > 0, "a connection is counted before it is gone");
        }
    }

    /// Counts a connection that goes to `core`, if the load there is still `seen`.
    pub fn reserve(&self, core: usize, seen: Load) -> bool {
        let Some(word) = self.0.get(core) else { return false };
        let before = u64::from(seen.busy) << BUSY_SHIFT | u64::from(seen.connections);
        word.compare_exchange(before, before + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Tells how busy `core` is, in thousandths.
    pub fn set_busy(&self, core: usize, busy: u16) {
        let Some(word) = self.0.get(core) else { return };
        let busy = u64::from(busy.min(1000)) << BUSY_SHIFT;
        // Others count at the same time; this never fails for long, and one that fails says the same a little later.
        let before = word.load(Ordering::Relaxed);
        let _ = word.compare_exchange(before, before & !BUSY_MASK | busy, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Nothing can be reserved at `core` any more.
    pub fn close(&self, core: usize) {
        if let Some(word) = self.0.get(core) {
            word.fetch_or(CLOSED, Ordering::Relaxed);
        }
    }
}

fn load(word: u64) -> Load {
    Load { connections: (word & COUNT_MASK) as u32, busy: ((word & BUSY_MASK) >> BUSY_SHIFT) as u16 }
}
