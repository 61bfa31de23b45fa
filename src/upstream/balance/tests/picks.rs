//! Who is picked how often.

use proptest::prelude::*;

use super::super::Table;
use super::*;
use crate::upstream::Avoid;

const PICKS: u64 = 1_000_000;

/// Passed by one honest draw in a million, with up to 7 free endpoints.
const MOST: f64 = 40.0;

/// The sum of squared differences from what the shares say, each in terms of that: about one a free endpoint where
/// picks are independent.
fn chi_square(counts: &[u64], shares: &[f64]) -> f64 {
    let (picks, all): (u64, f64) = (counts.iter().sum(), shares.iter().sum());
    let term = |(count, share): (&u64, &f64)| {
        let wanted = picks as f64 * share / all;
        if wanted == 0.0 { *count as f64 * 1e9 } else { (*count as f64 - wanted).powi(2) / wanted }
    };
    counts.iter().zip(shares).map(term).sum()
}

/// With all endpoints alike, with weights, and with one of them taken out and put in again: picks are as `shares` says of
/// a balancer, of weights and of the endpoint that is out.
fn spreads_by(balance: &str, shares: impl Fn(&Balancer, &[u32], Option<usize>) -> Vec<f64>) {
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 5, 1, 7, 3, 1, 1]] {
        let balancer = balancer(&weighted(balance, weights));
        for (picks, out) in [(PICKS, None), (PICKS / 4, Some(1)), (PICKS / 4, None)] {
            balancer.shared().set_standing(1, Cause::Unhealthy, out.is_some(), now());
            let chi = chi_square(&counts(&balancer, picks, key), &shares(&balancer, weights, out));
            assert!(chi < MOST, "{balance} {weights:?} without {out:?}: {chi}");
        }
    }
}

fn spreads_by_weight(balance: &str) {
    spreads_by(balance, |_, weights, out| {
        weights.iter().enumerate().map(|(at, weight)| if out == Some(at) { 0.0 } else { f64::from(*weight) }).collect()
    });
}

macro_rules! spread_by_weight {
    ($($name:ident: $balance:literal;)*) => {
        $( #[test] fn $name() { spreads_by_weight($balance); } )*
    };
}

spread_by_weight! {
    round_robin_spreads_by_weight: "\"round-robin\"";
    random_spreads_by_weight: "\"random\"";
    two_choices_spread_by_weight: "\"two-choices\"";
    least_requests_spread_by_weight: "\"least-requests\"";
    least_requests_of_a_few_draws_spread_by_weight: "{ type = \"least-requests\", choices = 3 }";
    peak_ewma_spreads_by_weight: "\"peak-ewma\"";
    adaptive_spreads_by_weight: "\"adaptive\"";
    maglev_spreads_by_weight: "\"maglev\"";
}

/// The part of the ring that is each endpoint's.
fn arcs(balancer: &Balancer, endpoints: usize, out: Option<usize>) -> Vec<f64> {
    let [Table::Ring(ring)] = &*balancer.shared().tables else { panic!("one group with a ring") };
    let points: Vec<_> = ring.points().iter().filter(|(_, at)| Some(*at as usize) != out).collect();
    let mut arcs = vec![0.0; endpoints];
    // The first point has what is behind the last one, too.
    let before = points.iter().rev().take(1).chain(&points);
    for ((point, at), (before, _)) in points.iter().zip(before) {
        arcs[*at as usize] += point.wrapping_sub(*before) as f64;
    }
    arcs
}

/// Points on a ring are few, so shares are not quite what weights say; but picks are as the ring is.
#[test]
fn ring_hash_spreads_by_the_arcs_of_its_ring() {
    let balance = "{ type = \"ring-hash\", virtual_nodes = 400 }";
    spreads_by(balance, |balancer, weights, out| {
        let arcs = arcs(balancer, weights.len(), out);
        let (ring, all): (f64, u32) = (arcs.iter().sum(), weights.iter().sum());
        for (arc, weight) in arcs.iter().zip(weights).filter(|_| out.is_none()) {
            let wanted = f64::from(*weight) / f64::from(all);
            assert!((arc / ring - wanted).abs() < wanted / 5.0, "{arcs:?} of {ring} for {weights:?}");
        }
        arcs
    });
}

/// Requests under way count for less at an endpoint of more weight.
#[test]
fn adaptive_fills_endpoints_by_weight() {
    let weights = [1, 2, 5, 1, 7, 3, 1, 1];
    let balancer = balancer(&weighted("\"adaptive\"", &weights));
    counts(&balancer, 1_000, key);
    let mut load = [0; 8];
    for _ in 0..2_100 {
        load[balancer.pick(&Asked::default(), now()).unwrap().endpoint] += 1;
    }
    for (load, weight) in load.iter().zip(weights) {
        assert!((90 * weight..=110 * weight).contains(load), "{load:?} for {weights:?}");
    }
}

#[test]
fn weighted_picks_are_spread() {
    let balancer = balancer(&weighted("\"round-robin\"", &[5, 1, 1]));
    let picks: Vec<usize> = (0..7).map(|_| balancer.pick(&Asked::default(), now()).unwrap().endpoint).collect();
    assert_eq!(picks, [0, 0, 1, 2, 0, 0, 0]);
}

#[test]
fn cores_do_not_begin_with_the_same_endpoint() {
    let shared = Shared::new(&weighted("\"round-robin\"", &[1, 1, 1]), None);
    let first = |seed| Balancer::new(&shared, seed, now(), None).pick(&Asked::default(), now()).unwrap().endpoint;
    assert_eq!([first(1), first(2), first(3), first(4)], [0, 1, 2, 0]);
}

#[test]
fn least_counts_the_requests_of_all_cores() {
    let shared = Shared::new(&weighted("\"least-requests\"", &[1, 1, 2]), None);
    let [one, other] = [1, 2].map(|seed| Balancer::new(&shared, seed, now(), None));
    let mut load = [0; 3];
    let mut under_way = Vec::new();
    for pick in 0..40 {
        let core = if pick % 3 == 0 { &one } else { &other };
        let picked = core.pick(&Asked::default(), now()).unwrap();
        load[picked.endpoint] += 1;
        under_way.push((core, picked));
    }
    assert_eq!(load, [10, 10, 20]);
    // One that gets slow keeps its requests; nothing more goes there while the others end theirs.
    for (core, picked) in under_way.extract_if(.., |(_, picked)| picked.endpoint != 0) {
        core.end(picked, Outcome::Unknown, now());
    }
    assert_eq!(counts(&one, 100, key)[0], 0);
}

#[test]
fn two_choices_and_peak_ewma_leave_a_slow_endpoint() {
    for balance in ["\"two-choices\"", "\"peak-ewma\"", "\"adaptive\""] {
        let balancer = balancer(&weighted(balance, &[1; 4]));
        let mut time = now();
        let mut load = [0; 4];
        let mut under_way: Vec<(u64, crate::upstream::Picked, Instant)> = Vec::new();
        for pick in 0..20_000u64 {
            time = time + Duration::from_micros(100);
            for (_, picked, since) in under_way.extract_if(.., |(ends, ..)| *ends <= pick) {
                balancer.end(picked, Outcome::Answered(200, time.since(since)), time);
            }
            let picked = balancer.pick(&Asked::default(), time).unwrap();
            load[picked.endpoint] += 1;
            let takes = if picked.endpoint == 2 { 200 } else { 10 };
            under_way.push((pick + takes, picked, time));
        }
        assert!(load[2] < 2_500 && load[2] > 0, "{balance}: {load:?}");
    }
}

#[test]
fn what_fails_fast_does_not_attract() {
    for balance in ["\"peak-ewma\"", "\"adaptive\""] {
        let balancer = balancer(&weighted(balance, &[1; 4]));
        let mut time = now();
        let mut load = [0; 4];
        for _ in 0..10_000 {
            time = time + Duration::from_micros(500);
            let picked = balancer.pick(&Asked::default(), time).unwrap();
            load[picked.endpoint] += 1;
            let outcome = match picked.endpoint {
                1 => Outcome::Answered(503, Duration::from_micros(50)),
                _ => Outcome::Answered(200, Duration::from_millis(2)),
            };
            balancer.end(picked, outcome, time);
        }
        assert!(load[1] < 500, "{balance}: {load:?}");
    }
}

#[test]
fn what_a_request_tried_is_passed_over_where_there_is_another() {
    for balance in super::standing::BALANCES {
        let balancer = balancer(&weighted(balance, &[1, 1, 3]));
        let mut avoid = Avoid::default();
        avoid.add(2);
        let picks = counts(&balancer, 100, |number| Asked { avoid, ..key(number) });
        assert!(picks[2] == 0 && picks[0] + picks[1] == 100, "{balance}: {picks:?}");
        (0..12).for_each(|at| avoid.add(at % 3));
        let picks = counts(&balancer, 100, |number| Asked { avoid, ..key(number) });
        assert_eq!(picks.iter().sum::<u64>(), 100, "{balance}: it has to do");
    }
}

#[test]
fn an_endpoint_has_no_more_requests_than_it_may() {
    for balance in super::standing::BALANCES {
        let endpoints =
            "[{ address = \"10.0.0.1:80\", max_requests = 3 }, { address = \"10.0.0.2:80\", max_requests = 5 }]";
        let shared = Shared::new(&upstream(&format!("balance = {balance}\nendpoints = {endpoints}")), None);
        let cores = [1, 2].map(|seed| Balancer::new(&shared, seed, now(), None));
        let mut under_way = Vec::new();
        for pick in 0..8 {
            under_way.push(cores[pick % 2].pick(&key(pick as u64), now()).unwrap());
        }
        let at_first = under_way.iter().filter(|picked| picked.endpoint == 0).count();
        assert_eq!(at_first, 3, "{balance}");
        assert_eq!(cores[0].pick(&key(9), now()).unwrap_err(), Unpicked::Full, "{balance}");
        cores[1].end(under_way[0], Outcome::Unknown, now());
        let freed = under_way[0].endpoint;
        assert_eq!(cores[0].pick(&key(9), now()).unwrap().endpoint, freed, "{balance}");
    }
}

proptest! {
    #[test]
    fn over_one_round_each_endpoint_gets_exactly_its_weight(weights in proptest::collection::vec(1u32..20, 1..12)) {
        let balancer = balancer(&weighted("\"round-robin\"", &weights));
        let all = weights.iter().sum::<u32>();
        let by = weights.iter().fold(0, |by, weight| (1..=*weight).rev().find(|d| weight % d == 0 && by % d == 0).unwrap());
        let counts = counts(&balancer, u64::from(all / by), key);
        let wanted: Vec<u64> = weights.iter().map(|weight| u64::from(weight / by)).collect();
        prop_assert_eq!(counts, wanted);
    }
}
