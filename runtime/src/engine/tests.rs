//! What every engine must do, on real sockets.

pub(super) mod ends;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::sim::{Faults, explore};
use super::{BusyPoll, Config, Engine, EngineKind, Listener, Stream, run};
use crate::buffer::Lease;
use crate::clock::Instant;
use crate::core::Pulse;
use crate::net::{Access, Address, ListenSpec, Placement, Remote, UnixName, bind_for_cores, bind_unix};

#[cfg(feature = "glommio")]
const KINDS: [EngineKind; 2] = [EngineKind::Ring, EngineKind::Glommio];
#[cfg(not(feature = "glommio"))]
const KINDS: [EngineKind; 1] = [EngineKind::Ring];

/// Seeds of simulated worlds that each test tries.
const SEEDS: u64 = 8;

fn small() -> Config {
    Config { buffers: 16, buffer_size: 4096, read_ahead: 8192, ..Config::default() }
}

pub(super) fn listen(engine: &Engine) -> (SocketAddr, Listener) {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = engine.listen(address).unwrap();
    (listener.local_address().unwrap(), listener)
}

/// Runs `scenario` over every engine: the real ones, and simulated worlds, calm and rough.
pub(super) fn over_every_engine<F: Future<Output = ()> + 'static>(scenario: impl Fn(Engine) -> F) {
    for kind in KINDS {
        println!("over {kind:?}");
        run(kind, &small(), &scenario).unwrap();
    }
    for faults in [Faults::default(), Faults::rough()] {
        explore(0..SEEDS, |world| {
            world.set_faults(faults.clone());
            let engine = world.node_with("one", &small()).unwrap();
            world.run(scenario(engine)).unwrap();
        });
    }
}

/// Runs `scenario` over two connected streams: of the network of every engine, and a pair of it.
fn over_connected<F: Future<Output = ()> + 'static>(scenario: impl Fn(Engine, Stream, Stream) -> F + Clone + 'static) {
    over_every_engine(move |engine| {
        let scenario = scenario.clone();
        async move {
            let (address, listener) = listen(&engine);
            let outgoing = engine.connect(address).await.unwrap();
            let (incoming, peer) = listener.accept().await.unwrap();
            assert!(peer.ip().unwrap().is_loopback());
            scenario(engine.clone(), outgoing, incoming).await;
            let (one, other) = engine.pair(1000, None);
            scenario(engine.clone(), one, other).await;
            let (one, other) = engine.pair(0, None);
            scenario(engine, other, one).await;
        }
    });
}

async fn echo(stream: &Stream) -> io::Result<()> {
    while let Some(lease) = stream.read().await? {
        stream.with_outbox(|out| out.push(lease));
        stream.flush();
        poll_fn(|cx| stream.poll_unsent_at_most(cx, 16 * 1024)).await?;
    }
    stream.drained().await?;
    stream.shut_down_write()
}

/// Runs an echo server beside `client`, which runs on a thread of its own, until that is done.
fn with_echo<R: Send + 'static>(
    kind: EngineKind,
    config: &Config,
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
) -> R {
    run(kind, config, |engine| async move {
        let (address, listener) = listen(&engine);
        let inner = engine.clone();
        engine.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                inner.spawn(async move { drop(echo(&stream).await) });
            }
        });
        join(move || client(address)).await
    })
    .unwrap()
}

/// Waits for a thread through a waker, as anything outside the core must.
async fn join<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let state = std::sync::Arc::new(std::sync::Mutex::new((None, None::<std::task::Waker>)));
    let inner = state.clone();
    let handle = thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let mut state = inner.lock().unwrap();
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    let result = poll_fn(|cx| {
        let mut state = state.lock().unwrap();
        if let Some(result) = state.0.take() {
            return std::task::Poll::Ready(result);
        }
        state.1 = Some(cx.waker().clone());
        std::task::Poll::Pending
    })
    .await;
    handle.join().unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Sends `bytes` while it reads the echo, and returns what came back.
fn round_trip(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        back
    })
}

#[test]
fn bytes_come_back_as_they_were() {
    for kind in KINDS {
        with_echo(kind, &small(), |address| {
            for len in [0, 1, 100, 4096, 4097, 100_000, 3_000_000] {
                let bytes = pattern(len);
                assert_eq!(round_trip(address, &bytes), bytes, "{len} bytes");
            }
        });
    }
}

#[test]
fn many_streams_share_few_buffers() {
    for kind in KINDS {
        with_echo(kind, &Config { buffers: 4, ..small() }, |address| {
            let threads: Vec<_> = (0..16)
                .map(|_| thread::spawn(move || assert_eq!(round_trip(address, &pattern(300_000)), pattern(300_000))))
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

#[test]
fn queues_of_a_few_entries_lose_nothing() {
    for kind in KINDS {
        with_echo(kind, &Config { submission_entries: 2, direct_descriptors: 3, ..small() }, |address| {
            let mut streams: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
            for turn in 0..20u8 {
                for stream in &mut streams {
                    stream.write_all(&[turn; 100]).unwrap();
                }
                for stream in &mut streams {
                    let mut back = [0; 100];
                    stream.read_exact(&mut back).unwrap();
                    assert_eq!(back, [turn; 100]);
                }
            }
        });
    }
}

#[test]
fn short_connections_leave_nothing_behind() {
    for kind in KINDS {
        let left = run(kind, &small(), |engine| async move {
            let (address, listener) = listen(&engine);
            let inner = engine.clone();
            engine.spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    inner.spawn(async move { drop(echo(&stream).await) });
                }
            });
            join(move || {
                for turn in 0..2000u32 {
                    let mut stream = TcpStream::connect(address).unwrap();
                    match turn % 4 {
                        0 => {
                            stream.write_all(b"ping").unwrap();
                            stream.shutdown(std::net::Shutdown::Write).unwrap();
                            let mut back = Vec::new();
                            stream.read_to_end(&mut back).unwrap();
                            assert_eq!(back, b"ping");
                        }
                        1 => stream.write_all(b"and gone").unwrap(),
                        2 => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
                        _ => {}
                    }
                }
            })
            .await;
            // The last ones end when their end has been seen.
            while engine.stats().streams > 0 {
                engine.sleep(Duration::from_millis(1)).await;
            }
            (engine.stats().streams, engine.pool().leased())
        })
        .unwrap();
        assert_eq!(left, (0, 0));
    }
}

#[test]
fn a_sender_that_is_not_read_is_held_back() {
    for kind in KINDS {
        let (sent, held) = run(kind, &small(), |engine| async move {
            let (address, listener) = listen(&engine);
            let client = thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
                let chunk = vec![7; 64 * 1024];
                let mut sent = 0usize;
                // Far more than the socket buffers take.
                while sent < 64 << 20 {
                    match stream.write(&chunk) {
                        Ok(count) => sent += count,
                        Err(_) => break,
                    }
                }
                (sent, stream)
            });
            let (stream, _) = listener.accept().await.unwrap();
            // Bytes may be there already.
            let _ = stream.watch();
            let (sent, client) = join(move || client.join().unwrap()).await;
            drop(client);
            let held = engine.pool().leased();
            let mut read = 0;
            while let Ok(Some(lease)) = stream.read().await {
                read += lease.len();
            }
            assert_eq!(read, sent, "what was held back arrives in the end");
            (sent, held)
        })
        .unwrap();
        assert!(sent < 64 << 20, "{kind:?}: the sender was never held back");
        assert!(held <= 16, "{kind:?}: {held} buffers held");
    }
}

#[test]
fn a_refused_connect_is_an_error() {
    over_every_engine(|engine| async move {
        let (address, listener) = listen(&engine);
        drop(listener);
        // Until the listener's last completion the port may still answer.
        let error = loop {
            match engine.connect(address).await {
                Err(error) => break error,
                Ok(_) => engine.sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn tasks_dropped_at_every_stage_leave_nothing_behind() {
    over_every_engine(|engine| async move {
        let (address, listener) = listen(&engine);
        let accepted = Rc::new(Cell::new(0));
        let (count, inner) = (accepted.clone(), engine.clone());
        engine.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                inner.spawn(async move { drop(echo(&stream).await) });
            }
        });
        for polls in 0..40 {
            let inner = engine.clone();
            let mut work = Box::pin(async move {
                let stream = inner.connect(address).await?;
                for _ in 0..4 {
                    stream.with_outbox(|out| out.write(|bytes| bytes.resize(bytes.len() + 60_000, 1)));
                    stream.flush();
                    let mut back = 0;
                    while back < 60_000 {
                        back += stream.read().await?.map_or(usize::MAX, |lease| lease.len());
                    }
                }
                io::Result::Ok(())
            });
            // Polls it that many times, then drops it wherever it is.
            let mut left = polls;
            poll_fn(|cx| {
                if left == 0 || work.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(());
                }
                left -= 1;
                std::task::Poll::Pending
            })
            .await;
        }
        assert!(accepted.get() > 0);
        while engine.stats().streams > 0 {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(engine.pool().leased(), 0);
    });
}

#[test]
fn sleeping_tasks_wake_in_order_and_not_early() {
    over_every_engine(|engine| async move {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let start = engine.now();
        let done = Rc::new(Cell::new(0));
        for time in [30u64, 10, 20] {
            let (inner, order, done) = (engine.clone(), order.clone(), done.clone());
            engine.spawn(async move {
                inner.sleep(Duration::from_millis(time)).await;
                assert!(inner.now().since(start) >= Duration::from_millis(time));
                order.borrow_mut().push(time);
                done.set(done.get() + 1);
            });
        }
        while done.get() < 3 {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(order.take(), [10, 20, 30]);
    });
}

#[test]
fn what_was_flushed_goes_out_though_its_owner_does_nothing() {
    over_connected(|engine, outgoing, incoming| async move {
        // More than the sockets' buffers hold; a simulated one holds less.
        let bytes = pattern(if matches!(engine.0, super::Kind::Sim(_)) { 400_000 } else { 16 << 20 });
        outgoing.with_outbox(|out| out.write(|out| out.extend_from_slice(&bytes)));
        outgoing.flush();
        let mut seen = Vec::new();
        while seen.len() < bytes.len() {
            seen.extend_from_slice(&incoming.read().await.unwrap().unwrap());
        }
        assert!(seen == bytes, "the bytes differ");
        assert_eq!(outgoing.unsent(), 0);
    });
}

#[test]
fn what_is_flushed_in_one_turn_goes_out_together() {
    run(EngineKind::Ring, &small(), |engine| async move {
        let (address, listener) = listen(&engine);
        let outgoing = engine.connect(address).await.unwrap();
        let (incoming, _) = listener.accept().await.unwrap();
        // More turns than a stream sends by a plain descriptor.
        for _ in 0..8 {
            for piece in [b"one", b"two"] {
                outgoing.with_outbox(|out| out.push(Lease::copied(piece)));
                outgoing.flush();
            }
            assert_eq!(&*incoming.read().await.unwrap().unwrap(), b"onetwo");
        }
        // What was flushed in the turn of its end does, too.
        outgoing.with_outbox(|out| out.push(Lease::copied(b"last")));
        outgoing.flush();
        drop(outgoing);
        assert_eq!(&*incoming.read().await.unwrap().unwrap(), b"last");
        assert!(incoming.read().await.unwrap().is_none());
    })
    .unwrap();
}

#[test]
fn both_ends_send_at_once_and_each_gets_what_the_other_wrote() {
    over_connected(|engine, outgoing, incoming| async move {
        let engine = &engine;
        let talk = |stream: Stream, odd: u8| async move {
            let bytes: Vec<u8> = pattern(100_000).iter().map(|byte| byte ^ odd).collect();
            let mut seen = Vec::new();
            let mut sent = 0;
            while sent < bytes.len() || seen.len() < bytes.len() {
                // Pieces that are copied and pieces that are read from where they are.
                while sent < bytes.len() && stream.unsent() < 5000 {
                    let piece = &bytes[sent..(sent + 1 + sent % 4000).min(bytes.len())];
                    stream.with_outbox(|out| out.push(Lease::copied(piece)));
                    stream.flush();
                    sent += piece.len();
                }
                if seen.len() < bytes.len() {
                    let (mut lease, mut has_room) = (None, sent == bytes.len());
                    poll_fn(|cx| {
                        if let std::task::Poll::Ready(read) = stream.poll_read(cx) {
                            lease = read.unwrap();
                        } else if !has_room {
                            has_room = stream.poll_unsent_at_most(cx, 4999).is_ready();
                        }
                        let is_over = lease.is_some() || (has_room && sent < bytes.len());
                        if is_over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                    })
                    .await;
                    seen.extend(lease.iter().flat_map(|lease| lease.to_vec()));
                } else {
                    poll_fn(|cx| stream.poll_unsent_at_most(cx, 4999)).await.unwrap();
                }
            }
            stream.drained().await.unwrap();
            (bytes, seen)
        };
        let result = Rc::new(std::cell::RefCell::new(None));
        let told = result.clone();
        engine.spawn(async move { *told.borrow_mut() = Some(talk(incoming, 0x55).await) });
        let (wrote, saw) = talk(outgoing, 0).await;
        while result.borrow().is_none() {
            engine.sleep(Duration::from_millis(1)).await;
        }
        let (other_wrote, other_saw) = result.take().unwrap();
        assert!(saw == other_wrote && other_saw == wrote);
    });
}

#[test]
fn a_pair_holds_its_writer_back_and_lets_it_go_on() {
    over_every_engine(|engine| async move {
        let (one, other) = engine.pair(1000, None);
        let write = |bytes: usize| one.with_outbox(|out| out.write(|out| out.resize(out.len() + bytes, 7)));
        write(600);
        assert_eq!(one.unsent(), 600, "what is not flushed is not sent");
        one.flush();
        assert_eq!(one.unsent(), 0);
        write(3000);
        one.flush();
        assert_eq!(one.unsent(), 2600);
        let (waits, told) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
        let (is_over, seen) = (waits.clone(), told.clone());
        engine.spawn(async move {
            poll_fn(|cx| one.poll_unsent_at_most(cx, 500)).await.unwrap();
            seen.set(one.unsent());
            is_over.set(false);
            poll_fn(|cx| one.poll_unsent_at_most(cx, 0)).await.unwrap();
        });
        engine.sleep(Duration::from_millis(2)).await;
        assert!(waits.get());
        let mut read = 0;
        while let Some(lease) = other.read().await.unwrap() {
            read += lease.len();
        }
        // The writer was dropped when all of it was sent.
        assert_eq!((read, waits.get()), (3600, false));
        assert!(told.get() <= 500);
        assert_eq!((engine.stats().streams, engine.pool().leased()), (0, 0), "a pair is no socket");
        assert!(other.detach().is_err());
        assert!(!poll_fn(|cx| other.poll_still(cx)).await);
    });
}

#[test]
fn random_numbers_differ_from_call_to_call_and_from_core_to_core() {
    let seen = Rc::new(std::cell::RefCell::new(std::collections::BTreeSet::new()));
    let inner = seen.clone();
    let drawn = Rc::new(Cell::new(0));
    let count = drawn.clone();
    for kind in KINDS {
        let (inner, count) = (inner.clone(), count.clone());
        run(kind, &small(), |engine| async move {
            for _ in 0..100 {
                inner.borrow_mut().insert(engine.random());
                count.set(count.get() + 1);
            }
        })
        .unwrap();
    }
    assert_eq!(seen.borrow().len(), drawn.get());
}

#[test]
fn tasks_end_with_their_engine_and_so_do_those_they_spawn() {
    struct CountDrop(Rc<Cell<u32>>, Option<Engine>);
    impl Drop for CountDrop {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if let Some(engine) = self.1.take() {
                let late = CountDrop(self.0.clone(), None);
                engine.spawn(async move {
                    let _late = late;
                    std::future::pending::<()>().await;
                });
            }
        }
    }
    for kind in KINDS {
        let dropped = Rc::new(Cell::new(0));
        let count = dropped.clone();
        run(kind, &small(), |engine| async move {
            for _ in 0..3 {
                let guard = CountDrop(count.clone(), Some(engine.clone()));
                engine.spawn(async move {
                    let _guard = guard;
                    std::future::pending::<()>().await;
                });
            }
            engine.sleep(Duration::from_millis(3)).await;
            assert_eq!(count.get(), 0, "{kind:?}: a task that nobody can wake still lives");
        })
        .unwrap();
        assert_eq!(dropped.get(), 6, "{kind:?}");
        assert_eq!(Rc::strong_count(&dropped), 1, "{kind:?}");
    }
}

#[test]
fn a_core_that_polls_answers_as_well() {
    for kind in KINDS {
        for busy_poll in [BusyPoll::For(Duration::from_micros(200)), BusyPoll::Always] {
            thread::spawn(move || {
                // Glommio spins only where it is pinned.
                crate::core::cpus::pin(crate::core::cpus::allowed().unwrap()[0]).unwrap();
                with_echo(kind, &Config { busy_poll, ..small() }, |address| {
                    assert_eq!(round_trip(address, &pattern(100_000)), pattern(100_000));
                });
            })
            .join()
            .unwrap();
        }
    }
}

#[test]
fn a_core_with_nothing_to_do_does_not_spin() {
    for kind in KINDS {
        run(kind, &small(), |engine| async move {
            let (address, listener) = listen(&engine);
            let (outgoing, accepted) = (engine.connect(address).await.unwrap(), listener.accept().await.unwrap());
            let (start, before) = (Instant::now(), engine.stats());
            engine.sleep(Duration::from_millis(30)).await;
            let turns = engine.stats().turns - before.turns;
            // No turn but those that glommio's tick of a millisecond makes.
            let most = Instant::now().since(start).as_millis() as u64 + 10;
            assert!(turns <= most, "{turns} turns where {most} are enough, over {kind:?}");
            drop((outgoing, accepted));
        })
        .unwrap();
    }
}

#[test]
fn one_turn_tells_of_everything_that_has_come() {
    const STREAMS: usize = 64;
    for kind in KINDS {
        let config = Config { buffers: 256, ..small() };
        run(kind, &config, |engine| async move {
            let (address, listener) = listen(&engine);
            let (mut clients, mut read) = (Vec::new(), Vec::new());
            for _ in 0..STREAMS {
                clients.push(TcpStream::connect(address).unwrap());
                let (stream, _) = listener.accept().await.unwrap();
                let done = Rc::new(Cell::new(false));
                read.push(done.clone());
                engine.spawn(async move {
                    assert_eq!(*stream.read().await.unwrap().unwrap(), *b"x");
                    done.set(true);
                });
            }
            // Everybody waits; then all is sent while the core does nothing else.
            engine.sleep(Duration::from_millis(3)).await;
            for client in &mut clients {
                client.write_all(b"x").unwrap();
            }
            let (start, before) = (Instant::now(), engine.stats().turns);
            while read.iter().any(|done| !done.get()) {
                engine.sleep(Duration::from_millis(1)).await;
            }
            let turns = engine.stats().turns - before;
            let most = 2 * Instant::now().since(start).as_millis() as u64 + 10;
            assert!(turns <= most, "{turns} turns for {STREAMS} streams where {most} are enough, over {kind:?}");
        })
        .unwrap();
    }
}

#[test]
fn a_socket_bound_elsewhere_is_listened_on() {
    for kind in KINDS {
        run(kind, &small(), |engine| async move {
            let spec = ListenSpec { address: "[::1]:0".parse().unwrap(), backlog: 8, placement: Placement::Kernel };
            let (address, mut sockets) = bind_for_cores(&spec, &[0]).unwrap();
            let listener = engine.listen(sockets.remove(0)).unwrap();
            assert_eq!(listener.local_address().unwrap(), address);
            let (_outgoing, accepted) = (engine.connect(address).await.unwrap(), listener.accept().await);
            assert!(accepted.unwrap().1.ip().unwrap().is_ipv6());
        })
        .unwrap();
    }
}

#[test]
fn a_listener_that_stops_gives_what_was_queued_and_resets_nobody() {
    over_every_engine(|engine| async move {
        const QUEUED: usize = 5;
        let (address, listener) = listen(&engine);
        // The first is accepted as ever; so the listener waits for more when it is told to stop.
        let mut clients = vec![engine.connect(address).await.unwrap()];
        let mut served = vec![listener.accept().await.unwrap().0];
        for _ in 0..QUEUED {
            clients.push(engine.connect(address).await.unwrap());
        }
        while let Some((stream, _)) = poll_fn(|cx| listener.poll_queued(cx)).await {
            served.push(stream);
        }
        drop(listener);
        assert_eq!(served.len(), clients.len());
        for (at, stream) in served.iter().enumerate() {
            stream.with_outbox(|out| out.write(|bytes| bytes.push(at as u8)));
            stream.drained().await.unwrap();
        }
        let mut got = Vec::new();
        for client in &clients {
            got.extend_from_slice(&client.read().await.unwrap().unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, (0..=QUEUED as u8).collect::<Vec<_>>());
        assert!(engine.connect(address).await.is_err());
    });
}

#[test]
fn cores_share_a_unix_socket_and_one_that_stops_it_resets_nobody() {
    for kind in KINDS {
        run(kind, &small(), |engine| async move {
            let dir = tempfile::tempdir().unwrap();
            let name = UnixName::new(dir.path().join("a.sock").to_str().unwrap()).unwrap();
            let address = Address::from(name.clone());
            assert_eq!(engine.connect(&address).await.err().unwrap().kind(), io::ErrorKind::NotFound);
            let socket = bind_unix(&name, 64, &Access { mode: 0o600, ..Access::default() }).unwrap();
            let one = engine.listen(socket.try_clone().unwrap()).unwrap();
            let two = engine.listen(socket).unwrap();
            assert!(one.local_address().is_err());
            let outgoing = engine.connect(&address).await.unwrap();
            assert!(outgoing.local_address().is_err());
            let accepted = poll_fn(|cx| match one.poll_accept(cx) {
                Poll::Pending => two.poll_accept(cx),
                ready @ Poll::Ready(_) => ready,
            });
            let (incoming, remote) = accepted.await.unwrap();
            let Remote::Unix(peer) = remote else { panic!("{remote}") };
            assert_eq!((peer.pid, remote.ip()), (std::process::id(), None));
            outgoing.with_outbox(|out| out.write(|bytes| bytes.extend_from_slice(b"hello")));
            outgoing.flush();
            assert_eq!(&*incoming.read().await.unwrap().unwrap(), b"hello");
            // Another core still waits when the first one stops the socket that both have.
            let waiting = Rc::new(Cell::new(0));
            engine.spawn({
                let (waiting, inner) = (waiting.clone(), engine.clone());
                async move {
                    loop {
                        let (stream, _) = two.accept().await.unwrap();
                        waiting.set(waiting.get() + 1);
                        inner.spawn(async move { drop(echo(&stream).await) });
                    }
                }
            });
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.push(engine.connect(&address).await.unwrap());
            }
            let mut served = 0;
            while let Some((stream, _)) = poll_fn(|cx| one.poll_queued(cx)).await {
                served += 1;
                engine.spawn(async move { drop(echo(&stream).await) });
            }
            drop(one);
            for client in &clients {
                client.with_outbox(|out| out.write(|bytes| bytes.push(b'x')));
                client.flush();
                assert_eq!(&*client.read().await.unwrap().unwrap(), b"x");
            }
            assert_eq!(served + waiting.get(), clients.len(), "over {kind:?}");
            assert_eq!(engine.connect(&address).await.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
            let before = engine.stats().turns;
            for _ in 0..20 {
                engine.sleep(Duration::from_millis(1)).await;
            }
            let turns = engine.stats().turns - before;
            assert!(turns < 200, "whoever still waits does not spin: {turns} turns over {kind:?}");
        })
        .unwrap();
    }
}

#[test]
fn others_see_which_task_holds_a_core_and_the_turn_is_told_when_it_ends() {
    for kind in KINDS {
        let pulse = Arc::new(Pulse::default());
        let config = Config { pulse: pulse.clone(), ..small() };
        let longest = run(kind, &config, |engine| async move {
            let longest = Rc::new(Cell::new(0));
            let told = longest.clone();
            engine.observe_turns(move |ns| told.set(told.get().max(ns)));
            let (done, wait) = (Rc::new(Cell::new(0)), engine.clone());
            let held = done.clone();
            engine.spawn({
                let engine = engine.clone();
                async move {
                    engine.label(7);
                    let first = pulse.look();
                    // Another thread looks twice while this one goes nowhere.
                    let watcher = thread::spawn(move || {
                        let (_open, nothing) = mpsc::channel::<()>();
                        nothing.recv_timeout(Duration::from_millis(20)).unwrap_err();
                        (first, pulse.look())
                    });
                    let (first, second) = watcher.join().unwrap();
                    assert_eq!(first, second, "over {kind:?}");
                    assert!(first.turn.is_some() && first.label == 7, "{first:?} over {kind:?}");
                    held.set(1);
                }
            });
            while done.get() == 0 {
                wait.sleep(Duration::from_millis(1)).await;
            }
            // The turn that held it is over at the latest when a later one has slept.
            wait.sleep(Duration::from_millis(5)).await;
            longest.get()
        })
        .unwrap();
        assert!(longest >= 18_000_000, "{longest} ns over {kind:?}");
    }
}
