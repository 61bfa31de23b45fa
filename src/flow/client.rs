//! The client's side of a connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Stream, Timer};

use super::{Bound, Input, Progress};
use crate::core::{CoreState, Presence};
use crate::observe::Timeout;
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

    /// Waits until at most `bytes` are unsent. False when the client is gone, or stalls, or takes less than the least
    /// rate.
    pub(super) async fn unsent_at_most(&self, bytes: usize) -> bool {
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
