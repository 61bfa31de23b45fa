//! `type = "respond"`: one fixed response.

use crate::flow::{After, Client, Exchange, Reply, reply};

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

/// Answers with the fixed response.
pub(crate) fn respond(client: &mut Client, exchange: &mut Exchange, respond: &Respond) -> After {
    let fields: Vec<(&[u8], &[u8])> =
        respond.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let content_type = respond.content_type.as_deref().map(str::as_bytes);
    reply(client, exchange, &Reply { status: respond.status, content_type, fields: &fields, body: &respond.body })
}
