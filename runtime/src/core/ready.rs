//! Which of the many things that one task drives have something to be done.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Keys, in the order in which they came, each at most once. They are small numbers, such as places in a slab.
///
/// An end of a [pair](crate::engine::Engine::pair) that is [noted](crate::engine::Stream::note_in) here adds its key
/// whenever the task that waits for it is woken. So the task looks at that end alone and not at all of them.
#[derive(Debug, Default)]
pub struct Ready(RefCell<Listed>);

#[derive(Debug, Default)]
struct Listed {
    keys: VecDeque<usize>,
    /// By the key, whether it is among them.
    has: Vec<bool>,
}

impl Ready {
    /// Adds a key, unless it is there.
    pub fn add(&self, key: usize) {
        let Listed { keys, has } = &mut *self.0.borrow_mut();
        if has.len() <= key {
            has.resize(key + 1, false);
        }
        if let Some(has) = has.get_mut(key)
            && !std::mem::replace(has, true)
        {
            keys.push_back(key);
        }
    }

    /// Takes the key that has been there longest.
    pub fn next(&self) -> Option<usize> {
        let Listed { keys, has } = &mut *self.0.borrow_mut();
        let key = keys.pop_front()?;
        if let Some(has) = has.get_mut(key) {
            *has = false;
        }
        Some(key)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_once_and_in_order_and_may_come_again() {
        let ready = Ready::default();
        for key in [5, 0, 5, 9, 0] {
            ready.add(key);
        }
        assert_eq!([ready.next(), ready.next()], [Some(5), Some(0)]);
        ready.add(5);
        ready.add(9);
        assert!(!ready.is_empty());
        assert_eq!([ready.next(), ready.next(), ready.next()], [Some(9), Some(5), None]);
        assert!(ready.is_empty());
    }
}
