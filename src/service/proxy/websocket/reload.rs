//! What becomes of a WebSocket connection when the core runs another plan.

use crate::flow::{Client, Exchange, route};
use crate::plan::{Action, Fallback};
use crate::upstream::Connection;

/// Has the connection go on under the plan that the core runs now, and lets go of its own. Nothing, and no change, where
/// that plan would not have it so: where its request has another route there, or one that carries WebSocket otherwise, or
/// where its endpoint is gone.
pub(super) fn carry_over(client: &mut Client, exchange: &mut Exchange, connection: &Connection) -> Option<()> {
    let new = client.state.running();
    let before = client.running.plan.route(exchange.route?)?;
    let id = route::in_plan(&new.plan, exchange)?;
    let after = new.plan.route(id)?;
    let Action::Proxy(proxy) = &after.action else { return None };
    if after.name != before.name || after.websocket != before.websocket {
        return None;
    }
    let upstream = connection.upstream();
    let address = &upstream.endpoints.get(connection.endpoint())?.address;
    let is_same = |id: &crate::plan::UpstreamId| new.plan.upstream(*id).is_some_and(|new| new.name == upstream.name);
    let fallback = match new.plan.upstream(proxy.upstream)?.fallback() {
        Fallback::Upstream(fallback) => Some(*fallback),
        Fallback::Refuse | Fallback::Respond(..) => None,
    };
    let asked = [Some(proxy.upstream), fallback].into_iter().flatten().find(is_same)?;
    let endpoint = new.plan.upstream(asked)?.endpoints.iter().position(|endpoint| endpoint.address == *address)?;
    client.refresh();
    (exchange.route, exchange.asked) = (Some(id), Some((asked, endpoint)));
    Some(())
}
