//! The rings and sets by themselves, against naive models. Their interleavings are in tests/loom.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use crate::mesh::mail::PeerSet;
use crate::mesh::{Peer, SendError, mpsc, owner_of, spsc};

#[derive(Debug, Clone)]
enum Step {
    Push,
    PushFrom(usize),
    Pop,
    PopChunk(usize, usize),
    ForgetChunk(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Push),
        1 => (0usize..12).prop_map(Step::PushFrom),
        3 => Just(Step::Pop),
        1 => (0usize..12, 0usize..12).prop_map(|(max, taken)| Step::PopChunk(max, taken)),
        1 => (0usize..12, 0usize..12).prop_map(|(max, taken)| Step::ForgetChunk(max, taken)),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn the_ring_of_one_sender_is_a_bounded_queue(steps in steps(), capacity in 1usize..9, sender_first: bool) {
        let witness = Arc::new(());
        let (mut sender, mut receiver) = spsc::channel(capacity);
        let capacity = capacity.next_power_of_two();
        prop_assert_eq!(sender.capacity(), capacity);
        let mut model = VecDeque::new();
        let mut numbers = 0u32..;
        // A forgotten chunk gives its room back with the next one that is not.
        let mut held = 0;
        for step in steps {
            match step {
                Step::Push => {
                    let number = numbers.next().unwrap();
                    match sender.push((number, witness.clone())) {
                        Ok(()) => model.push_back(number),
                        Err(error) => {
                            prop_assert!(matches!(error, SendError::Full(_)));
                            prop_assert_eq!(model.len() + held, capacity);
                        }
                    }
                    prop_assert!(model.len() + held <= capacity);
                }
                Step::PushFrom(count) => {
                    let all: Vec<_> = numbers.by_ref().take(count).collect();
                    let pushed = sender.push_from(&mut all.iter().map(|&number| (number, witness.clone())));
                    prop_assert_eq!(pushed, count.min(capacity - model.len() - held));
                    model.extend(&all[..pushed]);
                }
                Step::Pop => {
                    let popped = receiver.pop().map(|(number, _)| number);
                    prop_assert_eq!(popped, model.pop_front());
                    if popped.is_some() {
                        held = 0;
                    }
                }
                Step::PopChunk(max, taken) => {
                    let mut chunk = receiver.pop_chunk(max);
                    prop_assert_eq!(chunk.len(), max.min(model.len()));
                    for (number, _) in chunk.by_ref().take(taken) {
                        prop_assert_eq!(Some(number), model.pop_front());
                    }
                    held = 0;
                }
                Step::ForgetChunk(max, taken) => {
                    let mut chunk = receiver.pop_chunk(max);
                    for (number, _) in chunk.by_ref().take(taken) {
                        prop_assert_eq!(Some(number), model.pop_front());
                        held += 1;
                    }
                    std::mem::forget(chunk);
                }
            }
            prop_assert_eq!(Arc::strong_count(&witness), model.len() + 1);
            prop_assert_eq!(receiver.is_empty(), model.is_empty());
        }
        if sender_first {
            drop(sender);
            prop_assert_eq!(receiver.is_ended(), model.is_empty());
            drop(receiver);
        } else {
            drop(receiver);
            prop_assert_eq!(Arc::strong_count(&witness), 1, "the receiver takes what is left with it");
            prop_assert!(matches!(sender.push((0, witness.clone())), Err(SendError::Ended(_))));
            prop_assert_eq!(sender.push_from(&mut std::iter::repeat((0, witness.clone()))), 0);
        }
        prop_assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn the_ring_of_several_senders_is_a_bounded_queue(pushes in proptest::collection::vec(any::<bool>(), 0..200), capacity in 1usize..9) {
        let witness = Arc::new(());
        let (sender, mut receiver) = mpsc::channel(capacity);
        let capacity = capacity.clamp(2, 9).next_power_of_two();
        let senders = [sender.clone(), sender];
        let mut model = VecDeque::new();
        for (number, push) in pushes.into_iter().enumerate() {
            if push {
                match senders[number % 2].push((number, witness.clone())) {
                    Ok(()) => model.push_back(number),
                    Err(SendError::Full(_)) => prop_assert_eq!(model.len(), capacity),
                    Err(SendError::Ended(_)) => prop_assert!(false, "nobody ended"),
                }
            } else {
                prop_assert_eq!(receiver.pop().map(|(number, _)| number), model.pop_front());
            }
            prop_assert_eq!(Arc::strong_count(&witness), model.len() + 1);
        }
        drop(receiver);
        prop_assert!(matches!(senders[0].push((0, witness.clone())), Err(SendError::Ended(_))));
        prop_assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn the_next_peer_is_the_first_from_a_place_on(members in proptest::collection::btree_set(0usize..200, 0..20), start in 0usize..200) {
        let mut set = PeerSet::new(200);
        for &peer in &members {
            set.insert(peer);
        }
        let expected = members.range(start..).next().or_else(|| members.iter().next()).copied();
        prop_assert_eq!(set.next_from(start), expected);
        let first = members.iter().next().copied();
        if let Some(first) = first {
            set.remove(first);
            let rest: BTreeSet<_> = members.iter().copied().skip(1).collect();
            prop_assert_eq!(set.next_from(0), rest.iter().next().copied());
        }
        prop_assert_eq!(set.is_empty(), members.len() <= 1);
    }

    #[test]
    fn every_hash_has_an_owner_and_hashes_in_order_have_owners_in_order(one: u64, other: u64, cores in 1u16..) {
        let (low, high) = (owner_of(one.min(other), cores), owner_of(one.max(other), cores));
        prop_assert!(low <= high && high < Peer::Core(cores));
    }
}

#[test]
fn owners_own_equal_shares() {
    let cores = 7;
    let mut shares = [0u32; 7];
    for step in 0..70_000u64 {
        let Peer::Core(owner) = owner_of(step * (u64::MAX / 70_000), cores) else { panic!("control owns nothing") };
        shares[usize::from(owner)] += 1;
    }
    assert!(shares.iter().all(|&share| share.abs_diff(10_000) <= 1), "{shares:?}");
}

#[test]
fn a_batch_whose_source_panics_shows_what_came_before() {
    let (mut sender, mut receiver) = spsc::channel(8);
    let mut source = (0..5).map(|number| if number < 3 { number } else { panic!("no more") });
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sender.push_from(&mut source)));
    assert!(result.is_err());
    assert_eq!(receiver.pop_chunk(8).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn messages_between_threads_arrive_once_and_in_order() {
    const COUNT: u64 = 200_000;
    let (mut sender, mut receiver) = spsc::channel(64);
    let thread = thread::spawn(move || {
        let mut numbers = (0..COUNT).peekable();
        while numbers.peek().is_some() {
            // Singly and in batches in turn.
            if sender.push_from(&mut numbers.by_ref().take(10)) == 0 {
                thread::yield_now();
            }
            for number in numbers.by_ref() {
                let mut message = number;
                while let Err(error) = sender.push(message) {
                    message = error.into_inner();
                    thread::yield_now();
                }
                if number % 10 == 0 {
                    break;
                }
            }
        }
    });
    let mut next = 0;
    while next < COUNT {
        for number in receiver.pop_chunk(7) {
            assert_eq!(number, next);
            next += 1;
        }
        if receiver.is_empty() {
            thread::yield_now();
        }
    }
    thread.join().unwrap();
    assert!(receiver.is_ended());
}

#[test]
fn messages_of_several_threads_arrive_once_and_in_order_of_each() {
    const COUNT: u64 = 50_000;
    let (sender, mut receiver) = mpsc::channel(16);
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for number in 0..COUNT {
                    while sender.push((thread, number)).is_err() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; 3];
    while next != [COUNT; 3] {
        match receiver.pop() {
            Some((thread, number)) => {
                assert_eq!(number, next[thread as usize]);
                next[thread as usize] += 1;
            }
            None => thread::yield_now(),
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn an_end_may_be_moved_but_needs_no_message_that_is_sync() {
    fn is_send<T: Send>(_: &T) {}
    let (sender, receiver) = spsc::channel(1);
    is_send(&sender);
    is_send(&receiver);
    // Cell is Send and not Sync.
    let mut sender: spsc::Sender<std::cell::Cell<u8>> = sender;
    sender.push(std::cell::Cell::new(1)).unwrap();
}
