//! Question and answer between cores: work that belongs to the core that owns a key.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use slab::Slab;

use super::{Peer, Port, Seat, SendError};
use crate::clock::Instant;
use crate::core::tasks::Waiter;
use crate::engine::{Engine, Timer};

/// What crosses the mesh of a [`Calls`].
pub struct Call<Q, A> {
    ticket: Ticket,
    content: Content<Q, A>,
}

enum Content<Q, A> {
    Question(Q),
    Answer(A),
}

/// Names a question of one core; the generation turns late answers away.
#[derive(Clone, Copy)]
struct Ticket {
    slot: u32,
    generation: u32,
}

/// Bounds of one core's questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Questions that wait for their answer, to all owners. To one owner it is also at most half the capacity of the
    /// rings between them: so there is always room for an answer.
    pub in_flight: usize,
    /// How long an answer is waited for.
    pub deadline: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { in_flight: 1024, deadline: Duration::from_millis(100) }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Too many questions wait for their answers. The owner has not seen this one.
    Busy,
    /// No answer came in time. The owner may have seen the question.
    Late,
    /// The owner has ended. It has not seen the question.
    Ended,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many questions wait for their answers",
            Self::Late => "the owner did not answer in time",
            Self::Ended => "the owner has ended",
        })
    }
}

impl Error for CallError {}

/// What a core counted of its questions and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Questions asked, of oneself too.
    pub asked: u64,
    /// Questions answered, one's own too.
    pub answered: u64,
    /// Questions refused as [`CallError::Busy`].
    pub busy: u64,
    /// Questions that ended as [`CallError::Late`].
    pub late: u64,
    /// Answers that came when nobody waited for them any more.
    pub unwanted: u64,
}

/// One core's side of a mesh of questions and answers. A handle that is passed down.
pub struct Calls<Q, A>(Rc<Inner<Q, A>>);

impl<Q, A> Clone for Calls<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What an owner does with a question: a short step that answers at once.
type Handler<Q, A> = Box<dyn Fn(Peer, Q) -> A>;

struct Inner<Q, A> {
    engine: Engine,
    port: Port<Call<Q, A>>,
    own: Peer,
    handler: Handler<Q, A>,
    limits: CallLimits,
    slots: RefCell<Slab<Slot<A>>>,
    generation: Cell<u32>,
    /// Questions for each core that it has not answered, also those that nobody waits for any more.
    unanswered: Vec<Cell<usize>>,
    stats: Cell<CallStats>,
}

struct Slot<A> {
    generation: u32,
    waiter: Waiter,
    answer: Option<A>,
}

impl<Q: Send + 'static, A: Send + 'static> Calls<Q, A> {
    /// Takes the seat on the calling thread's core, and answers with `handler` what others ask, until the engine ends.
    /// The rings between cores must hold two messages at least.
    pub fn attach(
        seat: Seat<Call<Q, A>>,
        engine: &Engine,
        limits: CallLimits,
        handler: impl Fn(Peer, Q) -> A + 'static,
    ) -> io::Result<Self> {
        let port = seat.attach(engine)?;
        if port.capacity(port.own()) < 2 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "questions and answers need rings that hold two messages at least",
            ));
        }
        let calls = Self(Rc::new(Inner {
            engine: engine.clone(),
            own: port.own(),
            handler: Box::new(handler),
            limits,
            slots: RefCell::default(),
            generation: Cell::new(0),
            unanswered: (0..port.cores()).map(|_| Cell::new(0)).collect(),
            stats: Cell::default(),
            port,
        }));
        let inner = calls.0.clone();
        engine.spawn(async move {
            loop {
                let (from, call) = inner.port.receive().await;
                inner.take(from, call);
            }
        });
        Ok(calls)
    }

    /// Asks `owner`; a question to oneself is answered at once. Dropping the future gives the answer up.
    pub fn ask(&self, owner: Peer, question: Q) -> Answering<Q, A> {
        let inner = &self.0;
        inner.count(|stats| stats.asked += 1);
        let state = if owner == inner.own {
            inner.count(|stats| stats.answered += 1);
            State::Done(Some(Ok((inner.handler)(owner, question))))
        } else {
            match inner.send(owner, question) {
                Ok(ticket) => {
                    let deadline = inner.engine.now() + inner.limits.deadline;
                    State::Waiting { ticket, deadline, timer: None }
                }
                Err(error) => State::Done(Some(Err(error))),
            }
        };
        Answering { calls: inner.clone(), state }
    }

    /// What this core counted so far.
    pub fn stats(&self) -> CallStats {
        self.0.stats.get()
    }

    /// Questions that wait for their answer now.
    pub fn in_flight(&self) -> usize {
        self.0.slots.borrow().len()
    }
}

impl<Q, A> Inner<Q, A> {
    fn count(&self, change: impl FnOnce(&mut CallStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn unanswered(&self, peer: Peer) -> Option<&Cell<usize>> {
        match peer {
            Peer::Core(core) => self.unanswered.get(usize::from(core)),
            Peer::Control => None,
        }
    }

    /// The slot of a ticket, unless it is another question's by now.
    fn with_slot<R>(&self, ticket: Ticket, act: impl FnOnce(&mut Slot<A>) -> R) -> Option<R> {
        let mut slots = self.slots.borrow_mut();
        slots.get_mut(ticket.slot as usize).filter(|slot| slot.generation == ticket.generation).map(act)
    }

    fn free(&self, ticket: Ticket) {
        // What an answer drops may ask again: no borrow is held then.
        let slot = self.slots.borrow_mut().try_remove(ticket.slot as usize);
        drop(slot);
    }
}

impl<Q: Send + 'static, A: Send + 'static> Inner<Q, A> {
    fn send(&self, owner: Peer, question: Q) -> Result<Ticket, CallError> {
        let unanswered = self.unanswered(owner).ok_or(CallError::Ended)?;
        let busy = || {
            self.count(|stats| stats.busy += 1);
            CallError::Busy
        };
        let mut slots = self.slots.borrow_mut();
        if slots.len() >= self.limits.in_flight || unanswered.get() >= self.port.capacity(owner) / 2 {
            // One that has ended answers nothing, so its questions stay.
            return Err(if self.port.is_ended(owner) { CallError::Ended } else { busy() });
        }
        let entry = slots.vacant_entry();
        let ticket = Ticket { slot: entry.key() as u32, generation: self.generation.get() };
        match self.port.send(owner, Call { ticket, content: Content::Question(question) }) {
            Ok(()) => {}
            Err(SendError::Full(_)) => return Err(busy()),
            Err(SendError::Ended(_)) => return Err(CallError::Ended),
        }
        self.generation.set(self.generation.get().wrapping_add(1));
        unanswered.set(unanswered.get() + 1);
        entry.insert(Slot { generation: ticket.generation, waiter: Waiter::Nobody, answer: None });
        Ok(ticket)
    }

    fn take(&self, from: Peer, call: Call<Q, A>) {
        let ticket = call.ticket;
        match call.content {
            Content::Question(question) => {
                let answer = (self.handler)(from, question);
                self.count(|stats| stats.answered += 1);
                // There is room: see `CallLimits`. Who asked may have ended.
                self.port.send_or_drop(from, Call { ticket, content: Content::Answer(answer) });
            }
            Content::Answer(answer) => {
                if let Some(unanswered) = self.unanswered(from) {
                    unanswered.set(unanswered.get().saturating_sub(1));
                }
                let mut answer = Some(answer);
                let waiter = self.with_slot(ticket, |slot| {
                    slot.answer = answer.take();
                    slot.waiter.take()
                });
                match waiter {
                    Some(waiter) => self.engine.wake(waiter),
                    None => self.count(|stats| stats.unwanted += 1),
                }
            }
        }
    }
}

enum State<A> {
    Waiting {
        ticket: Ticket,
        deadline: Instant,
        timer: Option<Timer>,
    },
    /// Absent once it was given out.
    Done(Option<Result<A, CallError>>),
}

/// The answer to come.
pub struct Answering<Q, A> {
    calls: Rc<Inner<Q, A>>,
    state: State<A>,
}

// Nothing in it is pinned.
impl<Q, A> Unpin for Answering<Q, A> {}

impl<Q, A> Future for Answering<Q, A> {
    type Output = Result<A, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let calls = &this.calls;
        let result = match &mut this.state {
            State::Done(result) => match result.take() {
                Some(result) => return Poll::Ready(result),
                // Polled again after it was done, which no async block does.
                None => return Poll::Pending,
            },
            State::Waiting { ticket, deadline, timer } => {
                let answer = calls.with_slot(*ticket, |slot| {
                    slot.waiter = calls.engine.waiter(cx);
                    slot.answer.take()
                });
                if let Some(answer) = answer.flatten() {
                    Ok(answer)
                } else {
                    let timer = timer.get_or_insert_with(|| {
                        let timer = calls.engine.timer();
                        timer.set(*deadline);
                        timer
                    });
                    if timer.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    calls.count(|stats| stats.late += 1);
                    Err(CallError::Late)
                }
            }
        };
        if let State::Waiting { ticket, .. } = std::mem::replace(&mut this.state, State::Done(None)) {
            this.calls.free(ticket);
        }
        Poll::Ready(result)
    }
}

impl<Q, A> Drop for Answering<Q, A> {
    fn drop(&mut self) {
        if let State::Waiting { ticket, .. } = self.state {
            self.calls.free(ticket);
        }
    }
}
