//! What one core owns. It is passed down; nothing reaches it any other way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::core::{Frames, memory};
use ringway_runtime::engine::{Engine, LayerRoom, ListenSource, Listener, Stats};
use rustix::io::Errno;
use slab::Slab;

use super::files::Files;
use super::running::Own;
use super::{
    CoreSight, DateCache, Door, DoorId, FromCore, Handshakes, Line, Offer, Place, Placement, Running, UpstreamSight,
};
use crate::flow::{self, Admission, Exchange};
use crate::observe::records::Recorder;
use crate::observe::{Lost, Metrics, NAMED};
use crate::tls::{CoreSuites, CoreTickets, TicketKeys};
use crate::upstream::{Checks, Drained, Pool, Seat};

/// Requests for which a core keeps the storage of earlier ones: more at once allocate theirs.
const SPARE_EXCHANGES: usize = 1024;
/// Idle connections that are shown a new plan at once; the next follow after a rest, so that requests are not held up.
const SHOWN_AT_ONCE: usize = 256;
const SHOW_REST: Duration = Duration::from_millis(1);
/// How often a draining core looks whether connections are still on their way to it.
const ON_THE_WAY_REST: Duration = Duration::from_millis(5);

/// Idle connections looked at for one that can go, and places looked at for them: many may be empty or busy.
const LOOKED_AT: usize = 64;
const PLACES_LOOKED_AT: usize = 1024;

/// How long a connection that the drain met before its first request may take for it.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Whether the core is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It goes on.
    Not,
    /// Another process goes on in its place: there is time for one more request on each connection.
    HandedOver,
    /// As soon as it can.
    Drains,
    /// The same, and connections that have made no request have had their time.
    DrainsAll,
}

/// Everything one core owns.
pub struct CoreState {
    /// The core's engine.
    pub engine: Engine,
    /// Its counters and histograms.
    pub metrics: Rc<Metrics>,
    running: RefCell<Rc<Running>>,
    /// That of `running`, for the look that every request takes.
    epoch: Cell<u64>,
    prepared: RefCell<Option<Prepared>>,
    doors: RefCell<Vec<Rc<Door>>>,
    /// Those that the plan has no more, as long as connections may come in by them.
    closing: RefCell<Vec<Rc<Door>>>,
    /// What it takes to share connections with other cores.
    pub placement: Option<Rc<Placement>>,
    line: Rc<Line>,
    date: RefCell<DateCache>,
    #[expect(clippy::vec_box, reason = "a request holds the box: moving it would copy the whole exchange")]
    spare: RefCell<Vec<Box<Exchange>>>,
    /// Room for what serves a request while it is under way.
    pub frames: Frames,
    /// What it takes to speak TLS.
    pub tls: CoreTls,
    /// Client connections and accept loops: a drain and a new plan wake them all.
    present: RefCell<Slab<Present>>,
    /// What it tells the log thread.
    pub records: Rc<Recorder>,
    /// Who is served when there is too much to do.
    pub admission: Admission,
    files: Files,
    /// Client connections alone; `present` also has the accept loops.
    connections: Cell<usize>,
    /// Which of `present` is asked next whether it goes to another core.
    asked_next: Cell<usize>,
    end: Cell<End>,
    /// Loops that accept.
    accepting: Cell<usize>,
    /// Sockets that the gateway before had for more cores are of no more use.
    spares_are_over: Cell<bool>,
    seat: Seat,
    /// The health checks under way.
    checks: Rc<Checks>,
    /// What is so in whatever plan.
    drained: RefCell<Arc<Drained>>,
    /// How often those changed.
    drains: Cell<u64>,
    last_gone: RefCell<Option<Waker>>,
    next_id: Cell<u64>,
    reported: Cell<Stats>,
}

/// What a core has for TLS, in whatever plan.
#[derive(Debug)]
pub struct CoreTls {
    /// The keys of session tickets.
    pub tickets: Arc<CoreTickets>,
    /// What its listeners shake hands with.
    pub suites: CoreSuites,
    /// Spare memory of its streams.
    pub room: LayerRoom,
    /// Handshakes under way.
    pub handshakes: Rc<Handshakes>,
}

/// A plan that could be run at once.
struct Prepared {
    running: Rc<Running>,
    /// Every door of the plan, those that stay with their new listener.
    doors: Vec<(Rc<Door>, crate::plan::ListenerId)>,
    /// What the new ones accept from.
    listeners: Vec<(Rc<Door>, Listener, Use)>,
    /// Pools that the plan does not keep, each with the one that goes on with its upstream.
    retired: Vec<(Rc<Pool>, Option<Rc<Pool>>)>,
}

#[derive(Default)]
struct Present {
    waker: Option<Waker>,
    is_connection: bool,
    /// Of a connection that waits for its next request.
    idle_since: Option<Instant>,
    /// It is to end, for another one's sake.
    is_evicted: bool,
}

/// What a core has a listening socket for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is its own.
    Own,
    /// The gateway before had it for a core that this one has not.
    Spare,
}

/// Marks a loop that accepts, as long as it does.
pub struct Accepting(Rc<CoreState>);

impl Drop for Accepting {
    fn drop(&mut self) {
        let state = &self.0;
        state.accepting.set(state.accepting.get() - 1);
        state.has_let_go();
    }
}

/// Marks a task that a drain and a new plan must wake, as long as it lives.
pub struct Presence {
    state: Rc<CoreState>,
    key: usize,
    is_connection: bool,
    /// The connection goes on at another core.
    left: Cell<bool>,
}

impl CoreState {
    /// The state of a core that runs its first plan and has served nothing yet.
    pub(super) fn start(
        engine: Engine,
        metrics: Metrics,
        mut first: Offer,
        line: Rc<Line>,
        place: Option<Place>,
        records: Recorder,
        tickets: Arc<TicketKeys>,
    ) -> Result<Rc<Self>, String> {
        let placement = place.map(|place| Placement::start(&engine, place)).transpose();
        let placement = placement.map_err(|error| format!("cannot hear other cores: {error}"))?;
        let (metrics, records) = (Rc::new(metrics), Rc::new(records));
        let next_id = Cell::new(engine.random());
        let (tickets, room, handshakes) = (CoreTickets::new(tickets), LayerRoom::default(), Rc::default());
        let tls = CoreTls { tickets, suites: CoreSuites::of_new_core(), room, handshakes };
        let own = Own { engine: &engine, metrics: &metrics, line: &line, records: &records, tls: &tls };
        let prepared = Prepared::new(own, &mut first, None, &[])?;
        let state = Rc::new(Self {
            engine,
            metrics,
            running: RefCell::new(prepared.running.clone()),
            epoch: Cell::new(0),
            prepared: RefCell::new(Some(prepared)),
            doors: RefCell::default(),
            closing: RefCell::default(),
            placement,
            line,
            date: RefCell::default(),
            spare: RefCell::default(),
            frames: Frames::new(SPARE_EXCHANGES),
            tls,
            present: RefCell::default(),
            records,
            admission: Admission::default(),
            files: Files::default(),
            connections: Cell::new(0),
            asked_next: Cell::new(0),
            end: Cell::new(End::Not),
            accepting: Cell::new(0),
            spares_are_over: Cell::new(false),
            seat: first.seat,
            checks: Rc::default(),
            drained: RefCell::default(),
            drains: Cell::new(0),
            last_gone: RefCell::default(),
            next_id,
            reported: Cell::default(),
        });
        state.commit(first.epoch);
        Ok(state)
    }

    /// The plan that the core runs now.
    pub fn running(&self) -> Rc<Running> {
        self.running.borrow().clone()
    }

    /// The epoch of the plan that the core runs now.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Does all that running a plan takes and that can fail. The error says what failed.
    pub(super) fn prepare(&self, mut offer: Offer) -> Result<(), String> {
        let running = self.running();
        let prepared = {
            let doors = self.doors.borrow();
            let Self { engine, metrics, line, records, tls, .. } = self;
            Prepared::new(Own { engine, metrics, line, records, tls }, &mut offer, Some(&*running), &doors)?
        };
        // What was prepared before and not committed is of no more use.
        let before = self.prepared.replace(Some(prepared));
        drop(before);
        Ok(())
    }

    /// Forgets a prepared plan.
    pub(super) fn withdraw(&self, epoch: u64) {
        let withdrawn = self.prepared.borrow_mut().take_if(|prepared| prepared.running.epoch == epoch);
        drop(withdrawn);
    }

    /// Runs the plan that was prepared: for requests that begin from now on. Those under way end with theirs.
    pub(super) fn commit(self: &Rc<Self>, epoch: u64) {
        let prepared = self.prepared.borrow_mut().take_if(|prepared| prepared.running.epoch == epoch);
        let Some(Prepared { running, doors, listeners, retired }) = prepared else { return };
        self.admission.limit(&running.plan.cores);
        self.files.limit(&self.engine, &running.plan.cores);
        self.tls.handshakes.limit(&running.plan.cores);
        self.checks.limit(running.plan.cores.health_checks);
        self.records.limit(running.plan.log.events);
        self.running().services.retire(&running.services);
        running.services.settle(&self.engine, &self.checks, self.seat);
        let drained = self.drained.borrow().clone();
        for pool in &running.pools {
            pool.settle(&drained, &self.checks, self.seat);
        }
        let before = self.running.replace(running);
        self.epoch.set(epoch);
        self.metrics.set_epoch(epoch);
        self.metrics.set_certificate_expiry(self.running().plan.first_expiry().unwrap_or(0));
        for door in self.doors.borrow().iter() {
            if let Some((_, listener)) = doors.iter().find(|(stays, _)| Rc::ptr_eq(stays, door)) {
                door.keep(*listener);
            } else {
                door.close(&before);
                self.closing.borrow_mut().push(door.clone());
            }
        }
        *self.doors.borrow_mut() = doors.into_iter().map(|(door, _)| door).collect();
        for (door, listener, what_for) in listeners {
            self.engine.spawn(flow::accept(self.clone(), door, listener, what_for));
        }
        for (pool, after) in &retired {
            pool.retire(after.as_deref());
        }
        self.line.tell(FromCore::Runs(epoch));
        self.engine.spawn(show(self.clone()));
    }

    /// The door of this id, as long as connections may come in by it.
    pub fn door(&self, id: DoorId) -> Option<Rc<Door>> {
        let (open, closing) = (self.doors.borrow(), self.closing.borrow());
        open.iter().chain(closing.iter()).find(|door| door.id() == id).cloned()
    }

    /// Nothing comes in by a door any more that the plan has no more.
    pub fn forget(&self, door: &Rc<Door>) {
        self.closing.borrow_mut().retain(|closing| !Rc::ptr_eq(closing, door));
        door.is_empty_now();
    }

    /// A request's storage, used before or new.
    pub fn take_exchange(&self) -> Box<Exchange> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a request's storage for the next one.
    pub fn give_back(&self, mut exchange: Box<Exchange>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_EXCHANGES {
            exchange.clear();
            spare.push(exchange);
        }
    }

    /// Appends the current date as IMF-fixdate.
    pub fn write_date(&self, out: &mut Vec<u8>) {
        let mut date = self.date.borrow_mut();
        out.extend_from_slice(date.get(self.engine.now(), || self.engine.wall()));
    }

    /// A new correlation id (splitmix64 over a counter: Steele, Lea and Flood, 2014).
    pub fn new_id(&self) -> u64 {
        let counter = self.next_id.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.next_id.set(counter);
        let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether the core has been told to end: it accepts no more, and no request follows another.
    pub fn is_ending(&self) -> bool {
        self.end.get() > End::Not
    }

    /// Whether a connection that has made so many `requests` and waits for its next one is to end.
    pub fn ends_idle(&self, requests: u64) -> bool {
        // Whoever connected before the drain and has not asked yet was promised an answer.
        let limit = if requests > 0 { End::Drains } else { End::DrainsAll };
        self.end.get() >= limit
    }

    /// Whether sockets of more cores than there are now are of no more use.
    pub fn spares_are_over(&self) -> bool {
        self.spares_are_over.get()
    }

    /// Enters a loop that accepts.
    pub fn accepts(self: &Rc<Self>) -> Accepting {
        self.accepting.set(self.accepting.get() + 1);
        Accepting(self.clone())
    }

    /// Tells those who wait for it where no loop accepts any more.
    fn has_let_go(&self) {
        if self.accepting.get() > 0 {
            return;
        }
        if self.end.get() == End::HandedOver {
            self.line.tell(FromCore::LetGo);
        }
        if let Some(waker) = self.last_gone.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The gateway before has let go of the listening sockets.
    pub(super) fn took_over(self: &Rc<Self>, sources: Vec<(DoorId, ListenSource)>) {
        for (id, source) in sources {
            // A socket that cannot be listened on is closed: the kernel places on the others.
            if let (Some(door), Ok(listener)) = (self.door(id), self.engine.listen(source)) {
                self.engine.spawn(flow::accept(self.clone(), door, listener, Use::Own));
            }
        }
        self.spares_are_over.set(true);
        self.wake_all();
    }

    /// Another process goes on with these doors: what it has of them it serves, and then it ends.
    pub(super) fn hand_over(self: &Rc<Self>, doors: &[DoorId]) {
        for door in self.doors.borrow().iter().filter(|door| doors.contains(&door.id())) {
            door.hand_over();
        }
        self.metrics.set_names_in_other([0; NAMED]);
        self.end.set(End::HandedOver);
        self.end_soon();
        self.has_let_go();
        let state = self.clone();
        let patience = self.running().plan.cores.drain_timeout / 2;
        self.engine.spawn(async move {
            state.engine.sleep(patience).await;
            state.begin_drain();
        });
    }

    /// Takes these endpoints out, and all others in again, in this plan and in those to come.
    pub(super) fn drain_endpoints(&self, drained: Arc<Drained>) {
        for pool in &self.running().pools {
            pool.set_drained(&drained);
        }
        *self.drained.borrow_mut() = drained;
        // What lasts is told to end.
        self.drains.set(self.drains.get() + 1);
        self.wake_all();
    }

    /// How often an operator took endpoints out, or in again.
    pub fn drains(&self) -> u64 {
        self.drains.get()
    }

    /// Whether an operator took this endpoint out.
    pub fn is_drained(&self, upstream: &str, endpoint: &str) -> bool {
        self.drained.borrow().has(upstream, endpoint)
    }

    /// How its connections are.
    pub(super) fn sight(&self) -> CoreSight {
        let running = self.running();
        let upstream = |pool: &Rc<Pool>| UpstreamSight {
            waiting: pool.waiting(),
            breaker: pool.breaker(),
            endpoints: pool.sight(),
        };
        CoreSight {
            epoch: running.epoch,
            connections: self.connections(),
            upstreams: running.pools.iter().map(upstream).collect(),
        }
    }

    /// Client connections open now.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Whether there is room for one more connection. Where there is none an idle one goes: who is idle loses least, and
    /// connects again when it has something to ask.
    pub fn has_room(&self) -> bool {
        if self.is_short_of_files() {
            self.metrics.files_short();
            if self.files.is_news() {
                self.line.tell(FromCore::ShortOfFiles);
            }
            return self.evict_idle();
        }
        self.connections() < self.running().plan.cores.connections as usize || self.evict_idle()
    }

    /// Whether no more than the reserved file descriptors are left to the core.
    pub fn is_short_of_files(&self) -> bool {
        !self.files.has_room(&self.engine)
    }

    /// Accepting failed: the process has no descriptor left, say. Somebody idle makes room.
    pub fn accept_failed(&self, error: &io::Error) {
        self.metrics.accept_failed();
        let errno = Errno::from_io_error(error);
        if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) && self.files.is_news() {
            self.line.tell(FromCore::ShortOfFiles);
        }
        self.evict_idle();
    }

    /// Has the client connection end that has been idle for longest, of some looked at. False when there is none.
    fn evict_idle(&self) -> bool {
        let mut present = self.present.borrow_mut();
        let size = present.capacity();
        let start = if size == 0 { 0 } else { self.engine.random() as usize % size };
        let keys = (0..size.min(PLACES_LOOKED_AT)).map(|step| (start + step) % size);
        let idle = keys.filter_map(|key| Some((present.get(key)?.idle_since?, key)));
        let Some((_, key)) = idle.take(LOOKED_AT).min() else { return false };
        let Some(found) = present.get_mut(key) else { return false };
        (found.idle_since, found.is_evicted) = (None, true);
        let waker = found.waker.clone();
        drop(present);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.metrics.connection_evicted();
        true
    }

    /// Enters a task that a drain must wake.
    pub fn enter(self: &Rc<Self>, is_connection: bool) -> Presence {
        if is_connection {
            self.metrics.connection_accepted();
            if let Some(placement) = &self.placement {
                placement.entered();
            }
        }
        self.enter_counted(is_connection)
    }

    /// Enters a connection that another core has sent, and counted before it went.
    pub fn enter_passed(self: &Rc<Self>, is_new: bool) -> Presence {
        if is_new {
            self.metrics.connection_accepted();
        }
        self.enter_counted(true)
    }

    fn enter_counted(self: &Rc<Self>, is_connection: bool) -> Presence {
        // A connection that was just made has not asked for anything: in a burst of them it may have to go as well.
        let idle_since = is_connection.then(|| self.engine.now());
        let key = self.present.borrow_mut().insert(Present { is_connection, idle_since, ..Present::default() });
        self.connections.set(self.connections.get() + usize::from(is_connection));
        Presence { state: self.clone(), key, is_connection, left: Cell::new(false) }
    }

    /// Wakes the next so many connections, in turn.
    pub(super) fn wake_some(&self, count: usize) {
        let places = self.present.borrow().capacity().max(1);
        let first = self.asked_next.get();
        let keys: Vec<usize> = {
            let present = self.present.borrow();
            let all = (first..first + places).map(|key| key % places);
            all.filter(|&key| present.get(key).is_some_and(|present| present.is_connection)).take(count).collect()
        };
        self.asked_next.set(keys.last().map_or(0, |last| (last + 1) % places));
        self.wake(&keys);
    }

    /// Tells every task that the core is to end.
    pub fn begin_drain(self: &Rc<Self>) {
        if self.end.get() >= End::Drains {
            return;
        }
        self.end.set(End::Drains);
        self.end_soon();
        let state = self.clone();
        self.engine.spawn(async move {
            state.engine.sleep(FIRST_REQUEST).await;
            state.end.set(End::DrainsAll);
            state.wake_all();
        });
    }

    fn end_soon(&self) {
        if let Some(placement) = &self.placement {
            placement.close();
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        let present: Vec<usize> = self.present.borrow().iter().map(|(key, _)| key).collect();
        self.wake(&present);
    }

    fn wake(&self, present: &[usize]) {
        for &key in present {
            let waker = self.present.borrow().get(key).and_then(|present| present.waker.clone());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Waits until no connection is left, or the deadline has passed, and returns how many are left.
    pub async fn drained(&self, deadline: Instant) -> usize {
        let timer = self.engine.timer();
        loop {
            timer.set(deadline);
            poll_fn(|cx| {
                let is_done = self.connections() == 0 && self.accepting.get() == 0;
                if is_done || timer.poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                *self.last_gone.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            let is_awaited = self.placement.as_ref().is_some_and(|placement| placement.connections() > 0);
            if !is_awaited || self.engine.now() >= deadline {
                return self.connections();
            }
            // Others may have counted one in that then stays with them.
            self.engine.sleep_until(deadline.min(self.engine.now() + ON_THE_WAY_REST)).await;
        }
    }

    /// Copies what the engine counted into the metrics.
    pub fn report_engine(&self) {
        let stats = self.engine.stats();
        let before = self.reported.replace(stats);
        self.metrics.looped(stats.turns - before.turns, self.engine.now().as_nanos());
        self.metrics.worked(stats.cpu_ns - before.cpu_ns);
        self.metrics.receive_buffers_exhausted(stats.starved - before.starved);
        if let Some(placement) = &self.placement {
            placement.report(&self.metrics);
        }
        self.line.report(&self.metrics);
        self.metrics.set_requests_in_flight(self.admission.in_flight());
        self.metrics.set_handshakes_under_way(self.tls.handshakes.under_way());
        self.metrics.access_lost(Lost::Write, self.records.take_unwritten());
        self.metrics.events_untold(self.records.tell_untold(|| self.engine.wall().as_nanos()));
    }

    /// Looks how much memory is in use, where that matters.
    pub(super) fn look_at_memory(&self) {
        let limit = self.running.borrow().plan.cores.memory;
        // What cannot be told cannot be held against anyone.
        let used = if limit.is_some() { memory::resident().unwrap_or(0) } else { 0 };
        self.admission.memory(used, limit);
    }
}

/// Wakes all who wait, so that they take up the plan that runs now and let go of theirs: accept loops first.
async fn show(state: Rc<CoreState>) {
    let (connections, others): (Vec<_>, Vec<_>) = {
        let present = state.present.borrow();
        let all = present.iter().map(|(key, present)| (key, present.is_connection));
        all.partition(|&(_, is_connection)| is_connection)
    };
    let keys = |all: &[(usize, bool)]| all.iter().map(|&(key, _)| key).collect::<Vec<_>>();
    state.wake(&keys(&others));
    for some in connections.chunks(SHOWN_AT_ONCE) {
        state.wake(&keys(some));
        state.engine.sleep(SHOW_REST).await;
    }
}

impl Prepared {
    fn new(own: Own<'_>, offer: &mut Offer, before: Option<&Running>, open: &[Rc<Door>]) -> Result<Self, String> {
        let Own { engine, metrics, .. } = own;
        // Whatever becomes of the plan, control counts on its names from now on.
        if let Some(segment) = offer.segment.take() {
            metrics.add_segment(segment);
        }
        let (mut doors, mut listeners) = (Vec::new(), Vec::new());
        for offered in offer.doors.drain(..) {
            let known = open.iter().find(|door| door.id() == offered.id).cloned();
            if known.is_none() && offered.sources.is_empty() && before.is_some() {
                return Err("a listener that should be there is not".to_owned());
            }
            let door = known.unwrap_or_else(|| Door::new(offered.id, offered.listener));
            for (nth, source) in offered.sources.into_iter().enumerate() {
                let listener = engine.listen(source).map_err(|error| format!("cannot accept: {error}"))?;
                listeners.push((door.clone(), listener, if nth == 0 { Use::Own } else { Use::Spare }));
            }
            doors.push((door, offered.listener));
        }
        let running = Running::new(own, offer, before)?;
        let pools = before.map_or(&[][..], |before| &before.pools);
        let mut after: Vec<Option<&Rc<Pool>>> = vec![None; pools.len()];
        for (pool, follows) in running.pools.iter().zip(&*offer.follows) {
            if let Some(after) = follows.and_then(|id| after.get_mut(id.0 as usize)) {
                *after = Some(pool);
            }
        }
        let changed =
            pools.iter().zip(after).filter(|(pool, after)| after.is_none_or(|after| !Rc::ptr_eq(after, pool)));
        let retired = changed.map(|(pool, after)| (pool.clone(), after.cloned())).collect();
        metrics.set_names_in_other(offer.names_in_other);
        Ok(Self { running, doors, listeners, retired })
    }
}

impl Presence {
    /// Has the task of `cx` woken when the core begins to drain and when it runs another plan.
    pub fn register(&self, cx: &Context<'_>) {
        if let Some(present) = self.state.present.borrow_mut().get_mut(self.key) {
            match &present.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => present.waker = Some(cx.waker().clone()),
            }
        }
    }

    /// The connection waits for its next request, or no more. While it does, it may be picked to make room.
    pub fn set_idle(&self, since: Option<Instant>) {
        if let Some(present) = self.state.present.borrow_mut().get_mut(self.key) {
            present.idle_since = since;
        }
    }

    /// Whether it was picked.
    pub fn is_evicted(&self) -> bool {
        self.state.present.borrow().get(self.key).is_some_and(|present| present.is_evicted)
    }

    /// The connection goes on at another core.
    pub fn leave(&self) {
        self.left.set(true);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.state.present.borrow_mut().remove(self.key);
        if self.is_connection {
            if !self.left.get() {
                self.state.metrics.connection_closed();
            }
            if let Some(placement) = &self.state.placement {
                placement.is_gone();
            }
            self.state.connections.set(self.state.connections.get() - 1);
            if self.state.connections.get() == 0
                && let Some(waker) = self.state.last_gone.borrow_mut().take()
            {
                waker.wake();
            }
        }
    }
}
