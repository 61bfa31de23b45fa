//! Control's port.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{KINDS, capacity, on_threads, small};
use crate::engine::{Engine, run};
use crate::mesh::{Mesh, Peer, Port, Seat, SendError, Spokes};

#[test]
fn control_and_cores_wake_each_other() {
    for kind in KINDS {
        let mut mesh = Mesh::<u32>::new(2, capacity(4));
        let seat = std::mem::replace(&mut mesh.control, Mesh::new(0, capacity(1)).control);
        let scenario = |core: u16, engine: Engine, seat: Seat<u32>| async move {
            let port = seat.attach(&engine).unwrap();
            loop {
                let (from, number) = port.receive().await;
                assert_eq!(from, Peer::Control);
                if number == 0 {
                    return;
                }
                port.send(Peer::Control, number * 10 + u32::from(core)).unwrap();
            }
        };
        let cores = thread::spawn(move || on_threads(kind, &small(), mesh, &Arc::new(scenario)));
        let mut control = seat.into_control();
        assert_eq!(control.cores(), 2);
        for number in 1..200 {
            for core in 0..2 {
                control.send(Peer::Core(core), number).unwrap();
            }
            let mut answers = [0; 2];
            for answer in &mut answers {
                *answer = control.receive(None).unwrap().1;
            }
            answers.sort_unstable();
            assert_eq!(answers, [number * 10, number * 10 + 1]);
        }
        for core in 0..2 {
            control.send(Peer::Core(core), 0).unwrap();
        }
        cores.join().unwrap();
        assert!((0..2).all(|core| control.is_ended(Peer::Core(core))));
    }
}

#[test]
fn control_waits_as_long_as_it_is_told() {
    let mut control = Mesh::<u32>::new(1, capacity(4)).control.into_control();
    assert_eq!(control.receive(Some(Duration::ZERO)), None);
    assert_eq!(control.receive(Some(Duration::from_millis(3))), None);
    assert_eq!(control.try_receive(), None);
}

#[test]
fn whoever_unparks_control_ends_its_wait() {
    let control = Mesh::<u32>::new(1, capacity(4)).control.into_control();
    let waiting = thread::current();
    let other = thread::spawn(move || waiting.unpark());
    control.wait(None);
    other.join().unwrap();
}

#[test]
fn control_is_rung_once_for_each_sleep_and_never_while_it_is_awake() {
    let mut spokes = Spokes::<(), u32>::new(1, 1, 4);
    let mut control = spokes.control.into_control();
    let mut core = spokes.cores.remove(0).into_control();
    // Awake: nobody rings, and a wait ends at once.
    core.send(Peer::Control, 1).unwrap();
    assert_eq!(core.stats().doorbells, 0);
    control.wait(None);
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 1)));
    assert_eq!(control.try_receive(), None);
    // About to sleep: one ring, however many messages.
    assert!(control.is_about_to_sleep());
    core.send(Peer::Control, 2).unwrap();
    core.send(Peer::Control, 3).unwrap();
    assert_eq!(core.stats().doorbells, 1);
    thread::park();
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 2)));
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 3)));
    assert_eq!(control.try_receive(), None);
}

#[test]
fn control_says_one_thing_and_hears_another_and_cores_have_no_way_to_each_other() {
    type Core = Seat<String, u32>;
    for kind in KINDS {
        let Spokes { cores, control } = Spokes::<u32, String>::new(2, 2, 2);
        let scenario = |engine: Engine, seat: Core| async move {
            let port: Port<String, u32> = seat.attach(&engine).unwrap();
            let (own, other) = (port.own(), Peer::Core(u16::from(port.own() == Peer::Core(0))));
            assert!(matches!(port.send(other, String::new()), Err(SendError::Ended(_))));
            assert_eq!((port.is_ended(other), port.capacity(other), port.capacity(Peer::Control)), (true, 0, 2));
            loop {
                match port.receive().await {
                    (Peer::Control, 0) => return,
                    (from, number) => port.send_when_room(from, format!("{own:?} {number}")).await.unwrap(),
                }
            }
        };
        let start = |seat| thread::spawn(move || run(kind, &small(), |engine| scenario(engine, seat)).unwrap());
        let threads: Vec<_> = cores.into_iter().map(start).collect();
        let mut control = control.into_control();
        for core in 0..2 {
            let mut unsent: std::collections::VecDeque<u32> = (1..100).chain([0]).collect();
            let mut heard = Vec::new();
            while heard.len() < 99 || !unsent.is_empty() {
                // What does not fit is sent when there is room.
                while let Some(&next) = unsent.front() {
                    match control.send(Peer::Core(core), next) {
                        Ok(()) => _ = unsent.pop_front(),
                        Err(_) if control.want_room(Peer::Core(core)) => {}
                        Err(_) => break,
                    }
                }
                match control.try_receive() {
                    Some((from, said)) => heard.push((from, said)),
                    None => control.wait(None),
                }
            }
            let wanted = (1..100).map(|number| (Peer::Core(core), format!("{:?} {number}", Peer::Core(core))));
            assert_eq!(heard, wanted.collect::<Vec<_>>());
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!((0..2).all(|core| control.is_ended(Peer::Core(core))));
    }
}
