//! The client's side of a connection.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Layer, Stream, Timer};

use super::{Bound, Caller, Input, Progress, Told, forwarded};
use crate::core::{CoreState, Door, DoorId, Presence, Running};
use crate::observe::Timeout;
use crate::plan::{Listener, ListenerId, Plan};
use crate::tls::{CoreServer, Handshake, Protocol, Session};

/// A client connection and all it holds between requests.
pub struct Client {
    /// The core that serves it.
    pub state: Rc<CoreState>,
    /// The plan of the request it is at, or of its last one.
    pub running: Rc<Running>,
    /// Its stream.
    pub stream: Stream,
    /// How its TLS handshake went, where it speaks TLS.
    pub tls: Option<Rc<Handshake>>,
    /// Received and not yet dealt with.
    pub input: Input,
    /// The one timer of the connection: whoever waits sets it.
    pub timer: Timer,
    /// Who is at the other end, or whom a PROXY header named.
    pub peer: Caller,
    /// Its address as the upstream is told of it, once it was. The streams of a connection share it.
    peer_text: Rc<OnceCell<Box<[u8]>>>,
    /// Where it came in.
    door: Rc<Door>,
    /// The listener of `door` in the plan.
    listener: ListenerId,
    /// Requests it has made.
    pub requests: u64,
    /// How its requests come.
    pub(super) speaks: Speaks,
    /// Since when it has had nothing to do.
    pub idle_since: Instant,
    /// From when on it may go to another core.
    pub(super) settled_at: Instant,
    presence: Presence,
}

/// How the requests of a client come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    /// A connection of HTTP/2, whose streams are clients of their own.
    Http2,
    /// One stream after the other of a connection of HTTP/2, as HTTP/1.1.
    CarriedByHttp2,
}

/// What the core has to say to a connection between two requests.
pub(super) enum Notice {
    /// It ends.
    End,
    /// It ends at once: its place is needed.
    Evicted,
    /// There is another plan.
    Plan,
    /// The core has more to do than others: it may go to one of them.
    Leave,
}

impl Client {
    pub(super) fn new(state: Rc<CoreState>, door: Rc<Door>, stream: Stream, peer: Caller, presence: Presence) -> Self {
        Self {
            running: door.plan(&state),
            stream,
            tls: None,
            input: Input::default(),
            timer: state.engine.timer(),
            peer_text: Rc::default(),
            peer,
            listener: door.listener(),
            door,
            requests: 0,
            speaks: Speaks::Http1,
            idle_since: state.engine.now(),
            settled_at: state.engine.now(),
            presence,
            state,
        }
    }

    /// The TLS that its listener wants of it.
    pub(super) fn server(&self) -> Option<&CoreServer> {
        self.running.server(self.listener)
    }

    /// The same with a layer of TLS over its stream.
    pub(super) fn layered(mut self, layer: Box<dyn Layer>, handshake: Rc<Handshake>) -> Self {
        // What came behind a PROXY header.
        let count = self.input.bytes().len();
        let early = (count > 0).then(|| self.input.take_front(count));
        let stream = self.stream.layered(layer, &self.state.tls.room, early);
        Self { stream, tls: Some(handshake), ..self }
    }

    /// The same without one.
    pub(super) fn peeled(self) -> Self {
        Self { stream: self.stream.peeled(), ..self }
    }

    /// What was agreed on with it, where it speaks TLS.
    pub fn session(&self) -> Option<&Session> {
        self.tls.as_ref()?.session()
    }

    /// What it speaks: HTTP/1.1 where nothing else was agreed on.
    pub fn protocol(&self) -> Protocol {
        self.session().map(|session| session.protocol).unwrap_or_default()
    }

    /// The client of a stream of this connection, which is carried as HTTP/1.1. It is no connection of its own: it is not
    /// counted as one and cannot go to another core.
    pub(super) fn carried(&self, stream: Stream) -> Self {
        Self {
            running: self.running.clone(),
            stream,
            tls: self.tls.clone(),
            input: Input::default(),
            timer: self.state.engine.timer(),
            peer: self.peer.clone(),
            peer_text: self.peer_text.clone(),
            listener: self.listener,
            door: self.door.clone(),
            requests: 0,
            speaks: Speaks::CarriedByHttp2,
            idle_since: self.now(),
            settled_at: self.settled_at,
            presence: self.state.enter(false),
            state: self.state.clone(),
        }
    }

    /// Whether its requests are carried by a connection of HTTP/2, which watches how fast the client reads.
    pub(crate) fn is_carried(&self) -> bool {
        self.speaks == Speaks::CarriedByHttp2
    }

    /// The peer's address as the upstream is told of it.
    pub(super) fn peer_text(&self) -> &[u8] {
        self.peer_text.get_or_init(|| forwarded::text_of(self.peer.ip()))
    }

    /// A PROXY header says who it is from.
    pub(super) fn is_from(&mut self, caller: Caller) {
        self.peer_text = Rc::default();
        self.peer = caller;
    }

    /// What a PROXY header told of it.
    pub fn told(&self) -> Option<&Told> {
        self.peer.told()
    }

    /// Whether the client spoke TLS, as far as is known without its requests.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some() || self.told().is_some_and(|told| told.tls.is_some())
    }

    /// Its listener in the plan.
    pub fn listener(&self) -> &Listener {
        self.listener_in(&self.running.plan)
    }

    /// The same where the plan is held by whoever asks.
    pub(super) fn listener_in<'p>(&self, plan: &'p Plan) -> &'p Listener {
        &plan.listeners[self.listener.0 as usize]
    }

    /// Takes up the plan that the core runs now, for the next request.
    pub(crate) fn refresh(&mut self) {
        if self.is_behind() {
            self.running = self.state.running();
            self.listener = self.door.listener();
        }
    }

    /// Whether the core runs another plan. A connection whose door is closed stays with the one that had it.
    pub(crate) fn is_behind(&self) -> bool {
        self.running.epoch != self.state.epoch() && !self.door.is_closed()
    }

    /// Whether no request may follow the one it is at.
    pub(crate) fn is_last(&self) -> bool {
        self.state.is_ending() || self.door.is_closed()
    }

    /// For a connection between two requests: ready when it is to end, or to take up another plan.
    pub(super) fn poll_notice(&self, cx: &Context<'_>) -> Poll<Notice> {
        // Out of the queue of a closed door comes a client that was promised an answer.
        if self.state.ends_idle(self.requests) || (self.door.is_closed() && self.requests > 0) {
            return Poll::Ready(Notice::End);
        }
        if self.is_behind() {
            return Poll::Ready(Notice::Plan);
        }
        if self.presence.is_evicted() {
            return Poll::Ready(Notice::Evicted);
        }
        if self.may_leave() {
            return Poll::Ready(Notice::Leave);
        }
        self.presence.register(cx);
        Poll::Pending
    }

    /// For a connection before its first request: ready when it has to end whatever comes.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.ends_idle(self.requests) || self.presence.is_evicted() {
            return Poll::Ready(());
        }
        self.presence.register(cx);
        Poll::Pending
    }

    /// For a connection that goes on beyond its request: has the task of `cx` woken when the core is to end, or runs
    /// another plan.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.presence.register(cx);
    }

    /// For a connection of HTTP/2, which may end while requests are under way: as [`Client::poll_notice`].
    pub(super) fn poll_carrier_notice(&self, is_ending: bool, cx: &Context<'_>) -> Poll<Notice> {
        if !is_ending && self.is_last() {
            return Poll::Ready(Notice::End);
        }
        if self.is_behind() {
            return Poll::Ready(Notice::Plan);
        }
        if self.presence.is_evicted() {
            return Poll::Ready(Notice::Evicted);
        }
        self.presence.register(cx);
        Poll::Pending
    }

    /// The connection waits for its next request, or no more.
    pub(super) fn set_idle(&self, is_idle: bool) {
        self.presence.set_idle(is_idle.then_some(self.idle_since));
    }

    /// Whether it should try to go to another core.
    fn may_leave(&self) -> bool {
        self.speaks == Speaks::Http1
            && self.tls.is_none()
            && self.state.placement.as_ref().is_some_and(|placement| placement.lets_go())
            && self.now() >= self.settled_at
            && self.stream.unsent() == 0
    }

    /// Where it came in.
    pub(super) fn door_id(&self) -> DoorId {
        self.door.id()
    }

    /// It is another core's from now on.
    pub(super) fn leave(self) {
        self.presence.leave();
    }

    /// The time at the start of this turn of the loop.
    pub fn now(&self) -> Instant {
        self.state.engine.now()
    }

    /// Waits until at most `bytes` are unsent. False when the client is gone, or stalls, or takes less than the least
    /// rate.
    pub(super) async fn unsent_at_most(&self, bytes: usize) -> bool {
        if self.is_carried() {
            return poll_fn(|cx| self.stream.poll_unsent_at_most(cx, bytes)).await.is_ok();
        }
        let timeouts = &self.listener().timeouts;
        let mut progress = Progress::default();
        let mut left = self.stream.unsent();
        while left > bytes {
            let (Bound::Idle(at) | Bound::Rate(at)) = progress.wait(self.now(), timeouts.send_idle, timeouts);
            self.timer.set(at);
            let room = poll_fn(|cx| match self.stream.poll_unsent_at_most(cx, bytes) {
                Poll::Ready(result) => Poll::Ready(Some(result.is_ok())),
                Poll::Pending => self.timer.poll(cx).map(|()| None),
            })
            .await;
            let unsent = self.stream.unsent();
            match room {
                Some(is_open) => return is_open,
                // Time is up, unless it took something meanwhile.
                None if unsent < left => progress.moved((left - unsent) as u64, self.now()),
                None => {
                    self.state.metrics.timed_out(Timeout::Send);
                    return false;
                }
            }
            left = unsent;
        }
        true
    }
}
