//! The loop of the load generator.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::connection::{Answer, Connection, Requests, Sent, State};
use super::held::Held;
use super::pauses::Pauses;
use super::report::{Handshakes, Outcome};
use super::stops::{STOP_NS, Undisturbed};
use super::wire::Read;
use super::{Failure, Plan};
use crate::clock::{Clock, nanoseconds};
use crate::net::{self, Poller, Ready};
use crate::origin::Origin;

/// How often deadlines are looked at and failed connections tried again.
const SWEEP_NS: u64 = 20_000_000;
/// Connects under way at once, so that no listener's queue overflows.
const CONNECTING_MAX: usize = 128;
/// Time for opening all connections.
const SETUP_NS: u64 = 20_000_000_000;

/// The ends of the measured window, told to whoever measures the server meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// The warm-up is over.
    Start,
    /// The window is over.
    End,
}

/// A piece of work that took longer was held up by the machine.
const PIECE_MAX_NS: u64 = 20_000;
/// A poll that finds nothing takes about as long.
const POLL_NS: u64 = 1000;
/// Part of the time between two sends that may be spent waiting for the next one instead of doing other work.
const GUARD_SHARE: f64 = 0.25;

/// Runs a plan to its end. `origin` is stepped by the same loop; `observe` is called at the ends of the window with
/// the answers counted so far; `stop` ends the run early.
///
/// # Errors
/// When the connections cannot be opened, or the machine fails; what the server does wrong is in the outcome.
pub(crate) fn run(
    plan: &Plan,
    mut origin: Option<&mut Origin>,
    observe: &mut dyn FnMut(Edge, u64),
    stop: &AtomicBool,
) -> io::Result<Outcome> {
    let mut generator = Generator::new(plan)?;
    if let Some(origin) = &origin {
        generator.poller.add_listener(origin.readiness(), ORIGIN)?;
    }
    generator.open_all(&mut origin, stop)?;
    generator.start();
    let mut measuring = false;
    loop {
        generator.step(&mut origin)?;
        let now = generator.clock.now();
        if !measuring && now >= generator.window.0 {
            measuring = true;
            observe(Edge::Start, generator.answered);
            generator.begin_window();
        }
        if now >= generator.window.1 || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    observe(Edge::End, generator.answered);
    generator.end_window(measuring);
    let patience = generator.clock.now() + nanoseconds(plan.grace);
    while generator.has_work() && generator.clock.now() < patience && !stop.load(Ordering::Relaxed) {
        generator.step(&mut origin)?;
    }
    Ok(generator.finish())
}

/// A free place for a request in the open loop.
struct Place {
    index: usize,
    generation: u32,
    /// When it became free.
    since: u64,
}

struct Schedule {
    interval_ns: f64,
    start: u64,
    /// Number of the next request, and when it is due.
    next: u64,
    due: u64,
}

impl Schedule {
    /// Moves on to the next request and returns when this one was due.
    fn advance(&mut self) -> u64 {
        let due = self.due;
        self.next += 1;
        self.due = self.start + (self.next as f64 * self.interval_ns) as u64;
        due
    }
}

/// Stands for an origin in the loop, which is ready when one of its connections is. No connection has it: there would be
/// 2^32.
const ORIGIN: u64 = u64::MAX;

struct Generator<'a> {
    plan: &'a Plan,
    clock: Clock,
    poller: Poller,
    connections: Vec<Connection>,
    places: VecDeque<Place>,
    schedule: Option<Schedule>,
    requests: Requests,
    read_buffer: Vec<u8>,
    outcome: Outcome,
    /// Answers since the start, inside the window or not.
    answered: u64,
    answered_at_start: u64,
    body_bytes_at_end: u64,
    body_rule: Option<u64>,
    /// The measured window; requests stop being issued at its end.
    window: (u64, u64),
    issuing: bool,
    sweep_at: u64,
    /// When a piece of work began or ended last.
    marked: u64,
    held: Held,
    /// The machine made a request late, and what has become due since is not sent yet.
    is_behind: bool,
    /// How long a piece of work takes, at the upper end: an answer read, a request answered by the origin.
    piece: u64,
    connect_error: Option<io::Error>,
}

impl<'a> Generator<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        if plan.request.is_empty() || plan.connections == 0 || plan.pipeline == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let clock = Clock::start();
        let watched = plan.watched.filter(|_| plan.rate.is_some());
        let undisturbed = watched.map(|cpu| Undisturbed::watch(cpu, clock));
        Ok(Self {
            plan,
            clock,
            poller: Poller::new()?,
            connections: (0..plan.connections).map(|_| Connection::new(plan)).collect(),
            places: VecDeque::with_capacity(plan.connections * plan.pipeline),
            schedule: None,
            requests: Requests::new(plan),
            read_buffer: vec![0; 256 * 1024],
            outcome: Outcome { undisturbed, ..Outcome::new() },
            answered: 0,
            answered_at_start: 0,
            body_bytes_at_end: 0,
            body_rule: plan.body,
            window: (u64::MAX, u64::MAX),
            issuing: false,
            sweep_at: 0,
            marked: 0,
            held: Held::new(),
            is_behind: false,
            piece: 0,
            connect_error: None,
        })
    }

    /// Opens every connection before the clock of the run starts.
    fn open_all(&mut self, origin: &mut Option<&mut Origin>, stop: &AtomicBool) -> io::Result<()> {
        if self.plan.close {
            return Ok(());
        }
        let count = |connections: &[Connection], state| connections.iter().filter(|c| c.state == state).count();
        let mut next = 0;
        loop {
            let connecting = count(&self.connections, State::Connecting) + count(&self.connections, State::Shaking);
            let last = (next + CONNECTING_MAX.saturating_sub(connecting)).min(self.connections.len());
            for index in next..last {
                self.connect(index);
            }
            next = last;
            self.poll_once(origin)?;
            let open = count(&self.connections, State::Open);
            if open == self.connections.len() {
                return Ok(());
            }
            if self.connect_error.is_some() || self.clock.now() > SETUP_NS || stop.load(Ordering::Relaxed) {
                let reason = self.connect_error.take().unwrap_or_else(|| io::ErrorKind::TimedOut.into());
                let (target, all) = (self.plan.target, self.connections.len());
                return Err(io::Error::new(
                    reason.kind(),
                    format!("{open} of {all} connections to {target} opened: {reason}"),
                ));
            }
        }
    }

    fn start(&mut self) {
        let now = self.clock.now();
        let start = now + nanoseconds(self.plan.warm_up);
        self.window = (start, start + nanoseconds(self.plan.duration));
        self.issuing = true;
        self.sweep_at = now + SWEEP_NS;
        self.schedule = self.plan.rate.map(|rate| Schedule { interval_ns: 1e9 / rate, start: now, next: 0, due: now });
        for index in 0..self.connections.len() {
            self.offer(index, now);
        }
    }

    fn begin_window(&mut self) {
        self.answered_at_start = self.answered;
        self.window.0 = self.clock.now();
        self.window.1 = self.window.0 + nanoseconds(self.plan.duration);
        self.outcome.body_bytes = 0;
        self.outcome.handshakes = Handshakes::default();
        self.outcome.pauses = Pauses::new(self.window.0);
    }

    fn end_window(&mut self, measured: bool) {
        self.issuing = false;
        let now = self.clock.now();
        if measured {
            self.outcome.seconds = now.saturating_sub(self.window.0) as f64 / 1e9;
            self.outcome.completed = self.answered - self.answered_at_start;
            self.body_bytes_at_end = self.outcome.body_bytes;
        }
        self.window.1 = self.window.1.min(now);
    }

    /// Requests are under way, or were due inside the window and not yet sent.
    fn has_work(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.due < self.window.1)
            || self.connections.iter().any(|connection| connection.under_way() > 0)
    }

    fn finish(mut self) -> Outcome {
        for connection in &self.connections {
            self.outcome.failures[Failure::Timeout as usize] += connection.under_way() as u64;
        }
        if let Some(schedule) = self.schedule.take()
            && schedule.due < self.window.1
        {
            let unsent = (self.window.1 - schedule.due) as f64 / schedule.interval_ns;
            self.outcome.failures[Failure::Unsent as usize] += unsent.ceil() as u64;
        }
        self.outcome.body_bytes = self.body_bytes_at_end;
        if let Some(undisturbed) = &mut self.outcome.undisturbed {
            undisturbed.settle(u64::MAX);
        }
        self.outcome
    }

    fn step(&mut self, origin: &mut Option<&mut Origin>) -> io::Result<()> {
        self.send_due();
        self.poll_once(origin)?;
        let now = self.clock.now();
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_NS;
            self.sweep(now);
            self.mark_work();
        }
        Ok(())
    }

    /// Handles what is ready; between any two events, what has become due is sent.
    fn poll_once(&mut self, origin: &mut Option<&mut Origin>) -> io::Result<()> {
        self.wait_for_due(POLL_NS);
        let wait = self.plan.blocking.then(|| self.idle_time(origin.as_deref()));
        let count = self.poller.wait(wait)?;
        self.mark_idle();
        for index in 0..count {
            if let Some(ready) = self.poller.ready(index) {
                self.keep_clear();
                self.handle(ready);
                self.mark_piece();
                self.send_due();
            }
        }
        if let Some(origin) = origin {
            let count = origin.poll(None)?;
            self.mark_idle();
            for index in 0..count {
                self.keep_clear();
                origin.handle(index)?;
                self.mark_piece();
                self.send_due();
            }
        }
        Ok(())
    }

    /// Nothing was done since the last mark but to look.
    fn mark_idle(&mut self) -> u64 {
        let now = self.clock.now();
        // A loop that sleeps is late for a reason of its own.
        if self.plan.blocking {
            self.outcome.pauses.worked(now);
        } else {
            self.outcome.pauses.idled(now);
            self.held.looked(self.marked, now);
        }
        self.note_stop(self.marked, now);
        self.marked = now;
        now
    }

    /// Something was done since the last mark. How long it took.
    fn mark_work(&mut self) -> u64 {
        let now = self.clock.now();
        self.outcome.pauses.worked(now);
        let before = std::mem::replace(&mut self.marked, now);
        if self.schedule.is_some() {
            self.held.worked(before, now);
        }
        self.note_stop(before, now);
        now.saturating_sub(before)
    }

    /// Nothing here takes as long as a stop.
    fn note_stop(&mut self, before: u64, now: u64) {
        if now.saturating_sub(before) > STOP_NS
            && let Some(undisturbed) = &mut self.outcome.undisturbed
        {
            undisturbed.stopped(before, now);
        }
    }

    /// A piece of work was done since the last mark.
    fn mark_piece(&mut self) {
        let took = self.mark_work().min(PIECE_MAX_NS);
        self.piece = if took > self.piece { took } else { self.piece - (self.piece - took) / 32 };
    }

    /// Sends the next request before a piece of work that would otherwise make it late, waiting where it is due soon.
    fn keep_clear(&mut self) {
        self.wait_for_due(self.piece);
    }

    /// Where the next request is due within `guard`, looks at nothing but the clock until then, and sends it.
    fn wait_for_due(&mut self, guard: u64) {
        let Some(schedule) = &self.schedule else { return };
        let (due, guard) = (schedule.due, guard.min((schedule.interval_ns * GUARD_SHARE) as u64));
        if self.plan.blocking || due >= self.window.1 || due > self.marked + guard || self.places.is_empty() {
            return;
        }
        while self.mark_idle() < due {
            std::hint::spin_loop();
        }
        self.send_due();
    }

    /// How long the loop may sleep.
    fn idle_time(&self, origin: Option<&Origin>) -> Duration {
        let now = self.clock.now();
        let due = self.schedule.as_ref().map_or(u64::MAX, |schedule| schedule.due);
        let next = due.min(self.sweep_at).min(self.window.1);
        let next = origin.and_then(Origin::next_due).map_or(next, |after| next.min(now.saturating_add(after)));
        Duration::from_nanos(next.saturating_sub(now).min(SWEEP_NS))
    }

    /// Sends every request that is due, as far as there are places.
    fn send_due(&mut self) {
        if self.schedule.is_none() {
            return;
        }
        let mut now = self.mark_idle();
        loop {
            let Some(schedule) = &mut self.schedule else { return };
            if schedule.due > now || schedule.due >= self.window.1 {
                self.is_behind = false;
                return;
            }
            let Some(place) = self.places.pop_front() else { return };
            let connection = self.connections.get(place.index);
            if connection.is_none_or(|connection| connection.generation != place.generation) {
                continue;
            }
            let intended = schedule.advance();
            let due = intended.max(place.since);
            let lateness = now.saturating_sub(due);
            self.is_behind |= 2 * self.held.between(due, now) > lateness;
            self.issue(place.index, Sent { intended, started: now, lateness, is_held: self.is_behind });
            self.mark_work();
            now = self.marked;
        }
    }

    /// Puts one request under way on a connection, opening that first where need be.
    fn issue(&mut self, index: usize, sent: Sent) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if let Err(failure) = connection.push(sent, &self.requests) {
            return self.fail(index, failure);
        }
        match connection.state {
            State::Closed | State::Failed => self.connect(index),
            _ => self.flush(index),
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.state != State::Open {
            return;
        }
        if let Err(failure) = connection.flush(&self.requests, self.clock.now()) {
            self.fail(index, failure);
        }
    }

    fn connect(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(index) else { return };
        let token = u64::from(connection.generation) << 32 | index as u64;
        let connected = net::connect(&self.plan.target).and_then(|fd| {
            self.poller.add(&fd, token)?;
            connection.connecting(fd, self.plan.tls.as_ref(), now)
        });
        match connected {
            Ok(()) => {}
            Err(error) => {
                self.connect_error = Some(error);
                self.fail(index, Failure::Connect);
            }
        }
    }

    /// Gives an idle connection its next work: a request at once in the closed loop, a place in the open loop.
    fn offer(&mut self, index: usize, now: u64) {
        if !self.issuing {
            return;
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        let free = self.plan.pipeline.saturating_sub(connection.under_way());
        if self.schedule.is_some() {
            let generation = connection.generation;
            self.places.extend((0..free).map(|_| Place { index, generation, since: now }));
        } else if self.plan.close {
            self.issue(index, Sent { intended: now, started: now, lateness: 0, is_held: false });
        } else {
            for _ in 0..free {
                let sent = Sent { intended: now, started: now, lateness: 0, is_held: false };
                if let Err(failure) = connection.push(sent, &self.requests) {
                    return self.fail(index, failure);
                }
            }
            self.flush(index);
        }
    }

    /// Counts a failure of everything under way on a connection, which tries again at a later sweep.
    fn fail(&mut self, index: usize, failure: Failure) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(index) else { return };
        self.outcome.failures[failure as usize] += connection.under_way().max(1) as u64;
        connection.close(now);
        connection.state = State::Failed;
    }

    fn handle(&mut self, ready: Ready) {
        let index = ready.token as u32 as usize;
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.generation != (ready.token >> 32) as u32 {
            return;
        }
        if connection.state == State::Connecting {
            if !ready.writable {
                return;
            }
            let now = self.clock.now();
            if let Err(error) = connection.connected(self.plan.close, now) {
                self.connect_error = Some(error);
                return self.fail(index, Failure::Connect);
            }
            if connection.state == State::Open && !self.plan.close {
                self.offer(index, now);
            }
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.state == State::Shaking {
            let now = self.clock.now();
            match connection.shake(now) {
                Ok(false) => return,
                Ok(true) => {
                    self.outcome.handshakes.count(connection);
                    self.offer(index, now);
                    // What came with the end of the handshake makes no event of its own.
                    return self.receive(index, ready.ended);
                }
                Err(failure) => {
                    self.connect_error =
                        Some(io::Error::other(format!("the handshake of TLS failed: {}", failure.name())));
                    return self.fail(index, failure);
                }
            }
        }
        let Some(connection) = self.connections.get(index) else { return };
        if ready.writable && connection.has_unsent() {
            self.flush(index);
        }
        if ready.readable {
            self.receive(index, ready.ended);
        }
    }

    /// Reads until the socket is empty and counts the answers.
    fn receive(&mut self, index: usize, ended: bool) {
        loop {
            let Some(connection) = self.connections.get_mut(index) else { return };
            if matches!(connection.state, State::Closed | State::Failed) {
                return;
            }
            let (count, read) = match connection.read(&mut self.read_buffer) {
                Ok(done) => done,
                Err(_) if connection.state == State::Ending => return self.recycle(index),
                Err(failure) => return self.fail(index, failure),
            };
            let now = self.clock.now();
            if read == Read::End {
                return self.handle_end(index, now);
            }
            if count == 0 {
                return;
            }
            let input = self.read_buffer.get(..count).unwrap_or_default();
            let mut tally = Tally::new(&mut self.outcome, &mut self.body_rule, self.plan, self.window, now);
            let count = &mut |answer: Answer| tally.count(answer);
            let outcome = connection.consume(input, &self.requests, now, count);
            let (answers, close) = (tally.answers, tally.close);
            self.answered += answers;
            if let Err(failure) = outcome {
                return self.fail(index, failure);
            }
            if answers > 0 {
                if self.plan.close {
                    self.outcome.handshakes.count(connection);
                    connection.state = State::Ending;
                } else if connection.is_leaving() {
                    if connection.under_way() == 0 {
                        return self.recycle(index);
                    }
                } else if close {
                    if connection.under_way() == 0 {
                        return self.recycle(index);
                    }
                    return self.fail(index, Failure::Closed);
                } else if self.schedule.is_some() {
                    let generation = connection.generation;
                    self.places.extend((0..answers).map(|_| Place { index, generation, since: now }));
                } else {
                    self.offer(index, now);
                }
            }
            // What is said of windows and settings, where no request took it along.
            if self.connections.get(index).is_some_and(Connection::has_unsent) {
                self.flush(index);
            }
            if read == Read::Drained && !ended {
                return;
            }
        }
    }

    fn handle_end(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        match connection.end() {
            Err(failure) => self.fail(index, failure),
            Ok(answer) => {
                if let Some(answer) = answer {
                    let mut tally = Tally::new(&mut self.outcome, &mut self.body_rule, self.plan, self.window, now);
                    tally.count(answer);
                    self.answered += 1;
                }
                self.recycle(index);
            }
        }
    }

    /// A connection has ended in good order: on with the next one.
    fn recycle(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.close(now);
        if self.plan.close {
            self.offer(index, now);
        } else if self.issuing {
            self.outcome.reconnects += 1;
            self.connect(index);
        }
    }

    fn retry(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.state = State::Closed;
        if self.plan.close { self.offer(index, now) } else { self.connect(index) }
    }

    /// Fails what is overdue, and opens again what had failed.
    fn sweep(&mut self, now: u64) {
        if let Some(undisturbed) = &mut self.outcome.undisturbed {
            undisturbed.settle(now);
        }
        let oldest = now.saturating_sub(nanoseconds(self.plan.timeout));
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections.get(index) else { return };
            let waits_since = connection.oldest().unwrap_or(connection.since);
            match connection.state {
                State::Failed if self.issuing && connection.since + SWEEP_NS / 2 <= now => self.retry(index, now),
                State::Connecting | State::Shaking | State::Ending if waits_since < oldest => {
                    self.fail(index, Failure::Timeout);
                }
                State::Open if connection.under_way() > 0 && waits_since < oldest => {
                    self.fail(index, Failure::Timeout);
                }
                _ => {}
            }
        }
    }
}

/// Checks and records the answers of one read.
struct Tally<'a> {
    outcome: &'a mut Outcome,
    body_rule: &'a mut Option<u64>,
    plan: &'a Plan,
    window: (u64, u64),
    now: u64,
    answers: u64,
    close: bool,
}

impl<'a> Tally<'a> {
    fn new(
        outcome: &'a mut Outcome,
        body_rule: &'a mut Option<u64>,
        plan: &'a Plan,
        window: (u64, u64),
        now: u64,
    ) -> Self {
        Self { outcome, body_rule, plan, window, now, answers: 0, close: false }
    }

    fn count(&mut self, answer: Answer) {
        self.answers += 1;
        self.close |= answer.close;
        if answer.status != self.plan.status {
            self.outcome.failures[Failure::Status as usize] += 1;
        } else if *self.body_rule.get_or_insert(answer.body) != answer.body {
            self.outcome.failures[Failure::Length as usize] += 1;
        }
        self.outcome.body_bytes += answer.body;
        // The open loop counts the requests that were due in the window, the closed loop the answers that came in it.
        let moment = if self.plan.rate.is_some() { answer.sent.intended } else { self.now };
        if moment >= self.window.0 && moment < self.window.1 {
            self.outcome.latency.saturating_record(self.now.saturating_sub(answer.sent.intended));
            self.outcome.service.saturating_record(self.now.saturating_sub(answer.sent.started));
            if self.plan.rate.is_some() {
                let Sent { lateness, is_held, .. } = answer.sent;
                self.outcome.lateness.saturating_record(lateness);
                if let Some(undisturbed) = &mut self.outcome.undisturbed {
                    undisturbed.answered(answer.sent.intended, self.now);
                }
                if !is_held {
                    self.outcome.own_lateness.saturating_record(lateness);
                }
            }
        }
    }
}
