//! The budget of TLS handshakes: how many a core has under way, and how many one source may begin.
//!
//! A handshake costs the gateway far more than whoever asks for it, so both are bounded before any of it is done.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use crate::observe::HandshakeFailure;
use crate::plan::{Cores, Rate};

/// Sources that are known at once; with more, those whose budget is nearest to full are forgotten.
const SOURCES: usize = 4096;
/// Places where a source may be.
const WAYS: usize = 4;

/// Why a handshake is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The core has as many under way as it may.
    Core,
    /// The source has begun as many as it may for now.
    Source,
}

impl From<Refused> for HandshakeFailure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Core => Self::CoreBudget,
            Refused::Source => Self::SourceBudget,
        }
    }
}

/// One core's budget.
pub struct Handshakes {
    most: Cell<u32>,
    under_way: Cell<u32>,
    rate: Cell<Option<Rate>>,
    /// None before the first.
    sources: RefCell<Option<Box<[Source]>>>,
    hasher: RandomState,
}

/// What a source has used, as the time at which it will have got all of it back (GCRA).
#[derive(Clone, Copy, Default)]
struct Source {
    key: u64,
    even_at: Instant,
}

/// A handshake that is under way.
#[derive(Debug)]
pub struct UnderWay(Rc<Handshakes>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshakes").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            most: Cell::new(u32::MAX),
            under_way: Cell::new(0),
            rate: Cell::new(None),
            sources: RefCell::new(None),
            hasher: RandomState::new(),
        }
    }
}

impl Handshakes {
    /// Takes up what the plan says.
    pub fn limit(&self, cores: &Cores) {
        self.most.set(cores.handshakes);
        self.rate.set(cores.handshakes_per_source);
    }

    /// Those under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.get()
    }

    /// Begins one for a client at this address; all that have none count for the core alone.
    pub fn begin(self: &Rc<Self>, from: Option<IpAddr>, now: Instant) -> Result<UnderWay, Refused> {
        if self.under_way.get() >= self.most.get() {
            return Err(Refused::Core);
        }
        if let (Some(rate), Some(from)) = (self.rate.get(), from)
            && !self.admits(from, rate, now)
        {
            return Err(Refused::Source);
        }
        self.under_way.set(self.under_way.get() + 1);
        Ok(UnderWay(self.clone()))
    }

    fn admits(&self, from: IpAddr, rate: Rate, now: Instant) -> bool {
        // Who has an IPv6 address has a network of them.
        let key = match from.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address),
            IpAddr::V6(address) => self.hasher.hash_one(address.segments().first_chunk::<4>()),
        };
        let mut sources = self.sources.borrow_mut();
        let sources = sources.get_or_insert_with(|| vec![Source::default(); SOURCES].into());
        let places = (0..WAYS).map(|way| (key as usize).wrapping_add(way) % SOURCES);
        let known = places.clone().find(|&at| sources.get(at).is_some_and(|source| source.key == key));
        let at = known.or_else(|| places.min_by_key(|&at| sources.get(at).map(|source| source.even_at)));
        let Some(source) = at.and_then(|at| sources.get_mut(at)) else { return true };
        if source.key != key {
            *source = Source { key, even_at: now };
        }
        let even_at = source.even_at.max(now) + rate.per / rate.count.max(1);
        let admits = even_at.since(now) <= rate.per.max(Duration::from_nanos(1));
        if admits {
            source.even_at = even_at;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(handshakes: u32, count: u32) -> Rc<Handshakes> {
        let budget = Rc::<Handshakes>::default();
        let handshakes_per_source = Some(Rate { count, per: Duration::from_secs(1) });
        budget.limit(&Cores { handshakes, handshakes_per_source, ..Cores::default() });
        budget
    }

    #[test]
    fn a_core_has_only_so_many_under_way() {
        let budget = budget(2, 1000);
        let (now, from) = (Instant::default(), Some("10.0.0.1".parse().unwrap()));
        let first = budget.begin(from, now).unwrap();
        let _second = budget.begin(from, now).unwrap();
        assert_eq!(budget.begin(from, now).unwrap_err(), Refused::Core);
        drop(first);
        assert!(budget.begin(from, now).is_ok());
    }

    #[test]
    fn a_source_begins_so_many_at_once_and_gets_them_back_with_time() {
        let budget = budget(1_000_000, 10);
        let mut now = Instant::default();
        let begun = |from: &str, now| (0..100).filter(|_| budget.begin(from.parse().ok(), now).is_ok()).count();
        assert_eq!((begun("10.0.0.1", now), begun("10.0.0.2", now), begun("::ffff:10.0.0.2", now)), (10, 10, 0));
        now = now + Duration::from_millis(500);
        assert_eq!(begun("10.0.0.1", now), 5);
        // A network counts as one, and what has rested for long has no more than at first.
        assert_eq!((begun("2001:db8::1", now), begun("2001:db8::2", now), begun("2001:db8:0:1::1", now)), (10, 0, 10));
        now = now + Duration::from_hours(1);
        assert_eq!(begun("10.0.0.1", now), 10);
    }

    #[test]
    fn however_many_sources_come_those_that_ask_most_stay_known() {
        let budget = budget(1_000_000, 10);
        let now = Instant::default() + Duration::from_secs(1);
        let attacker = "10.0.0.1".parse().ok();
        (0..10).for_each(|_| drop(budget.begin(attacker, now)));
        for last in 0..SOURCES as u32 {
            let _ = budget.begin(Some(IpAddr::from((0x0b00_0000 + last).to_be_bytes())), now);
        }
        assert_eq!(budget.begin(attacker, now).unwrap_err(), Refused::Source);
    }
}
