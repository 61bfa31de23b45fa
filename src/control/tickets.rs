//! The keys of TLS session tickets: control makes new ones from time to time, and all cores have the same.

use std::sync::Arc;

use ringway_runtime::clock::Instant;

use super::cores::Cores;
use super::log::Log;
use crate::core::ToCore;
use crate::plan::Plan;
use crate::tls::TicketKeys;

/// The keys of now, and since when.
#[derive(Debug)]
pub(super) struct Tickets {
    keys: Arc<TicketKeys>,
    since: Instant,
}

impl Tickets {
    /// New ones. Nothing where the system has no randomness.
    pub(super) fn new() -> Option<Self> {
        Some(Self { keys: Arc::new(TicketKeys::new()?), since: Instant::now() })
    }

    /// Those of the process before: sessions that it began go on, and its keys are used no longer than they were to be.
    pub(super) fn inherited(keys: Arc<TicketKeys>, since: Instant) -> Self {
        Self { keys, since: since.min(Instant::now()) }
    }

    /// The keys of now.
    pub(super) fn keys(&self) -> &Arc<TicketKeys> {
        &self.keys
    }

    /// Since when they are those of now.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// When there are to be new ones. Where nobody takes tickets none are made.
    pub(super) fn deadline(&self, plan: &Plan) -> Option<Instant> {
        let is_used = plan.listeners.iter().any(|listener| listener.tls.is_some());
        is_used.then(|| self.since + plan.control.ticket_rotation)
    }

    /// Makes new ones, where it is time.
    pub(super) fn time_passed(&mut self, plan: &Plan, cores: &Cores, log: &mut Log<'_>) {
        let now = Instant::now();
        // A core that does not listen has one more turn to hear of them: they are known before they are used.
        if self.deadline(plan).is_none_or(|deadline| deadline > now) {
            return;
        }
        self.since = now;
        match self.keys.rotated() {
            Some(keys) => {
                self.keys = Arc::new(keys);
                cores.tell_all(|| ToCore::Tickets(self.keys.clone()));
                log.debug(format_args!("new keys for session tickets"));
            }
            None => {
                log.warn(format_args!("no new keys for session tickets: there is no randomness"));
            }
        }
    }
}
