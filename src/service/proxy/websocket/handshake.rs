//! The opening handshake on its way through (RFC 6455 section 4).

use ringway_proto::http1::{Field, Framing, Known, Method, values};
use ringway_proto::websocket::extension::{self, Deflate};
use ringway_proto::websocket::{AnswerError, HandshakeError, handshake};

use crate::flow::{Client, Exchange, encode};
use crate::observe::Reason;
use crate::plan::{Compression, Termination, Websocket};

const EXTENSIONS: &[u8] = b"sec-websocket-extensions";

/// What the two sides agreed on, each with whom it speaks to.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::service::proxy) struct Terms {
    /// What the client may send and get compressed.
    pub(super) client: Option<Deflate>,
    /// What the endpoint may.
    pub(super) upstream: Option<Deflate>,
    /// They agreed with the gateway, which carries messages from one to the other.
    pub(super) terminated: Option<Termination>,
}

/// How the route carries the WebSocket connection that the request asks for. Nothing where it asks for none.
fn asked<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Websocket> {
    let settings = &client.running.plan.route(exchange.route?)?.websocket;
    let is_asked = || exchange.fields().all("upgrade").any(|upgrade| values::list_contains(upgrade, b"websocket"));
    let is_passed_on = encode::forwards_upgrade(&exchange.head, exchange.head_bytes());
    (is_passed_on && is_asked()).then_some(settings)
}

/// The same, and nothing where nothing is looked at either.
fn settings<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Websocket> {
    asked(client, exchange).filter(|settings| settings.is_checked)
}

/// Whether the page that asks may: a browser says whose page it is, whoever else asks need not (RFC 6455 section 10.2).
fn is_let_in(settings: &Websocket, exchange: &Exchange) -> bool {
    let Some(known) = &settings.origins else { return true };
    let is_known = |origin| known.iter().any(|known| known.admits(origin, exchange.host()));
    exchange.fields().all("origin").all(is_known)
}

/// The offers of permessage-deflate that the client makes.
fn offers(exchange: &Exchange) -> impl Iterator<Item = extension::Extension<'_>> {
    exchange.fields().all("sec-websocket-extensions").flat_map(extension::list).flatten()
}

fn fields<'a>(fields: &'a [Field], bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)))
}

/// Checks a request that may ask for WebSocket before it goes anywhere. Extensions that cannot be looked through are not
/// offered to the endpoint.
pub(in crate::service::proxy) fn admit(client: &Client, exchange: &mut Exchange) -> Result<(), Reason> {
    let Some(settings) = asked(client, exchange) else { return Ok(()) };
    if !is_let_in(settings, exchange) {
        return Err(Reason::WebsocketOrigin);
    }
    if !settings.is_checked {
        return Ok(());
    }
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
    let (compression, mut edits) = (settings.compression, std::mem::take(&mut exchange.edits));
    let passes = |offer: &extension::Extension<'_>| compression == Compression::Pass && offer.deflate().is_some();
    let own = match compression {
        Compression::Terminate(own) if own.to_upstream => Some(Deflate::offer(own.willing)),
        _ => None,
    };
    if own.is_some() || !offers(exchange).all(|offer| passes(&offer)) {
        edits.next_policy();
        edits.remove(EXTENSIONS);
        if let Some(own) = own {
            edits.add(EXTENSIONS, |out| own.write(out));
        } else if offers(exchange).any(|offer| passes(&offer)) {
            edits.add(EXTENSIONS, |out| {
                for (at, offer) in offers(exchange).filter(passes).enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b", " });
                    out.extend_from_slice(offer.text);
                }
            });
        }
    }
    exchange.edits = edits;
    Ok(())
}

/// Checks the answer with 101 whose head `bytes` begin with, and has the client told what it agreed on with the gateway.
/// Nothing where what follows is not looked at.
pub(in crate::service::proxy) fn agree(
    client: &Client,
    exchange: &mut Exchange,
    bytes: &[u8],
) -> Result<Option<Terms>, AnswerError> {
    let Some(settings) = settings(client, exchange) else { return Ok(None) };
    let response = &exchange.response.fields;
    let mut chosen = response.iter().filter(|field| field.known == Known::Upgrade).map(|field| field.value.of(bytes));
    let only = chosen.next().filter(|_| chosen.next().is_none()).ok_or(AnswerError::Upgrade)?;
    if !only.eq_ignore_ascii_case(b"websocket") {
        let is_offered = exchange.fields().all("upgrade").any(|upgrade| values::list_contains(upgrade, only));
        return if is_offered { Ok(None) } else { Err(AnswerError::Upgrade) };
    }
    let compression = settings.compression;
    let agreed = answered(exchange, bytes, compression)?;
    let Compression::Terminate(own) = compression else {
        return Ok(Some(Terms { client: agreed, upstream: agreed, terminated: None }));
    };
    let client = offers(exchange).find_map(extension::Extension::deflate).map(|offer| offer.answer(own.willing));
    exchange.edit_answer(|edits, _| {
        edits.next_policy();
        edits.remove(EXTENSIONS);
        if let Some(agreed) = client {
            edits.add(EXTENSIONS, |out| agreed.write(out));
        }
    });
    Ok(Some(Terms { client, upstream: agreed, terminated: Some(own) }))
}

/// What the endpoint agreed to, of what it was offered.
fn answered(exchange: &Exchange, bytes: &[u8], compression: Compression) -> Result<Option<Deflate>, AnswerError> {
    let mut offered = Vec::new();
    let request = fields(&exchange.head.fields, exchange.head_bytes());
    let answer = fields(&exchange.response.fields, bytes);
    let Compression::Terminate(own) = compression else {
        return Ok(handshake::answer(answer, &request, compression == Compression::Pass)?.deflate);
    };
    if own.to_upstream {
        Deflate::offer(own.willing).write(&mut offered);
    }
    let rest = request.filter(|(name, _)| !name.eq_ignore_ascii_case(EXTENSIONS));
    let sent = rest.chain([(EXTENSIONS, &*offered)]);
    Ok(handshake::answer(answer, &sent, own.to_upstream)?.deflate)
}
