//! The endpoints of one upstream as they were found: which set is used, and what is held back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use ringway_runtime::net::Address;

use crate::plan::{Discover, Endpoint};

/// What is known of the endpoints of one upstream.
///
/// The base is the last set that was taken whole. A newer one that lacks too much of it is not: then what it lacks stays
/// in use beside it, so that an answer cut short takes nobody's endpoints away and a new endpoint still gets requests.
#[derive(Clone, Debug, Default)]
pub struct Known {
    base: Option<Arc<[Endpoint]>>,
    newest: Arc<[Endpoint]>,
    in_use: Arc<[Endpoint]>,
    kept: usize,
}

/// By how much one set differs from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) come: usize,
    pub(super) gone: usize,
    /// At the same address, but not the same.
    pub(super) changed: usize,
}

impl Known {
    /// These are in use; no source has said anything yet.
    pub fn before_the_first(in_use: &[Endpoint]) -> Self {
        Self { in_use: in_use.into(), ..Self::default() }
    }

    /// A source said this before, to another process.
    pub(super) fn said_before(base: &[Endpoint]) -> Self {
        let base: Arc<[Endpoint]> = in_order(base.to_vec()).into();
        Self { base: Some(base.clone()), newest: base.clone(), in_use: base, kept: 0 }
    }

    /// The endpoints in use.
    pub fn in_use(&self) -> &Arc<[Endpoint]> {
        &self.in_use
    }

    /// How many of them only a set of before has.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Whether a source has ever said anything.
    pub(super) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// A source found these. True when it has lost too many.
    pub fn find(&mut self, found: Vec<Endpoint>, rule: &Discover) -> bool {
        let found = in_order(found);
        if self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, &self.newest)) && *found == *self.newest {
            // The same again.
            return false;
        }
        self.newest = found.into();
        let base = self.base.clone().unwrap_or_default();
        let still: HashSet<&Address> = self.newest.iter().map(|endpoint| &endpoint.address).collect();
        let gone: Vec<&Endpoint> = base.iter().filter(|endpoint| !still.contains(&endpoint.address)).collect();
        let may_go = base.len() as u64 * u64::from(rule.max_shrink);
        self.kept = 0;
        if rule.keeps_last_good && gone.len() as u64 * 1_000_000 > may_go {
            self.kept = gone.len();
            let all = self.newest.iter().chain(gone).cloned().collect();
            self.in_use = in_order(all).into();
            return true;
        }
        self.base = Some(self.newest.clone());
        self.in_use = self.newest.clone();
        false
    }

    /// Somebody says that the newest set is right. How many go with that.
    pub(super) fn accept(&mut self) -> usize {
        if self.kept > 0 {
            self.base = Some(self.newest.clone());
            self.in_use = self.newest.clone();
        }
        std::mem::take(&mut self.kept)
    }

    /// An endpoint said itself that it goes: it is not missed.
    pub(super) fn forget(&mut self, address: &Address) {
        let without =
            |set: &Arc<[Endpoint]>| set.iter().filter(|endpoint| endpoint.address != *address).cloned().collect();
        self.base = self.base.as_ref().map(without);
    }
}

/// A set in the order of its addresses, each once: sources may tell the same set in any order.
fn in_order(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort_by(|one, other| (&one.address, one.priority).cmp(&(&other.address, other.priority)));
    endpoints.dedup_by(|one, other| one.address == other.address);
    endpoints
}

/// What changes from one set to another.
pub(super) fn difference(old: &[Endpoint], new: &[Endpoint]) -> Difference {
    let known: HashMap<&Address, &Endpoint> = old.iter().map(|endpoint| (&endpoint.address, endpoint)).collect();
    let mut difference = Difference::default();
    let mut stay = 0;
    for endpoint in new {
        match known.get(&endpoint.address) {
            None => difference.come += 1,
            Some(before) => {
                stay += 1;
                difference.changed += usize::from(*before != endpoint);
            }
        }
    }
    difference.gone = old.len().saturating_sub(stay);
    difference
}

impl fmt::Display for Difference {
    /// `+2 -1 endpoints`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [('+', self.come), ('-', self.gone), ('~', self.changed)];
        let mut count = 0;
        for (sign, number) in parts.into_iter().filter(|(_, number)| *number > 0) {
            write!(f, "{sign}{number} ")?;
            count += number;
        }
        if count == 0 {
            f.write_str("no change of ")?;
        }
        f.write_str(if count == 1 { "endpoint" } else { "endpoints" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::EndpointSays;
    use crate::plan::{DiscoverIn, Registration};

    fn endpoint(last: u8, weight: u32) -> Endpoint {
        let address = std::net::SocketAddr::from(([10, 0, 0, last], 80));
        EndpointSays { weight, ..EndpointSays::default() }.at(address.to_string().into(), address)
    }

    fn rule(keeps_last_good: bool, max_shrink: u32) -> Discover {
        let registration = Registration { ttl: std::time::Duration::from_secs(1), token: None, allow: [].into() };
        let place = DiscoverIn::Registration(registration);
        Discover { place, keeps_last_good, max_shrink, max_endpoints: 100, first: [].into() }
    }

    #[test]
    fn a_set_that_lost_too_many_leaves_them_in_use_until_it_is_accepted() {
        let rule = rule(true, 500_000);
        let set = |range: std::ops::Range<u8>| range.map(|last| endpoint(last, 1)).collect::<Vec<_>>();
        let mut known = Known::default();
        assert!(!known.find(set(0..4), &rule));
        // Half of them may go; then half of the rest; nobody may go all alone.
        assert!(!known.find(set(0..2), &rule));
        assert!(!known.find(set(0..1), &rule));
        assert!(known.find(set(0..0), &rule));
        assert_eq!((known.in_use().len(), known.kept()), (1, 1));
        // Whoever comes meanwhile gets requests, and saying the same again changes nothing.
        assert!(known.find(set(5..7), &rule) && known.find(set(5..7), &rule));
        assert_eq!((known.in_use().len(), known.kept()), (3, 1));
        assert_eq!(known.accept(), 1);
        assert_eq!((known.in_use().len(), known.kept(), known.accept()), (2, 0, 0));
        // One that says itself that it goes is not missed.
        known.forget(&endpoint(5, 1).address);
        assert!(!known.find(set(6..7), &rule));
    }

    #[test]
    fn a_difference_is_told_in_a_few_words() {
        let say = |come, gone, changed| Difference { come, gone, changed }.to_string();
        assert_eq!(say(2, 1, 0), "+2 -1 endpoints");
        assert_eq!(say(0, 0, 1), "~1 endpoint");
        assert_eq!(say(0, 0, 0), "no change of endpoints");
    }

    /// What holds, said without the machinery: by address.
    #[derive(Default)]
    struct Naive {
        base: BTreeMap<u8, u32>,
        newest: BTreeMap<u8, u32>,
        in_use: BTreeMap<u8, u32>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Find(Vec<(u8, u32)>),
        Accept,
        Forget(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let set = proptest::collection::vec((0..12_u8, 1..4_u32), 0..12);
        prop_oneof![5 => set.prop_map(Step::Find), 1 => Just(Step::Accept), 1 => (0..12_u8).prop_map(Step::Forget)]
    }

    proptest! {
        #[test]
        fn what_is_in_use_is_what_a_naive_model_says(
            steps in proptest::collection::vec(step(), 1..40),
            keeps in any::<bool>(),
            share in 0..=4_u32,
        ) {
            let rule = rule(keeps, share * 250_000);
            let (mut known, mut naive) = (Known::default(), Naive::default());
            for step in steps {
                let before = known.in_use().clone();
                match step {
                    Step::Find(found) => {
                        naive.newest = BTreeMap::new();
                        for (last, weight) in &found {
                            naive.newest.entry(*last).or_insert(*weight);
                        }
                        let gone = naive.base.keys().filter(|last| !naive.newest.contains_key(last)).count();
                        let too_many = keeps && gone as f64 > naive.base.len() as f64 * f64::from(share) / 4.0;
                        if too_many {
                            naive.in_use = naive.base.clone();
                            naive.in_use.extend(&naive.newest);
                        } else {
                            (naive.base, naive.in_use) = (naive.newest.clone(), naive.newest.clone());
                        }
                        let found = found.iter().map(|(last, weight)| endpoint(*last, *weight)).collect();
                        prop_assert_eq!(known.find(found, &rule), too_many);
                    }
                    Step::Accept => {
                        if known.accept() > 0 {
                            (naive.base, naive.in_use) = (naive.newest.clone(), naive.newest.clone());
                        }
                    }
                    Step::Forget(last) => {
                        naive.base.remove(&last);
                        known.forget(&endpoint(last, 1).address);
                    }
                }
                let in_use: BTreeMap<u8, u32> = known.in_use().iter().map(|endpoint| {
                    let Some(std::net::SocketAddr::V4(v4)) = endpoint.address.socket_addr() else { unreachable!() };
                    (v4.ip().octets()[3], endpoint.weight)
                }).collect();
                prop_assert_eq!(in_use.len(), known.in_use().len());
                prop_assert_eq!(&in_use, &naive.in_use);
                // The difference tells how to get from one to the other.
                let difference = difference(&before, known.in_use());
                prop_assert_eq!(before.len() + difference.come - difference.gone, known.in_use().len());
                let is_same = difference == Difference::default();
                prop_assert_eq!(is_same, before == *known.in_use());
            }
        }
    }
}
