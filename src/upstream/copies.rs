//! How many copies of requests one core has on their way to an upstream.

use std::rc::Rc;

use super::Pool;

/// The place of one copy, until it has ended.
pub struct CopyPlace(Rc<Pool>);

impl CopyPlace {
    /// A place, unless there are as many copies as there may be.
    pub fn take(pool: &Rc<Pool>, most: u32) -> Option<Self> {
        let copies = pool.copies();
        (copies.get() < most).then(|| {
            copies.set(copies.get() + 1);
            Self(pool.clone())
        })
    }

    /// Where the copy goes.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.0
    }
}

impl Drop for CopyPlace {
    fn drop(&mut self) {
        let copies = self.0.copies();
        copies.set(copies.get().saturating_sub(1));
    }
}
