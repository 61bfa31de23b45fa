//! Account: what a request took, stage by stage.

use ringway_runtime::clock::Instant;

use super::client::Client;
use super::exchange::Exchange;
use super::tell;

/// When a request reached each stage, on the monotonic clock at loop-turn resolution. Zero is a stage not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The first byte of the head came.
    pub received: Instant,
    /// The head was whole.
    pub parsed: Instant,
    /// A route took it.
    pub admitted: Instant,
    /// The request went to the upstream.
    pub sent: Instant,
    /// The upstream's answer began.
    pub first_byte: Instant,
    /// The status of the answer; 0 when there was none, as when the client left.
    pub status: u16,
}

/// Records a request that has been answered, or whose client left.
pub(super) fn done(client: &Client, exchange: &Exchange) {
    let ledger = &exchange.ledger;
    let metrics = &client.state.metrics;
    // 499 is what the field calls a client that left before its answer.
    let status = if ledger.status == 0 { 499 } else { ledger.status };
    let now = client.now();
    let duration = now.nanos_since(ledger.received);
    metrics.request_done(status, duration);
    if let Some(route) = exchange.route {
        client.running.series.request_done(route.0 as usize, duration);
    }
    if ledger.admitted != Instant::default() {
        metrics.request_admitted(ledger.admitted.nanos_since(ledger.parsed));
    }
    if ledger.first_byte != Instant::default() {
        metrics.upstream_first_byte(ledger.first_byte.nanos_since(ledger.sent));
    }
    tell::done(client, exchange, status, now);
}
