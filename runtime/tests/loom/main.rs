//! The lock-free structures of the mesh under every interleaving of small programs: their own source, with loom's
//! primitives in place of the machine's.
//!
//! A model that fails prints the interleaving: `LOOM_LOG=trace cargo test -p ringway-runtime --test loom NAME`.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "the sources are used in part")]

#[path = "../../src/mesh"]
mod mesh {
    pub(crate) mod bytes;
    pub(crate) mod gate;
    pub(crate) mod loads;
    pub(crate) mod mail;
    pub(crate) mod mpsc;
    pub(crate) mod padded;
    pub(crate) mod sleep;
    pub(crate) mod spsc;
    pub(crate) mod version;

    /// In place of the module of this name.
    pub(crate) mod sync {
        pub(crate) use loom::cell::UnsafeCell;
        pub(crate) use loom::sync::Arc;
        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
    }
}

use loom::sync::atomic::{AtomicU64, AtomicUsize};
use loom::sync::{Arc, Notify};
use loom::thread;

use std::sync::atomic::Ordering::Relaxed;

use mesh::gate::{Change, Gate, GateState, Leave, Probed, Rule};
use mesh::loads::Loads;
use mesh::mail::{Mail, PeerSet};
use mesh::sleep::{Sleep, published};
use mesh::version::Version;
use mesh::{bytes, mpsc, spsc};

/// Waits for what another thread will do.
fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

#[test]
fn strings_of_several_blocks_are_seen_whole_or_not_at_all() {
    loom::model(|| {
        let (mut sender, mut receiver) = bytes::channel(2 * 64);
        let thread = thread::spawn(move || {
            for number in [1, 2] {
                until(|| sender.push(&[number; 100], 0));
            }
        });
        let mut string = Vec::new();
        for number in [1, 2] {
            until(|| receiver.pop(&mut string));
            assert_eq!(string, [number; 100]);
        }
        thread.join().unwrap();
    });
}

#[test]
fn one_sender_and_one_receiver_agree_on_every_slot() {
    loom::model(|| {
        let (mut sender, mut receiver) = spsc::channel(2);
        let thread = thread::spawn(move || {
            for number in 0..3 {
                let mut message = Box::new(number);
                until(|| match sender.push(std::mem::take(&mut message)) {
                    Ok(()) => true,
                    Err(error) => {
                        message = error.into_inner();
                        false
                    }
                });
            }
        });
        for number in 0..3 {
            let mut message = None;
            until(|| {
                message = receiver.pop();
                message.is_some()
            });
            assert_eq!(message.as_deref(), Some(&number));
        }
        thread.join().unwrap();
        assert!(receiver.is_ended());
    });
}

#[test]
fn batches_are_shown_and_taken_whole() {
    loom::model(|| {
        let (mut sender, mut receiver) = spsc::channel(2);
        let thread = thread::spawn(move || {
            let mut numbers = 0..3;
            // Two find room at once; the third as soon as one is taken.
            assert_eq!(sender.push_from(&mut numbers), 2);
            sender.push_from(&mut numbers)
        });
        let first: Vec<_> = receiver.pop_chunk(2).collect();
        assert!(first.is_empty() || first == [0, 1], "a batch is seen whole or not at all");
        let third = thread.join().unwrap();
        assert!(third == 0 || first == [0, 1]);
        let rest: Vec<_> = receiver.pop_chunk(3).collect();
        assert_eq!([first, rest].concat(), (0..2 + third).collect::<Vec<_>>());
    });
}

#[test]
fn messages_are_dropped_once_whichever_end_goes_first() {
    loom::model(|| {
        let witness = Arc::new(());
        let (mut sender, mut receiver) = spsc::channel(2);
        let held = witness.clone();
        let thread = thread::spawn(move || {
            let _ = sender.push(held.clone());
            let _ = sender.push(held);
        });
        drop(receiver.pop());
        drop(receiver);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&witness), 1);
    });
}

#[test]
fn a_sender_that_waits_for_room_hears_of_it() {
    loom::model(|| {
        let (mut sender, mut receiver) = spsc::channel(1);
        sender.push(0).unwrap();
        let bell = Arc::new(Notify::new());
        let rings = bell.clone();
        let thread = thread::spawn(move || {
            assert_eq!(receiver.pop(), Some(0));
            if receiver.room_wanted() {
                rings.notify();
            }
            receiver
        });
        while sender.push(1).is_err() {
            if !sender.want_room() {
                // With the word lost, this would wait forever, which loom reports.
                bell.wait();
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn several_senders_and_one_receiver_agree_on_every_slot() {
    loom::model(|| {
        let (sender, mut receiver) = mpsc::channel(2);
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || sender.push(Box::new(number)).is_ok())
            })
            .collect();
        let first = receiver.pop();
        let sent: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(sent, [true, true], "there is room for both");
        let mut all: Vec<_> =
            first.into_iter().chain(std::iter::from_fn(|| receiver.pop())).map(|number| *number).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn senders_that_run_into_the_receiver_lose_nothing() {
    loom::model(|| {
        let witness = Arc::new(());
        let (sender, mut receiver) = mpsc::channel(2);
        for _ in 0..2 {
            sender.push(witness.clone()).unwrap();
        }
        let (other, held) = (sender.clone(), witness.clone());
        let thread = thread::spawn(move || other.push(held).is_ok());
        let here = receiver.pop().is_some() && sender.push(witness.clone()).is_ok();
        let there = thread.join().unwrap();
        assert!(here || there, "one slot came free, and one of two takes it");
        assert!(!(here && there));
        drop((receiver, sender));
        assert_eq!(Arc::strong_count(&witness), 1);
    });
}

/// What a core and those who send to it share.
struct Core {
    mail: Mail,
    sleep: Sleep,
    bell: Notify,
    rings: AtomicUsize,
}

impl Core {
    fn new(peers: usize) -> Arc<Self> {
        Arc::new(Self { mail: Mail::new(peers), sleep: Sleep::new(), bell: Notify::new(), rings: AtomicUsize::new(0) })
    }

    /// Leaves word and rings where it must, as a port does.
    fn tell(&self, peer: usize) {
        self.mail.post(peer);
        published();
        if self.sleep.rouse() {
            self.rings.fetch_add(1, Relaxed);
            self.bell.notify();
        }
    }
}

#[test]
fn a_core_that_goes_to_sleep_is_woken_for_every_message() {
    let mut model = loom::model::Builder::new();
    // All interleavings of this one take minutes; so many switches in inconvenient places reach every pair of steps.
    model.preemption_bound = Some(3);
    model.check(|| {
        let core = Core::new(2);
        let shared = core.clone();
        let thread = thread::spawn(move || (0..2).for_each(|peer| shared.tell(peer)));
        let (mut ready, mut attempts) = (PeerSet::new(2), 0);
        loop {
            core.mail.take(&mut ready);
            if ready.next_from(0) == Some(0) && ready.next_from(1) == Some(1) {
                break;
            }
            attempts += 1;
            // Word that neither side saw would leave the core asleep forever, which loom reports.
            if core.sleep.may_sleep(|| core.mail.is_there()) {
                core.bell.wait();
                core.sleep.awake();
            }
        }
        thread.join().unwrap();
        assert!(core.rings.load(Relaxed) <= attempts, "a core that does not go to sleep is not rung");
    });
}

#[test]
fn whoever_takes_the_word_sees_the_messages() {
    loom::model(|| {
        let core = Core::new(1);
        let (mut sender, mut receiver) = spsc::channel(2);
        let shared = core.clone();
        let thread = thread::spawn(move || {
            sender.push(Box::new(1)).unwrap();
            shared.tell(0);
        });
        let mut ready = PeerSet::new(1);
        if core.mail.take(&mut ready) || (core.sleep.may_sleep(|| core.mail.is_there()) && core.mail.take(&mut ready)) {
            assert_eq!(receiver.pop().as_deref(), Some(&1));
        }
        thread.join().unwrap();
    });
}

#[test]
fn of_two_senders_at_most_one_rings() {
    loom::model(|| {
        let core = Core::new(3);
        let shared = core.clone();
        let thread = thread::spawn(move || shared.tell(1));
        let slept = core.sleep.may_sleep(|| core.mail.is_there());
        core.tell(2);
        if slept {
            core.bell.wait();
        }
        thread.join().unwrap();
        let rings = core.rings.load(Relaxed);
        assert!(rings <= 1 && (rings == 1 || !slept));
        let mut ready = PeerSet::new(3);
        core.mail.take(&mut ready);
        assert_eq!((ready.next_from(1), ready.next_from(2)), (Some(1), Some(2)));
    });
}

#[test]
fn no_connection_goes_to_a_core_that_found_none_on_its_way() {
    loom::model(|| {
        let loads = Loads::new(1);
        let other = loads.clone();
        let sender = thread::spawn(move || {
            let sent = other.of(0).is_some_and(|seen| other.reserve(0, seen));
            other.set_busy(0, 500);
            sent
        });
        loads.close(0);
        // The core ends if it finds nothing; then nothing was sent, nor will be.
        let is_empty = loads.connections(0) == 0;
        let sent = sender.join().unwrap();
        assert!(!(is_empty && sent));
        assert_eq!(loads.connections(0), u32::from(sent));
    });
}

/// A gate of two probes that was opened at 0.
const RULE: Rule = Rule { open_for: 10, max_open_for: 80, jitter: 0, probes: 2 };

fn opened() -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    assert!(gate.trip(&RULE, 0, 0));
    gate
}

/// A core that asks for leave at 10, and tells how its probe went: what it got and what that changed.
fn probe(gate: &Gate, how: Probed) -> (Option<u64>, Option<Change>) {
    match gate.leave(&RULE, 10) {
        Some(Leave::Probe(round) | Leave::First(round)) => (Some(round), gate.probed(&RULE, round, how, 0, 11)),
        _ => (None, None),
    }
}

#[test]
fn of_cores_that_trip_a_gate_one_does() {
    loom::model(|| {
        let gate = Arc::new(Gate::default());
        let other = gate.clone();
        let thread = thread::spawn(move || other.trip(&RULE, 0, 0));
        let own = gate.trip(&RULE, 0, 0);
        assert!(own != thread.join().unwrap());
        // It was opened once, not longer for twice.
        assert_eq!(gate.until(), Some(10));
    });
}

#[test]
fn a_gate_that_is_half_open_lets_no_more_through_than_its_probes() {
    loom::model(|| {
        let gate = opened();
        let cores = [(); 2].map(|()| {
            let gate = gate.clone();
            thread::spawn(move || [(); 2].map(|()| gate.leave(&RULE, 10)))
        });
        let leaves: Vec<_> = cores.into_iter().flat_map(|core| core.join().unwrap()).flatten().collect();
        // Whichever core came first, one and only one is told that it was.
        assert_eq!(leaves.len(), 2);
        assert!(leaves.contains(&Leave::First(20)) && leaves.contains(&Leave::Probe(20)));
        assert_eq!(gate.leave(&RULE, 19), None);
    });
}

#[test]
fn probes_that_all_go_well_close_it_once() {
    loom::model(|| {
        let gate = opened();
        let other = gate.clone();
        let thread = thread::spawn(move || probe(&other, Probed::Well));
        let own = probe(&gate, Probed::Well);
        let changes = [own, thread.join().unwrap()];
        assert!(changes.iter().all(|(round, _)| *round == Some(20)));
        assert_eq!(changes.iter().filter(|(_, change)| *change == Some(Change::Closed)).count(), 1);
        assert_eq!(gate.state(&RULE, 11), GateState::Closed);
    });
}

#[test]
fn a_probe_that_fails_opens_it_once_whatever_the_other_says() {
    for other_says in [Probed::Well, Probed::Failed, Probed::Nothing] {
        loom::model(move || {
            let gate = opened();
            let other = gate.clone();
            let thread = thread::spawn(move || probe(&other, other_says));
            let own = probe(&gate, Probed::Failed);
            let changes = [own, thread.join().unwrap()];
            assert_eq!(changes.iter().filter(|(_, change)| *change == Some(Change::Opened)).count(), 1);
            assert_eq!((gate.state(&RULE, 11), gate.until()), (GateState::Open, Some(31)));
        });
    }
}

#[test]
fn what_is_held_open_stays_so_whatever_probes_say() {
    loom::model(|| {
        let gate = opened();
        let other = gate.clone();
        let thread = thread::spawn(move || probe(&other, Probed::Well));
        assert!(gate.hold(true));
        thread.join().unwrap();
        assert_eq!(gate.state(&RULE, 1_000), GateState::HeldOpen);
    });
}

/// Two numbers that are the same after each write.
#[derive(Default)]
struct Pair {
    version: Version,
    numbers: [AtomicU64; 2],
}

impl Pair {
    fn write(&self, number: u64) {
        self.version.write(|| self.numbers.iter().for_each(|place| place.store(number, Relaxed)));
    }

    fn read(&self) -> Option<(u64, [u64; 2])> {
        self.version.read(|| [0, 1].map(|at| self.numbers[at].load(Relaxed)))
    }
}

#[test]
fn a_reader_sees_what_belongs_together_or_nothing() {
    loom::model(|| {
        let pair = Arc::new(Pair::default());
        let writer = pair.clone();
        let thread = thread::spawn(move || [1, 2].into_iter().for_each(|number| writer.write(number)));
        if let Some((version, [one, other])) = pair.read() {
            assert_eq!((one, version), (other, one * 2));
        }
        thread.join().unwrap();
        assert_eq!(pair.read(), Some((4, [2, 2])));
    });
}

#[test]
fn what_is_seen_never_goes_back() {
    loom::model(|| {
        let pair = Arc::new(Pair::default());
        let writer = pair.clone();
        let thread = thread::spawn(move || writer.write(1));
        let seen = pair.version.now();
        if let Some((version, numbers)) = pair.read() {
            assert!(version >= seen, "{version} after {seen}");
            assert_eq!(numbers, [version / 2; 2]);
        }
        thread.join().unwrap();
    });
}
