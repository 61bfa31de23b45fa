//! A gate that cores share: what goes through it is let through, held back, or tried with a few.
//!
//! ```text
//!            too many failures                 its time has passed
//!   closed ---------------------> open ------------------------------> half-open
//!      ^                           ^  one probe failed: open for longer   |  |
//!      |                           '--------------------------------------'  |
//!      '---------------------------------------------------------------------'
//!                               all probes went well
//! ```
//!
//! One word says all of its state, so each change of it is one compare-and-swap, whichever core makes it. No other memory
//! hangs on it, so the accesses are relaxed. Names are those of a circuit breaker: closed lets through.

use std::sync::atomic::Ordering;

use super::sync::AtomicU64;

/// How a gate is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateState {
    /// Requests go through.
    #[default]
    Closed,
    /// None goes through.
    Open,
    /// A few go through, to see how they fare.
    HalfOpen,
    /// None goes through until somebody closes it.
    HeldOpen,
}

impl GateState {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::HeldOpen => "held open",
        }
    }
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// As any other.
    Plain,
    /// As one of the probes of the round that ends then.
    Probe(u64),
    /// As the first of them after it was open: with it the gate is half-open.
    First(u64),
}

/// How a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Well.
    Well,
    /// Badly.
    Failed,
    /// It tells nothing: another may go in its place.
    Nothing,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is open, or open again.
    Opened,
    /// It is closed.
    Closed,
}

/// What a gate goes by. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How long it is open the first time; twice as long each time that its probes fail.
    pub open_for: u64,
    /// But no longer than this.
    pub max_open_for: u64,
    /// How much longer it may be by chance, in millionths.
    pub jitter: u32,
    /// What is let through when that time has passed, at most 255. When all of them go well, it closes.
    pub probes: u32,
}

/// The state, in 64 bits: until when in milliseconds, times it opened without closing, probes sent and probes that
/// went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) until: u64,
    pub(super) kind: GateState,
    pub(super) level: u8,
    pub(super) sent: u8,
    pub(super) well: u8,
}

const MOST_LEVEL: u8 = 31;

impl State {
    pub(super) fn of(word: u64) -> Self {
        let kind = match word >> 21 & 3 {
            0 => GateState::Closed,
            1 => GateState::Open,
            2 => GateState::HalfOpen,
            _ => GateState::HeldOpen,
        };
        Self { until: word >> 23, kind, level: (word >> 16 & 31) as u8, sent: (word >> 8) as u8, well: word as u8 }
    }

    pub(super) fn word(self) -> u64 {
        self.until << 23
            | (self.kind as u64) << 21
            | u64::from(self.level & MOST_LEVEL) << 16
            | u64::from(self.sent) << 8
            | u64::from(self.well)
    }

    /// Open once more. `random` picks how much longer than it must.
    pub(super) fn opened(self, rule: &Rule, random: u64, now: u64) -> Self {
        let grown = rule.open_for.saturating_mul(1 << self.level.min(MOST_LEVEL - 1)).min(rule.max_open_for);
        let chance = (u128::from(rule.jitter) * u128::from(random as u32)) >> 32;
        let longer = u128::from(grown) * chance / 1_000_000;
        let until = now + grown.max(1) + longer as u64;
        Self { until, kind: GateState::Open, level: (self.level + 1).min(MOST_LEVEL), sent: 0, well: 0 }
    }

    /// After what time brings.
    fn at(self, rule: &Rule, now: u64) -> Self {
        match self.kind {
            // Probes that nothing is heard of for so long are sent anew.
            GateState::Open | GateState::HalfOpen if now >= self.until => {
                let until = now + rule.open_for.max(1);
                Self { until, kind: GateState::HalfOpen, sent: 0, well: 0, ..self }
            }
            _ => self,
        }
    }
}

/// A gate, closed at first.
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

impl Gate {
    fn load(&self) -> State {
        State::of(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the state by what `change` makes of it: the state before and the one after, or nothing where `change`
    /// wants none.
    fn change(&self, change: impl Fn(State) -> Option<State>) -> Option<(State, State)> {
        let update = |word| change(State::of(word)).map(State::word);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok()?;
        Some((State::of(before), change(State::of(before))?))
    }

    /// Whether it is closed, whatever time it is.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.load().kind == GateState::Closed
    }

    /// How it is at a time.
    pub fn state(&self, rule: &Rule, now: u64) -> GateState {
        self.load().at(rule, now).kind
    }

    /// Until when it is open or half-open, where that ends by itself.
    pub fn until(&self) -> Option<u64> {
        let state = self.load();
        matches!(state.kind, GateState::Open | GateState::HalfOpen).then_some(state.until)
    }

    /// Whether [`Self::leave`] would give leave.
    pub fn would_leave(&self, rule: &Rule, now: u64) -> bool {
        let state = self.load();
        if state.kind == GateState::Closed {
            return true;
        }
        let state = state.at(rule, now);
        state.kind == GateState::HalfOpen && u32::from(state.sent) < rule.probes
    }

    /// Leave to send a request. What becomes of a probe must be told with [`Self::probed`].
    pub fn leave(&self, rule: &Rule, now: u64) -> Option<Leave> {
        if self.is_closed() {
            return Some(Leave::Plain);
        }
        let (before, after) = self.change(|state| {
            let state = state.at(rule, now);
            match state.kind {
                GateState::Closed => Some(state),
                GateState::HalfOpen if u32::from(state.sent) < rule.probes => {
                    Some(State { sent: state.sent + 1, ..state })
                }
                _ => None,
            }
        })?;
        Some(match (before.kind, after.kind) {
            (_, GateState::Closed) => Leave::Plain,
            (GateState::Open, _) => Leave::First(after.until),
            _ => Leave::Probe(after.until),
        })
    }

    /// Opens it, if it is closed. True for the one whose doing it was.
    pub fn trip(&self, rule: &Rule, random: u64, now: u64) -> bool {
        self.change(|state| (state.kind == GateState::Closed).then(|| state.opened(rule, random, now))).is_some()
    }

    /// How a probe of a round went. One of a round that is over changes nothing.
    pub fn probed(&self, rule: &Rule, round: u64, how: Probed, random: u64, now: u64) -> Option<Change> {
        let is_of_round = |state: State| state.kind == GateState::HalfOpen && state.until == round;
        let (_, after) = self.change(|state| {
            is_of_round(state).then(|| match how {
                Probed::Nothing => State { sent: state.sent.saturating_sub(1), ..state },
                Probed::Failed => state.opened(rule, random, now),
                Probed::Well if u32::from(state.well) + 1 >= rule.probes => State::default(),
                Probed::Well => State { well: state.well + 1, ..state },
            })
        })?;
        match after.kind {
            GateState::Open => Some(Change::Opened),
            GateState::Closed => Some(Change::Closed),
            _ => None,
        }
    }

    /// Opens it until it is closed by hand, or closes it. True when that changed something.
    pub fn hold(&self, is_open: bool) -> bool {
        let kind = if is_open { GateState::HeldOpen } else { GateState::Closed };
        self.turn_to(kind) != kind
    }

    /// Closes it. How it was.
    pub fn close(&self) -> GateState {
        self.turn_to(GateState::Closed)
    }

    fn turn_to(&self, kind: GateState) -> GateState {
        State::of(self.0.swap(State { kind, ..State::default() }.word(), Ordering::Relaxed)).kind
    }
}
