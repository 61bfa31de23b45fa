//! Rounds of checks: one core begins one every `ttl`, whoever asks for the result. So no client can have anything asked,
//! and there is never more than one question under way to one endpoint.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Timer};
use ringway_runtime::net::Address;

use super::Asker;
use super::board::{Board, Found};
use super::state::Finding;
use crate::observe::{Activity, HealthResult};
use crate::plan::{AggregateCheck, Check, CheckTarget, ProxyVersion};
use crate::upstream::{Cause, Checked, Checks, Probed, probe};

/// One round, while it is under way. It goes on when a plan changes nothing of what its service asks.
pub(super) struct Round {
    course: Rc<Course>,
    /// For each check what its endpoints said so far.
    answers: Box<[Box<[Rc<Answer>]>]>,
}

/// What the questions of a round have in common, whatever plan they were asked for.
struct Course {
    began: Instant,
    /// Questions without an answer.
    left: Cell<usize>,
    is_over: Cell<bool>,
    /// Waits for the last of them.
    waker: RefCell<Option<Waker>>,
}

/// What one endpoint said.
#[derive(Default)]
struct Answer {
    finding: Cell<Finding>,
    took: Cell<Duration>,
}

impl Answer {
    fn set(&self, finding: Finding, took: Duration) {
        self.finding.set(finding);
        self.took.set(took);
    }
}

impl Round {
    /// The same for a plan with other endpoints: for each of each check its place in this one. One that is new has not
    /// been asked in it.
    pub(super) fn moved(&self, places: &[Box<[Option<usize>]>]) -> Rc<Self> {
        let answers = self.answers.iter().zip(places).map(|(answers, places)| {
            let answer = |at: &Option<usize>| at.and_then(|at| answers.get(at).cloned()).unwrap_or_default();
            places.iter().map(answer).collect()
        });
        Rc::new(Self { course: self.course.clone(), answers: answers.collect() })
    }

    /// Nobody waits for it any more: what has not been asked is not asked.
    pub(super) fn end(&self) {
        self.course.is_over.set(true);
    }

    fn is_done(&self) -> bool {
        self.course.left.get() == 0
    }

    fn found(&self) -> Vec<Found> {
        let found = self.answers.iter().map(|answers| Found {
            endpoints: answers.iter().map(|answer| answer.finding.get()).collect(),
            took: answers.iter().map(|answer| answer.took.get().as_nanos() as u64).max().unwrap_or(0),
        });
        found.collect()
    }
}

/// One question of a round. Dropping it is its end, however it came to that.
struct Question {
    asker: Rc<Asker>,
    course: Rc<Course>,
    answer: Rc<Answer>,
    check: usize,
    endpoint: usize,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.course.left.set(self.course.left.get() - 1);
        if self.course.left.get() == 0 {
            let waker = self.course.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Makes rounds for as long as the service is that of a plan, beginning with the one that the plan before is at.
pub(super) async fn rounds(asker: Weak<Asker>, engine: Engine, checks: Rc<Checks>) {
    engine.label(Activity::Housekeeping.label());
    let timer = engine.timer();
    loop {
        let Some(one) = asker.upgrade().filter(|asker| !asker.is_retired()) else { return };
        let under_way = one.round.borrow().clone();
        let board = &one.board;
        // What another plan found out counts until its time is over.
        let is_fresh = board.is_known() && board.version() > 0;
        let next = if is_fresh { board.began() + board.plan.ttl } else { engine.now() };
        let total_timeout = board.plan.total_timeout;
        drop(one);
        let round = if let Some(round) = under_way {
            round
        } else {
            if !wait(&asker, &timer, next, None).await {
                return;
            }
            let Some(one) = asker.upgrade() else { return };
            let round = ask(&one, &engine, &checks);
            *one.round.borrow_mut() = Some(round.clone());
            round
        };
        let began = round.course.began;
        wait(&asker, &timer, began + total_timeout, Some(&round)).await;
        // Where there is another plan by now, the round is for that to end.
        let Some(one) = asker.upgrade().filter(|asker| !asker.is_retired()) else { return };
        round.end();
        one.round.take();
        one.board.publish(&round.found(), began, engine.wall());
        one.told();
    }

    /// Waits until then, or until a round is done. False where the service is no more.
    async fn wait(asker: &Weak<Asker>, timer: &Timer, until: Instant, round: Option<&Round>) -> bool {
        timer.set(until);
        poll_fn(|cx| match asker.upgrade() {
            Some(asker) if !asker.is_retired() => {
                asker.wake_with(cx.waker());
                if let Some(round) = round {
                    *round.course.waker.borrow_mut() = Some(cx.waker().clone());
                }
                let is_done = round.is_some_and(Round::is_done);
                if is_done { Poll::Ready(true) } else { timer.poll(cx).map(|()| true) }
            }
            _ => Poll::Ready(false),
        })
        .await
    }
}

/// Asks all at once; what is known without asking is found at once.
fn ask(asker: &Rc<Asker>, engine: &Engine, checks: &Rc<Checks>) -> Rc<Round> {
    let (board, began) = (&asker.board, engine.now());
    let course = Rc::new(Course { began, left: Cell::new(0), is_over: Cell::new(false), waker: RefCell::default() });
    let deadline = began + board.plan.total_timeout;
    let asked = |(at, check): (usize, &AggregateCheck)| {
        let answer = |endpoint: usize| {
            let answer = Rc::new(Answer::default());
            let standing = board.upstream(at).map(|shared| shared.standing(endpoint));
            let out = standing.and_then(|standing| standing.causes().next());
            match (&check.check, standing, out) {
                // It is not meant to work.
                (_, Some(_), Some(Cause::Drained)) => answer.set(Finding::Drained, Duration::ZERO),
                (None, Some(_), out) => answer.set(out.map_or(Finding::Passed, Finding::from), Duration::ZERO),
                (Some(how), ..) => {
                    answer.set(Finding::Timeout, Duration::ZERO);
                    course.left.set(course.left.get() + 1);
                    let (asker, course, answer) = (asker.clone(), course.clone(), answer.clone());
                    let question = Question { asker, course, answer, check: at, endpoint };
                    engine.spawn(one(engine.clone(), checks.clone(), question, how.clone(), deadline));
                }
                (None, None, _) => answer.set(Finding::Timeout, Duration::ZERO),
            }
            answer
        };
        (0..board.endpoints(at)).map(answer).collect()
    };
    let answers = board.plan.checks.iter().enumerate().map(asked).collect();
    Rc::new(Round { course, answers })
}

async fn one(engine: Engine, checks: Rc<Checks>, question: Question, how: Check, deadline: Instant) {
    engine.label(Activity::Housekeeping.label());
    let turn = checks.turn().await;
    let Question { asker, course, answer, check, endpoint } = &question;
    let Some((name, address, version)) = place(&asker.board, *check, *endpoint) else { return };
    let Some(plan) = asker.board.plan.checks.get(*check) else { return };
    if course.is_over.get() {
        return;
    }
    let (timer, begun) = (engine.timer(), engine.now());
    let to = Probed { name, address, version, secure: None, dial: None };
    let checked = probe(&engine, &timer, &how, to, (begun + plan.timeout).min(deadline)).await;
    drop(turn);
    let took = engine.now().since(begun);
    let is_slow = checked == Checked::Passed && plan.slow.is_some_and(|slow| took > slow);
    asker.asked(*check, checked, took);
    if !course.is_over.get() {
        answer.set(if is_slow { Finding::Slow } else { checked.into() }, took);
    }
}

/// The name and the address of an endpoint, and which PROXY header it wants.
fn place(board: &Board, check: usize, endpoint: usize) -> Option<(&str, &Address, Option<ProxyVersion>)> {
    if let Some(shared) = board.upstream(check) {
        let found = shared.upstream().endpoints.get(endpoint)?;
        return Some((&found.name, &found.address, shared.upstream().proxy_protocol));
    }
    let CheckTarget::Addresses(addresses) = &board.plan.checks.get(check)?.target else { return None };
    addresses.get(endpoint).map(|(name, address)| (&**name, address, None))
}

impl From<Checked> for HealthResult {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Passed => Self::Passed,
            Checked::Never | Checked::Refused => Self::Connect,
            Checked::Timeout => Self::Timeout,
            Checked::Reset => Self::Reset,
            Checked::Protocol => Self::Protocol,
            Checked::Status | Checked::GrpcStatus | Checked::NotServing => Self::Status,
            Checked::Body => Self::Body,
        }
    }
}
