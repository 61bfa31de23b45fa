//! Buffer leases and budgets: receive memory is lent, counted, and always comes back.

mod outbox;
mod pool;

pub use outbox::{Outbox, Outboxes};
pub use pool::{Lease, Pool};
