//! What control tells a core, on its way.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use super::ToCore;

/// Messages that may wait for a core. Control offers one plan at a time, so a few are all there ever are.
const CAPACITY: usize = 16;

/// A queue from control to one core.
#[derive(Debug)]
pub struct Inbox {
    waiting: ArrayQueue<ToCore>,
    waker: AtomicWaker,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { waiting: ArrayQueue::new(CAPACITY), waker: AtomicWaker::new() }
    }
}

impl Inbox {
    /// An empty queue for both sides.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sends from any thread. A core that has not taken so many messages as fit gets the message back: it is stuck.
    pub fn send(&self, message: ToCore) -> Result<(), ToCore> {
        let sent = self.waiting.push(message);
        self.waker.wake();
        sent
    }

    /// The next message. For the core alone.
    pub async fn next(&self) -> ToCore {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            self.waiting.pop().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
