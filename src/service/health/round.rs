//! Rounds of checks: one core begins one every `ttl`, whoever asks for the result. So no client can have anything asked,
//! and there is never more than one question under way to one endpoint.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Timer};

use super::Asker;
use super::board::{Board, Found};
use super::state::Finding;
use crate::observe::{Activity, HealthResult};
use crate::plan::{Check, CheckTarget};
use crate::upstream::{Cause, Checked, Checks, probe};

/// One round, while it is under way.
struct Round {
    found: RefCell<Vec<Found>>,
    /// Questions without an answer.
    left: Cell<usize>,
    is_over: Cell<bool>,
}

impl Round {
    fn answered(&self, check: usize, endpoint: usize, finding: Finding, took: Duration) {
        if let Some(found) = self.found.borrow_mut().get_mut(check) {
            found.took = found.took.max(took.as_nanos() as u64);
            if let Some(place) = found.endpoints.get_mut(endpoint) {
                *place = finding;
            }
        }
    }
}

/// One question of a round. Dropping it is its end, however it came to that.
struct Question {
    asker: Rc<Asker>,
    round: Rc<Round>,
    check: usize,
    endpoint: usize,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.round.left.set(self.round.left.get() - 1);
        if self.round.left.get() == 0 {
            self.asker.wake();
        }
    }
}

/// Makes rounds for as long as the service is that of a plan.
pub(super) async fn rounds(asker: Weak<Asker>, engine: Engine, checks: Rc<Checks>) {
    engine.label(Activity::Housekeeping.label());
    let timer = engine.timer();
    loop {
        let Some(one) = asker.upgrade().filter(|asker| !asker.is_retired()) else { return };
        let board = &one.board;
        // What another plan found out counts until its time is over.
        let is_fresh = board.is_known() && board.version() > 0;
        let next = if is_fresh { board.began() + board.plan.ttl } else { engine.now() };
        drop(one);
        if !wait(&asker, &timer, next, || false).await {
            return;
        }
        let Some(one) = asker.upgrade() else { return };
        let began = engine.now();
        let round = ask(&one, &engine, &checks, began);
        let deadline = began + one.board.plan.total_timeout;
        drop(one);
        wait(&asker, &timer, deadline, || round.left.get() == 0).await;
        round.is_over.set(true);
        let Some(one) = asker.upgrade().filter(|asker| !asker.is_retired()) else { return };
        let found = round.found.borrow();
        one.board.publish(&found, began, engine.wall());
        one.told();
    }

    /// Waits until then, or until `is_done`. False where the service is no more.
    async fn wait(asker: &Weak<Asker>, timer: &Timer, until: Instant, is_done: impl Fn() -> bool) -> bool {
        timer.set(until);
        poll_fn(|cx| match asker.upgrade() {
            Some(asker) if !asker.is_retired() => {
                asker.wake_with(cx.waker());
                if is_done() { Poll::Ready(true) } else { timer.poll(cx).map(|()| true) }
            }
            _ => Poll::Ready(false),
        })
        .await
    }
}

/// Asks all at once; what is known without asking is found at once.
fn ask(asker: &Rc<Asker>, engine: &Engine, checks: &Rc<Checks>, began: Instant) -> Rc<Round> {
    let board = &asker.board;
    let all = 0..board.plan.checks.len();
    let silent = |check| Found { endpoints: vec![Finding::Timeout; board.endpoints(check)], took: 0 };
    let round = Rc::new(Round {
        found: RefCell::new(all.clone().map(silent).collect()),
        left: Cell::new(0),
        is_over: Cell::new(false),
    });
    let deadline = began + board.plan.total_timeout;
    for (at, check) in board.plan.checks.iter().enumerate() {
        for endpoint in 0..board.endpoints(at) {
            let standing = board.upstream(at).map(|shared| shared.standing(endpoint));
            let out = standing.and_then(|standing| standing.causes().next());
            match (&check.check, standing, out) {
                // It is not meant to work.
                (_, Some(_), Some(Cause::Drained)) => {
                    round.answered(at, endpoint, Finding::Drained, Duration::ZERO);
                }
                (None, Some(_), out) => {
                    round.answered(at, endpoint, out.map_or(Finding::Passed, Finding::from), Duration::ZERO);
                }
                (Some(how), ..) => {
                    round.left.set(round.left.get() + 1);
                    let question = Question { asker: asker.clone(), round: round.clone(), check: at, endpoint };
                    engine.spawn(one(engine.clone(), checks.clone(), question, how.clone(), deadline));
                }
                (None, None, _) => {}
            }
        }
    }
    round
}

async fn one(engine: Engine, checks: Rc<Checks>, question: Question, how: Check, deadline: Instant) {
    engine.label(Activity::Housekeeping.label());
    let turn = checks.turn().await;
    let Question { asker, round, check, endpoint } = &question;
    let Some((name, address)) = place(&asker.board, *check, *endpoint) else { return };
    let Some(plan) = asker.board.plan.checks.get(*check) else { return };
    if round.is_over.get() || asker.is_retired() {
        return;
    }
    let (timer, begun) = (engine.timer(), engine.now());
    let checked = probe(&engine, &timer, &how, name, address, (begun + plan.timeout).min(deadline)).await;
    drop(turn);
    let took = engine.now().since(begun);
    let is_slow = checked == Checked::Passed && plan.slow.is_some_and(|slow| took > slow);
    asker.asked(*check, checked, took);
    if !round.is_over.get() {
        round.answered(*check, *endpoint, if is_slow { Finding::Slow } else { checked.into() }, took);
    }
}

/// The name and the address of an endpoint.
fn place(board: &Board, check: usize, endpoint: usize) -> Option<(&str, SocketAddr)> {
    if let Some(shared) = board.upstream(check) {
        let found = shared.upstream().endpoints.get(endpoint)?;
        return Some((&found.name, found.address));
    }
    let CheckTarget::Addresses(addresses) = &board.plan.checks.get(check)?.target else { return None };
    addresses.get(endpoint).map(|(name, address)| (&**name, *address))
}

impl From<Checked> for HealthResult {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Passed => Self::Passed,
            Checked::Never | Checked::Refused => Self::Connect,
            Checked::Timeout => Self::Timeout,
            Checked::Reset => Self::Reset,
            Checked::Protocol => Self::Protocol,
            Checked::Status => Self::Status,
            Checked::Body => Self::Body,
        }
    }
}
