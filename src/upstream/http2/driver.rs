//! One connection: what it has, and what a turn does with that.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_proto::http1::{RequestHead, ResponseHead};
use ringway_proto::http2::{Client, Config, Connection, ConnectionError, ErrorCode, Event, Reset, Side, Stream as Id};
use ringway_runtime::clock::Instant;
use ringway_runtime::core::Ready;
use ringway_runtime::engine::{Engine, Stream, Timer};
use slab::Slab;

use super::carried::{Answer, Carried, Next, Out};
use super::{Link, State};
use crate::flow::Input;
use crate::flow::turn::{self, Role};
use crate::observe::{Http2Reset, Http2Side, Metrics};

/// Unsent bytes past which nothing more is written.
const HIGH: usize = 64 << 10;

pub(super) struct Driver {
    engine: Engine,
    metrics: Rc<Metrics>,
    link: Rc<Link>,
    timer: Timer,
    stream: Stream,
    input: Input,
    h2: Client,
    head: ResponseHead,
    text: Vec<u8>,
    request: RequestHead,
    carried: Slab<Box<Carried>>,
    /// By the slot of a stream, who has it.
    slots: Vec<usize>,
    /// Keys of what can go on, and of what waits until another stream can be opened.
    ready: Rc<Ready>,
    blocked: Vec<usize>,
    idle: Duration,
    idle_since: Instant,
}

impl Driver {
    pub(super) fn new(
        engine: Engine,
        metrics: Rc<Metrics>,
        link: Rc<Link>,
        timer: Timer,
        stream: Stream,
        config: &Config,
        idle: Duration,
    ) -> Self {
        let now = engine.now();
        metrics.http2_connection(Http2Side::Upstream);
        Self {
            h2: Client::new(config, Duration::from_nanos(now.as_nanos())),
            engine,
            metrics,
            link,
            timer,
            stream,
            input: Input::default(),
            head: ResponseHead::default(),
            text: Vec::new(),
            request: RequestHead::default(),
            carried: Slab::new(),
            slots: Vec::new(),
            ready: Rc::default(),
            blocked: Vec::new(),
            idle,
            idle_since: now,
        }
    }

    /// Waits until all is sent, or so long.
    pub(super) async fn last_words(&self, most: Duration) {
        self.timer.set(self.engine.now() + most);
        poll_fn(|cx| match self.stream.poll_unsent_at_most(cx, 0) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.timer.poll(cx),
        })
        .await;
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.engine.now().as_nanos())
    }

    /// Ends what it carries.
    pub(super) fn end(&mut self) {
        self.close();
        for carried in self.carried.drain() {
            if carried.stream.is_some() {
                carried.to.reset_on_drop();
            } else {
                // Nobody knows of a request that may be there.
                carried.to.refuse_on_drop();
            }
        }
        for fresh in self.link.fresh.take() {
            fresh.refuse_on_drop();
        }
        turn::output(self);
        self.stream.flush();
    }

    /// No more requests come to it.
    fn close(&mut self) {
        if self.link.state.get() == State::Up {
            self.link.set(State::Closed(None));
        }
    }

    /// The endpoint did something for which the connection ends, in order.
    fn failed(&self, error: ConnectionError) -> bool {
        self.metrics.http2_fault(Http2Side::Upstream, error.fault);
        true
    }

    /// Whether anybody may have requests for it.
    fn is_busy(&self) -> bool {
        !self.carried.is_empty() || !self.link.fresh.borrow().is_empty() || self.link.taken.get() > 0
    }

    /// Another stream may be opened.
    fn unblock(&mut self) {
        self.blocked.drain(..).for_each(|key| self.ready.add(key));
    }

    /// Who has a stream.
    fn holder(&mut self, stream: Id) -> Option<(usize, &mut Carried)> {
        let key = *self.slots.get(stream.slot())?;
        let carried = self.carried.get_mut(key)?;
        (carried.stream == Some(stream)).then_some((key, carried))
    }

    /// Acts upon an event. What is in the input is not consumed yet.
    fn act(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Response { stream, end } => {
                let (head, text) = (std::mem::take(&mut self.head), std::mem::take(&mut self.text));
                if let Some((_, carried)) = self.holder(stream) {
                    carried.respond(&head, &text, end);
                }
                (self.head, self.text) = (head, text);
                self.look(stream);
            }
            Event::Data { stream, data, end } => {
                let input = std::mem::take(&mut self.input);
                match self.holder(stream) {
                    Some((key, carried)) => {
                        carried.body(&input, data, end);
                        self.ready.add(key);
                    }
                    None => self.h2.consumed(stream, data.len(), now),
                }
                self.input = input;
                self.look(stream);
            }
            Event::Trailers { stream, trailers } => {
                let text = std::mem::take(&mut self.text);
                if let Some((_, carried)) = self.holder(stream) {
                    carried.trailers(trailers, &text);
                }
                self.text = text;
                self.look(stream);
            }
            Event::Reset { stream, reset } => self.reset(stream, reset),
            Event::GoAway { .. } => {
                self.close();
                // What has no request goes at once, and what just got one elsewhere.
                let keys: Vec<usize> =
                    self.carried.iter().filter(|(_, carried)| carried.stream.is_none()).map(|(key, _)| key).collect();
                for key in keys {
                    self.drop_carried(key, Stream::refuse_on_drop);
                }
            }
            Event::Settings => {
                self.link.most.set(self.h2.most_streams().max(1));
                self.unblock();
            }
            Event::Request { .. } | Event::Refused { .. } | Event::Pong => {}
        }
    }

    fn reset(&mut self, stream: Id, reset: Reset) {
        let by = if reset.side == Side::Local { Http2Reset::Fault } else { Http2Reset::Peer };
        let Some((key, carried)) = self.holder(stream) else { return };
        let (answer, is_whole) = (carried.answer, carried.is_over());
        if is_whole {
            return self.look(stream);
        }
        self.metrics.http2_reset(Http2Side::Upstream, by);
        if let Some(fault) = reset.fault {
            self.metrics.http2_fault(Http2Side::Upstream, fault);
        }
        let is_refused = reset.is_retry_safe && answer == Answer::Awaited;
        self.drop_carried(key, |to| if is_refused { to.refuse_on_drop() } else { to.reset_on_drop() });
        self.unblock();
    }

    /// Lets go of an end, which is told how.
    fn drop_carried(&mut self, key: usize, how: impl FnOnce(&Stream)) {
        if self.carried.contains(key) {
            let carried = self.carried.remove(key);
            how(&carried.to);
            drop(carried);
            self.link.leave();
        }
    }

    /// Looks whether an exchange is over.
    fn look(&mut self, stream: Id) {
        let now = self.now();
        let Some(key) = self.holder(stream).filter(|(_, carried)| carried.is_over()).map(|(key, _)| key) else {
            return;
        };
        let Some(carried) = self.carried.get_mut(key) else { return };
        let goes_on = carried.is_ready_again(&mut self.h2, now) && self.link.state.get() == State::Up;
        self.unblock();
        if goes_on {
            self.ready.add(key);
        } else {
            // Whoever reads the answer finds its end there.
            self.drop_carried(key, |_| ());
        }
    }

    fn then(&mut self, key: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Blocked => self.blocked.push(key),
            Next::Refused => self.drop_carried(key, Stream::refuse_on_drop),
            Next::Gone => {
                let now = self.now();
                if let Some(stream) = self.carried.get(key).and_then(|carried| carried.stream) {
                    self.h2.reset(stream, ErrorCode::Cancel, now);
                }
                self.drop_carried(key, Stream::reset_on_drop);
                self.unblock();
            }
        }
    }
}

impl Role for Driver {
    /// Whether it ends in order.
    type End = bool;

    fn wire(&self) -> &Stream {
        &self.stream
    }

    fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    fn parts(&mut self) -> (&Stream, &mut Connection) {
        (&self.stream, &mut self.h2)
    }

    fn timer(&self) -> &Timer {
        &self.timer
    }

    fn ready(&self) -> &Ready {
        &self.ready
    }

    fn high(&self) -> usize {
        HIGH
    }

    fn notices(&mut self, cx: &Context<'_>) -> Option<bool> {
        if self.link.driver.borrow().as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *self.link.driver.borrow_mut() = Some(cx.waker().clone());
        }
        while let Some(fresh) = self.link.fresh.borrow_mut().pop_front() {
            let entry = self.carried.vacant_entry();
            fresh.note_in(&self.ready, entry.key());
            self.ready.add(entry.key());
            entry.insert(Box::new(Carried::new(fresh)));
        }
        None
    }

    fn event(&mut self) -> Result<bool, bool> {
        let now = self.now();
        let received = self.h2.receive(self.input.bytes(), now, &mut self.head, &mut self.text);
        let step = received.map_err(|error| self.failed(error))?;
        let is_more = step.event.is_some();
        if let Some(event) = step.event {
            self.act(event);
        }
        self.input.consume(step.consumed);
        Ok(is_more)
    }

    fn carry(&mut self, key: usize, cx: &Context<'_>) {
        let now = self.now();
        let Self { carried, h2, stream, request, slots, metrics, .. } = self;
        let Some(carried) = carried.get_mut(key) else { return };
        let taken = carried.poll_taken(cx);
        if taken > 0
            && let Some(id) = carried.stream
        {
            h2.consumed(id, taken, now);
        }
        let before = carried.stream;
        let next = carried.advance(&mut Out { h2, wire: stream, head: request, now }, cx);
        if carried.stream != before
            && let Some(id) = carried.stream
        {
            metrics.http2_stream(Http2Side::Upstream);
            if slots.len() <= id.slot() {
                slots.resize(id.slot() + 1, usize::MAX);
            }
            if let Some(slot) = slots.get_mut(id.slot()) {
                *slot = key;
            }
        }
        self.then(key, next);
    }

    fn send(&mut self, id: Id, cx: &Context<'_>) -> bool {
        let now = self.now();
        let Some(key) = self.holder(id).filter(|(_, carried)| carried.data > 0).map(|(key, _)| key) else {
            self.h2.wants(id, false, now);
            return true;
        };
        let Self { carried, h2, stream, request, .. } = self;
        let Some(carried) = carried.get_mut(key) else { return false };
        let mut out = Out { h2, wire: stream, head: request, now };
        if !carried.send(&mut out) {
            return false;
        }
        let next = if carried.data == 0 { carried.advance(&mut out, cx) } else { Next::Wait };
        self.then(key, next);
        true
    }

    fn rest(&mut self) -> Option<bool> {
        if self.h2.error().is_some() {
            return Some(true);
        }
        if self.is_busy() {
            self.idle_since = self.engine.now();
        } else if self.link.state.get() != State::Up || self.engine.now() >= self.idle_since + self.idle {
            self.close();
            let now = self.now();
            self.h2.drain(now);
            return Some(true);
        }
        None
    }

    fn due(&mut self) -> Instant {
        let due = if self.is_busy() { Instant::from_nanos(u64::MAX) } else { self.idle_since + self.idle };
        self.h2.deadline().map_or(due, |at| due.min(Instant::from_nanos(at.as_nanos() as u64)))
    }

    fn on_time(&mut self) -> Option<bool> {
        let now = self.now();
        loop {
            match self.h2.on_time(now) {
                Ok(Some(event)) => self.act(event),
                Ok(None) => return None,
                Err(error) => return Some(self.failed(error)),
            }
        }
    }

    fn gone(&self) -> bool {
        false
    }
}
