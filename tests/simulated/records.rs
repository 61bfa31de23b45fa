//! What cores tell of requests, to the nanosecond of a clock that the test owns.

use std::collections::BTreeSet;

use ringway::observe::records::{Record, Spans};
use ringway_runtime::engine::sim::{Faults, explore};

use super::rough::{ask, start_with};

#[test]
fn every_request_is_told_once_and_its_stages_are_all_of_its_time() {
    for faults in [Faults::default(), Faults::rough()] {
        explore(0..10, |world| {
            world.set_faults(faults.clone());
            let mut gateway = start_with(world, 2, "[access_log]\nto = \"stdout\"\n");
            let answered: u32 = ask(world, &gateway, 6).borrow().values().sum();
            let records = std::mem::take(&mut gateway.records);
            gateway.drain(world);
            let (mut ids, mut bytes) = (BTreeSet::new(), Vec::new());
            for mut of_core in records {
                while of_core.next(&mut bytes) {
                    let Some(Record::Access(request)) = Record::read(&bytes) else { panic!("something else") };
                    assert!(ids.insert(request.id), "told twice");
                    assert_eq!((request.status, request.attempts, request.texts.reason), (200, 1, &b""[..]));
                    let Spans { total, head, admit, connect, first_byte, answer } = request.took;
                    let stages = [head, admit, connect, first_byte, answer].map(|stage| stage.expect("it was reached"));
                    assert_eq!(stages.iter().sum::<u64>(), total);
                    let length: u64 = String::from_utf8_lossy(request.texts.path)[1..].parse().expect("a length");
                    assert_eq!(request.sent_body, length);
                }
                assert_eq!(of_core.dropped(), 0);
            }
            assert_eq!(ids.len(), answered as usize);
        });
    }
}
