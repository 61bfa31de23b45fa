//! The log thread: takes records from the rings of all cores, writes the access log, and gives events to control. What it
//! waits for, no core and no request waits for.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::core::cpus;

use super::output::{self, Lines, Opened, Wrote};
use super::{Told, combined, events, json};
use crate::observe::records::{self, Access, Record, Recorder, Records};
use crate::plan::{AccessFormat, Level, LogTo};

/// Records taken from one core before the next is looked at.
const AT_ONCE: usize = 256;
/// How long the thread waits for a slow reader before it looks at the rings again.
const READER_WAIT: Duration = Duration::from_millis(10);
/// How often it says at most that lines are lost.
const COMPLAINS: Duration = Duration::from_secs(10);
/// How long the end of the gateway waits for a slow reader of the access log.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Lines for control that may be on their way.
const TOLD_MAX: usize = 1000;

/// What the thread is asked to do.
enum Order {
    /// A plan may run soon, with this access log.
    Offer(u64, Option<Box<Opened>>),
    /// The plan of this epoch runs from now on.
    Commit(u64),
    /// The file was moved away.
    Reopen,
    /// The cores have ended.
    End(SyncSender<Vec<Told>>),
}

/// Control's end of the log thread.
pub(in crate::control) struct Scribe {
    orders: Sender<Order>,
    thread: Thread,
}

/// The log thread as it starts.
pub(in crate::control) struct Spawned {
    pub(in crate::control) scribe: Scribe,
    /// What each core tells it by.
    pub(in crate::control) recorders: Vec<Recorder>,
}

/// Starts the thread on this CPU, where there is one, for so many cores, each with a ring of `queue` bytes. `tell` takes
/// what is for the log.
pub(in crate::control) fn spawn(
    cpu: Option<usize>,
    cores: usize,
    queue: usize,
    access: Option<Opened>,
    tell: impl Fn(Told) + Send + 'static,
) -> io::Result<Spawned> {
    let itself = Arc::new(OnceLock::<Thread>::new());
    let rings = (0..cores).map(|_| {
        let thread = itself.clone();
        records::ring(queue, move || {
            if let Some(thread) = thread.get() {
                thread.unpark();
            }
        })
    });
    let (recorders, records): (Vec<Recorder>, Vec<Records>) = rings.unzip();
    let (orders, obeyed) = channel();
    let mut life = Life {
        records,
        tell: Box::new(tell),
        access: access.map(Box::new),
        is_retired: false,
        offered: None,
        lines: Lines::default(),
        early: None,
        record: Vec::new(),
        losses: Losses::default(),
    };
    let thread = thread::Builder::new().name("ringway-log".to_owned()).spawn(move || {
        // Control, which goes there too, says where that cannot be.
        let _ = cpu.map(cpus::pin);
        life.run(&obeyed);
    })?;
    let thread = thread.thread().clone();
    // Nobody else sets it.
    let _ = itself.set(thread.clone());
    Ok(Spawned { scribe: Scribe { orders, thread }, recorders })
}

/// Lets so many lines at once be on their way to control, and drops the others: where standard error takes nothing, they
/// must not pile up.
pub(in crate::control) fn bounded(send: impl Fn(Told) + Send + 'static) -> impl Fn(Told) + Send + 'static {
    let on_the_way = Arc::new(());
    move |told| {
        if Arc::strong_count(&on_the_way) <= TOLD_MAX {
            send(Told { _on_the_way: Some(on_the_way.clone()), ..told });
        }
    }
}

impl Scribe {
    pub(super) fn offer(&self, epoch: u64, access: Option<Opened>) {
        self.order(Order::Offer(epoch, access.map(Box::new)));
    }

    pub(super) fn commit(&self, epoch: u64) {
        self.order(Order::Commit(epoch));
    }

    pub(super) fn reopen(&self) {
        self.order(Order::Reopen);
    }

    fn order(&self, order: Order) {
        // It ends with this end.
        let _ = self.orders.send(order);
        self.thread.unpark();
    }

    /// Has it write all that is left, and returns what it still had to tell.
    pub(super) fn finish(self) -> Vec<Told> {
        let (reply, last) = sync_channel(1);
        self.order(Order::End(reply));
        // A file system that hangs must not keep the process.
        last.recv_timeout(LAST_WORDS * 2).unwrap_or_else(|_| {
            vec![Told::new(Level::Warn, "the access log may lack its last lines: writing it takes too long")]
        })
    }
}

/// Lines that the access log lacks.
#[derive(Default)]
struct Losses {
    /// Those that a core dropped and that were told of.
    queue_told: u64,
    /// Those that could not be written and were not told of yet.
    unwritten: u64,
    why: Option<String>,
    told_at: Option<Instant>,
    is_failing: bool,
}

/// What the thread has.
struct Life {
    records: Vec<Records>,
    tell: Box<dyn Fn(Told) + Send>,
    access: Option<Box<Opened>>,
    /// The plan has no access log any more; requests of plans before may still end.
    is_retired: bool,
    offered: Option<(u64, Option<Box<Opened>>)>,
    lines: Lines,
    /// A request that a core told of, and its core, while there is no access log, or none yet.
    early: Option<(usize, Vec<u8>)>,
    /// The record that is being read.
    record: Vec<u8>,
    losses: Losses,
}

impl Life {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            let is_more = self.gather();
            self.write();
            self.complain(false);
            let mut was_asked = false;
            loop {
                match orders.try_recv() {
                    Ok(Order::End(reply)) => {
                        // Control may have waited for too long.
                        let _ = reply.send(self.end());
                        return;
                    }
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
                was_asked = true;
            }
            if !is_more && !was_asked {
                self.wait();
            }
        }
    }

    fn wait(&self) {
        match &self.access {
            Some(access) if !self.lines.is_empty() => {
                access.is_ready(READER_WAIT);
            }
            Some(access) => thread::park_timeout(access.settings.flush),
            // Events and orders wake it.
            None => thread::park(),
        }
    }

    /// Takes some records of each core. Whether there may be more.
    fn gather(&mut self) -> bool {
        let mut is_more = false;
        if let Some((core, record)) = self.early.take() {
            self.record = record;
            match (Record::read(&self.record), &self.access) {
                (Some(Record::Access(request)), Some(access)) => {
                    put(self.lines.buffer(), access.settings.format, core, &request);
                }
                _ => self.lose(1),
            }
        }
        for (core, records) in self.records.iter_mut().enumerate() {
            let mut taken = 0;
            while taken < AT_ONCE && records.next(&mut self.record) {
                taken += 1;
                match (Record::read(&self.record), &self.access) {
                    (Some(Record::Event(event)), _) => (self.tell)(events::told(core, &event)),
                    (Some(Record::Access(request)), Some(access)) if self.lines.has_room() => {
                        put(self.lines.buffer(), access.settings.format, core, &request);
                    }
                    // The order that begins an access log was there before its first record: it may be seen later.
                    (Some(Record::Access(_)), None) => {
                        self.early = Some((core, std::mem::take(&mut self.record)));
                        return true;
                    }
                    (Some(Record::Access(_)), Some(_)) => {
                        records.unwritten(1);
                        self.losses.unwritten += 1;
                        self.losses.why.get_or_insert_with(|| "its reader is too slow".to_owned());
                    }
                    // Only cores of this process write here.
                    (None, _) => debug_assert!(false, "a record that cannot be read"),
                }
            }
            is_more |= taken == AT_ONCE;
        }
        is_more
    }

    fn write(&mut self) {
        let Some(access) = &mut self.access else { return };
        if self.lines.is_empty() {
            return;
        }
        match self.lines.write(access) {
            Wrote::All if self.losses.is_failing => {
                self.losses.is_failing = false;
                let name = output::name(&access.settings);
                self.complain(true);
                (self.tell)(Told::new(Level::Info, format!("access log {name} is written again")));
            }
            Wrote::All | Wrote::Stuck => {}
            Wrote::Failed(error, lost) => {
                self.losses.is_failing = true;
                self.losses.why = Some(error.to_string());
                self.lose(lost);
            }
        }
    }

    /// Lines of whatever core are lost.
    fn lose(&mut self, lost: u64) {
        self.losses.unwritten += lost;
        if let Some(records) = self.records.first() {
            records.unwritten(lost);
        }
    }

    /// Says what the access log lacks, now and then or at once.
    fn complain(&mut self, at_once: bool) {
        let dropped = self.records.iter().map(Records::dropped).sum::<u64>();
        let losses = &mut self.losses;
        let dropped = dropped - losses.queue_told;
        if dropped + losses.unwritten == 0 {
            return;
        }
        let now = Instant::now();
        if !at_once && losses.told_at.is_some_and(|told_at| now.since(told_at) < COMPLAINS) {
            return;
        }
        let name =
            self.access.as_ref().map_or_else(String::new, |access| format!(" {}", output::name(&access.settings)));
        let mut parts = Vec::new();
        if dropped > 0 {
            parts.push(format!("{dropped} found log.queue full"));
        }
        if losses.unwritten > 0 {
            let why = losses.why.as_deref().unwrap_or("it is closed");
            parts.push(format!("{} could not be written: {why}", losses.unwritten));
        }
        let message = format!("access log{name} lacks {} requests: {}", dropped + losses.unwritten, parts.join(", "));
        losses.queue_told += dropped;
        (losses.unwritten, losses.told_at) = (0, Some(now));
        if !losses.is_failing {
            losses.why = None;
        }
        (self.tell)(Told::new(Level::Warn, message));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Offer(epoch, access) => self.offered = Some((epoch, access)),
            Order::Commit(epoch) => {
                let offered = self.offered.take_if(|(offered, _)| *offered == epoch);
                match offered {
                    Some((_, Some(access))) => self.replace(access),
                    Some((_, None)) => self.is_retired = self.access.is_some(),
                    None => {}
                }
            }
            Order::Reopen => self.reopen(),
            Order::End(_) => {}
        }
    }

    /// Goes on in another place; what waits goes there.
    fn replace(&mut self, access: Box<Opened>) {
        // What was told before belongs to the place before, as far as it goes.
        while self.access.is_some() && self.gather() {
            self.write();
        }
        self.write();
        self.lines.begin_anew();
        self.access = Some(access);
        self.is_retired = false;
    }

    fn reopen(&mut self) {
        let Some(access) = &self.access else { return };
        let settings = access.settings.clone();
        if self.is_retired {
            while self.gather() {
                self.write();
            }
            self.write();
            let lost = self.lines.give_up();
            self.lose(lost);
            self.access = None;
        } else if matches!(settings.to, LogTo::File(_)) {
            let name = output::name(&settings);
            let told = match output::open(&settings) {
                Ok(access) => {
                    self.replace(Box::new(access));
                    Told::new(Level::Info, format!("access log {name} is open anew"))
                }
                Err(why) => {
                    Told::new(Level::Error, format!("access log goes on in the file that was moved away: {why}"))
                }
            };
            (self.tell)(told);
        }
    }

    /// Writes what is left, as far as a reader takes it, and returns all that is still to be told.
    fn end(&mut self) -> Vec<Told> {
        let (tell, told) = channel();
        self.tell = Box::new(move |told| drop(tell.send(told)));
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            let is_more = self.gather();
            self.write();
            let left = deadline.since(Instant::now());
            match &self.access {
                Some(access) if !self.lines.is_empty() && !left.is_zero() => {
                    access.is_ready(left.min(READER_WAIT));
                }
                _ if is_more => {}
                _ => break,
            }
        }
        let lost = self.lines.give_up();
        if lost > 0 {
            self.losses.why.get_or_insert_with(|| "its reader is too slow".to_owned());
            self.lose(lost);
        }
        self.complain(true);
        (self.access, self.tell) = (None, Box::new(|_| ()));
        told.try_iter().collect()
    }
}

fn put(line: &mut Vec<u8>, format: AccessFormat, core: usize, request: &Access<'_>) {
    match format {
        AccessFormat::Json => json::write(line, core, request),
        AccessFormat::Combined => combined::write(line, request),
    }
}

#[cfg(test)]
mod tests;
