//! Endpoints that register themselves: each stays for as long as it says so again in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::net::Address;

use crate::plan::{Endpoint, Registration};

/// Names and values of the metadata of one endpoint, and their bytes.
const METADATA_MAX: usize = 16;
const METADATA_BYTES_MAX: usize = 256;

/// The endpoints of one upstream.
#[derive(Debug, Default)]
pub(super) struct Registered {
    all: BTreeMap<Address, (Endpoint, Instant)>,
    /// When each lapses, soonest first.
    lapse: BTreeSet<(Instant, Address)>,
}

/// An endpoint without its port.
fn shown(address: &Address) -> String {
    address.ip().map_or_else(|| address.to_string(), |ip| ip.to_string())
}

impl Registered {
    /// Takes an endpoint, for as long as the rule says. True when the set is another with it.
    pub(super) fn register(
        &mut self,
        endpoint: Endpoint,
        rule: &Registration,
        most: u32,
        now: Instant,
    ) -> Result<bool, String> {
        let address = &endpoint.address;
        if !address.ip().is_some_and(|ip| rule.allows(ip)) {
            let networks: Vec<String> = rule.allow.iter().map(ToString::to_string).collect();
            let networks = if networks.is_empty() { "none".to_owned() } else { networks.join(", ") };
            return Err(format!("{} may not be an endpoint; allowed: {networks}", shown(address)));
        }
        if endpoint.metadata.len() > METADATA_MAX {
            return Err(format!("metadata: at most {METADATA_MAX} entries are taken"));
        }
        let is_long = |text: &str| text.len() > METADATA_BYTES_MAX;
        if endpoint.metadata.iter().any(|(name, value)| is_long(name) || is_long(value)) {
            return Err(format!("metadata: a name or a value has at most {METADATA_BYTES_MAX} bytes"));
        }
        if !self.all.contains_key(address) && self.all.len() >= most as usize {
            return Err(format!("the upstream has {most} endpoints already (max_endpoints)"));
        }
        Ok(self.put(endpoint, rule.ttl, now))
    }

    /// Takes an endpoint that was taken before.
    pub(super) fn put(&mut self, endpoint: Endpoint, ttl: Duration, now: Instant) -> bool {
        let (address, until) = (endpoint.address.clone(), now + ttl);
        self.lapse.insert((until, address.clone()));
        let Some((before, was_until)) = self.all.insert(address.clone(), (endpoint, until)) else { return true };
        if was_until != until {
            self.lapse.remove(&(was_until, address.clone()));
        }
        self.all.get(&address).is_none_or(|(endpoint, _)| *endpoint != before)
    }

    /// An endpoint goes. False where it was not there.
    pub(super) fn deregister(&mut self, address: &Address) -> bool {
        let Some((_, until)) = self.all.remove(address) else { return false };
        self.lapse.remove(&(until, address.clone()));
        true
    }

    /// Lets go of those who have not said anything for too long. How many went.
    pub(super) fn lapse(&mut self, now: Instant) -> usize {
        let before = self.all.len();
        while let Some((until, address)) = self.lapse.first().cloned()
            && until <= now
        {
            self.lapse.pop_first();
            self.all.remove(&address);
        }
        before - self.all.len()
    }

    /// When the next one lapses.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lapse.first().map(|(until, _)| *until)
    }

    /// Another time to live holds from now on: nobody who is there stays longer than that.
    pub(super) fn set_ttl(&mut self, ttl: Duration, now: Instant) {
        let all: Vec<(Endpoint, Instant)> = std::mem::take(&mut self.all).into_values().collect();
        self.lapse.clear();
        for (endpoint, until) in all {
            self.put(endpoint, until.since(now).min(ttl), now);
        }
    }

    /// All of them.
    pub(super) fn set(&self) -> Vec<Endpoint> {
        self.all.values().map(|(endpoint, _)| endpoint.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::EndpointSays;

    fn endpoint(last: u8, weight: u32) -> Endpoint {
        let address = std::net::SocketAddr::from(([10, 0, 0, last], 80));
        EndpointSays { weight, ..EndpointSays::default() }.at(address.to_string().into(), address)
    }

    fn rule() -> Registration {
        let allow = Box::new(["10.0.0.0/8".parse().unwrap()]);
        Registration { ttl: Duration::from_secs(10), token: None, allow }
    }

    #[test]
    fn only_what_the_rule_allows_is_taken() {
        let mut registered = Registered::default();
        let mut register =
            |endpoint: Endpoint, most| registered.register(endpoint, &rule(), most, Instant::default()).err();
        let at = |address: &str| EndpointSays::default().at("x".into(), address.parse::<Address>().unwrap());
        for address in ["127.0.0.1:80", "169.254.169.254:80", "[::1]:80", "8.8.8.8:53", "[::ffff:127.0.0.1]:80"] {
            assert!(register(at(address), 9).is_some_and(|why| why.contains("allowed: 10.0.0.0/8")), "{address}");
        }
        assert_eq!(register(at("[::ffff:10.0.0.9]:80"), 9), None);
        let with = |count: usize, bytes: usize| Endpoint {
            metadata: (0..count).map(|n| (format!("{n}").into(), "x".repeat(bytes).into())).collect(),
            ..endpoint(1, 1)
        };
        assert!(register(with(17, 1), 9).is_some_and(|why| why.contains("at most 16")));
        assert!(register(with(1, 257), 9).is_some_and(|why| why.contains("at most 256 bytes")));
        assert_eq!(register(with(16, 256), 9), None);
        assert!(register(endpoint(2, 1), 2).is_some_and(|why| why.contains("max_endpoints")));
        // One that is there may always say so again.
        assert_eq!(register(endpoint(1, 2), 2), None);
    }

    #[test]
    fn a_shorter_time_to_live_holds_for_those_who_are_there() {
        let mut registered = Registered::default();
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        registered.register(endpoint(1, 1), &rule(), 9, at(0)).unwrap();
        registered.set_ttl(Duration::from_secs(2), at(1));
        assert_eq!((registered.next(), registered.lapse(at(2)), registered.lapse(at(3))), (Some(at(3)), 0, 1));
    }

    proptest! {
        #[test]
        fn who_is_there_is_who_said_so_in_time(
            steps in proptest::collection::vec((0..4_u8, 0..6_u8, 1..3_u32, 0..7_u64), 1..60),
        ) {
            let mut registered = Registered::default();
            let mut naive: BTreeMap<u8, (u32, u64)> = BTreeMap::new();
            let mut second = 0;
            for (what, last, weight, passes) in steps {
                second += passes;
                let now = Instant::from_nanos(second * 1_000_000_000);
                let lapsed = naive.len();
                naive.retain(|_, (_, until)| *until > second);
                prop_assert_eq!(registered.lapse(now), lapsed - naive.len());
                if what == 0 {
                    let was_there = naive.remove(&last).is_some();
                    prop_assert_eq!(registered.deregister(&endpoint(last, 1).address), was_there);
                } else {
                    let before = naive.insert(last, (weight, second + 10));
                    let is_new = before.is_none_or(|(before, _)| before != weight);
                    prop_assert_eq!(registered.register(endpoint(last, weight), &rule(), 9, now), Ok(is_new));
                }
                let wanted: Vec<Endpoint> = naive.iter().map(|(last, (weight, _))| endpoint(*last, *weight)).collect();
                prop_assert_eq!(registered.set(), wanted);
                let next = naive.values().map(|(_, until)| Instant::from_nanos(until * 1_000_000_000)).min();
                prop_assert_eq!(registered.next(), next);
            }
        }
    }
}
