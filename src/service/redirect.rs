//! `type = "redirect"`: sends the client elsewhere.

use crate::plan::Template;

/// A redirect of one route, compiled with the captures of that route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 (RFC 9110 section 15.4).
    pub status: u16,
    /// The value of `Location`.
    pub location: Template,
}
