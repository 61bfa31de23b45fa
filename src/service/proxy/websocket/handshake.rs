//! The opening handshake on its way through (RFC 6455 section 4).

use ringway_proto::http1::{Field, Framing, Known, Method, values};
use ringway_proto::websocket::handshake::{self, Agreed};
use ringway_proto::websocket::{AnswerError, HandshakeError, extension};

use crate::flow::{Client, Exchange, encode};
use crate::observe::Reason;
use crate::plan::Websocket;

const EXTENSIONS: &[u8] = b"sec-websocket-extensions";

/// How the route carries the WebSocket connection that the request asks for. Nothing where it asks for none, or where
/// nothing is looked at.
fn settings<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Websocket> {
    let settings = &client.running.plan.route(exchange.route?)?.websocket;
    let is_asked = || exchange.fields().all("upgrade").any(|upgrade| values::list_contains(upgrade, b"websocket"));
    let is_passed_on = encode::forwards_upgrade(&exchange.head, exchange.head_bytes());
    (settings.is_checked && is_passed_on && is_asked()).then_some(settings)
}

fn fields<'a>(fields: &'a [Field], bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)))
}

/// Checks a request that may ask for WebSocket before it goes anywhere. Extensions that cannot be looked through are not
/// offered to the endpoint.
pub(in crate::service::proxy) fn admit(client: &Client, exchange: &mut Exchange) -> Result<(), Reason> {
    let Some(settings) = settings(client, exchange) else { return Ok(()) };
    let head = &exchange.head;
    if head.method != Method::Get || head.framing != Framing::None {
        return Err(Reason::Websocket(HandshakeError::Method));
    }
    if let Err(error) = handshake::request(fields(&head.fields, exchange.head_bytes())) {
        if error == HandshakeError::Version {
            // RFC 6455 section 4.4, RFC 9110 section 15.5.22.
            exchange.answer.set(b"sec-websocket-version", |out| out.extend_from_slice(handshake::VERSION));
            exchange.answer.set(b"upgrade", |out| out.extend_from_slice(b"websocket"));
            exchange.answer.add(b"connection", |out| out.extend_from_slice(b"upgrade"));
        }
        return Err(Reason::Websocket(error));
    }
    let (may_compress, mut edits) = (settings.may_compress, std::mem::take(&mut exchange.edits));
    let offers = || exchange.fields().all("sec-websocket-extensions").flat_map(extension::list).flatten();
    let passes = |offer: &extension::Extension<'_>| may_compress && offer.deflate().is_some();
    if !offers().all(|offer| passes(&offer)) {
        edits.next_policy();
        edits.remove(EXTENSIONS);
        if offers().any(|offer| passes(&offer)) {
            edits.add(EXTENSIONS, |out| {
                for (at, offer) in offers().filter(passes).enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b", " });
                    out.extend_from_slice(offer.text);
                }
            });
        }
    }
    exchange.edits = edits;
    Ok(())
}

/// Checks the answer with 101 whose head `bytes` begin with. Nothing where what follows is not looked at.
pub(in crate::service::proxy) fn agree(
    client: &Client,
    exchange: &Exchange,
    bytes: &[u8],
) -> Result<Option<Agreed>, AnswerError> {
    let Some(settings) = settings(client, exchange) else { return Ok(None) };
    let response = &exchange.response.fields;
    let mut chosen = response.iter().filter(|field| field.known == Known::Upgrade).map(|field| field.value.of(bytes));
    let only = chosen.next().filter(|_| chosen.next().is_none()).ok_or(AnswerError::Upgrade)?;
    if !only.eq_ignore_ascii_case(b"websocket") {
        let is_offered = exchange.fields().all("upgrade").any(|upgrade| values::list_contains(upgrade, only));
        return if is_offered { Ok(None) } else { Err(AnswerError::Upgrade) };
    }
    let request = fields(&exchange.head.fields, exchange.head_bytes());
    handshake::answer(fields(response, bytes), &request, settings.may_compress).map(Some)
}
