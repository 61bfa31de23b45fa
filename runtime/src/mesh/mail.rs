//! Who has sent something: a bit for each peer, so that looking for messages costs one load whatever the number of
//! peers.

use std::sync::atomic::Ordering;

use super::padded::Padded;
use super::sync::AtomicU64;

/// Bits in a word.
const BITS: usize = u64::BITS as usize;

/// The peers that sent something to one core since it last looked.
pub(crate) struct Mail {
    words: Box<[Padded<AtomicU64>]>,
}

impl Mail {
    pub(crate) fn new(peers: usize) -> Self {
        Self { words: (0..words(peers)).map(|_| Padded(AtomicU64::new(0))).collect() }
    }

    /// Notes that `peer` has put messages in its ring.
    pub(crate) fn post(&self, peer: usize) {
        // Release: who takes the bit sees the messages.
        self.words[peer / BITS].fetch_or(1 << (peer % BITS), Ordering::Release);
    }

    /// Whether some peer has.
    pub(crate) fn is_there(&self) -> bool {
        self.words.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Adds those that have to `ready`, and forgets them here. False when there are none.
    pub(crate) fn take(&self, ready: &mut PeerSet) -> bool {
        let mut some = false;
        for (word, ready) in self.words.iter().zip(&mut ready.words) {
            // The load spares the other cores the loss of the line when there is nothing.
            if word.load(Ordering::Relaxed) != 0 {
                *ready |= word.swap(0, Ordering::Acquire);
                some = true;
            }
        }
        some
    }
}

fn words(peers: usize) -> usize {
    peers.div_ceil(BITS)
}

/// A set of peers, by their index.
pub(crate) struct PeerSet {
    words: Box<[u64]>,
}

impl PeerSet {
    pub(crate) fn new(peers: usize) -> Self {
        Self { words: vec![0; words(peers)].into_boxed_slice() }
    }

    pub(crate) fn insert(&mut self, peer: usize) {
        self.words[peer / BITS] |= 1 << (peer % BITS);
    }

    pub(crate) fn remove(&mut self, peer: usize) {
        self.words[peer / BITS] &= !(1 << (peer % BITS));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The first member that is not before `start`, or else the first of all.
    pub(crate) fn next_from(&self, start: usize) -> Option<usize> {
        let count = self.words.len();
        let first = start / BITS % count;
        // The word of `start` comes twice: first what is not before it, at last the rest.
        (0..=count).find_map(|step| {
            let at = (first + step) % count;
            let mask = if step == 0 { u64::MAX << (start % BITS) } else { u64::MAX };
            let word = self.words[at] & mask;
            (word != 0).then(|| at * BITS + word.trailing_zeros() as usize)
        })
    }
}
