//! Accept: one loop a listener and core.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_runtime::engine::{Listener, Stream};
use ringway_runtime::net::Remote;

use super::client::Client;
use super::{connection, http2, passing, tls, told};
use crate::core::{CoreState, Door, LATE, Use};
use crate::observe::{Activity, Reason};
use crate::tls::Protocol;

/// How long accepting rests after an error, such as no descriptor left: trying again at once would spin.
const REST: Duration = Duration::from_millis(20);
/// Connections taken at once while only the reserved descriptors are left, and the rest after them: those that go for
/// their sake give their descriptors back meanwhile.
const AT_ONCE_WHEN_SHORT: u32 = 16;
const REST_WHEN_SHORT: Duration = Duration::from_millis(1);

/// Accepts until the core is to end or its plan has no such door any more.
pub async fn accept(state: Rc<CoreState>, door: Rc<Door>, listener: Listener, what_for: Use) {
    let accepting = state.accepts();
    let presence = state.enter(false);
    state.engine.label(Activity::Accept.label());
    let mut at_once = 0;
    loop {
        let accepted = poll_fn(|cx| {
            let is_over = what_for == Use::Spare && state.spares_are_over();
            if is_over || state.is_ending() || door.is_closed() {
                return Poll::Ready(None);
            }
            presence.register(cx);
            listener.poll_accept_detached(cx).map(Some)
        })
        .await;
        match accepted {
            None => break,
            Some(Err(error)) => {
                state.accept_failed(&error);
                state.engine.sleep(REST).await;
            }
            Some(Ok((socket, peer))) => {
                passing::place(&state, &door, socket, peer);
                at_once = if state.is_short_of_files() { at_once + 1 } else { 0 };
                if at_once >= AT_ONCE_WHEN_SHORT {
                    state.engine.sleep(REST_WHEN_SHORT).await;
                    at_once = 0;
                }
            }
        }
    }
    // Whoever is in the queue is connected, as far as it knows: closing at once would reset it. Where another process goes
    // on with the socket, that one serves it.
    let last = |cx: &mut Context<'_>| {
        if door.is_handed_over() { listener.poll_let_go(cx) } else { listener.poll_queued(cx) }
    };
    while let Some((stream, peer)) = poll_fn(last).await {
        admit(&state, &door, stream, peer);
    }
    drop((listener, accepting));
    if door.is_closed() {
        if state.placement.is_some() {
            // Cores that have not changed plans yet may still send some.
            state.engine.sleep(LATE).await;
        }
        state.forget(&door);
    }
}

/// Serves a connection, or refuses it.
pub(super) fn admit(state: &Rc<CoreState>, door: &Rc<Door>, stream: Stream, peer: Remote) {
    if !state.has_room() {
        state.metrics.connection_refused();
        state.metrics.refused(Reason::Overloaded);
        stream.reset_on_drop();
        return;
    }
    begin(Client::new(state.clone(), door.clone(), stream, peer.into(), state.enter(true)));
}

/// Begins with a connection that is new on the core that serves it.
pub(super) fn begin(client: Client) {
    let engine = client.state.engine.clone();
    if client.listener().proxy_protocol || client.server().is_some() {
        engine.spawn(take_steps(client));
    } else {
        engine.spawn(connection::serve(client));
    }
}

/// What comes before the first request, each where the listener has it, in this order: the PROXY header, which stands
/// before all else, and the TLS handshake.
async fn take_steps(client: Client) {
    let client = if client.listener().proxy_protocol { told::begin(client).await } else { Some(client) };
    let Some(client) = client else { return };
    let client = if client.server().is_some() { tls::begin(client).await } else { Some(client) };
    if let Some(client) = client {
        // In a task of its own, which needs no room for the steps.
        let engine = client.state.engine.clone();
        match client.protocol() {
            Protocol::Http1 => engine.spawn(connection::serve(client)),
            Protocol::Http2 => engine.spawn(http2::serve(client)),
        }
    }
}
