//! Moments in which the machine stood still, and the requests that met none of them.
//!
//! A virtual machine is stopped by its host for milliseconds at a time, whatever runs on it. One request in a hundred that
//! meets such a stop decides the 99th percentile of every server alike. So the CPU of the server is watched by a thread
//! that goes before all others there and sleeps for half a millisecond at a time: when even that comes late, nothing ran.
//! The CPU of the generator is watched by its own loop, none of whose pieces of work takes as long.

use std::collections::VecDeque;
use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::histogram;
use crate::clock::{Clock, nanoseconds};
use crate::companion::Companion;

/// What is late by less is no stop: the kernel itself may keep a CPU to itself for as long as a batch of sends takes.
pub(super) const STOP_NS: u64 = 1_000_000;
/// The watcher's sleep.
const SLEEP: Duration = Duration::from_micros(500);
/// So long after its answer a request is judged: by then the watcher has told of every stop that it met.
const SETTLED_NS: u64 = 100_000_000;
/// Stops kept to be looked at.
const KEPT: usize = 64;

/// From when on something stood still, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    start: u64,
    end: u64,
}

impl Stop {
    /// Whether a request that was due and answered then met it, or what it left behind: at half of what a server can do,
    /// what has waited is dealt with in as much time again.
    fn met(&self, due: u64, answered: u64) -> bool {
        answered >= self.start && due <= self.end + (self.end - self.start)
    }
}

/// Stops that a thread has seen on its CPU.
#[derive(Debug)]
struct Watcher {
    stops: Arc<Mutex<Vec<Stop>>>,
    _thread: Companion,
}

impl Watcher {
    /// Watches `cpu`. Nothing where no thread may go before all others.
    fn start(cpu: usize, clock: Clock) -> Option<Self> {
        let stops = Arc::<Mutex<Vec<Stop>>>::default();
        let found = stops.clone();
        let look = move || {
            let before = clock.now();
            std::thread::sleep(SLEEP);
            let (due, now) = (before + nanoseconds(SLEEP), clock.now());
            if now > due + STOP_NS {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(Stop { start: due, end: now });
            }
        };
        let thread = Companion::start("stops", cpu, goes_first, look).ok()?;
        Some(Self { stops, _thread: thread })
    }

    /// What it has seen since the last call.
    fn take(&self) -> Vec<Stop> {
        std::mem::take(&mut *self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Has this thread go before everything of ordinary priority on its CPU.
fn goes_first() -> io::Result<()> {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "98", &thread]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status()?.success() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// The requests of an open loop that met no stop.
#[derive(Debug)]
pub(crate) struct Undisturbed {
    watcher: Option<Watcher>,
    /// The latest stops of either CPU.
    stops: VecDeque<Stop>,
    /// When requests were due and answered that may still turn out to have met one.
    waiting: VecDeque<(u64, u64)>,
    latency: Histogram<u64>,
}

impl Undisturbed {
    /// Watches `cpu`, where the server is.
    pub(super) fn watch(cpu: usize, clock: Clock) -> Self {
        Self {
            watcher: Watcher::start(cpu, clock),
            stops: VecDeque::with_capacity(KEPT),
            waiting: VecDeque::new(),
            latency: histogram(),
        }
    }

    /// The generator's own loop took from the one moment to the other for what takes microseconds.
    pub(super) fn stopped(&mut self, start: u64, end: u64) {
        if self.stops.len() == KEPT {
            self.stops.pop_front();
        }
        self.stops.push_back(Stop { start, end });
    }

    /// A request is answered.
    pub(super) fn answered(&mut self, due: u64, answered: u64) {
        self.waiting.push_back((due, answered));
    }

    /// Judges what was answered long enough before `now`.
    pub(super) fn settle(&mut self, now: u64) {
        for Stop { start, end } in self.watcher.as_ref().map(Watcher::take).unwrap_or_default() {
            self.stopped(start, end);
        }
        while let Some((due, answered)) = self.waiting.front().copied()
            && answered + SETTLED_NS <= now
        {
            self.waiting.pop_front();
            if !self.stops.iter().any(|stop| stop.met(due, answered)) {
                self.latency.saturating_record(answered - due);
            }
        }
    }

    /// How long those took that are judged, in nanoseconds. Nothing where the server's CPU could not be watched.
    pub(super) fn latency(&self) -> Option<&Histogram<u64>> {
        self.watcher.as_ref().map(|_| &self.latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwatched() -> Undisturbed {
        Undisturbed { watcher: None, stops: VecDeque::new(), waiting: VecDeque::new(), latency: histogram() }
    }

    fn counted(undisturbed: &Undisturbed) -> Vec<u64> {
        undisturbed.latency.iter_recorded().map(|value| value.value_iterated_to()).collect()
    }

    #[test]
    fn a_request_that_met_a_stop_or_its_wake_does_not_count() {
        let mut undisturbed = unwatched();
        undisturbed.stopped(1000, 1500);
        // Before it, into it, across it, after its wake, and in that.
        for (due, answered) in [(700, 999), (900, 1100), (990, 1700), (2001, 2006), (1990, 2100)] {
            undisturbed.answered(due, answered);
        }
        undisturbed.settle(2099 + SETTLED_NS);
        assert_eq!(undisturbed.waiting.len(), 1, "a stop that it met may still be told of");
        undisturbed.settle(u64::MAX);
        assert_eq!(counted(&undisturbed), [5, 299]);
    }

    #[test]
    fn only_the_latest_stops_are_kept() {
        let mut undisturbed = unwatched();
        for at in 0..100 {
            undisturbed.stopped(at, at);
        }
        assert_eq!((undisturbed.stops.len(), undisturbed.stops[0].start), (KEPT, 36));
    }

    #[test]
    fn what_nobody_watched_is_not_told() {
        assert!(unwatched().latency().is_none());
    }

    #[test]
    fn a_watcher_ends_with_what_asked_for_it() {
        let undisturbed = Undisturbed::watch(0, Clock::start());
        let told = undisturbed.watcher.as_ref().map(|watcher| watcher.stops.clone());
        assert_eq!(undisturbed.latency().is_some(), told.is_some());
        drop(undisturbed);
        assert!(told.is_none_or(|stops| Arc::strong_count(&stops) == 1), "its thread is gone");
    }
}
