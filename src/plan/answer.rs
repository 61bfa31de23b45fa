//! What is answered without an upstream: shared by the services and the policies that do so.

use super::Template;

/// A redirect of one route, compiled with the captures of that route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 (RFC 9110 section 15.4).
    pub status: u16,
    /// The value of `Location`.
    pub location: Template,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The value of `Content-Type`; none when the body is empty.
    pub content_type: Option<Box<str>>,
    /// Further fields, names in lower case, in the order of the config.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// The body, empty for 204 and 304.
    pub body: Box<[u8]>,
}
