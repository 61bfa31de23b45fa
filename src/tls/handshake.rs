//! How a handshake goes, for those who do not shake hands themselves.

use super::session::{Failure, Session};
use std::cell::{Cell, OnceCell, RefCell};
use std::task::{Context, Poll, Waker};

/// What became of data that a client sent before the handshake was done (RFC 8446 section 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyData {
    /// There was none.
    #[default]
    None,
    /// It was taken.
    Taken,
    /// It was passed over: its client sends it again.
    Refused,
}

/// How a handshake went, as far as it has gone.
///
/// With early data there is a session before the handshake is done. Until then whoever sent the early data may be
/// somebody who only recorded it.
#[derive(Debug, Default)]
pub struct Handshake {
    session: OnceCell<Session>,
    failure: Cell<Option<Failure>>,
    early_data: Cell<EarlyData>,
    /// Whether it came to its end well, once it came to one.
    end: Cell<Option<bool>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Handshake {
    /// What was agreed on, once it was.
    pub fn session(&self) -> Option<&Session> {
        self.session.get()
    }

    /// Why nothing was agreed on.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// What became of early data, as far as is known.
    pub fn early_data(&self) -> EarlyData {
        self.early_data.get()
    }

    /// Whether both sides are done.
    pub fn is_done(&self) -> bool {
        self.end.get() == Some(true)
    }

    /// Ready when both sides are done, or with false when they never will be. Whoever reads the stream brings it about.
    pub fn poll_done(&self, cx: &Context<'_>) -> Poll<bool> {
        if let Some(end) = self.end.get() {
            return Poll::Ready(end);
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.iter().all(|waker| !waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn agreed(&self, session: Session) {
        // Nobody else sets it, and what was agreed on stays.
        let _ = self.session.set(session);
    }

    pub(super) fn failed(&self, failure: Failure) {
        if self.session.get().is_none() && self.failure.get().is_none() {
            self.failure.set(Some(failure));
        }
        self.over(false);
    }

    pub(super) fn met_early_data(&self, what: EarlyData) {
        self.early_data.set(what);
    }

    /// It came to its end.
    pub(super) fn over(&self, well: bool) {
        if self.end.get().is_none() {
            self.end.set(Some(well));
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}
