//! Round robin: each endpoint in turn.

use std::cell::Cell;

use super::View;

/// Endpoints of equal weights.
#[derive(Debug)]
pub(super) struct RoundRobin {
    members: Box<[u32]>,
    /// Who is next.
    next: Cell<usize>,
}

impl RoundRobin {
    /// `seat` tells cores apart: not all of them begin with the same endpoint.
    pub(super) fn new(members: &[(u32, u32)], seat: usize) -> Self {
        let next = Cell::new(if members.is_empty() { 0 } else { seat % members.len() });
        Self { members: members.iter().map(|&(at, _)| at).collect(), next }
    }

    pub(super) fn pick(&self, view: &View<'_>) -> Option<u32> {
        let count = self.members.len();
        for _ in 0..count {
            let at = self.next.get();
            self.next.set(if at + 1 < count { at + 1 } else { 0 });
            let endpoint = *self.members.get(at)?;
            if view.is_usable(endpoint) {
                return Some(endpoint);
            }
        }
        None
    }
}
