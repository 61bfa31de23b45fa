//! What came before a TLS handshake was done.

use ringway_runtime::histogram::{CounterSet, SchemaBuilder, Unit};

use super::labels::label;

label! {
    /// What became of the early data of a handshake.
    EarlyDataOutcome {
        /// It was taken.
        Taken = "taken",
        /// It was passed over: its client sends it again.
        Refused = "refused",
    }
}

label! {
    /// What became of a request that may be replayed.
    EarlyRequest {
        /// It was served at once.
        Served = "served",
        /// It was served when the handshake was done.
        Delayed = "delayed",
        /// It was refused with 425.
        Refused = "refused",
    }
}

/// Where the metrics are.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) data: CounterSet,
    pub(super) requests: CounterSet,
}

impl Ids {
    pub(super) fn new(build: &mut SchemaBuilder) -> Self {
        let outcomes = |values: &'static [&'static str]| values.iter().map(|&outcome| [("outcome", outcome)]);
        Self {
            data: build.counters("ringway_tls_early_data_total", Unit::None, outcomes(EarlyDataOutcome::VALUES)),
            requests: build.counters("ringway_early_requests_total", Unit::None, outcomes(EarlyRequest::VALUES)),
        }
    }
}
