//! Ports of cores.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{KINDS, capacity, on_every_engine, on_threads, small};
use crate::engine::{BusyPoll, Config, Engine, EngineKind, run};
use crate::mesh::{Mesh, Peer, Port, Seat, SendError};

/// Sends numbers to a peer, as fast as there is room.
fn send_numbers(engine: &Engine, port: &Port<u32>, to: Peer, count: u32) {
    let port = port.clone();
    engine.spawn(async move {
        for number in 0..count {
            port.send_when_room(to, number).await.unwrap();
        }
    });
}

#[test]
fn messages_between_all_cores_come_in_order_and_once() {
    const COUNT: u32 = 1000;
    on_every_engine(3, capacity(8), |_, engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        // To itself too.
        for core in 0..port.cores() {
            send_numbers(&engine, &port, Peer::Core(core), COUNT);
        }
        let mut next = [0; 3];
        while next != [COUNT; 3] {
            let (from, number) = port.receive().await;
            let Peer::Core(from) = from else { panic!("control sent nothing") };
            assert_eq!(number, next[usize::from(from)]);
            next[usize::from(from)] += 1;
        }
        // What was sent is received even if its core has ended by then.
        while port.stats().sent < u64::from(3 * COUNT) {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(port.stats().received, u64::from(3 * COUNT));
    });
}

#[test]
fn a_core_that_waits_for_nothing_else_is_woken() {
    const ROUNDS: u32 = 300;
    on_every_engine(2, capacity(1), |core, engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        for round in 0..ROUNDS {
            if core == 0 {
                port.send(Peer::Core(1), round).unwrap();
            }
            assert_eq!(port.receive().await, (Peer::Core(1 - core), round));
            if core == 1 {
                port.send(Peer::Core(0), round).unwrap();
            }
        }
        assert!(port.stats().doorbells <= u64::from(ROUNDS));
    });
}

#[test]
fn a_core_that_is_awake_is_not_rung() {
    let polling = Config { busy_poll: BusyPoll::Always, ..small() };
    let scenario = |core, engine: Engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        for round in 0..300 {
            if core == 0 {
                port.send(Peer::Core(1), round).unwrap();
            }
            assert_eq!(port.receive().await.1, round);
            if core == 1 {
                port.send(Peer::Core(0), round).unwrap();
            }
        }
        assert_eq!(port.stats().doorbells, 0);
    };
    on_threads(EngineKind::Ring, &polling, Mesh::new(2, capacity(1)), &Arc::new(scenario));
}

#[test]
fn what_is_sent_within_a_turn_rings_at_most_once() {
    let scenario = |core, engine: Engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        for _ in 0..50 {
            if core == 0 {
                (0..32).for_each(|number| port.send(Peer::Core(1), number).unwrap());
                port.receive().await;
            } else {
                for _ in 0..32 {
                    port.receive().await;
                }
                port.send(Peer::Core(0), 0).unwrap();
            }
        }
        let stats = port.stats();
        assert!(stats.doorbells <= 50, "{stats:?}");
    };
    on_threads(EngineKind::Ring, &small(), Mesh::new(2, capacity(32)), &Arc::new(scenario));
}

#[test]
fn a_full_ring_says_so_and_gives_the_message_back() {
    on_every_engine(2, capacity(4), |core, engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        if core == 0 {
            let to = Peer::Core(1);
            for number in 0..port.capacity(to) as u32 {
                port.send(to, number).unwrap();
            }
            assert!(matches!(port.send(to, 99), Err(SendError::Full(99))));
            assert!(!port.send_or_drop(to, 98));
            assert_eq!((port.stats().sent, port.stats().full, port.stats().dropped), (4, 2, 1));
            // The other way is free: ask for room.
            assert_eq!(port.receive().await.1, 1000);
            port.send_when_room(to, 4).await.unwrap();
            assert_eq!(port.receive().await.1, 1001);
        } else {
            // Not one is taken before the ring is known to be full.
            engine.sleep(Duration::from_millis(20)).await;
            port.send(Peer::Core(0), 1000).unwrap();
            for number in 0..5 {
                assert_eq!(port.receive().await.1, number);
            }
            port.send(Peer::Core(0), 1001).unwrap();
        }
    });
}

#[test]
fn a_peer_that_ends_is_told_to_whoever_sends_or_waits_for_room() {
    on_every_engine(2, capacity(4), |core, engine, seat: Seat<Arc<()>>| async move {
        let port = seat.attach(&engine).unwrap();
        if core == 1 {
            port.receive().await;
            return;
        }
        let to = Peer::Core(1);
        let message = Arc::new(());
        // The other one ends as soon as it has one, which may be before all are sent.
        while port.send(to, message.clone()).is_ok() {}
        // There may be room for one more; then it waits for room that never comes.
        while let Ok(()) = port.send_when_room(to, message.clone()).await {}
        assert!(port.is_ended(to));
        assert!(matches!(port.send(to, message.clone()), Err(SendError::Ended(_))));
        assert!(matches!(port.send_when_room(to, message.clone()).await, Err(SendError::Ended(_))));
        assert!(matches!(port.send(Peer::Core(7), message.clone()), Err(SendError::Ended(_))), "it never was");
        assert!(matches!(port.send(Peer::Control, message.clone()), Err(SendError::Ended(_))), "nobody took the seat");
        // All that was sent is dropped, at the latest with the last port.
        drop(port);
        while Arc::strong_count(&message) > 1 {
            engine.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn messages_wait_for_a_seat_that_is_taken_late() {
    on_every_engine(2, capacity(4), |core, engine, seat: Seat<u32>| async move {
        if core == 1 {
            engine.sleep(Duration::from_millis(20)).await;
        }
        let port = seat.attach(&engine).unwrap();
        if core == 0 {
            port.send(Peer::Core(1), 5).unwrap();
        }
        assert_eq!(port.receive().await.1, 5);
        if core == 1 {
            port.send(Peer::Core(0), 5).unwrap();
        }
    });
}

#[test]
fn a_flood_of_messages_leaves_the_other_tasks_their_turns() {
    on_every_engine(1, capacity(1024), |_, engine, seat: Seat<u32>| async move {
        let port = seat.attach(&engine).unwrap();
        let own = port.own();
        (0..1024).for_each(|number| port.send(own, number).unwrap());
        let (turns, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (count, end) = (turns.clone(), done.clone());
        engine.spawn(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            if end.get() { Poll::Ready(()) } else { Poll::Pending }
        }));
        for number in 0..4096 {
            assert_eq!(port.receive().await, (own, number));
            // There is always a next one.
            let _ = port.send(own, number + 1024);
        }
        done.set(true);
        assert!(turns.get() >= 4096 / 256 / 2, "{} turns", turns.get());
    });
}

#[test]
fn a_busy_peer_does_not_keep_the_others_waiting() {
    for kind in KINDS {
        run(kind, &small(), |engine| async move {
            let mut mesh = Mesh::<u32>::new(3, capacity(256));
            let ports: Vec<_> = mesh.cores.drain(..).map(|seat| seat.attach(&engine).unwrap()).collect();
            for number in 0..256 {
                ports[1].send(Peer::Core(0), number).unwrap();
            }
            ports[2].send(Peer::Core(0), 1000).unwrap();
            let mut before = 0;
            while ports[0].receive().await.0 == Peer::Core(1) {
                before += 1;
            }
            assert!(before < 100, "{before} messages of one peer before the first of the other");
        })
        .unwrap();
    }
}

#[test]
fn a_future_that_gives_up_waiting_for_room_leaves_nothing_behind() {
    run(EngineKind::Ring, &small(), |engine| async move {
        let mut mesh = Mesh::<u32>::new(1, capacity(1));
        let port = mesh.cores.remove(0).attach(&engine).unwrap();
        port.send(Peer::Core(0), 0).unwrap();
        for _ in 0..100 {
            let mut send = Box::pin(port.send_when_room(Peer::Core(0), 1));
            assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(port.waiting(), 0);
    })
    .unwrap();
}
