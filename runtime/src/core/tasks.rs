//! The tasks of one core and their wakers.
//!
//! The engine's own operations wake a task by its id, which costs a flag and a push. A `std` waker, which foreign
//! futures and other threads use, goes through a shared queue and, when the core sleeps, its doorbell.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crossbeam_queue::SegQueue;
use slab::Slab;

use super::Pulse;
use crate::mesh::doorbell::Doorbell;
use crate::mesh::sleep::published;

/// Names a task; a stale id wakes nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

/// Who waits for an event.
#[derive(Debug, Default)]
pub(crate) enum Waiter {
    #[default]
    Nobody,
    Task(TaskId),
    Foreign(Waker),
}

impl Waiter {
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// The part of a core that other threads may touch: wake-ups from outside.
pub(crate) struct Remote {
    woken: SegQueue<TaskId>,
    doorbell: Arc<Doorbell>,
}

impl Remote {
    /// `doorbell` makes a sleeping core come back.
    pub(crate) fn new(doorbell: Doorbell) -> Arc<Self> {
        Arc::new(Self { woken: SegQueue::new(), doorbell: Arc::new(doorbell) })
    }

    pub(crate) fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    fn wake(&self, id: TaskId) {
        self.woken.push(id);
        published();
        if self.doorbell.sleep().rouse() {
            self.doorbell.ring();
        }
    }

    /// Announces sleep. False when somebody woke a task meanwhile or `has_work` finds something else to do, and the core
    /// must not sleep.
    pub(crate) fn may_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.doorbell.sleep().may_sleep(|| !self.woken.is_empty() || has_work())
    }

    pub(crate) fn awake(&self) {
        self.doorbell.sleep().awake();
    }
}

struct TaskWaker {
    id: TaskId,
    remote: Arc<Remote>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.remote.wake(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.remote.wake(self.id);
    }
}

/// What runs, and what wakes it.
type Parts = (Pin<Box<dyn Future<Output = ()>>>, Waker);

struct Task {
    id: TaskId,
    /// Absent while it runs.
    parts: Option<Parts>,
    ready: bool,
    /// What it does, for those who watch.
    label: u64,
}

/// The tasks of one core.
pub(crate) struct Tasks {
    slots: RefCell<Slab<Task>>,
    /// Woken, in order.
    ready: RefCell<Vec<TaskId>>,
    /// Empty between runs; the two swap, so that neither allocates.
    running: Cell<Vec<TaskId>>,
    generation: Cell<u32>,
    /// The task that runs now, with the data pointer of its waker.
    current: Cell<Option<(TaskId, *const ())>>,
    remote: Arc<Remote>,
    pulse: Arc<Pulse>,
}

impl Tasks {
    pub(crate) fn new(remote: Arc<Remote>, pulse: Arc<Pulse>) -> Self {
        Self {
            slots: RefCell::default(),
            ready: RefCell::default(),
            running: Cell::default(),
            generation: Cell::new(0),
            current: Cell::new(None),
            remote,
            pulse,
        }
    }

    /// Adds a task, ready to run.
    pub(crate) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut slots = self.slots.borrow_mut();
        let entry = slots.vacant_entry();
        self.generation.set(self.generation.get().wrapping_add(1));
        let id = TaskId { index: entry.key() as u32, generation: self.generation.get() };
        let waker = Waker::from(Arc::new(TaskWaker { id, remote: self.remote.clone() }));
        entry.insert(Task { id, parts: Some((future, waker)), ready: true, label: 0 });
        drop(slots);
        self.ready.borrow_mut().push(id);
    }

    /// Says what the running task does.
    pub(crate) fn label(&self, label: u64) {
        if let Some((id, _)) = self.current.get()
            && let Some(task) = self.slots.borrow_mut().get_mut(id.index as usize)
        {
            task.label = label;
            self.pulse.run(label);
        }
    }

    /// Number of tasks that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Who waits when `cx` is told to: the running task by its id where `cx` is its own.
    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        match self.current.get() {
            Some((id, data)) if std::ptr::eq(cx.waker().data(), data) => Waiter::Task(id),
            _ => Waiter::Foreign(cx.waker().clone()),
        }
    }

    /// Makes whoever waits ready.
    pub(crate) fn wake(&self, waiter: Waiter) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Task(id) => self.make_ready(id),
            Waiter::Foreign(waker) => waker.wake(),
        }
    }

    pub(crate) fn make_ready(&self, id: TaskId) {
        if let Some(task) = self.slots.borrow_mut().get_mut(id.index as usize)
            && task.id == id
            && !task.ready
        {
            task.ready = true;
            self.ready.borrow_mut().push(id);
        }
    }

    /// Takes in what other threads and foreign futures woke.
    pub(crate) fn take_remote(&self) {
        while let Some(id) = self.remote.woken.pop() {
            self.make_ready(id);
        }
    }

    /// Whether somebody outside woke a task that `take_remote` has not seen.
    pub(crate) fn has_remote(&self) -> bool {
        !self.remote.woken.is_empty()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Runs the tasks that are ready now, each once, and returns how many ran.
    pub(crate) fn run(&self) -> usize {
        let mut batch = self.ready.replace(self.running.take());
        let count = batch.len();
        for id in batch.drain(..) {
            self.run_one(id);
        }
        self.running.set(batch);
        count
    }

    /// Runs one of the tasks that are ready, by the place among them that `pick` picks, given their number. False when
    /// none is ready.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run_picked(&self, pick: impl FnOnce(usize) -> usize) -> bool {
        let count = self.ready.borrow().len();
        if count == 0 {
            return false;
        }
        let place = pick(count);
        let id = self.ready.borrow_mut().swap_remove(place);
        self.run_one(id);
        true
    }

    fn run_one(&self, id: TaskId) {
        let taken = self.slots.borrow_mut().get_mut(id.index as usize).filter(|task| task.id == id).and_then(|task| {
            task.ready = false;
            self.pulse.run(task.label);
            task.parts.take()
        });
        let Some((mut future, waker)) = taken else { return };
        let outer = self.current.replace(Some((id, waker.data())));
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.current.set(outer);
        match poll {
            Poll::Pending => {
                if let Some(task) = self.slots.borrow_mut().get_mut(id.index as usize) {
                    task.parts = Some((future, waker));
                }
            }
            Poll::Ready(()) => {
                let task = self.slots.borrow_mut().try_remove(id.index as usize);
                // What a future drops may spawn or wake: no borrow is held here.
                drop((task, future, waker));
            }
        }
    }

    /// Ends every task, as at shutdown. Tasks that the dropped ones spawn end too.
    pub(crate) fn clear(&self) {
        while self.len() > 0 {
            let tasks: Vec<Task> = self.slots.borrow_mut().drain().collect();
            self.ready.borrow_mut().clear();
            drop(tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn tasks() -> Rc<Tasks> {
        Rc::new(Tasks::new(Remote::new(Doorbell::new(|| {})), Arc::default()))
    }

    #[test]
    fn a_task_woken_many_times_runs_once() {
        let tasks = tasks();
        let runs = Rc::new(Cell::new(0));
        let seen = Rc::new(RefCell::new(Waiter::Nobody));
        let (in_runs, in_seen, in_tasks) = (runs.clone(), seen.clone(), tasks.clone());
        tasks.spawn(Box::pin(std::future::poll_fn(move |cx| {
            in_runs.set(in_runs.get() + 1);
            *in_seen.borrow_mut() = in_tasks.waiter(cx);
            Poll::Pending
        })));
        assert_eq!(tasks.run(), 1);
        let Waiter::Task(id) = *seen.borrow() else { panic!("the running task is known by its id") };
        tasks.wake(Waiter::Task(id));
        tasks.wake(Waiter::Task(id));
        assert_eq!(tasks.run(), 1);
        assert_eq!(runs.get(), 2);
    }

    #[test]
    fn an_id_of_an_ended_task_wakes_nobody() {
        let tasks = tasks();
        tasks.spawn(Box::pin(async {}));
        let id = TaskId { index: 0, generation: 1 };
        tasks.run();
        tasks.spawn(Box::pin(std::future::pending()));
        tasks.run();
        tasks.wake(Waiter::Task(id));
        assert!(!tasks.has_ready());
    }

    #[test]
    fn a_waker_from_another_thread_rings_only_a_sleeping_core() {
        let rung = Arc::new(AtomicUsize::new(0));
        let count = rung.clone();
        let remote = Remote::new(Doorbell::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let tasks = Rc::new(Tasks::new(remote.clone(), Arc::default()));
        let (send, receive) = std::sync::mpsc::channel();
        tasks.spawn(Box::pin(std::future::poll_fn(move |cx| {
            send.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })));
        tasks.run();
        let waker = receive.recv().unwrap();
        let from_afar = waker.clone();
        std::thread::spawn(move || from_afar.wake()).join().unwrap();
        assert_eq!(rung.load(Ordering::SeqCst), 0, "an awake core is not rung");
        assert!(!remote.may_sleep(|| false), "a wake-up keeps the core awake");
        tasks.take_remote();
        assert_eq!(tasks.run(), 1);
        assert!(remote.may_sleep(|| false));
        std::thread::spawn(move || waker.wake()).join().unwrap();
        assert_eq!(rung.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_task_may_spawn_while_it_is_dropped() {
        struct SpawnOnDrop(Rc<Tasks>);
        impl Drop for SpawnOnDrop {
            fn drop(&mut self) {
                self.0.spawn(Box::pin(async {}));
            }
        }
        let tasks = tasks();
        let guard = SpawnOnDrop(tasks.clone());
        tasks.spawn(Box::pin(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }));
        tasks.run();
        tasks.clear();
        assert_eq!(tasks.len(), 0);
    }
}
