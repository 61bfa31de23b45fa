//! Tells a core to end.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// A flag that control raises once and one core waits for.
#[derive(Debug, Default)]
pub struct DrainSignal {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl DrainSignal {
    /// Raises the flag. From any thread.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits until it is raised.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.raised.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
