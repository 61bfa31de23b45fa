//! TLS to the endpoints of an upstream.

use std::future::poll_fn;
use std::rc::Rc;

use ringway_runtime::engine::{LayerRoom, Stream};

use crate::observe::{HandshakeFailure, Metrics, TlsSide};
use crate::tls::{CoreClient, Failure, Protocol, connect};

/// What one core has to speak TLS to one upstream.
#[derive(Debug)]
pub(crate) struct Secure {
    client: CoreClient,
    room: LayerRoom,
    metrics: Rc<Metrics>,
}

impl Secure {
    pub(super) fn new(client: CoreClient, room: &LayerRoom, metrics: &Rc<Metrics>) -> Self {
        Self { client, room: room.clone(), metrics: metrics.clone() }
    }

    /// Shakes hands over a stream that has just been connected to the endpoint of this name, `HOST:PORT`. Nothing where
    /// that fails, which is counted.
    pub(super) async fn over(&self, stream: Stream, endpoint: &str) -> Option<(Stream, Protocol)> {
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
        let failed = |failure: HandshakeFailure| self.metrics.handshake_failed(TlsSide::Upstream, failure);
        let kernel = self.client.ktls().then(|| self.metrics.kernel_asked(TlsSide::Upstream));
        let Ok((layer, handshake)) = connect(&self.client, host, kernel) else {
            failed(HandshakeFailure::Internal);
            return None;
        };
        let stream = stream.layered(layer, &self.room, None);
        let established = poll_fn(|cx| stream.poll_established(cx)).await;
        let (Ok(()), Some(session)) = (established, handshake.session()) else {
            failed(handshake.failure().unwrap_or(Failure::Gone).into());
            return None;
        };
        self.metrics.handshake_done(TlsSide::Upstream, session.version, session.resumed, 0);
        Some((stream, session.protocol))
    }
}
