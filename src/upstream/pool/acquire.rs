//! How a request gets a connection: an idle one, a new one, or one that another request gives up.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Stream, Timer};
use ringway_runtime::net::Address;

use super::Pool;
use super::connection::{Connection, Holds, Slot, Turn};
use super::lines::Idle;
use crate::observe::{Reason, Timeout, UpstreamFailure};
use crate::plan::Endpoint;
use crate::upstream::breaker::Leave;
use crate::upstream::http2::Dial;
use crate::upstream::{Asked, Outcome, Unpicked};

/// How often it is looked whether endpoints that were full still are.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(2);

/// Why there is no connection at once.
pub enum Short {
    /// Nothing may be asked now.
    Refused(Reason),
    /// There may be a new one.
    New(Box<NewConnection>),
    /// As many as there may be are busy.
    Full,
}

/// An endpoint was picked, and there is room for a connection to it.
pub struct NewConnection(Turn);

/// A place in the line.
#[derive(Default)]
pub(super) struct Place {
    pub(super) called: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
}

/// Leave of the upstream's breaker, while it has no endpoint.
struct UpstreamLeave<'a> {
    pool: &'a Rc<Pool>,
    leave: Cell<Option<Leave>>,
}

impl UpstreamLeave<'_> {
    fn take(&self) -> Leave {
        self.leave.take().unwrap_or(Leave::Plain)
    }
}

impl Drop for UpstreamLeave<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.pool.shared().report(leave, Outcome::Unknown, 0, self.pool.engine.now());
        }
    }
}

/// Leaves the line when its request goes away; a call it did not answer goes to the next.
struct InLine<'a> {
    pool: &'a Pool,
    place: Rc<Place>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.pool.whole.waiting.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
        if self.place.called.get() {
            self.pool.call_next();
        }
    }
}

impl Pool {
    /// An idle connection to the endpoint that the balancer picks, or what else would help. `fresh` asks for a new one.
    pub fn ready(self: &Rc<Self>, asked: &Asked, fresh: bool) -> Result<Connection, Short> {
        let leave = self.leave().ok_or(Short::Refused(Reason::BreakerOpen))?;
        let now = self.engine.now();
        self.look_at_time(now);
        match self.balancer.pick(asked, now) {
            Err(Unpicked::NoEndpoint) => Err(Short::Refused(Reason::NoEndpoint)),
            Err(Unpicked::Broken) => Err(Short::Refused(self.refused())),
            Err(Unpicked::Full) => {
                if !asked.at_once {
                    self.look_for_room();
                }
                Err(Short::Full)
            }
            Ok(picked) => {
                if let Some(special) = picked.special {
                    self.series.picked(special);
                }
                if let Leave::First(_) = picked.leave {
                    self.is_half_open(Some(picked.endpoint));
                }
                let outcome = Cell::new(Outcome::Unknown);
                let turn = Turn { pool: self.clone(), picked, outcome, leave: Cell::new(Some(leave.take())) };
                let endpoint = turn.endpoint();
                if !fresh && let Some((idle, slot)) = self.take_idle(endpoint, asked.preamble.as_ref()) {
                    let Idle { stream, preamble, opened, .. } = idle;
                    return Ok(Connection { stream, turn, slot, opened, preamble, reused: true });
                }
                self.keep_within(endpoint);
                // An idle connection to another endpoint makes room.
                let has_room = self.whole.open.get() < self.upstream().pool.max_connections || self.close_one_idle();
                // Who waits keeps nobody else from trying: its turn ends here.
                Err(if has_room { Short::New(Box::new(NewConnection(turn))) } else { Short::Full })
            }
        }
    }

    /// A connection where [`Pool::ready`] had none: a new one, else one that another request gives up in time.
    /// `deadline` bounds all of it beside the pool's own bounds. An error is `(reason, endpoint)`.
    pub async fn wait(
        self: &Rc<Self>,
        short: Short,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
        fresh: bool,
    ) -> Result<Connection, (Reason, Option<usize>)> {
        let give_up = (self.engine.now() + self.upstream().pool.wait).min(deadline);
        let mut short = short;
        let mut was_called = false;
        loop {
            match short {
                Short::Refused(reason) => return Err((reason, None)),
                Short::New(new) => {
                    let endpoint = new.0.endpoint();
                    let connected = self.connect(new.0, timer, deadline, asked).await;
                    return connected.map_err(|reason| (reason, Some(endpoint)));
                }
                Short::Full if asked.at_once => return Err((Reason::PoolExhausted, None)),
                Short::Full => {}
            }
            self.wait_in_line(timer, give_up, was_called).await.map_err(|reason| (reason, None))?;
            // Somebody quicker may have taken the place meanwhile: then back to the head of the line.
            was_called = true;
            short = match self.ready(asked, fresh) {
                Ok(connection) => return Ok(connection),
                Err(short) => short,
            };
        }
    }

    /// [`Pool::ready`], and [`Pool::wait`] where that has none.
    pub async fn acquire(
        self: &Rc<Self>,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
        fresh: bool,
    ) -> Result<Connection, (Reason, Option<usize>)> {
        match self.ready(asked, fresh) {
            Ok(connection) => Ok(connection),
            Err(short) => self.wait(short, timer, deadline, asked, fresh).await,
        }
    }

    /// Leave of the upstream's breaker.
    fn leave(self: &Rc<Self>) -> Option<UpstreamLeave<'_>> {
        let leave = self.shared().leave(self.engine.now());
        match leave {
            Some(Leave::Plain | Leave::Probe(_)) => {}
            Some(Leave::First(_)) => self.is_half_open(None),
            None => _ = self.refused(),
        }
        leave.map(|leave| UpstreamLeave { pool: self, leave: Cell::new(Some(leave)) })
    }

    async fn connect(
        self: &Rc<Self>,
        turn: Turn,
        timer: &Timer,
        deadline: Instant,
        asked: &Asked,
    ) -> Result<Connection, Reason> {
        let (upstream, endpoint) = (self.upstream(), turn.endpoint());
        let target = upstream.endpoints.get(endpoint).ok_or(Reason::NoEndpoint)?;
        self.count_open(endpoint, 1);
        let mut slot = Slot { pool: self.clone(), endpoint, holds: Holds::Nothing };
        let start = self.engine.now();
        let own = start + upstream.timeout.connect;
        timer.set(own.min(deadline));
        let mut connecting = pin!(self.dial(endpoint, target, asked));
        let outcome = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => timer.poll(cx).map(|()| None),
        })
        .await;
        let is_cut = asked.is_hurried && own > deadline && outcome.is_none();
        if !matches!(outcome, Some(Ok(_))) && !is_cut {
            turn.went(Outcome::Failed(self.engine.now().since(start)));
        }
        match outcome {
            Some(Ok(stream)) => {
                slot.holds = Holds::Connection;
                let now = self.engine.now();
                self.metrics.upstream_connected(&self.series, now.nanos_since(start));
                let preamble = asked.preamble.clone();
                Ok(Connection { stream, turn, slot, opened: now, preamble, reused: false })
            }
            Some(Err(reason)) => {
                self.failed(endpoint, UpstreamFailure::Connect);
                Err(reason)
            }
            None if is_cut => Err(Reason::UpstreamTimeoutTotal),
            None => {
                self.failed(endpoint, UpstreamFailure::Timeout);
                if own <= deadline {
                    self.metrics.timed_out(Timeout::Connect);
                    Err(Reason::UpstreamTimeoutConnect)
                } else {
                    self.metrics.timed_out(Timeout::Total);
                    Err(Reason::UpstreamTimeoutTotal)
                }
            }
        }
    }

    /// A new connection, or a place on one that requests share.
    async fn dial(&self, endpoint: usize, target: &Endpoint, asked: &Asked) -> Result<Stream, Reason> {
        let upstream = self.upstream();
        let dial = self.dials(&target.name, &target.address, upstream.timeout.connect, upstream.pool.idle);
        if let (Some(dial), Some(line)) = (dial, self.lines.get(endpoint)) {
            return line.mux.connect(&dial).await.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Reason::UpstreamTlsFailed,
                _ => Reason::UpstreamConnectFailed,
            });
        }
        let stream = self.engine.connect(&target.address).await.map_err(|_| Reason::UpstreamConnectFailed)?;
        if let Some(preamble) = &asked.preamble {
            // It goes out with what comes first, be it a handshake or the request.
            stream.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(preamble)));
        }
        match &self.secure {
            None => Ok(stream),
            Some(secure) => Ok(secure.over(stream, &target.name).await.ok_or(Reason::UpstreamTlsFailed)?.0),
        }
    }

    /// How to connect to where HTTP/2 is spoken.
    pub(in crate::upstream) fn dials<'a>(
        &'a self,
        name: &'a str,
        address: &'a Address,
        connect: Duration,
        idle: Duration,
    ) -> Option<Dial<'a>> {
        let config = self.http2.as_ref()?;
        let secure = self.secure.as_ref();
        Some(Dial { engine: &self.engine, metrics: &self.metrics, name, address, secure, config, connect, idle })
    }

    async fn wait_in_line(&self, timer: &Timer, give_up: Instant, at_head: bool) -> Result<(), Reason> {
        let place = InLine { pool: self, place: Rc::default() };
        {
            let mut waiting = self.whole.waiting.borrow_mut();
            if at_head {
                waiting.push_front(place.place.clone());
            } else if waiting.len() >= self.upstream().pool.max_waiting as usize {
                return Err(Reason::PoolExhausted);
            } else {
                waiting.push_back(place.place.clone());
                self.series.waited();
            }
        }
        timer.set(give_up);
        poll_fn(|cx| {
            // Taking the call leaves nothing to pass on when the place is dropped.
            if place.place.called.take() {
                return Poll::Ready(Ok(()));
            }
            if timer.poll(cx).is_ready() {
                self.metrics.timed_out(Timeout::Pool);
                return Poll::Ready(Err(Reason::PoolTimeout));
            }
            *place.place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A place came free: whoever waits longest may have it.
    pub(super) fn call_next(&self) {
        let next = self.whole.waiting.borrow_mut().pop_front();
        if let Some(place) = next {
            place.called.set(true);
            let waker = place.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Requests wait because endpoints have as many as they may. Places that come free on other cores are not called out
    /// to this one, so for as long as somebody waits it looks itself.
    fn look_for_room(self: &Rc<Self>) {
        if self.looks_for_room.replace(true) {
            return;
        }
        let pool = Rc::downgrade(self);
        let engine = self.engine.clone();
        self.engine.spawn(async move {
            loop {
                engine.sleep(LOOK_FOR_ROOM).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.whole.waiting.borrow().is_empty() {
                    pool.looks_for_room.set(false);
                    return;
                }
                pool.call_next();
            }
        });
    }
}
