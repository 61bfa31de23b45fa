//! What answers a request in the end, one module per service.

mod proxy;
mod redirect;
mod respond;

pub(crate) use proxy::proxy;
pub(crate) use redirect::redirect;
pub(crate) use respond::respond;
