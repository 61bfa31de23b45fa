//! What answers a request in the end, one module per service.

mod proxy;
mod redirect;
mod respond;

pub(crate) use proxy::proxy;
pub use redirect::Redirect;
pub use respond::Respond;
pub(crate) use respond::respond;
