//! TLS: the handshake of a client connection, within its time and the core's budget.

use std::future::poll_fn;
use std::task::Poll;

use super::client::{Client, Notice};
use super::{After, linger};
use crate::core::UnderWay;
use crate::observe::{EarlyDataOutcome, HandshakeFailure, TlsSide};
use crate::tls::{EarlyData, Failure, Handshake, accept};

/// Shakes hands with a client of a listener that wants it, as far as it takes to serve it: with early data that is
/// before the handshake is done. Nothing where that comes to nothing.
pub(super) async fn begin(client: Client) -> Option<Client> {
    let state = client.state.clone();
    // Whoever comes by a Unix socket is on this machine, and is not told from others.
    let refused = match state.tls.handshakes.begin(client.peer.ip(), client.now()) {
        Ok(under_way) => {
            let ktls = client.listener().tls.as_ref().is_some_and(|tls| tls.ktls);
            let kernel = ktls.then(|| state.metrics.kernel_asked(TlsSide::Client));
            if let Some(Ok((layer, handshake))) = client.server().map(|server| accept(server, kernel)) {
                return hand_shake(client.layered(layer, handshake), under_way).await;
            }
            HandshakeFailure::Internal
        }
        Err(refused) => refused.into(),
    };
    state.metrics.handshake_failed(TlsSide::Client, refused);
    client.stream.reset_on_drop();
    None
}

/// What ended the wait for a handshake.
enum Event {
    Done(bool),
    Notice(Notice),
    Timeout,
}

async fn hand_shake(mut client: Client, under_way: UnderWay) -> Option<Client> {
    let state = client.state.clone();
    let timeout = client.listener().tls.as_ref().map(|tls| tls.handshake_timeout);
    let begun = client.now();
    let deadline = begun + timeout.unwrap_or(crate::plan::ListenerTls::HANDSHAKE_TIMEOUT);
    let failure = loop {
        client.timer.set(deadline);
        let event = poll_fn(|cx| {
            if let Poll::Ready(done) = client.stream.poll_established(cx) {
                return Poll::Ready(Event::Done(done.is_ok()));
            }
            if let Poll::Ready(notice) = client.poll_notice(cx) {
                return Poll::Ready(Event::Notice(notice));
            }
            client.timer.poll(cx).map(|()| Event::Timeout)
        })
        .await;
        match event {
            Event::Done(true) => break None,
            Event::Done(false) => {
                let failure = client.tls.as_deref().and_then(Handshake::failure).unwrap_or(Failure::Gone);
                break Some(failure.into());
            }
            Event::Notice(Notice::Plan) => client.refresh(),
            Event::Notice(_) => break Some(HandshakeFailure::Ended),
            Event::Timeout => break Some(HandshakeFailure::Timeout),
        }
    };
    drop(under_way);
    match client.tls.as_deref().map(Handshake::early_data) {
        Some(EarlyData::Taken) => state.metrics.early_data(EarlyDataOutcome::Taken),
        Some(EarlyData::Refused) => state.metrics.early_data(EarlyDataOutcome::Refused),
        Some(EarlyData::None) | None => {}
    }
    match (failure, client.session()) {
        // It has seen what it wanted to see (RFC 8737 section 3).
        (None, Some(session)) if session.is_challenge => {
            linger::end(&client, After::Close).await;
            None
        }
        (None, Some(session)) => {
            let took = client.now().nanos_since(begun);
            state.metrics.handshake_done(TlsSide::Client, session.version, session.resumed, took);
            client.idle_since = client.now();
            Some(client)
        }
        (failure, _) => {
            let failure = failure.unwrap_or(HandshakeFailure::Internal);
            state.metrics.handshake_failed(TlsSide::Client, failure);
            match failure {
                HandshakeFailure::Timeout | HandshakeFailure::Ended | HandshakeFailure::Gone => {}
                // The peer is to read why.
                _ => linger::end(&client.peeled(), After::Close).await,
            }
            None
        }
    }
}
