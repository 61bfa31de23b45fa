//! Accept: one loop a listener and core.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::engine::Listener;

use super::client::Client;
use super::connection;
use crate::core::CoreState;
use crate::observe::Reason;
use crate::plan::ListenerId;

/// How long accepting rests after an error, such as no descriptor left: trying again at once would spin.
const REST: Duration = Duration::from_millis(20);

/// Accepts until the core drains.
pub async fn accept(state: Rc<CoreState>, id: ListenerId, listener: Listener) {
    let presence = state.enter(false);
    loop {
        let accepted = poll_fn(|cx| {
            if presence.poll_drain(cx).is_ready() {
                return Poll::Ready(None);
            }
            listener.poll_accept(cx).map(Some)
        })
        .await;
        match accepted {
            None => return,
            Some(Err(_)) => state.engine.sleep(REST).await,
            Some(Ok((stream, peer))) => {
                if state.connections() >= state.plan.cores.connections as usize {
                    state.metrics.connection_refused();
                    state.metrics.refused(Reason::Overloaded);
                    stream.reset_on_drop();
                    continue;
                }
                let client = Client::new(state.clone(), id, stream, peer);
                state.engine.spawn(connection::serve(client));
            }
        }
    }
}
