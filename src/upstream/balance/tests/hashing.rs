//! Keys and the endpoints they go to.

use super::*;

/// Where each key goes.
fn places(balancer: &Balancer, keys: u64) -> Vec<String> {
    let place = |number| {
        let picked = balancer.pick(&key(number), now()).unwrap();
        balancer.end(picked, Outcome::Unknown, now());
        balancer.upstream.endpoints[picked.endpoint].name.to_string()
    };
    (0..keys).map(place).collect()
}

/// An upstream of these endpoints, by number.
fn pool(balance: &str, members: impl Iterator<Item = u32>) -> Arc<Upstream> {
    let endpoints = members.map(|at| format!("\"10.1.{}.{}:80\"", at / 250, at % 250));
    upstream(&format!("balance = {balance}\nendpoints = [{}]", endpoints.collect::<Vec<_>>().join(", ")))
}

/// The part of all keys that is elsewhere with one pool than with another.
fn moved(before: &[String], after: &[String]) -> f64 {
    before.iter().zip(after).filter(|(before, after)| before != after).count() as f64 / before.len() as f64
}

fn keys_stay(balance: &str) {
    const KEYS: u64 = 20_000;
    for count in [10, 100, 1000] {
        let whole = places(&balancer(&pool(balance, 0..count)), KEYS);
        for gone in [0, count / 2, count - 1] {
            let without = places(&balancer(&pool(balance, (0..count).filter(|at| *at != gone))), KEYS);
            let name = format!("10.1.{}.{}:80", gone / 250, gone % 250);
            let own = whole.iter().filter(|place| **place == name).count() as f64 / KEYS as f64;
            let moved = moved(&whole, &without);
            // The same seen the other way round: an endpoint comes.
            assert!(moved < 1.0 / f64::from(count) + 0.01, "{balance}, {count} without {gone}: {moved}, its own {own}");
        }
        // One that may not be used for a while takes none but its own keys along.
        let balancer = balancer(&pool(balance, 0..count));
        balancer.shared().set_standing(3, Cause::Unhealthy, true, now());
        let now_places = places(&balancer, KEYS);
        let is_other = |(before, after): (&String, &String)| before != after && before != "10.1.0.3:80";
        assert_eq!(whole.iter().zip(&now_places).filter(|(before, after)| is_other((before, after))).count(), 0);
        assert!(now_places.iter().all(|place| place != "10.1.0.3:80"));
    }
}

#[test]
fn ring_hash_moves_few_keys() {
    keys_stay("\"ring-hash\"");
}

#[test]
fn maglev_moves_few_keys() {
    keys_stay("\"maglev\"");
}

#[test]
fn every_core_and_process_sends_a_key_to_the_same_endpoint() {
    for balance in ["\"ring-hash\"", "\"maglev\""] {
        let forwards = places(&balancer(&pool(balance, 0..20)), 500);
        let backwards = places(&balancer(&pool(balance, (0..20).rev())), 500);
        assert_eq!(forwards, backwards, "{balance}: the order of the config means nothing");
        let known: [usize; 5] =
            std::array::from_fn(|at| forwards[at].trim_end_matches(":80").rsplit('.').next().unwrap().parse().unwrap());
        // A release that changes these sends every user's keys elsewhere.
        let wanted = if balance.contains("ring") { KNOWN_RING } else { KNOWN_MAGLEV };
        assert_eq!(known, wanted, "{balance}");
    }
}

const KNOWN_RING: [usize; 5] = [11, 13, 10, 13, 13];
const KNOWN_MAGLEV: [usize; 5] = [18, 1, 1, 11, 12];

#[test]
fn hashing_spreads_by_weight() {
    let weights = [1, 2, 5, 1, 7, 3, 1, 1];
    for (balance, off) in [("{ type = \"ring-hash\", virtual_nodes = 400 }", 0.2), ("\"maglev\"", 0.03)] {
        let counts = counts(&balancer(&weighted(balance, &weights)), 200_000, key);
        for (count, weight) in counts.iter().zip(weights) {
            let wanted = 200_000.0 * f64::from(weight) / 21.0;
            assert!((*count as f64 / wanted - 1.0).abs() < off, "{balance}: {counts:?}");
        }
    }
}

#[test]
fn no_endpoint_has_much_more_than_its_share_with_bounded_load() {
    for kind in ["ring-hash", "maglev"] {
        for endpoints in [10, 100] {
            let balance = format!("{{ type = \"{kind}\", max_load = 105 }}");
            let balancer = balancer(&pool(&balance, 0..endpoints));
            let mut load = vec![0u32; endpoints as usize];
            // Every other request has one of three keys.
            for number in 0..u64::from(endpoints) * 100 {
                let asked = if number % 2 == 0 { key(number % 3) } else { key(number) };
                load[balancer.pick(&asked, now()).unwrap().endpoint] += 1;
            }
            let most = *load.iter().max().unwrap();
            assert!(f64::from(most) / 100.0 < 1.1, "{kind} of {endpoints}: {most} where 100 is even");
        }
    }
}

#[test]
fn what_ends_makes_room_for_its_key() {
    let balancer = balancer(&pool("{ type = \"maglev\", max_load = 150 }", 0..4));
    let home = balancer.pick(&key(1), now()).unwrap();
    let all: Vec<_> = (0..9).map(|_| balancer.pick(&key(1), now()).unwrap()).collect();
    assert!(all.iter().any(|picked| picked.endpoint != home.endpoint));
    for picked in all {
        balancer.end(picked, Outcome::Unknown, now());
    }
    balancer.end(home, Outcome::Unknown, now());
    assert_eq!(balancer.pick(&key(1), now()).unwrap().endpoint, home.endpoint);
}

#[test]
fn a_cookie_names_its_endpoint_and_nobody_makes_one_without_the_secret() {
    let pool = |secret: &str, endpoints: &str| {
        Shared::new(&upstream(&format!("endpoints = [{endpoints}]\nsticky = {{ secret = \"{secret}\" }}")), None)
    };
    let one = pool("hush", "\"10.0.0.1:80\", \"10.0.0.2:80\"");
    let cookie = one.cookie(1).unwrap().to_vec();
    assert_eq!(one.by_cookie(&cookie), Some(1));
    // Another gateway, with other endpoints in another order.
    let other = pool("hush", "\"10.0.0.9:80\", \"10.0.0.2:80\", \"10.0.0.1:80\", \"10.0.0.3:80\"");
    assert_eq!(other.by_cookie(&cookie), Some(1));
    assert_eq!(other.by_cookie(one.cookie(0).unwrap()), Some(2));
    // Gone, or signed with another secret.
    assert_eq!(pool("hush", "\"10.0.0.1:80\"").by_cookie(&cookie), None);
    assert_eq!(pool("hash", "\"10.0.0.1:80\", \"10.0.0.2:80\"").by_cookie(&cookie), None);
    for at in 0..cookie.len() {
        let mut forged = cookie.clone();
        forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
        assert_eq!(one.by_cookie(&forged), None);
    }
    let upper = cookie.to_ascii_uppercase();
    assert_eq!(one.by_cookie(&upper), None, "one spelling only");
    for wrong in [&b""[..], b"10.0.0.1:80", &cookie[1..]] {
        assert_eq!(one.by_cookie(wrong), None);
    }
    assert!(!format!("{one:?}").contains("hush"));
}

#[test]
fn a_client_comes_back_for_as_long_as_its_endpoint_may_be_used() {
    let shared =
        Shared::new(&upstream("endpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\nsticky = { secret = \"hush\" }"), None);
    let balancer = Balancer::new(&shared, 1, now(), None);
    let sticky = |at| move |_| Asked { sticky: Some(at), ..Asked::default() };
    assert_eq!(counts(&balancer, 10, sticky(1)), [0, 10]);
    shared.set_standing(1, Cause::Drained, true, now());
    assert_eq!(counts(&balancer, 10, sticky(1)), [10, 0]);
    shared.set_standing(1, Cause::Drained, false, now());
    assert_eq!(counts(&balancer, 10, sticky(1)), [0, 10]);
    assert_eq!(counts(&balancer, 10, sticky(7)), [5, 5], "there is no such endpoint");
}
