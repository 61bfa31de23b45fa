//! Buffer leases and budgets: receive memory is lent, counted, and always comes back.

mod chunk;
mod outbox;
mod pool;

pub(crate) use chunk::Chunks;
pub use outbox::{Outbox, Outboxes};
pub use pool::{Lease, Pool};
