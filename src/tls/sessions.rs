//! Sessions of a listener that takes early data. All cores of the process share them, and each is given out once, whichever
//! cores ask for it at the same time: that is what keeps early data from being replayed (RFC 8446 section 8.1).
//!
//! Nobody waits for anybody: a place that another core is at is passed over, as if it held nothing. A client whose session
//! is passed over shakes hands in full. What is there is bounded; of those for the same places the oldest goes.

use rustls::server::StoresServerSessions;
use std::fmt;
use std::sync::{Mutex, TryLockError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Places where a session may be.
const WAYS: usize = 8;
/// Clients are told that a session is good for so long (rustls has no other word for it).
const LONGEST: Duration = Duration::from_hours(24);

struct Kept {
    id: Vec<u8>,
    session: Zeroizing<Vec<u8>>,
    expires: i64,
}

type Place = Mutex<Option<Kept>>;

/// The sessions of one listener.
pub(super) struct Sessions {
    places: Box<[[Place; WAYS]]>,
    /// How long they are good, in seconds.
    lifetime: i64,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("places", &(self.places.len() * WAYS)).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Room for so many, each good for `lifetime`.
    pub(super) fn new(most: usize, lifetime: Duration) -> Self {
        let places = (0..most.div_ceil(WAYS).max(1)).map(|_| <[Place; WAYS]>::default()).collect();
        Self { places, lifetime: lifetime.min(LONGEST).as_secs() as i64 }
    }

    /// Where a session may be. Its id is random where it is ours, and says nothing where it is not.
    fn places(&self, id: &[u8]) -> &[Place] {
        let random = id.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
        self.places.get(random as usize % self.places.len().max(1)).map_or(&[], |places| places.as_slice())
    }

    /// Shows `look` the place of a session that is good, if it can be had.
    fn at<R>(&self, id: &[u8], now: i64, mut look: impl FnMut(&mut Option<Kept>) -> Option<R>) -> Option<R> {
        self.places(id).iter().find_map(|place| {
            let mut place = place.try_lock().ok()?;
            let is_it = place.as_ref().is_some_and(|kept| kept.id == id && kept.expires > now);
            if is_it { look(&mut place) } else { None }
        })
    }

    fn keep(&self, id: Vec<u8>, session: Vec<u8>, now: i64) -> bool {
        let mut kept = Some(Kept { expires: now + self.lifetime, session: session.into(), id });
        let places = self.places(kept.as_ref().map_or(&[], |kept| &kept.id));
        let mut oldest: Option<(i64, &Place)> = None;
        for place in places {
            let Ok(mut inside) = place.try_lock() else { continue };
            match &*inside {
                Some(other) if other.expires > now => {
                    if oldest.is_none_or(|(expires, _)| other.expires < expires) {
                        oldest = Some((other.expires, place));
                    }
                }
                _ => {
                    *inside = kept.take();
                    return true;
                }
            }
        }
        match oldest.map(|(_, place)| place.try_lock()) {
            Some(Ok(mut inside)) => {
                *inside = kept;
                true
            }
            // Others are at every place of it: its client gets no ticket.
            Some(Err(TryLockError::WouldBlock | TryLockError::Poisoned(_))) | None => false,
        }
    }

    fn take_at(&self, id: &[u8], now: i64) -> Option<Vec<u8>> {
        self.at(id, now, Option::take).map(|mut kept| std::mem::take(&mut *kept.session))
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.keep(id, session, super::now())
    }

    /// Of TLS 1.2, which has no early data: its sessions go on as often as their clients like.
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.at(id, super::now(), |place| place.as_ref().map(|kept| kept.session.to_vec()))
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.take_at(id, super::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::collections::hash_map::Entry;
    use std::sync::Barrier;

    fn id(of: u8) -> Vec<u8> {
        let mut id = vec![of; 32];
        // All in the same places.
        id[..8].fill(0);
        id
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Take(u8),
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..12_u8, any::<u8>()).prop_map(|(of, what)| Step::Put(of, what)),
            (0..12_u8).prop_map(Step::Take),
            (0..40_i64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_given_out_twice_or_after_its_time(steps in proptest::collection::vec(step(), 1..200)) {
            let sessions = Sessions::new(1, Duration::from_secs(100));
            let (mut model, mut now) = (HashMap::new(), 0);
            // What rustls puts there has an id of its own.
            let mut unused: u8 = 0;
            for step in steps {
                match step {
                    Step::Put(of, what) => {
                        if let Entry::Vacant(place) = model.entry(of) {
                            prop_assert!(sessions.keep(id(of), vec![what, unused], now));
                            let found = sessions.at(&id(of), now, |place| place.as_ref().map(|kept| kept.session.to_vec()));
                            prop_assert_eq!(found, Some(vec![what, unused]), "the newest is always there");
                            place.insert((vec![what, unused], now + 100));
                            unused = unused.wrapping_add(1);
                        }
                    }
                    Step::Take(of) => {
                        let was = model.remove(&of).filter(|(_, expires)| *expires > now);
                        let found = sessions.take_at(&id(of), now);
                        // It may have had to make room.
                        prop_assert!(found.is_none() || found == was.map(|(what, _)| what));
                        prop_assert_eq!(sessions.take_at(&id(of), now), None);
                    }
                    Step::Wait(seconds) => now += seconds,
                }
            }
        }
    }

    #[test]
    fn only_one_of_those_who_ask_at_once_gets_a_session() {
        let sessions = Sessions::new(64, Duration::from_secs(100));
        for round in 0..200_u8 {
            assert!(sessions.keep(id(round), vec![round], 0));
            let begin = Barrier::new(4);
            let got: usize = std::thread::scope(|scope| {
                let ask = || {
                    begin.wait();
                    usize::from(sessions.take_at(&id(round), 1).is_some())
                };
                let all = [(); 4].map(|()| scope.spawn(ask));
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            assert_eq!(got, 1, "the first at the place gets it, the others do not");
        }
    }

    #[test]
    fn the_oldest_makes_room() {
        let sessions = Sessions::new(WAYS, Duration::from_secs(100));
        for of in 0..=WAYS as u8 {
            assert!(sessions.keep(id(of), vec![of], i64::from(of)));
        }
        assert_eq!(sessions.take_at(&id(0), 20), None);
        for of in 1..=WAYS as u8 {
            assert_eq!(sessions.take_at(&id(of), 20), Some(vec![of]));
        }
    }

    #[test]
    fn sessions_of_older_versions_go_on_more_than_once() {
        let sessions = Sessions::new(1, Duration::from_secs(100));
        assert!(sessions.put(id(1), vec![1]));
        assert_eq!([sessions.get(&id(1)), sessions.get(&id(1))], [Some(vec![1]), Some(vec![1])]);
        assert_eq!(sessions.take(b"short"), None);
    }
}
