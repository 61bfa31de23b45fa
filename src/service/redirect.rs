//! `type = "redirect"`: sends the client elsewhere.

use crate::flow::{After, Client, Exchange, Reply, reply};
use crate::plan::Redirect;

/// Answers with the redirect.
pub(crate) fn redirect(client: &mut Client, exchange: &mut Exchange, redirect: &Redirect) -> After {
    exchange.edit_answer(|answer, vars| answer.set(b"location", |out| redirect.location.render(vars, out)));
    reply(client, exchange, &Reply::status(redirect.status))
}
