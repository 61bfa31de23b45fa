//! The life of a request, one file a stage: accept, told, decode, route, serve, encode, account, tell.
//!
//! `docs/life-of-a-request.md` tells it in order.

mod accept;
mod account;
mod admit;
mod chain;
mod client;
mod connection;
pub(crate) mod deadline;
mod decode;
pub(crate) mod early;
mod edits;
pub mod encode;
mod exchange;
mod forwarded;
mod http2;
mod input;
mod linger;
mod passing;
mod progress;
mod reply;
pub(crate) mod route;
pub(crate) mod rpc;
mod serve;
pub(crate) mod tell;
mod timing;
mod tls;
mod told;
pub(crate) mod web;

pub use accept::accept;
pub use account::Ledger;
pub use admit::Admission;
pub(crate) use chain::way_out;
pub use chain::{Request, Response, Verdict, Walked, rehearse, rehearse_answer, walk};
pub use client::Client;
pub use edits::{Edited, Edits, Fate};
pub use exchange::{Exchange, Traffic};
pub(crate) use http2::turn;
pub use input::Input;
pub(crate) use passing::arrived;
pub(crate) use progress::{Bound, Progress};
pub(crate) use reply::refuse;
pub use reply::{Refusal, Reply, reply};
pub use told::{Caller, Told};

/// What becomes of the client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// It ends once everything is sent and the client has seen it.
    Close,
    /// The answer broke off: it ends after what was written, so that the client sees the truncation.
    Truncated,
    /// The answer broke off and only a reset tells the client so.
    Reset,
    /// The client is gone.
    Gone,
}
