//! Parts of `micro` about what crosses cores: rings, the mesh, questions and answers.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringway_runtime::engine::{BusyPoll, Config, Engine, EngineKind, run};
use ringway_runtime::mesh::{Call, CallLimits, Calls, Capacity, ControlPort, Mesh, Peer, Seat, mpsc, spsc};

use crate::cli::Error;
use crate::micro::Part;

/// Items in one call of a part that starts threads: so many that starting them does not show.
pub(crate) const MANY: u64 = 1_000_000;
/// The same for round trips.
pub(crate) const TRIPS: u64 = 50_000;
const RING: usize = 1024;
const BATCH: usize = 64;
/// Spins before the CPU is offered to another thread.
const SPINS: u32 = 256;

/// Spins, and now and then lets others run, for machines with fewer free CPUs than threads.
struct Backoff(u32);

impl Backoff {
    fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(SPINS) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// Between two threads, one item at a time.
pub(crate) fn spsc_single() -> Part {
    Box::new(|calls| {
        let items = calls * MANY;
        let (mut sender, mut receiver) = spsc::channel(RING);
        let mut backoff = Backoff(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut backoff = Backoff(0);
                for item in 0..items {
                    while sender.push(item).is_err() {
                        backoff.wait();
                    }
                }
            });
            let mut taken = 0;
            while taken < items {
                match receiver.pop() {
                    Some(_) => taken += 1,
                    None => backoff.wait(),
                }
            }
        });
    })
}

/// Between two threads, in batches.
pub(crate) fn spsc_batched() -> Part {
    Box::new(|calls| {
        let items = calls * MANY;
        let (mut sender, mut receiver) = spsc::channel(RING);
        let mut backoff = Backoff(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                let (mut numbers, mut left, mut backoff) = (0.., items, Backoff(0));
                while left > 0 {
                    let batch = left.min(BATCH as u64) as usize;
                    match sender.push_from(&mut numbers.by_ref().take(batch)) {
                        0 => backoff.wait(),
                        pushed => left -= pushed as u64,
                    }
                }
            });
            let (mut taken, mut sum) = (0, 0u64);
            while taken < items {
                let chunk = receiver.pop_chunk(BATCH);
                if chunk.len() == 0 {
                    drop(chunk);
                    backoff.wait();
                } else {
                    taken += chunk.len() as u64;
                    sum = chunk.fold(sum, u64::wrapping_add);
                }
            }
            std::hint::black_box(sum);
        });
    })
}

/// The same ring, both ends on one thread: what it costs when no cache line moves.
pub(crate) fn spsc_one_thread() -> Part {
    let (mut sender, mut receiver) = spsc::channel(RING);
    Box::new(move |items| {
        let (mut left, mut sum) = (items, 0u64);
        while left > 0 {
            let batch = left.min(BATCH as u64);
            sender.push_from(&mut (0..batch));
            sum = receiver.pop_chunk(BATCH).fold(sum, u64::wrapping_add);
            left -= batch;
        }
        std::hint::black_box(sum);
    })
}

/// Two senders on threads of their own, one receiver.
pub(crate) fn mpsc_two_senders() -> Part {
    Box::new(|calls| {
        let items = calls * MANY;
        let (sender, mut receiver) = mpsc::channel(RING);
        let mut backoff = Backoff(0);
        thread::scope(|scope| {
            for share in [items / 2, items - items / 2] {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut backoff = Backoff(0);
                    for item in 0..share {
                        while sender.push(item).is_err() {
                            backoff.wait();
                        }
                    }
                });
            }
            let mut taken = 0;
            while taken < items {
                match receiver.pop() {
                    Some(_) => taken += 1,
                    None => backoff.wait(),
                }
            }
        });
    })
}

/// The machine's bound of a round trip: one line goes to another thread and comes back.
pub(crate) fn line_round_trip() -> Part {
    Box::new(|calls| {
        let trips = calls * TRIPS;
        let line = Arc::new(AtomicU64::new(0));
        let other = line.clone();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut backoff = Backoff(0);
                for trip in 0..trips {
                    while other.load(Ordering::Acquire) != 2 * trip + 1 {
                        backoff.wait();
                    }
                    other.store(2 * trip + 2, Ordering::Release);
                }
            });
            let mut backoff = Backoff(0);
            for trip in 0..trips {
                line.store(2 * trip + 1, Ordering::Release);
                while line.load(Ordering::Acquire) != 2 * trip + 2 {
                    backoff.wait();
                }
            }
        });
    })
}

/// What control tells a core and a core tells the other.
enum Message {
    /// Make so many round trips.
    Start(u64),
    Ping,
    Done,
    Stop,
}

/// Two cores that wait for control's word. They end with it.
struct Cores {
    control: ControlPort<Message>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Cores {
    fn start<F: Future<Output = ()> + 'static>(
        kind: EngineKind,
        busy_poll: BusyPoll,
        life: impl Fn(Engine, Seat<Message>) -> F + Clone + Send + 'static,
    ) -> Self {
        let mesh = Mesh::new(2, Capacity::default());
        let control = mesh.control.into_control();
        let config = Config { buffers: 4, busy_poll, ..Config::default() };
        let threads = mesh
            .cores
            .into_iter()
            .map(|seat| {
                let (life, config) = (life.clone(), config.clone());
                thread::spawn(move || {
                    // A core that fails is missed by control, which then waits in vain and is told below.
                    if let Err(error) = run(kind, &config, |engine| life(engine, seat)) {
                        eprintln!("a core failed: {error}");
                    }
                })
            })
            .collect();
        Self { control, threads }
    }

    fn part(mut self) -> Result<Part, Error> {
        if !self.round(1) {
            return Err(Error::Failed("the cores do not answer".to_owned()));
        }
        Ok(Box::new(move |trips| _ = self.round(trips)))
    }

    /// Lets the first core work; false when that does not come to an end.
    fn round(&mut self, trips: u64) -> bool {
        let started = self.control.send_or_drop(Peer::Core(0), Message::Start(trips));
        started && matches!(self.control.receive(Some(Duration::from_mins(1))), Some((_, Message::Done)))
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        for core in 0..self.control.cores() {
            self.control.send_or_drop(Peer::Core(core), Message::Stop);
        }
        for thread in self.threads.drain(..) {
            // What a core had to say, it has said.
            let _ = thread.join();
        }
    }
}

/// A message to another core and one back.
pub(crate) fn round_trip(kind: EngineKind, busy_poll: BusyPoll) -> Result<Part, Error> {
    Cores::start(kind, busy_poll, |engine, seat| async move {
        let Ok(port) = seat.attach(&engine) else { return };
        loop {
            match port.receive().await {
                (_, Message::Start(trips)) => {
                    for _ in 0..trips {
                        port.send_or_drop(Peer::Core(1), Message::Ping);
                        if let (_, Message::Stop) = port.receive().await {
                            return;
                        }
                    }
                    port.send_or_drop(Peer::Control, Message::Done);
                }
                (from, Message::Ping) => _ = port.send_or_drop(from, Message::Ping),
                (_, Message::Done | Message::Stop) => return,
            }
        }
    })
    .part()
}

/// A question to the core that owns a key, and its answer; so many at once.
pub(crate) fn ask(busy_poll: BusyPoll, at_once: u64) -> Result<Part, Error> {
    let mut questions = Mesh::<Call<u64, u64>>::new(2, Capacity::default());
    let (second, first) = (questions.cores.pop(), questions.cores.pop());
    let seats = [first, second].map(|seat| Arc::new(std::sync::Mutex::new(seat)));
    Cores::start(EngineKind::Ring, busy_poll, move |engine, seat| {
        let seats = seats.clone();
        async move {
            let Ok(port) = seat.attach(&engine) else { return };
            let own = if port.own() == Peer::Core(0) { &seats[0] } else { &seats[1] };
            let seat = own.lock().ok().and_then(|mut seat| seat.take());
            let limits = CallLimits { deadline: Duration::from_secs(1), ..CallLimits::default() };
            let Some(Ok(calls)) = seat.map(|seat| Calls::attach(seat, &engine, limits, |_, key| key + 1)) else {
                return;
            };
            loop {
                match port.receive().await {
                    (_, Message::Start(questions)) => {
                        let mut left = questions;
                        while left > 0 {
                            let batch = left.min(at_once);
                            let answers: Vec<_> = (0..batch).map(|key| calls.ask(Peer::Core(1), key)).collect();
                            for answer in answers {
                                // A late answer shows in the figure.
                                let _ = answer.await;
                            }
                            left -= batch;
                        }
                        port.send_or_drop(Peer::Control, Message::Done);
                    }
                    _ => return,
                }
            }
        }
    })
    .part()
}
