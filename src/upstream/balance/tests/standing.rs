//! Endpoints that may not be used, that come back, and that are asked before others.

use proptest::prelude::*;

use super::*;
use crate::observe::UpstreamPick;

pub(super) const BALANCES: [&str; 8] = [
    "\"round-robin\"",
    "\"random\"",
    "\"two-choices\"",
    "\"least-requests\"",
    "\"peak-ewma\"",
    "\"adaptive\"",
    "\"ring-hash\"",
    "{ type = \"maglev\", max_load = 120 }",
];

#[test]
fn with_every_endpoint_drained_there_is_none() {
    for balance in BALANCES {
        let balancer = balancer(&weighted(balance, &[1, 2]));
        for at in 0..2 {
            assert!(balancer.shared().set_standing(at, Cause::Drained, true, now()));
            assert!(!balancer.shared().set_standing(at, Cause::Drained, true, now()), "it is so already");
        }
        assert_eq!(balancer.pick(&key(1), now()).unwrap_err(), Unpicked::NoEndpoint, "{balance}");
        balancer.shared().set_standing(1, Cause::Drained, false, now());
        assert_eq!(counts(&balancer, 10, key), [0, 10], "{balance}");
    }
}

#[test]
fn too_few_that_are_well_are_not_left_alone_with_everything() {
    let weights = [1; 4];
    let set = |balancer: &Balancer, cause, down: &[usize]| {
        for at in 0..4 {
            balancer.shared().set_standing(at, cause, down.contains(&at), now());
        }
    };
    let balancer = balancer(&weighted("\"round-robin\"", &weights));
    set(&balancer, Cause::Unhealthy, &[0, 1]);
    assert_eq!(counts(&balancer, 40, key), [0, 0, 20, 20]);
    // Less than half are well: who says that may be what is broken.
    set(&balancer, Cause::Unhealthy, &[0, 1, 2]);
    assert_eq!(counts(&balancer, 40, key), [10; 4]);
    // What an operator took out, and what an open breaker holds back, stays out.
    set(&balancer, Cause::Unhealthy, &[0, 1, 2, 3]);
    set(&balancer, Cause::Drained, &[0]);
    set(&balancer, Cause::Broken, &[1]);
    assert_eq!(counts(&balancer, 40, key), [0, 0, 20, 20]);
    let never = upstream(
        "endpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\", \"10.0.0.4:80\"]\nfailover = { panic = \"off\" }",
    );
    let balancer = super::balancer(&never);
    set(&balancer, Cause::Ejected, &[0, 1, 2]);
    assert_eq!(counts(&balancer, 40, key), [0, 0, 0, 40]);
}

fn layered() -> Arc<Upstream> {
    upstream(
        "failover = { zone = \"a\" }
        endpoints = [
            { address = \"10.0.0.1:80\", zone = \"a\" }, { address = \"10.0.0.2:80\", zone = \"a\" },
            { address = \"10.0.0.3:80\", zone = \"b\" }, { address = \"10.0.0.4:80\" },
            { address = \"10.0.0.5:80\", priority = 1, zone = \"a\" },
        ]",
    )
}

#[test]
fn near_endpoints_go_first_and_others_help_where_they_are_too_few() {
    let balancer = balancer(&layered());
    let set = |at, cause, holds| balancer.shared().set_standing(at, cause, holds, now());
    assert_eq!(counts(&balancer, 100, key), [50, 50, 0, 0, 0]);
    let special = || {
        let picked = balancer.pick(&Asked::default(), now()).unwrap();
        balancer.end(picked, Outcome::Unknown, now());
        picked.special
    };
    assert_eq!(special(), None);
    set(0, Cause::Drained, true);
    let picks = counts(&balancer, 10_000, key);
    // Half are left of which 70% would be enough: 5/7 stay.
    assert!((6_900..7_400).contains(&picks[1]) && picks[0] + picks[4] == 0, "{picks:?}");
    set(1, Cause::Drained, true);
    assert_eq!(counts(&balancer, 100, key), [0, 0, 50, 50, 0]);
    assert_eq!(special(), Some(UpstreamPick::Spilled));
    set(2, Cause::Broken, true);
    set(3, Cause::Drained, true);
    assert_eq!(counts(&balancer, 100, key), [0, 0, 0, 0, 100]);
    set(1, Cause::Drained, false);
    set(0, Cause::Drained, false);
    assert_eq!(counts(&balancer, 100, key)[..2], [50, 50]);
}

#[test]
fn a_key_stays_with_its_group() {
    let text = "balance = \"maglev\"\nfailover = { enough = 100 }\nendpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\",
        { address = \"10.0.0.3:80\", priority = 1 }, { address = \"10.0.0.4:80\", priority = 1 }]";
    let balancer = balancer(&upstream(text));
    balancer.shared().set_standing(0, Cause::Drained, true, now());
    for number in 0..50 {
        let picks = counts(&balancer, 20, |_| key(number));
        assert_eq!(picks.iter().filter(|count| **count > 0).count(), 1, "{picks:?}");
    }
    let picks = counts(&balancer, 1_000, key);
    assert!(picks[0] == 0 && (400..600).contains(&picks[1]), "{picks:?}");
}

#[test]
fn a_subset_has_only_its_endpoints() {
    for balance in BALANCES {
        let upstream = upstream_for(
            &format!(
                "balance = {balance}\nendpoints = [\"10.0.0.1:80\",
                {{ address = \"10.0.0.2:80\", metadata = {{ version = \"v2\", cell = \"1\" }} }},
                {{ address = \"10.0.0.3:80\", metadata = {{ version = \"v2\" }} }}]"
            ),
            "subset = { version = \"v2\" }\n[[route]]\nname = \"s\"\npath = \"/s\"\nupstream = \"u\"\n\
             subset = { cell = \"1\", version = \"v2\" }",
        );
        let balancer = balancer(&upstream);
        let picks = |subset| counts(&balancer, 300, |number| Asked { subset, ..key(number) });
        assert!(picks(0).iter().all(|count| *count > 50), "{balance}");
        assert!(picks(1)[0] == 0 && picks(1)[1] > 50 && picks(1)[2] > 50, "{balance}: {:?}", picks(1));
        assert_eq!(picks(2), [0, 300, 0], "{balance}");
        // Nobody else stands in.
        balancer.shared().set_standing(1, Cause::Drained, true, now());
        let asked = Asked { subset: 2, ..key(1) };
        assert_eq!(balancer.pick(&asked, now()).unwrap_err(), Unpicked::NoEndpoint, "{balance}");
    }
}

#[test]
fn one_that_comes_back_gets_its_share_little_by_little() {
    for balance in ["round-robin", "random", "two-choices", "least-requests"] {
        let text = format!(
            "balance = \"{balance}\"\nslow_start = {{ window = \"10s\", from = 20 }}\nendpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\"]"
        );
        let balancer = balancer(&upstream(&text));
        let share = |time: Instant| {
            let mut count = 0;
            for _ in 0..10_000 {
                let picked = balancer.pick(&Asked::default(), time).unwrap();
                count += u32::from(picked.endpoint == 0);
                balancer.end(picked, Outcome::Unknown, time);
            }
            f64::from(count) / 10_000.0
        };
        assert!((share(now()) - 0.5).abs() < 0.02, "{balance}: from the start of the gateway all have their shares");
        balancer.shared().set_standing(0, Cause::Unhealthy, true, now());
        let back = now() + Duration::from_secs(5);
        assert!(share(back) < 1e-9);
        balancer.shared().set_standing(0, Cause::Unhealthy, false, back);
        for (seconds, weight) in [(0, 0.2), (1, 0.2), (5, 0.5), (8, 0.8), (10, 1.0), (60, 1.0)] {
            let found = share(back + Duration::from_secs(seconds));
            let wanted: f64 = weight / (1.0 + weight);
            assert!((found - wanted).abs() < 0.03, "{balance} after {seconds} s: {found}, not {wanted}");
        }
    }
}

#[test]
fn what_is_known_of_an_endpoint_stays_known_when_a_plan_replaces_another() {
    let section =
        |more: &str| upstream(&format!("slow_start = \"10s\"\nendpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\"{more}]"));
    let before = Shared::new(&section(""), None);
    let old = Balancer::new(&before, 1, now(), None);
    before.set_standing(1, Cause::Unhealthy, true, now());
    let after = Shared::new(&section(", \"10.0.0.3:80\""), Some(&before));
    let new = Balancer::new(&after, 1, now(), None);
    assert!(after.standing(1).has(Cause::Unhealthy));
    let picks = counts(&new, 1_100, key);
    assert!(picks[1] == 0 && (90..110).contains(&picks[2]), "the new one comes slowly: {picks:?}");
    // Cores that still run the plan of before hear of it, too.
    after.set_standing(1, Cause::Unhealthy, false, now() + Duration::from_secs(1));
    after.set_standing(0, Cause::Drained, true, now());
    assert_eq!(counts(&old, 10, key), [0, 10]);
}

proptest! {
    /// Whatever becomes of endpoints and limits, nobody is picked who may not be, somebody is where somebody may be, and
    /// in the end nothing is under way.
    #[test]
    fn only_who_may_be_used_is_picked(
        balance in proptest::sample::select(&BALANCES[..]),
        weights in proptest::collection::vec(1u32..6, 1..8),
        steps in proptest::collection::vec((0u8..4, 0usize..8, any::<u16>()), 1..120),
    ) {
        let endpoints: Vec<String> = weights.iter().enumerate().map(|(at, weight)| format!(
            "{{ address = \"10.0.0.{at}:80\", weight = {weight}, priority = {}, max_requests = {} }}", at / 3, 1 + weight
        )).collect();
        let upstream = upstream(&format!(
            "balance = {balance}\nfailover = {{ panic = \"off\" }}\nendpoints = [{}]", endpoints.join(", ")
        ));
        let shared = Shared::new(&upstream, None);
        let cores = [1, 2].map(|seed| Balancer::new(&shared, seed, now(), None));
        let mut out = vec![false; weights.len()];
        let mut load = vec![0u32; weights.len()];
        let mut under_way = Vec::new();
        for (what, which, number) in steps {
            let core = &cores[usize::from(number) % 2];
            match what {
                0 => {
                    let at = which % weights.len();
                    out[at] = !out[at];
                    shared.set_standing(at, Cause::ALL[usize::from(number) % 4], out[at], now());
                    for cause in Cause::ALL {
                        shared.set_standing(at, cause, out[at], now());
                    }
                }
                1 if !under_way.is_empty() => {
                    let (core, picked): (&Balancer, crate::upstream::Picked) = under_way.swap_remove(which % under_way.len());
                    load[picked.endpoint] -= 1;
                    core.end(picked, Outcome::Answered(200, Duration::from_millis(u64::from(number))), now());
                }
                _ => {
                    let has_room = |at: usize| !out[at] && load[at] < 1 + weights[at];
                    match core.pick(&key(u64::from(number)), now()) {
                        Ok(picked) => {
                            prop_assert!(has_room(picked.endpoint));
                            load[picked.endpoint] += 1;
                            under_way.push((core, picked));
                        }
                        Err(Unpicked::NoEndpoint) => prop_assert!(out.iter().all(|out| *out)),
                        Err(Unpicked::Broken) => prop_assert!(false, "there are no breakers"),
                        Err(Unpicked::Full) => prop_assert!(!(0..weights.len()).any(has_room) && out.iter().any(|out| !out)),
                    }
                }
            }
        }
        for (core, picked) in under_way {
            core.end(picked, Outcome::Unknown, now());
        }
        for at in 0..weights.len() {
            prop_assert_eq!(shared.requests(at), 0);
            prop_assert_eq!(cores[0].requests(at) + cores[1].requests(at), 0);
        }
    }
}
