//! Cross-cutting steps on the way in and out of a route, one module per policy.

mod headers;
mod rewrite;

pub use headers::{Fate, HeaderEdits, Headers};
pub use rewrite::Rewrite;

/// A policy of one route, compiled with the captures of that route.
#[derive(Debug)]
pub enum Policy {
    /// `type = "headers"`.
    Headers(Headers),
    /// `type = "rewrite"`.
    Rewrite(Rewrite),
}
