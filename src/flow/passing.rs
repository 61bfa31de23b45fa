//! Connections that pass from core to core: new ones to the core that has least to do, and those between two requests
//! off a core that has too much.

use std::future::poll_fn;
use std::rc::Rc;

use ringway_runtime::engine::Detached;
use ringway_runtime::mesh::Peer;
use ringway_runtime::net::Remote;

use super::Caller;
use super::client::Client;
use super::{accept, connection};
use crate::core::{CoreState, Door, History, Passed, Placement, SETTLES};
use crate::observe::{Direction, Reason};

/// A connection that was just accepted: it stays, or goes to a core that has less to do.
pub(super) fn place(state: &Rc<CoreState>, door: &Rc<Door>, socket: Detached, peer: Remote) {
    let socket = match &state.placement {
        None => socket,
        Some(placement) => match hand_over(state, placement, door, socket, peer) {
            None => return,
            Some(stays) => stays,
        },
    };
    // An engine takes whatever it has accepted.
    if let Ok(stream) = state.engine.adopt(socket) {
        accept::admit(state, door, stream, peer);
    }
}

/// Gives the connection back where it may as well stay, or cannot go.
fn hand_over(
    state: &Rc<CoreState>,
    placement: &Placement,
    door: &Rc<Door>,
    socket: Detached,
    peer: Remote,
) -> Option<Detached> {
    let Some(to) = placement.for_new() else { return Some(socket) };
    let passed = Passed { socket, peer: peer.into(), door: door.id(), history: None, returned: false };
    match placement.send(to, passed) {
        Ok(()) => {
            state.metrics.handed_over(Direction::Out);
            None
        }
        Err(passed) => Some(passed.socket),
    }
}

/// A connection comes from another core.
pub(crate) fn arrived(state: &Rc<CoreState>, placement: &Placement, from: Peer, passed: Passed) {
    let Some(door) = state.door(passed.door) else {
        // A core that has changed plans before this one, or after: that one knows the door.
        let back = if passed.returned { None } else { placement.for_return(from) };
        let was_sent = back.is_some_and(|to| placement.send(to, Passed { returned: true, ..passed }).is_ok());
        placement.is_gone();
        if !was_sent {
            state.metrics.connection_refused();
        }
        return;
    };
    let Passed { socket, peer, history, .. } = passed;
    let Ok(stream) = state.engine.adopt(socket) else {
        placement.is_gone();
        return;
    };
    match history {
        None => state.metrics.handed_over(Direction::In),
        Some(_) => state.metrics.moved(Direction::In),
    }
    if !state.has_room() {
        placement.is_gone();
        if history.is_some() {
            // It was counted as open with its arrival.
            state.metrics.connection_closed();
        } else {
            state.metrics.connection_refused();
        }
        state.metrics.refused(Reason::Overloaded);
        stream.reset_on_drop();
        return;
    }
    let presence = state.enter_passed(history.is_none());
    let mut client = Client::new(state.clone(), door, stream, peer, presence);
    client.settled_at = client.now() + SETTLES;
    let Some(History { requests, idle_since }) = history else { return accept::begin(client) };
    // Its first steps were taken where it came from.
    (client.requests, client.idle_since) = (requests, idle_since);
    state.engine.spawn(connection::serve(client));
}

/// A connection between two requests tries to go to a core that has less to do. It comes back where it cannot.
pub(super) async fn leave(mut client: Client) -> Option<Client> {
    let Some(placement) = client.state.placement.clone() else { return Some(client) };
    placement.tries();
    let Some(to) = placement.for_present() else { return Some(client) };
    let is_still = poll_fn(|cx| client.stream.poll_still(cx)).await;
    if !is_still || client.is_last() {
        return Some(client);
    }
    let Ok(socket) = client.stream.detach() else { return Some(client) };
    let history = Some(History { requests: client.requests, idle_since: client.idle_since });
    let itself = Caller::Itself(client.peer.peer());
    let peer = std::mem::replace(&mut client.peer, itself);
    let passed = Passed { socket, peer, door: client.door_id(), history, returned: false };
    match placement.send(to, passed) {
        Ok(()) => {
            client.state.metrics.moved(Direction::Out);
            client.leave();
            None
        }
        Err(passed) => {
            client.stream = client.state.engine.adopt(passed.socket).ok()?;
            client.peer = passed.peer;
            Some(client)
        }
    }
}
