//! `type = "health"`: several things that are asked how they are at times, and one answer for all of them.
//!
//! `docs/health-aggregator.md` tells what it does. One core makes the checks (`round.rs`), all see what they found
//! (`board.rs`), and each writes a page once for each round, when it is asked for (`page.rs`, `html.rs`).

mod board;
mod html;
mod page;
mod round;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ringway_proto::http1::Method;
use ringway_runtime::engine::Engine;

use crate::flow::{After, Client, Exchange, Reply, refuse, reply};
use crate::observe::{HealthSeries, Metrics, Reason, Series};
use crate::plan::{Aggregate, AggregateRoute, Plan};
use crate::upstream::{self, Checked, Checks, Seat, hash};
use board::Board;
use page::Page;
use round::Round;
use state::State;

/// How often a request looks whether the first round is over.
const LOOK: Duration = Duration::from_millis(5);

/// What the cores share of the services of this type of one plan.
#[derive(Debug, Default)]
pub(super) struct Shared(Box<[Arc<Board>]>);

impl Shared {
    /// For a new plan whose upstreams are `upstreams`, with what is known from the plan before.
    pub(super) fn new(plan: &Plan, upstreams: &[Arc<upstream::Shared>], before: Option<&Self>) -> Self {
        let board = |aggregate: &Arc<Aggregate>| {
            let known = before.and_then(|before| before.0.iter().find(|board| board.plan.name == aggregate.name));
            Board::new(aggregate, upstreams, known)
        };
        Self(plan.aggregates.iter().map(board).collect())
    }

    /// The last changes of each service, by its name.
    pub(super) fn histories(&self) -> Histories {
        let mut left = HISTORIES;
        let told = |board: &Arc<Board>| {
            let told = board.told(HISTORY.min(left));
            left -= told.len();
            (board.plan.name.clone(), told)
        };
        self.0.iter().map(told).collect()
    }

    /// Goes on with those of another process. For a plan that no core has yet.
    pub(super) fn inherit(&self, histories: &Histories) {
        for board in &self.0 {
            board.inherit(histories.get(&board.plan.name).map_or(&[], |told| &**told));
        }
    }
}

/// Changes of state of each service of type `health`, oldest first: when, of whom, why and between which states.
pub type Histories = BTreeMap<Arc<str>, Vec<[u64; 4]>>;

/// Changes that go to another process, of one service and of all.
const HISTORY: usize = 1_000;
const HISTORIES: usize = 20_000;

/// What one core has of the services of this type of one plan.
pub(super) struct Askers(Box<[Rc<Asker>]>);

impl Askers {
    /// Those of a plan. One that has not changed goes on with what it has.
    pub(super) fn new(shared: &Shared, metrics: &Rc<Metrics>, series: &Series, before: Option<&Self>) -> Self {
        let mut first_check = 0;
        let asker = |board: &Arc<Board>| {
            let first = first_check;
            first_check += board.plan.checks.len();
            let kept = before.and_then(|before| before.0.iter().find(|asker| Arc::ptr_eq(&asker.board, board)));
            kept.cloned().unwrap_or_else(|| {
                let series = (first..first_check).map(|check| series.health(check)).collect();
                Rc::new(Asker::new(board.clone(), metrics.clone(), series))
            })
        };
        Self(shared.0.iter().map(asker).collect())
    }

    /// The plan of these runs from now on.
    pub(super) fn settle(&self, engine: &Engine, checks: &Rc<Checks>, seat: Seat) {
        for asker in &self.0 {
            asker.settle(engine, checks, seat);
        }
    }

    /// The plan of `next` runs from now on: what it has not is over. A round under way goes on there.
    pub(super) fn retire(&self, next: &Self) {
        let is_kept = |asker: &&Rc<Asker>| next.0.iter().any(|kept| Rc::ptr_eq(kept, asker));
        for asker in self.0.iter().filter(|asker| !is_kept(asker)) {
            asker.retire(next.0.iter().find(|next| next.board.plan.name == asker.board.plan.name));
        }
    }
}

/// A page as it was last written.
#[derive(Default)]
struct Written {
    /// Of the board; 0 where it was never written.
    version: u64,
    status: u16,
    body: Vec<u8>,
}

/// Names and values of header fields.
type Fields = Box<[(Box<str>, Box<str>)]>;

/// One service on one core.
struct Asker {
    board: Arc<Board>,
    metrics: Rc<Metrics>,
    /// One a check.
    series: Box<[HealthSeries]>,
    pages: RefCell<[Written; Page::COUNT]>,
    /// Header fields of an answer, and those of one for people.
    fields: [Fields; 2],
    is_settled: Cell<bool>,
    is_retired: Cell<bool>,
    /// The core makes the rounds.
    asks: Cell<bool>,
    /// The one that is under way.
    round: RefCell<Option<Rc<Round>>>,
    /// The task that makes them.
    waker: RefCell<Option<Waker>>,
}

impl Asker {
    fn new(board: Arc<Board>, metrics: Rc<Metrics>, series: Box<[HealthSeries]>) -> Self {
        let field = |name: &str, value: &str| (name.into(), value.into());
        // How fresh an answer is, is for the service to say: no cache behind it may keep it longer.
        let all =
            [field("cache-control", "no-store"), field("vary", "accept"), field("x-content-type-options", "nosniff")];
        let policy = [field("content-security-policy", html::POLICY)];
        let fields = [all.clone().into(), all.into_iter().chain(policy).collect()];
        Self {
            board,
            metrics,
            series,
            pages: RefCell::default(),
            fields,
            is_settled: Cell::default(),
            is_retired: Cell::default(),
            asks: Cell::default(),
            round: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    fn settle(self: &Rc<Self>, engine: &Engine, checks: &Rc<Checks>, seat: Seat) {
        if self.is_settled.replace(true) {
            return;
        }
        if hash(self.board.plan.name.as_bytes()) % seat.cores.max(1) as u64 == seat.core as u64 {
            self.asks.set(true);
            self.told();
            engine.spawn(round::rounds(Rc::downgrade(self), engine.clone(), checks.clone()));
        }
    }

    fn retire(&self, next: Option<&Rc<Self>>) {
        self.is_retired.set(true);
        if let Some(round) = self.round.take() {
            match next.and_then(|next| Some((next, next.board.places(&self.board)?))) {
                Some((next, places)) => *next.round.borrow_mut() = Some(round.moved(&places)),
                None => round.end(),
            }
        }
        if self.asks.get() {
            self.series.iter().for_each(|series| series.set_state(State::Unknown as u8));
        }
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    fn wake_with(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// A check asked once.
    fn asked(&self, check: usize, checked: Checked, took: Duration) {
        self.metrics.health_checked(took.as_nanos() as u64);
        if let Some(series) = self.series.get(check) {
            series.checked(checked.into());
        }
    }

    /// Shows the states as metrics.
    fn told(&self) {
        for (series, state) in self.series.iter().zip(self.board.states()) {
            series.set_state(state as u8);
        }
    }

    /// Whether a page is there, of the last round or of one before while there is a newer one to come.
    fn has(&self, page: Page) -> bool {
        let mut pages = self.pages.borrow_mut();
        let Some(written) = pages.get_mut(page as usize) else { return false };
        let is_there = written.version > 0;
        if is_there && written.version == self.board.version() {
            return true;
        }
        if !is_there && !self.board.is_known() {
            return false;
        }
        let Some(view) = self.board.view().filter(|view| view.version > 0) else { return is_there };
        self.write(page, written, &view);
        true
    }

    fn write(&self, page: Page, written: &mut Written, view: &board::View) {
        written.body.clear();
        page.write(&mut written.body, &self.board, view);
        (written.version, written.status) = (view.version, page.status(view.state, &self.board.plan));
    }

    /// Waits for the first round, as long as it may take.
    async fn first(&self, engine: &Engine, page: Page) {
        let give_up = engine.now() + self.board.plan.total_timeout + LOOK;
        while !self.has(page) && engine.now() < give_up {
            engine.sleep(LOOK).await;
        }
    }

    fn answer(&self, client: &mut Client, exchange: &mut Exchange, page: Page) -> After {
        let mut unknown = Written::default();
        if !self.has(page) {
            // Nobody has found out anything yet, and that is what it says.
            let Some(view) = self.board.view() else { return refuse(client, exchange, Reason::Overloaded) };
            self.write(page, &mut unknown, &view);
        }
        let pages = self.pages.borrow();
        let written = pages.get(page as usize).filter(|written| written.version > 0).unwrap_or(&unknown);
        let fields = &self.fields[usize::from(page.is_html())];
        let content_type = Some(page.content_type());
        reply(client, exchange, &Reply { status: written.status, content_type, fields, body: &written.body })
    }
}

/// The methods that there are.
pub(crate) const METHODS: [&str; 2] = ["GET", "HEAD"];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsksFor {
    /// How things are.
    Report,
    /// How that changed.
    History,
}

/// What a request asks for, if that is there.
pub(crate) fn asks_for(exchange: &Exchange, route: AggregateRoute) -> Result<AsksFor, Reason> {
    if !matches!(exchange.head.method, Method::Get | Method::Head) {
        return Err(Reason::MethodNotAllowed);
    }
    let path = exchange.path();
    let rest = match route.rest.map(|at| exchange.captures.get(usize::from(at))) {
        Some(range) => range.and_then(|range| path.get(range)).unwrap_or_default(),
        // A path of its own says with its last segment what it is for.
        None if path.ends_with(b"/history") => b"history",
        None => b"",
    };
    match rest {
        b"" => Ok(AsksFor::Report),
        b"history" => Ok(AsksFor::History),
        _ => Err(Reason::NoRoute),
    }
}

/// Answers with what is known.
pub(crate) async fn health(client: &mut Client, exchange: &mut Exchange, route: AggregateRoute) -> After {
    let running = Rc::clone(&client.running);
    let Some(asker) = running.services.health.0.get(route.id.0 as usize) else {
        return refuse(client, exchange, Reason::Internal);
    };
    let asked_for = match asks_for(exchange, route) {
        Ok(asked_for) => asked_for,
        Err(reason) => {
            if reason == Reason::MethodNotAllowed {
                exchange.answer.set(b"allow", |out| out.extend_from_slice(METHODS.join(", ").as_bytes()));
            }
            return refuse(client, exchange, reason);
        }
    };
    let page = Page::wanted(asked_for == AsksFor::History, exchange.fields().all("accept"));
    if !asker.has(page) {
        // A request that waits may allocate.
        Box::pin(asker.first(&client.state.engine, page)).await;
    }
    asker.answer(client, exchange, page)
}
