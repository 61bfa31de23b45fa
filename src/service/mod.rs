//! What answers a request in the end, one module per service.

pub(crate) mod health;
mod proxy;
mod redirect;
mod respond;
mod states;

pub use health::Histories;
pub(crate) use proxy::proxy;
pub(crate) use redirect::redirect;
pub(crate) use respond::respond;
pub use states::{Shared, States};
