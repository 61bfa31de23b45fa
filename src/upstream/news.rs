//! Changes of endpoints and breakers that an operator hears of. All cores share the state, and whoever changes it is the
//! only one that sees itself do so: each change is told once, by the core that made it.

use super::BreakerState;
use crate::observe::UpstreamEvent;
use crate::observe::records::EventKind;

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub(super) kind: EventKind,
    /// Whose state it is; that of the upstream without one.
    pub(super) endpoint: Option<usize>,
    pub(super) old: &'static str,
    pub(super) new: &'static str,
    pub(super) reason: &'static str,
    /// How the metrics count it.
    pub(super) event: Option<UpstreamEvent>,
}

/// The reason of a change that a plan made: it does not ask any more for what spoke against the endpoint.
pub(super) const BY_PLAN: &str = "plan";

impl Change {
    /// An endpoint is well again, or no more.
    pub(super) fn health(endpoint: usize, is_well: bool, reason: &'static str) -> Self {
        let (old, new) = if is_well { ("unhealthy", "healthy") } else { ("healthy", "unhealthy") };
        let event = Some(if is_well { UpstreamEvent::Healthy } else { UpstreamEvent::Unhealthy });
        Self { kind: EventKind::EndpointChanged, endpoint: Some(endpoint), old, new, reason, event }
    }

    /// An endpoint is left out for a time, or that is over.
    pub(super) fn ejection(endpoint: usize, is_ejected: bool, reason: &'static str) -> Self {
        let (old, new) = if is_ejected { ("used", "ejected") } else { ("ejected", "used") };
        let event = is_ejected.then_some(UpstreamEvent::Ejected);
        Self { kind: EventKind::EndpointChanged, endpoint: Some(endpoint), old, new, reason, event }
    }

    /// A breaker, of an endpoint or of the upstream.
    pub(super) fn breaker(endpoint: Option<usize>, old: BreakerState, new: BreakerState, reason: &'static str) -> Self {
        let event = match (endpoint, new) {
            (None, BreakerState::Open) => Some(UpstreamEvent::BreakerOpened),
            (None, BreakerState::Closed) => Some(UpstreamEvent::BreakerClosed),
            (Some(_), BreakerState::Open) => Some(UpstreamEvent::EndpointBreakerOpened),
            (Some(_), BreakerState::Closed) => Some(UpstreamEvent::EndpointBreakerClosed),
            (_, BreakerState::HalfOpen | BreakerState::HeldOpen) => None,
        };
        Self { kind: EventKind::BreakerChanged, endpoint, old: old.name(), new: new.name(), reason, event }
    }
}
