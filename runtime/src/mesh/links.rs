//! What a thread has of a mesh: its end of every ring to and from it. Ports of cores and of control are made of it.

use std::sync::{Arc, OnceLock};

use super::Peer;
use super::doorbell::Doorbell;
use super::mail::{Mail, PeerSet};
use super::sleep::published;
use super::spsc::{Receiver, SendError, Sender};

/// Messages taken from one peer before it is the next one's turn.
const BATCH: u32 = 32;

/// What others know of a thread: where to leave word, and how to wake it.
pub(super) struct Desk {
    pub(super) mail: Mail,
    /// Absent until the thread has taken its seat.
    doorbell: OnceLock<Arc<Doorbell>>,
}

impl Desk {
    pub(super) fn new(peers: usize) -> Self {
        Self { mail: Mail::new(peers), doorbell: OnceLock::new() }
    }
}

/// What a port counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages that found their ring full, each attempt counted.
    pub full: u64,
    /// Messages dropped because of that, where dropping was asked for.
    pub dropped: u64,
    /// Doorbells rung: peers that were asleep.
    pub doorbells: u64,
}

/// The ends of the rings of one thread, in order of the peer: the cores, then control. It sends `S` and receives `R`.
pub(super) struct Links<S, R = S> {
    own: usize,
    desks: Arc<[Desk]>,
    /// The first peer that there are rings to and from.
    first: usize,
    pub(super) senders: Vec<Sender<S>>,
    pub(super) receivers: Vec<Receiver<R>>,
    /// Peers whose rings may hold messages for us.
    ready: PeerSet,
    /// The peer whose turn it is, and how many more messages may be taken in it.
    turn: usize,
    left: u32,
    /// Peers that have not been told of what was done for them.
    untold: PeerSet,
    pub(super) stats: PortStats,
}

impl<S: Send, R: Send> Links<S, R> {
    /// With no rings yet; those to come are of peers from `first` on.
    pub(super) fn new(own: usize, desks: Arc<[Desk]>, first: usize) -> Self {
        let peers = desks.len();
        Self {
            own,
            desks,
            first,
            senders: Vec::new(),
            receivers: Vec::new(),
            ready: PeerSet::new(peers),
            turn: 0,
            left: BATCH,
            untold: PeerSet::new(peers),
            stats: PortStats::default(),
        }
    }
}

impl<S, R> Links<S, R> {
    fn desk(&self) -> &Desk {
        // `own` is the place of a desk from the start.
        &self.desks[self.own]
    }

    /// The place of a peer that there are rings to and from.
    fn index(&self, peer: Peer) -> Option<usize> {
        let control = self.desks.len() - 1;
        let index = match peer {
            Peer::Core(core) => Some(usize::from(core)).filter(|&core| core < control),
            Peer::Control => Some(control),
        };
        index.filter(|index| (self.first..self.first + self.senders.len()).contains(index))
    }

    fn peer(&self, index: usize) -> Peer {
        if index + 1 == self.desks.len() { Peer::Control } else { Peer::Core(index as u16) }
    }

    pub(super) fn own(&self) -> Peer {
        self.peer(self.own)
    }

    pub(super) fn cores(&self) -> u16 {
        (self.desks.len() - 1) as u16
    }

    /// Says how this thread is woken from now on.
    pub(super) fn set_doorbell(&self, doorbell: Arc<Doorbell>) {
        // A seat is taken once.
        let _ = self.desk().doorbell.set(doorbell);
    }

    /// Messages that a ring to `peer` holds at most.
    pub(super) fn capacity(&self, peer: Peer) -> usize {
        self.index(peer).map_or(0, |index| self.senders[index - self.first].capacity())
    }

    pub(super) fn is_ended(&self, peer: Peer) -> bool {
        self.index(peer).is_none_or(|index| self.senders[index - self.first].is_ended())
    }

    /// Puts a message in the ring to a peer, which is not told before [`Links::tell`]. A peer that never was has ended.
    pub(super) fn send(&mut self, to: Peer, message: S) -> Result<(), SendError<S>> {
        let Some(index) = self.index(to) else { return Err(SendError::Ended(message)) };
        let result = self.senders[index - self.first].push(message);
        match &result {
            Ok(()) => {
                self.stats.sent += 1;
                self.untold.insert(index);
            }
            Err(SendError::Full(_)) => self.stats.full += 1,
            Err(SendError::Ended(_)) => {}
        }
        result
    }

    /// Asks `peer` to say when there is room. True when there is room by now, or the peer has ended.
    pub(super) fn want_room(&mut self, peer: Peer) -> bool {
        self.index(peer).is_none_or(|index| self.senders[index - self.first].want_room())
    }

    /// Whether somebody left word that was not taken.
    pub(super) fn has_mail(&self) -> bool {
        self.desk().mail.is_there()
    }

    /// Takes the word that was left. False when there was none.
    pub(super) fn take_mail(&mut self) -> bool {
        self.desks[self.own].mail.take(&mut self.ready)
    }

    /// The next message. Peers take turns of a batch.
    pub(super) fn receive(&mut self) -> Option<(Peer, R)> {
        loop {
            let Some(index) = self.ready.next_from(self.turn) else {
                if self.take_mail() {
                    continue;
                }
                return None;
            };
            if index != self.turn {
                (self.turn, self.left) = (index, BATCH);
            }
            // Only peers with rings leave word here.
            let receiver = &mut self.receivers[index - self.first];
            if self.left > 0
                && let Some(message) = receiver.pop()
            {
                self.left -= 1;
                self.stats.received += 1;
                return Some((self.peer(index), message));
            }
            if self.left > 0 {
                self.ready.remove(index);
            }
            if receiver.room_wanted() {
                self.untold.insert(index);
            }
            (self.turn, self.left) = ((index + 1) % self.desks.len(), BATCH);
        }
    }

    /// Tells the peers what was done for them; `ring` rings the doorbells of those that sleep.
    pub(super) fn tell(&mut self, mut ring: impl FnMut(&Arc<Doorbell>)) {
        while let Some(index) = self.untold.next_from(0) {
            self.untold.remove(index);
            let desk = &self.desks[index];
            desk.mail.post(self.own);
            // Between leaving word and looking for the doorbell: a peer that takes its seat just now looks for word
            // after it has hung its bell up.
            published();
            if let Some(doorbell) = desk.doorbell.get()
                && doorbell.sleep().rouse()
            {
                self.stats.doorbells += 1;
                ring(doorbell);
            }
        }
    }

    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }
}

impl<S, R> Drop for Links<S, R> {
    fn drop(&mut self) {
        for (index, receiver) in (self.first..).zip(&mut self.receivers) {
            receiver.end();
            if receiver.room_wanted() {
                self.untold.insert(index);
            }
        }
        self.tell(|doorbell| doorbell.ring());
    }
}
