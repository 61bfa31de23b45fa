//! The futures of spawned tasks, held where their engine can end them.
//!
//! Glommio neither drops detached tasks at its end nor keeps one that nobody can wake any more. Its tasks therefore
//! only borrow their future from here for the time of a poll.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::{wake, yield_now};

struct Task {
    /// Absent while it is polled, and once the engine ends.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Wakes glommio's task, and keeps it from being dropped as unreachable.
    waker: Option<Waker>,
}

#[derive(Default)]
pub(super) struct Tasks(RefCell<Slab<Task>>);

impl Tasks {
    pub(super) fn add(&self, future: Pin<Box<dyn Future<Output = ()>>>) -> usize {
        self.0.borrow_mut().insert(Task { future: Some(future), waker: None })
    }

    /// Polls a task for glommio. It is ready once it is done or the engine ends, and its key is then free.
    pub(super) fn poll(&self, key: usize, cx: &mut Context<'_>) -> Poll<()> {
        let future = self.0.borrow_mut().get_mut(key).and_then(|task| {
            if task.waker.is_none() {
                task.waker = Some(cx.waker().clone());
            }
            task.future.take()
        });
        // What a future drops may spawn: no borrow is held while it runs or goes.
        if let Some(mut future) = future
            && future.as_mut().poll(cx).is_pending()
        {
            if let Some(task) = self.0.borrow_mut().get_mut(key) {
                task.future = Some(future);
            }
            return Poll::Pending;
        }
        let task = self.0.borrow_mut().try_remove(key);
        drop(task);
        Poll::Ready(())
    }

    /// Drops every future, those included that the dropped ones spawn, and waits until glommio has let go of its tasks.
    pub(super) async fn end(&self) {
        loop {
            let (futures, wakers): (Vec<_>, Vec<_>) =
                self.0.borrow_mut().iter_mut().map(|(_, task)| (task.future.take(), task.waker.clone())).unzip();
            if wakers.is_empty() {
                return;
            }
            drop(futures);
            wakers.into_iter().for_each(wake);
            yield_now().await;
        }
    }
}
