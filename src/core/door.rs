//! A listening address as one core has it, for as long as plans keep it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{CoreState, DoorId, Running};
use crate::plan::ListenerId;

/// One listening address of the core. Its connections know by it which listener they belong to, plan after plan.
#[derive(Debug)]
pub struct Door {
    id: DoorId,
    listener: Cell<ListenerId>,
    closed: Cell<bool>,
    handed_over: Cell<bool>,
    /// The last plan with this door in it, for the connections that still come out of its queue.
    last: RefCell<Option<Rc<Running>>>,
}

impl Door {
    pub(super) fn new(id: DoorId, listener: ListenerId) -> Rc<Self> {
        Rc::new(Self {
            id,
            listener: Cell::new(listener),
            closed: Cell::new(false),
            handed_over: Cell::new(false),
            last: RefCell::new(None),
        })
    }

    /// Which one it is, on every core.
    pub fn id(&self) -> DoorId {
        self.id
    }

    /// Its listener in the plan that [`Door::plan`] gives.
    pub fn listener(&self) -> ListenerId {
        self.listener.get()
    }

    /// Whether the plan that the core runs has no such door. Connections end after the request they are at.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether another process goes on with its sockets.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.get()
    }

    /// Another process goes on with its sockets.
    pub(super) fn hand_over(&self) {
        self.handed_over.set(true);
    }

    /// The plan for a connection that comes in now.
    pub fn plan(&self, state: &CoreState) -> Rc<Running> {
        self.last.borrow().clone().unwrap_or_else(|| state.running())
    }

    /// Nothing more comes in.
    pub(super) fn is_empty_now(&self) {
        self.last.take();
    }

    /// In the plan that is committed now it belongs to `listener`.
    pub(super) fn keep(&self, listener: ListenerId) {
        self.listener.set(listener);
    }

    /// The plan that is committed now has no such door, as `last` had.
    pub(super) fn close(&self, last: &Rc<Running>) {
        self.closed.set(true);
        *self.last.borrow_mut() = Some(last.clone());
    }
}
