//! The client's side of a connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Stream, Timer};

use super::Input;
use crate::core::{CoreState, Presence};
use crate::plan::{Listener, ListenerId};

/// A client connection and all it holds between requests.
pub struct Client {
    /// The core that serves it.
    pub state: Rc<CoreState>,
    /// Its stream.
    pub stream: Stream,
    /// Received and not yet dealt with.
    pub input: Input,
    /// The one timer of the connection: whoever waits sets it.
    pub timer: Timer,
    /// The other end.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: ListenerId,
    /// Requests it has made.
    pub requests: u64,
    /// Since when it has had nothing to do.
    pub idle_since: Instant,
    pub(super) presence: Presence,
}

impl Client {
    pub(super) fn new(state: Rc<CoreState>, listener: ListenerId, stream: Stream, peer: SocketAddr) -> Self {
        let presence = state.enter(true);
        let timer = state.engine.timer();
        let idle_since = state.engine.now();
        Self { state, stream, input: Input::default(), timer, peer, listener, requests: 0, idle_since, presence }
    }

    /// Its listener in the plan.
    pub fn listener(&self) -> &Listener {
        &self.state.plan.listeners[self.listener.0 as usize]
    }

    /// The time at the start of this turn of the loop.
    pub fn now(&self) -> Instant {
        self.state.engine.now()
    }

    /// Waits until everything written is sent. False when the client is gone or takes too little until `deadline`.
    pub(crate) async fn drained(&self, deadline: Instant) -> bool {
        self.unsent_at_most(0, deadline).await
    }

    /// The same until at most `bytes` are unsent.
    pub(super) async fn unsent_at_most(&self, bytes: usize, deadline: Instant) -> bool {
        if self.stream.unsent() <= bytes {
            return true;
        }
        self.timer.set(deadline);
        poll_fn(|cx| match self.stream.poll_unsent_at_most(cx, bytes) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => self.timer.poll(cx).map(|()| false),
        })
        .await
    }
}
