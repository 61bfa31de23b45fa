//! `type = "respond"`: one fixed response.

use crate::flow::{After, Client, Exchange, Reply, reply};
use crate::plan::Respond;

/// Answers with the fixed response.
pub(crate) fn respond(client: &mut Client, exchange: &mut Exchange, respond: &Respond) -> After {
    reply(client, exchange, &Reply::from(respond))
}
