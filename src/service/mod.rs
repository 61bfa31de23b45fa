//! What answers a request in the end, one module per service.

mod redirect;
mod respond;

pub use redirect::Redirect;
pub use respond::Respond;
