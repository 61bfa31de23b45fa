//! Control's port.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{KINDS, capacity, on_threads, small};
use crate::engine::Engine;
use crate::mesh::{Mesh, Peer, Seat};

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
        let mut control = seat.into_control().unwrap();
        assert_eq!(control.cores(), 2);
        for number in 1..200 {
            for core in 0..2 {
                control.send(Peer::Core(core), number).unwrap();
            }
            let mut answers = [0; 2];
            for answer in &mut answers {
                *answer = control.receive(None).unwrap().unwrap().1;
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
    let mut control = Mesh::<u32>::new(1, capacity(4)).control.into_control().unwrap();
    assert_eq!(control.receive(Some(Duration::ZERO)).unwrap(), None);
    assert_eq!(control.receive(Some(Duration::from_millis(3))).unwrap(), None);
    assert_eq!(control.try_receive(), None);
}

#[test]
fn the_descriptor_is_readable_when_control_waits_and_a_message_comes() {
    let mut mesh = Mesh::<u32>::new(1, capacity(4));
    let mut control = mesh.control.into_control().unwrap();
    let mut other = mesh.cores.remove(0).into_control().unwrap();
    let readable = |fd: std::os::fd::BorrowedFd<'_>| {
        let mut buffer = [0u8; 8];
        let copy = fd.try_clone_to_owned().unwrap();
        std::io::Read::read(&mut std::fs::File::from(copy), &mut buffer).is_ok()
    };
    assert!(!readable(control.as_fd()));
    // Awake: nobody rings, and whoever is about to wait is told.
    other.send(Peer::Control, 1).unwrap();
    assert_eq!(other.stats().doorbells, 0);
    assert!(!control.prepare_to_wait());
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 1)));
    // Asleep: one ring, however many messages.
    assert!(control.prepare_to_wait());
    other.send(Peer::Control, 2).unwrap();
    other.send(Peer::Control, 3).unwrap();
    assert_eq!(other.stats().doorbells, 1);
    assert!(readable(control.as_fd()));
    control.waited();
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 2)));
    assert_eq!(control.try_receive(), Some((Peer::Core(0), 3)));
    assert_eq!(control.try_receive(), None);
}
