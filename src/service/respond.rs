//! `type = "respond"`: one fixed response.

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
