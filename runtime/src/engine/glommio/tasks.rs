//! The futures of spawned tasks, held where their engine can end them.
//!
//! Glommio neither drops detached tasks at its end nor keeps one that nobody can wake any more. Its tasks therefore
//! only borrow their future from here for the time of a poll.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::{wake, yield_now};
use crate::core::Pulse;

struct Task {
    /// Absent while it is polled, and once the engine ends.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Wakes glommio's task, and keeps it from being dropped as unreachable.
    waker: Option<Waker>,
    /// What it does, for those who watch.
    label: u64,
}

#[derive(Default)]
pub(super) struct Tasks {
    slots: RefCell<Slab<Task>>,
    /// The task that is polled now.
    current: Cell<Option<usize>>,
}

impl Tasks {
    pub(super) fn add(&self, future: Pin<Box<dyn Future<Output = ()>>>) -> usize {
        self.slots.borrow_mut().insert(Task { future: Some(future), waker: None, label: 0 })
    }

    /// Polls a task for glommio. It is ready once it is done or the engine ends, and its key is then free.
    pub(super) fn poll(&self, key: usize, pulse: &Pulse, cx: &mut Context<'_>) -> Poll<()> {
        let future = self.slots.borrow_mut().get_mut(key).and_then(|task| {
            if task.waker.is_none() {
                task.waker = Some(cx.waker().clone());
            }
            pulse.run(task.label);
            task.future.take()
        });
        self.current.set(Some(key));
        let poll = self.poll_future(key, future, cx);
        self.current.set(None);
        poll
    }

    fn poll_future(
        &self,
        key: usize,
        future: Option<Pin<Box<dyn Future<Output = ()>>>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // What a future drops may spawn: no borrow is held while it runs or goes.
        if let Some(mut future) = future
            && future.as_mut().poll(cx).is_pending()
        {
            if let Some(task) = self.slots.borrow_mut().get_mut(key) {
                task.future = Some(future);
            }
            return Poll::Pending;
        }
        let task = self.slots.borrow_mut().try_remove(key);
        drop(task);
        Poll::Ready(())
    }

    /// Says what the task that is polled does.
    pub(super) fn label(&self, label: u64, pulse: &Pulse) {
        let mut slots = self.slots.borrow_mut();
        if let Some(task) = self.current.get().and_then(|key| slots.get_mut(key)) {
            task.label = label;
            pulse.run(label);
        }
    }

    /// Drops every future, those included that the dropped ones spawn, and waits until glommio has let go of its tasks.
    pub(super) async fn end(&self) {
        loop {
            let (futures, wakers): (Vec<_>, Vec<_>) =
                self.slots.borrow_mut().iter_mut().map(|(_, task)| (task.future.take(), task.waker.clone())).unzip();
            if wakers.is_empty() {
                return;
            }
            drop(futures);
            wakers.into_iter().for_each(wake);
            yield_now().await;
        }
    }
}
