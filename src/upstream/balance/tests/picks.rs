//! Who is picked how often.

use proptest::prelude::*;

use super::*;
use crate::upstream::Avoid;

const PICKS: u64 = 1_000_000;

/// The sum of squared differences from what the weights say, each in terms of that: about one a free endpoint where
/// picks are independent.
fn chi_square(counts: &[u64], weights: &[u32]) -> f64 {
    let (picks, all): (u64, u32) = (counts.iter().sum(), weights.iter().sum());
    let term = |(count, weight): (&u64, &u32)| {
        let wanted = picks as f64 * f64::from(*weight) / f64::from(all);
        if wanted == 0.0 { *count as f64 * 1e9 } else { (*count as f64 - wanted).powi(2) / wanted }
    };
    counts.iter().zip(weights).map(term).sum()
}

/// With all endpoints alike, with weights, and with one of them taken out and put in again.
fn spreads_by_weight(balance: &str) {
    // Passed by one honest draw in a million, with up to 7 free endpoints.
    const MOST: f64 = 40.0;
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 5, 1, 7, 3, 1, 1]] {
        let upstream = weighted(balance, weights);
        let balancer = balancer(&upstream);
        let chi = chi_square(&counts(&balancer, PICKS, key), weights);
        assert!(chi < MOST, "{balance} {weights:?}: {chi}");
        let mut without = weights.to_vec();
        without[1] = 0;
        balancer.shared().set_standing(1, Cause::Unhealthy, true, now());
        let chi = chi_square(&counts(&balancer, PICKS / 4, key), &without);
        assert!(chi < MOST, "{balance} {without:?}: {chi}");
        balancer.shared().set_standing(1, Cause::Unhealthy, false, now());
        let chi = chi_square(&counts(&balancer, PICKS / 4, key), weights);
        assert!(chi < MOST, "{balance} {weights:?} again: {chi}");
    }
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
    maglev_spreads_by_weight: "\"maglev\"";
}

/// Points on a ring are few: what each endpoint gets is not as chance would have it.
#[test]
fn ring_hash_gives_everybody_about_what_the_weight_says() {
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 5, 1, 7, 3, 1, 1]] {
        let balancer = balancer(&weighted("{ type = \"ring-hash\", virtual_nodes = 400 }", weights));
        let mut left = weights.to_vec();
        for picks in [PICKS, PICKS / 4] {
            let counts = counts(&balancer, picks, key);
            for (count, weight) in counts.iter().zip(&left) {
                let wanted = picks as f64 * f64::from(*weight) / f64::from(left.iter().sum::<u32>());
                assert!((*count as f64 - wanted).abs() <= wanted / 4.0, "{left:?}: {counts:?}");
            }
            left[1] = 0;
            balancer.shared().set_standing(1, Cause::Unhealthy, true, now());
        }
    }
}

#[test]
fn adaptive_leaves_nobody_out_where_all_are_alike() {
    let counts = counts(&balancer(&weighted("\"adaptive\"", &[1; 8])), PICKS / 10, key);
    assert!(counts.iter().all(|count| (5_000..30_000).contains(count)), "{counts:?}");
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
