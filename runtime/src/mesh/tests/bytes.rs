//! Byte strings through a ring of blocks.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::mesh::bytes::channel;

/// Bytes that a string of this length takes of a ring.
fn taken(length: usize) -> usize {
    (length + 4).div_ceil(64) * 64
}

proptest! {
    #[test]
    fn it_is_a_bounded_queue_of_strings(
        capacity in 1usize..2000,
        spare in 0usize..200,
        steps in proptest::collection::vec(proptest::option::of(0usize..700), 0..200),
    ) {
        let (mut sender, mut receiver) = channel(capacity);
        prop_assert!(sender.capacity() >= capacity);
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let mut string = b"what was there before".to_vec();
        for (at, step) in steps.into_iter().enumerate() {
            let Some(length) = step else {
                let expected = model.pop_front();
                prop_assert_eq!(receiver.pop(&mut string), expected.is_some());
                prop_assert_eq!(&string, &expected.unwrap_or_default());
                continue;
            };
            let bytes: Vec<u8> = (0..length).map(|byte| (byte * 7 + at) as u8).collect();
            let used: usize = model.iter().map(|string| taken(string.len())).sum();
            let fits = used + taken(length) + spare.div_ceil(64) * 64 <= sender.capacity();
            prop_assert_eq!(sender.push(&bytes, spare), fits);
            if fits {
                model.push_back(bytes);
            }
        }
        drop(sender);
        while let Some(expected) = model.pop_front() {
            prop_assert!(!receiver.is_ended());
            prop_assert!(receiver.pop(&mut string));
            prop_assert_eq!(&string, &expected);
        }
        prop_assert!(receiver.is_ended());
    }
}

#[test]
fn strings_arrive_whole_and_in_order_from_another_thread() {
    const COUNT: u32 = 50_000;
    let (mut sender, mut receiver) = channel(4096);
    let string = |number: u32| number.to_le_bytes().repeat(1 + number as usize % 90);
    let thread = std::thread::spawn(move || {
        for number in 0..COUNT {
            while !sender.push(&string(number), 0) {
                std::thread::yield_now();
            }
        }
    });
    let (mut next, mut found) = (0, Vec::new());
    while !receiver.is_ended() {
        if receiver.pop(&mut found) {
            assert_eq!(found, string(next));
            next += 1;
        } else {
            std::thread::yield_now();
        }
    }
    assert_eq!(next, COUNT);
    thread.join().unwrap();
}

#[test]
fn nothing_goes_to_a_receiver_that_has_ended() {
    let (mut sender, receiver) = channel(4096);
    assert!(sender.push(b"taken", 0));
    drop(receiver);
    assert!(!sender.push(b"not taken", 0));
}
